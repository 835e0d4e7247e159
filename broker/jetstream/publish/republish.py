"""What is stored, published once more on another subject, with lines that say where it is (ADR-28)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from broker.jetstream.codec import shown_time
from broker.jetstream.config.names import transform
from broker.jetstream.publish.headers import with_lines
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.jetstream.config.stream import Republish
    from broker.jetstream.stream import Stream


class Republisher:
    """Publishes what one stream stores, once it is on disk."""

    def __init__(self, stream: Stream, config: Republish) -> None:
        self._stream = stream
        self._transform = transform(config.src or ">", config.dest)
        self._headers_only = config.headers_only

    def stored(self, sequence: int, before: int, subject: bytes, header: bytes | None, payload: bytes) -> None:
        """A message was stored; ``before`` is the last sequence that its subject had."""
        account = self._stream.account
        target = None if self._transform is None else self._transform.apply(shown(subject), account.choose)
        if target is None:
            return
        lines = [
            (b"Nats-Stream", self._stream.name.encode()),
            (b"Nats-Subject", subject),
            (b"Nats-Sequence", b"%d" % sequence),
            (b"Nats-Time-Stamp", shown_time(self._stream.log.last_time).encode()),
            (b"Nats-Last-Sequence", b"%d" % before),
        ]
        if self._headers_only:
            lines.append((b"Nats-Msg-Size", b"%d" % len(payload)))
            payload = b""
        account.store.after(partial(self._publish, target, with_lines(header, lines), payload))

    def _publish(self, target: str, header: bytes, payload: bytes, problem: Exception | None) -> None:
        if problem is None:
            self._stream.account.internal.publish(target, payload, header=header)


def last_of(stream: Stream, subject: bytes) -> int:
    """The last sequence of a subject, 0 for none."""
    found = stream.log.find(subject)
    return 0 if found is None else found[2]
