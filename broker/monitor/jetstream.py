"""/jsz, and what other pages show of streams; what is off is shown by `broker.monitor.absent`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from broker.monitor.absent import jsz as jsz_without
from broker.monitor.query import QueryError
from broker.wire.values import moment, readable

if TYPE_CHECKING:
    from broker.jetstream.use import AccountUse, ConsumerUse, StreamUse
    from broker.monitor.query import Query
    from broker.monitor.watched import Watched

Plain = dict[str, Any]
"""An object of JSON, its names in order."""

DEFAULT_LIMIT: Final = 1024
"""Accounts of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How much to show of each account."""

    streams: bool = False
    consumers: bool = False
    direct_consumers: bool = False
    config: bool = False


class Streams(Protocol):
    """The streams of a server, as monitoring sees them."""

    def stats(self) -> Plain:
        """What all of them take, and how many requests came."""

    def config(self) -> Plain:
        """What they keep to."""

    def limits(self) -> Plain:
        """The ceilings of each stream and consumer; those that are none are left out."""

    def totals(self) -> Plain:
        """How many streams, consumers, messages and bytes there are."""

    def names(self) -> list[str]:
        """The accounts that have streams, or may have some."""

    def account(self, name: str, shown: Shown) -> Plain | None:
        """One account; None where it has no JetStream."""

    def has(self, account: str, stream: str = "", consumer: str = "") -> bool:
        """Whether there is such an account, such a stream in it, such a consumer of that."""

    def use(self, name: str) -> AccountUse | None:
        """What an account takes; None where it has no JetStream."""

    def stream_names(self, account: str) -> list[str]:
        """The streams of an account, by name."""

    def stream(self, account: str, name: str) -> StreamUse | None:
        """What a stream takes; None where there is none."""

    def consumer_names(self, account: str, stream: str, *, durable_only: bool = False) -> list[str]:
        """The consumers of a stream, by name; those that stay, or all that somebody made."""

    def consumer(self, account: str, stream: str, name: str) -> ConsumerUse | None:
        """Where a consumer stands; None where there is none."""

    def is_writable(self) -> bool:
        """Whether the changes of all accounts can be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JszOptions:
    """What is asked for."""

    account: str = ""
    accounts: bool = False
    shown: Shown = Shown()
    raft: bool = False
    leader_only: bool = False
    """Whether only who leads is to answer; a server without streams leads none."""
    offset: int = 0
    limit: int = 0

    @classmethod
    def read(cls, query: Query) -> JszOptions:
        """From the parameters of a request. Raises QueryError."""
        # A single server leads all streams that it has.
        query.boolean("stream-leader-only")
        return cls(
            leader_only=query.boolean("leader-only"),
            account=query.text("acc"),
            accounts=query.boolean("accounts"),
            shown=Shown(
                streams=query.boolean("streams"),
                consumers=query.boolean("consumers"),
                direct_consumers=query.boolean("direct-consumers"),
                config=query.boolean("config"),
            ),
            raft=query.boolean("raft"),
            offset=query.integer("offset"),
            limit=query.integer("limit"),
        )


def jsz(watched: Watched, options: JszOptions) -> object:
    """The streams of the server, and those of single accounts where that is asked for. Raises QueryError."""
    streams = watched.jetstream()
    if streams is None and options.leader_only:
        raise QueryError("filtered response: not leader")
    if streams is None:
        return jsz_without(watched)
    names = streams.names()
    totals = streams.totals()
    if options.raft:
        # A single server leads all that it has.
        leads = {"streams_leader": totals["streams"], "consumers_leader": totals["consumers"]}
        names_in_order = ("streams", "streams_leader", "consumers", "consumers_leader", "messages", "bytes")
        totals = {name: {**totals, **leads}[name] for name in names_in_order}
    answer: Plain = {
        **streams.stats(),
        "server_id": watched.identity.server_id,
        "now": moment(time.time()),
        "config": streams.config(),
        "limits": streams.limits(),
        **totals,
    }
    # Who asks for consumers asks for their streams; not so where one account is asked for in the system account.
    shown = replace(options.shown, streams=options.shown.streams or options.shown.consumers)
    details = [detail for name in _page(names, options) if (detail := streams.account(name, shown)) is not None]
    if details:
        answer["account_details"] = details
    answer["total"] = len(names)
    return ordered(answer)


def _page(names: list[str], options: JszOptions) -> list[str]:
    """The accounts that one answer shows.

    As in nats-server, one that is named and is not there stands for none, or for all where all are asked for as well,
    and a limit below 0 shows all from the beginning.
    """
    if options.account in names:
        return [options.account]
    if not (options.accounts or (not options.account and (options.shown.streams or options.shown.consumers))):
        return []
    if options.limit < 0:
        return names
    start = max(options.offset, 0)
    return names[start : start + (options.limit or DEFAULT_LIMIT)]


def ordered(value: Plain) -> msgspec.Raw:
    """An object whose names stay in their order, unlike those of maps."""
    return msgspec.Raw(msgspec.json.encode(value))


def account_jsz(watched: Watched, name: str, shown: Shown) -> msgspec.Raw:
    """The streams of one account. Raises QueryError where it has none."""
    streams = watched.jetstream()
    if streams is None:
        raise QueryError("jetstream not enabled")
    if watched.account(name) is None:
        raise QueryError(f'account "{readable(name)}" not found')
    detail = streams.account(name, shown)
    if detail is None:
        raise QueryError(f'account "{readable(name)}" not jetstream enabled')
    return ordered(detail)


def summary(watched: Watched, *, with_directory: bool = True) -> msgspec.Raw | Plain:
    """What /varz and the server's statistics show; nothing where there are no streams."""
    streams = watched.jetstream()
    if streams is None:
        return {}
    config = streams.config()
    if not with_directory:
        config.pop("store_dir", None)
    return ordered({"config": config, "stats": streams.stats(), "limits": streams.limits()})
