"""A consumer that is asked for messages: it serves the requests that wait, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.core import feed as fates
from broker.jetstream.access import Access
from broker.jetstream.config.words import PriorityPolicy
from broker.jetstream.consumer.delivery import CONGESTED_PAUSE, SLICE, Delivery
from broker.jetstream.consumer.pinning import Pin
from broker.jetstream.consumer.pull import (
    LOWEST_PRIORITY,
    NextRequest,
    Queue,
    RefusedError,
    Waiting,
    check_limits,
    parse,
)
from broker.jetstream.publish.headers import asks_too_much
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.control.internal import Received
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.consumer.standing import Standing

API_LEVEL_REFUSED: Final = "412 Required Api Level"


class Pulling(Delivery):
    """The delivering side of a consumer that clients ask."""

    def __init__(self, consumer: Consumer, kept: Standing | None) -> None:
        self._queue = Queue()
        self._expiry_timer: Timer | None = None
        self.asked_at = consumer.stream.account.clock.monotonic()
        """When somebody asked last, in monotonic seconds."""
        self.pin = Pin(self)
        super().__init__(consumer, kept)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream.name}.{consumer.name}"
        self._asking = self.internal.subscribe(subject, self._asked)

    def close(self, *, deleted: bool) -> None:
        """See `Delivery.close`; who still waits is told."""
        self.end_requests("409 Consumer Deleted" if deleted else "409 Server Shutdown")
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        self.pin.close()
        self.internal.unsubscribe(self._asking)
        super().close(deleted=deleted)

    def end_requests(self, status: str) -> None:
        """Lets nobody wait any longer, and tells everybody why."""
        for request in self._queue:
            self._finish(request, status)

    @property
    def waiting(self) -> int:
        """See `Delivery.waiting`."""
        return len(self._queue)

    def is_used(self, seconds: float) -> bool:
        """See `Delivery.is_used`."""
        return len(self._queue) > 0 or self.account.clock.monotonic() - self.asked_at < seconds

    # Requests come

    def _asked(self, received: Received) -> None:
        if received.reply:
            access = Access.of(received, self.account)
            if asks_too_much(received.header):
                self._status(wire(received.reply), API_LEVEL_REFUSED)
            elif self.is_permitted(access, received.reply):
                self.take_request(received.payload, received.reply)

    def take_request(self, payload: bytes, reply: str) -> None:
        """See `Delivery.take_request`."""
        if not reply:
            return
        try:
            request = self._accepted(payload, wire(reply))
        except RefusedError as error:
            self._status(wire(reply), str(error))
            return
        self.asked_at = request.asked
        self._queue.add(request, by_priority=self._by_priority)
        if self._by_priority:
            # Of requests that come together, the most important is to be served first.
            self._later(0.0)
        else:
            self.wake()
        if self.consumer.pause_remaining or self._run_timer is not None:
            self._look_after()

    def _accepted(self, payload: bytes, reply: bytes) -> Waiting:
        """The request, if it may wait. Raises RefusedError."""
        config, now = self.consumer.config, self.account.clock.monotonic()
        wanted = parse(payload)
        check_limits(wanted, config)
        self._check_priority(wanted)
        if 0 < config.max_waiting <= len(self._queue):
            self._end_expired(now, at_end=False)
        if wanted.no_wait:
            self._check_waiting(wanted, now)
        if 0 < config.max_waiting <= len(self._queue):
            # A client that listens for signs of life would only ask again at once.
            raise RefusedError("" if wanted.idle_heartbeat > 0 else "409 Exceeded MaxWaiting")
        return Waiting(reply, wanted, now)

    def _check_waiting(self, wanted: NextRequest, now: float) -> None:
        pending = self.feed.cursor.ahead + len(self._again)
        if pending == 0 and wanted.expires <= 0:
            self.asked_at = now
            raise RefusedError("404 No Messages")
        if pending and pending < sum(request.left for request in self._queue):
            self.asked_at = now
            raise RefusedError("408 Requests Pending")

    def _check_priority(self, wanted: NextRequest) -> None:
        policy = self.consumer.config.priority_policy
        if (wanted.min_pending or wanted.min_ack_pending) and policy is not PriorityPolicy.OVERFLOW:
            raise RefusedError("400 Bad Request - Not a Overflow Priority consumer")
        if wanted.id and policy is not PriorityPolicy.PINNED_CLIENT:
            raise RefusedError("400 Bad Request - Not a Pinned Client Priority consumer")
        if not 0 <= wanted.priority <= LOWEST_PRIORITY:
            raise RefusedError("400 Bad Request - Priority must be between 0 and 9")
        if policy is PriorityPolicy.NONE:
            return
        if not wanted.group:
            raise RefusedError("400 Bad Request - Priority Group missing")
        if wanted.group not in self.consumer.config.priority_groups:
            raise RefusedError("400 Bad Request - Invalid Priority Group")
        self.pin.check(wanted)

    @property
    def _by_priority(self) -> bool:
        return self.consumer.config.priority_policy is PriorityPolicy.PRIORITIZED

    # Requests are served

    def _run(self) -> bool:
        budget = SLICE
        at_end = True
        while budget > 0:
            again = self.next_again()
            room = self.room
            if again is None and not room:
                at_end = False
                break
            request = self._next()
            if request is None:
                break
            most = request.bytes_left if request.has_byte_limit else -1
            if again is not None:
                fate, size = self.deliver_again(request.reply, again, most)
                sent = int(fate == fates.ENOUGH)
                if fate == fates.GONE:
                    continue
            else:
                alone = len(self._queue) == 1 and self.consumer.config.priority_policy is PriorityPolicy.NONE
                count = min(request.left, room, budget) if alone else 1
                sent, size, fate = self.deliver_new(request.reply, count, most)
            budget -= sent
            self._got(request, sent, size)
            if fate == fates.NOBODY:
                self._queue.remove(request)
            elif fate == fates.TOO_LARGE:
                self._finish(request, "409 Message Size Exceeds MaxBytes")
            elif fate == fates.NOTHING_LEFT:
                break
            elif self.is_congested():
                self._look_after(at_end=False)
                self._later(CONGESTED_PAUSE)
                return False
        self._look_after(at_end=at_end and budget > 0)
        return budget <= 0

    def _got(self, request: Waiting, sent: int, size: int) -> None:
        """A request was given messages: it is done, or waits on behind the others."""
        if not sent:
            return
        request.left -= sent
        request.delivered += sent
        if request.has_byte_limit:
            request.bytes_left -= size
            if request.bytes_left <= 0:
                request.left = 0
        if request.left > 0:
            if request.beat_at is not None:
                request.beat_at = self.account.clock.monotonic() + request.wanted.idle_heartbeat / 1e9
            self._queue.turn(request, by_priority=self._by_priority)
            return
        self._queue.remove(request)
        if request.bytes_left > 0:
            self._status(request.reply, "409 Batch Completed", request.pending())

    def _next(self) -> Waiting | None:
        """Who gets the next message; None where nobody may have it."""
        now, policy = self.account.clock.monotonic(), self.consumer.config.priority_policy
        for _ in range(len(self._queue)):
            request = self._queue.first()
            if request is None:
                return None
            if request.expired(now):
                self._finish(request, "408 Request Timeout")
            elif policy is PriorityPolicy.PINNED_CLIENT and self.pin.is_wrong(request):
                self._finish(request, "423 Nats-Wrong-Pin-Id")
            elif not self._may_have(request):
                self._queue.turn(request, by_priority=False)
            elif not self.internal.has_interest(shown(request.reply)):
                self._queue.remove(request)
            else:
                if policy is PriorityPolicy.PINNED_CLIENT:
                    self.pin.take(request)
                return request
        return None

    def _may_have(self, request: Waiting) -> bool:
        wanted, policy = request.wanted, self.consumer.config.priority_policy
        if policy is PriorityPolicy.PINNED_CLIENT:
            return self.pin.admits(request)
        if policy is not PriorityPolicy.OVERFLOW or not (wanted.min_pending or wanted.min_ack_pending):
            return True
        ahead = self.feed.cursor.ahead + len(self._again)
        return 0 < wanted.min_pending <= ahead or 0 < wanted.min_ack_pending <= self.feed.outstanding

    # Requests end

    def _finish(self, request: Waiting, status: str) -> None:
        self._queue.remove(request)
        self._status(request.reply, status, request.pending())

    def _status(self, reply: bytes, status: str, lines: bytes = b"") -> None:
        if status:
            self.internal.publish(shown(reply), b"", header=b"NATS/1.0 %b\r\n%b\r\n" % (status.encode(), lines))

    def _end_expired(self, now: float, *, at_end: bool) -> float | None:
        """Ends requests whose time is over, and where there is nothing more those that do not wait.

        Returns when the next one ends or wants a sign of life.
        """
        following: list[float] = []
        for request in self._queue:
            if request.expired(now):
                self._finish(request, "408 Request Timeout")
                continue
            if at_end and request.once and (request.expires_at is None or request.delivered):
                self._queue.remove(request)
                self._status(request.reply, "404 No Messages")
                continue
            if not self.internal.has_interest(shown(request.reply)):
                self._queue.remove(request)
                continue
            if request.beat_at is not None:
                if now >= request.beat_at:
                    self._status(request.reply, "100 Idle Heartbeat", self._beat())
                    request.beat_at = now + request.wanted.idle_heartbeat / 1e9
                following.append(request.beat_at)
            if request.expires_at is not None:
                following.append(request.expires_at)
        return min(following, default=None)

    def _beat(self) -> bytes:
        return b"Nats-Last-Consumer: %d\r\nNats-Last-Stream: %d\r\n" % (self.feed.number, self.feed.last)

    def _look_after(self, *, at_end: bool = False) -> None:
        """Ends what is over, and comes again when the next is."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        if self._closed:
            return
        now = self.account.clock.monotonic()
        following = self._end_expired(now, at_end=at_end)
        if following is not None:
            self._expiry_timer = self.account.clock.call_later(max(following - now, 0.001), self._expire)

    def _expire(self) -> None:
        self._expiry_timer = None
        self._look_after(at_end=True)
