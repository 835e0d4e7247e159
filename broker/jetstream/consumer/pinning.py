"""The client that a consumer is pinned to: it alone is served, until it is silent for too long (ADR-42)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.jetstream.codec import now, shown_time
from broker.jetstream.consumer.pull import RefusedError
from broker.wire.ids import new_id

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.jetstream.consumer.pull import NextRequest, Waiting
    from broker.jetstream.consumer.pulling import Pulling


class Pin:
    """Who is pinned, if anybody is."""

    def __init__(self, delivery: Pulling) -> None:
        self._delivery = delivery
        self._timer: Timer | None = None
        self.id = ""
        """What the pinned client shows with each request."""
        self._first = b""
        """Where the request that made it so is answered, which could not show it yet."""
        self._group = ""
        self._since = 0

    def check(self, wanted: NextRequest) -> None:
        """Checks the identifier of a request. Raises RefusedError."""
        if not self.id:
            return
        if wanted.id == self.id:
            self._wait_on()
        elif wanted.id:
            raise RefusedError("423 Nats-Pin-Id mismatch")

    def is_wrong(self, request: Waiting) -> bool:
        """Whether a request shows the identifier of a client that is not pinned any more."""
        return bool(request.wanted.id) and request.wanted.id != self.id

    def admits(self, request: Waiting) -> bool:
        """Whether a request may be served: it is the pinned client's, or nobody is pinned."""
        return not self.id or request.wanted.id == self.id or request.reply == self._first

    def take(self, request: Waiting) -> None:
        """A request is about to be served; where nobody is pinned, its client is from now on."""
        if self.id:
            return
        self.id = new_id()
        self._first = request.reply
        self._group = request.wanted.group
        self._since = now()
        self._delivery.feed.extra = b"Nats-Pin-Id: %b\r\n" % self.id.encode()
        self._wait_on()
        self._tell("PINNED", "consumer_group_pinned", {"pinned_id": self.id})

    def _wait_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        seconds = self._delivery.consumer.config.priority_timeout / 1e9
        self._timer = self._delivery.account.clock.call_later(seconds, self._silent)

    def _silent(self) -> None:
        self._timer = None
        self.release("timeout")
        self._delivery.wake()

    def release(self, reason: str, group: str = "") -> None:
        """Nobody is pinned any more, in one group or in any; ``reason`` is told."""
        if not self.id or group not in ("", self._group):
            return
        self.close()
        self.id, self._first = "", b""
        self._delivery.feed.extra = None
        self._tell("UNPINNED", "consumer_group_unpinned", {"reason": reason})

    def _tell(self, what: str, kind: str, facts: dict[str, object]) -> None:
        delivery = self._delivery
        stream, consumer = delivery.stream.name, delivery.consumer.name
        named = {"account": delivery.account.name, "stream": stream, "consumer": consumer, "group": self._group}
        delivery.account.advisories.tell(f"CONSUMER.{what}.{stream}.{consumer}", kind, {**named, **facts})

    def close(self) -> None:
        """Waits for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shown(self, group: str) -> dict[str, object]:
        """What answers tell of a group."""
        if not self.id or group != self._group:
            return {"group": group}
        return {"group": group, "pinned_client_id": self.id, "pinned_ts": shown_time(self._since)}
