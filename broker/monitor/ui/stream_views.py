"""What the pages about streams show: accounts, the streams of one, one stream with its consumers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.monitor.ui.views import ROWS, Usage
from broker.wire.values import readable

if TYPE_CHECKING:
    from broker.jetstream.use import AccountUse, ConsumerUse, StreamUse
    from broker.monitor.jetstream import Streams
    from broker.monitor.watched import Watched


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account of the overview."""

    name: str
    label: str
    use: AccountUse
    memory: Usage
    storage: Usage
    streams: Usage


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One stream of an account."""

    use: StreamUse
    messages: Usage
    bytes: Usage


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """One consumer of a stream."""

    use: ConsumerUse
    waiting_for_ack: Usage


class StreamViews:
    """Collects from the streams of the server, of which there are some."""

    def __init__(self, watched: Watched, streams: Streams) -> None:
        self._watched = watched
        self._streams = streams

    def server(self) -> tuple[Usage, Usage, bool]:
        """The memory and the storage of all streams, and whether they can be written."""
        stats, config = self._streams.stats(), self._streams.config()
        memory = Usage(stats["memory"], config["max_memory"])
        return memory, Usage(stats["storage"], config["max_storage"]), self._streams.is_writable()

    def accounts(self, page: int) -> tuple[int, Iterator[AccountRow]]:
        """How many accounts may have streams, and those of a page, one by one."""
        names = self._streams.names()
        shown = names[page * ROWS : (page + 1) * ROWS]
        return len(names), (row for name in shown if (row := self.account(name)) is not None)

    def account(self, name: str) -> AccountRow | None:
        """One account; None where it has no streams and may have none."""
        use, account = self._streams.use(name), self._watched.account(name)
        if use is None:
            return None
        return AccountRow(
            readable(name),
            readable(name if account is None else account.label),
            use,
            Usage(use.memory, use.memory_limit),
            Usage(use.storage, use.storage_limit),
            Usage(use.streams, use.streams_limit),
        )

    def streams(self, account: str, page: int) -> tuple[int, Iterator[StreamRow]]:
        """How many streams an account has, and those of a page, one by one."""
        names = self._streams.stream_names(account)
        shown = names[page * ROWS : (page + 1) * ROWS]
        return len(names), (row for name in shown if (row := self.stream(account, name)) is not None)

    def stream(self, account: str, name: str) -> StreamRow | None:
        """One stream; None where there is none."""
        use = self._streams.stream(account, name)
        if use is None:
            return None
        return StreamRow(use, Usage(use.messages, use.messages_limit), Usage(use.bytes, use.bytes_limit))

    def consumers(self, account: str, stream: str, page: int) -> tuple[int, Iterator[ConsumerRow]]:
        """How many consumers a stream has, and those of a page, one by one."""
        names = self._streams.consumer_names(account, stream)
        shown = names[page * ROWS : (page + 1) * ROWS]
        return len(names), (
            ConsumerRow(use, Usage(use.ack_pending, use.ack_pending_limit))
            for name in shown
            if (use := self._streams.consumer(account, stream, name)) is not None
        )
