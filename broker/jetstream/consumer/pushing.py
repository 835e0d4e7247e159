"""A consumer that delivers by itself, to a subject, as long as somebody listens there."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.core import feed as fates
from broker.jetstream.config.words import AckPolicy, ReplayPolicy
from broker.jetstream.consumer.acknowledgements import Place
from broker.jetstream.consumer.delivery import CONGESTED_PAUSE, SLICE, Delivery
from broker.jetstream.publish.headers import own_lines

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.control.internal import Received
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.consumer.standing import Standing

LARGEST_WINDOW: Final = 32 << 20
"""Bytes that may be on the way to a client that controls the flow."""

SMALLEST_WINDOW: Final = LARGEST_WINDOW // 16

SHORTEST_DELAY: Final = 0.001
"""Seconds below which a replayed message is not waited for."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Pushing(Delivery):
    """The delivering side of a consumer with a deliver subject."""

    def __init__(self, consumer: Consumer, kept: Standing | None) -> None:
        self._beat_timer: Timer | None = None
        self._window = SMALLEST_WINDOW
        self._on_the_way = 0
        """Bytes that were delivered and not said to have come."""
        self._asked_for = 0
        self._question = ""
        """The subject on which the client is to say that so many bytes have come; empty while none is asked for."""
        self._tokens = 0.0
        self._filled_at = 0.0
        self._replays_to = 0
        self._replayed = 0
        """When the last message that was delivered had been stored."""
        super().__init__(consumer, kept)
        if consumer.config.replay_policy is ReplayPolicy.ORIGINAL:
            self._replays_to = self.stream.log.last
        self._flowing = None
        if consumer.config.flow_control:
            subject = f"$JS.FC.{self.stream.name}.{consumer.name}.>"
            self._flowing = self.internal.subscribe(subject, self._flowed)

    @property
    def subject(self) -> str:
        """Where it delivers."""
        return self.consumer.config.deliver_subject

    @property
    def is_active(self) -> bool:
        """Whether somebody listens."""
        return self.internal.has_interest(self.subject)

    def open(self) -> None:
        """See `Delivery.open`."""
        self._beat_later()
        super().open()

    def close(self, *, deleted: bool) -> None:
        """See `Delivery.close`."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        if self._flowing is not None:
            self.internal.unsubscribe(self._flowing)
        super().close(deleted=deleted)

    def is_used(self, seconds: float) -> bool:
        """See `Delivery.is_used`."""
        return self.is_active

    def take_request(self, payload: bytes, reply: str) -> None:
        """See `Delivery.take_request`: nobody asks such a consumer."""
        if reply:
            self.internal.publish(reply, b"", header=b"NATS/1.0 409 Consumer is push based\r\n\r\n")

    # Delivering

    def _run(self) -> bool:
        if not self.is_active:
            self.account.wait_for_listeners(self.consumer)
            return False
        subject = wire(self.subject)
        budget = SLICE
        while budget > 0 and not self._is_held_up():
            again = self.next_again()
            if again is not None:
                fate, size = self.deliver_again(subject, again, -1)
                sent = int(fate == fates.ENOUGH)
                if fate == fates.GONE:
                    continue
            else:
                count = min(self.room, budget)
                if not count:
                    break
                sent, size, fate = self._deliver_some(subject, count)
            budget -= sent
            self._moved(size)
            if fate in (fates.NOBODY, fates.NOTHING_LEFT) or not sent:
                break
            if self.is_congested():
                self._later(CONGESTED_PAUSE)
                return False
        return budget <= 0

    def _deliver_some(self, subject: bytes, count: int) -> tuple[int, int, int]:
        config = self.consumer.config
        if config.rate_limit_bps or self._is_replaying():
            return self.deliver_new(subject, 1, -1)
        if not config.flow_control:
            return self.deliver_new(subject, count, -1)
        sent, size, fate = self.deliver_new(subject, count, max(self._window // 2 - self._on_the_way, 1))
        return (sent, size, fates.ENOUGH) if sent or fate != fates.TOO_LARGE else self.deliver_new(subject, 1, -1)

    def delivered(self, now: int) -> None:
        """See `Delivery.delivered`."""
        super().delivered(now)
        self._beat_later()

    def _moved(self, size: int) -> None:
        """So many bytes were delivered."""
        config = self.consumer.config
        if config.rate_limit_bps:
            self._tokens -= size
        if not config.flow_control:
            return
        self._on_the_way += size
        full = config.ack_policy is AckPolicy.FLOW_CONTROL and not self.room
        if not self._question and (self._on_the_way > self._window // 2 or full):
            self._ask()
        elif self._question and self._on_the_way - self._asked_for >= self._window:
            self._asked_for += size

    def _is_held_up(self) -> bool:
        """Whether the flow, the rate or the time of a replay forbid the next message for now."""
        config = self.consumer.config
        if config.flow_control and self._on_the_way > self._window:
            return True
        if config.rate_limit_bps and not self._has_tokens(config.rate_limit_bps / 8):
            return True
        return self._is_replaying() and self._waits_for_replay()

    def _has_tokens(self, rate: float) -> bool:
        now = self.account.clock.monotonic()
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, rate)
        self._filled_at = now
        if self._tokens > 0:
            return True
        self._later(max(-self._tokens / rate, SHORTEST_DELAY))
        return False

    def _is_replaying(self) -> bool:
        return self.feed.cursor.at <= self._replays_to

    def _waits_for_replay(self) -> bool:
        """Whether the next message came so long after the last one that it is waited for now."""
        log = self.stream.log
        sequence = log.next(self.feed.cursor.filter, self.feed.cursor.at)
        stored = log.time_of(sequence) if sequence else 0
        before, self._replayed = self._replayed, stored
        delay = (stored - before) / 1e9
        if not before or delay <= SHORTEST_DELAY:
            return False
        self._later(delay)
        return True

    # Flow and signs of life

    def _ask(self) -> None:
        tail = "".join(secrets.choice(_DIGITS) for _ in range(4))
        self._question = f"$JS.FC.{self.stream.name}.{self.consumer.name}.{tail}"
        self._asked_for = self._on_the_way
        header = b"NATS/1.0 100 FlowControl Request\r\n"
        if self.consumer.config.ack_policy is AckPolicy.FLOW_CONTROL:
            header += self._last()
        self.internal.publish(self.subject, b"", reply=self._question, header=header + b"\r\n")

    def _flowed(self, received: Received) -> None:
        if received.subject != self._question:
            return
        self._window = min(self._window * 2, LARGEST_WINDOW)
        self._on_the_way = max(self._on_the_way - self._asked_for, 0)
        self._question, self._asked_for = "", 0
        if self.consumer.config.ack_policy is AckPolicy.FLOW_CONTROL:
            lines = own_lines(received.header)
            number, sequence = lines.get(b"Nats-Last-Consumer", b""), lines.get(b"Nats-Last-Stream", b"")
            if sequence.isdigit() and int(sequence):
                self.acknowledge(Place(1, int(sequence), int(number) if number.isdigit() else 0))
        self.wake()

    def _last(self) -> bytes:
        return b"Nats-Last-Consumer: %d\r\nNats-Last-Stream: %d\r\n" % (self.feed.number, self.feed.last)

    def _beat_later(self) -> None:
        every = self.consumer.config.idle_heartbeat
        if self._beat_timer is not None:
            self._beat_timer.cancel()
            self._beat_timer = None
        if every > 0 and not self._closed:
            self._beat_timer = self.account.clock.call_later(every / 1e9, self._beat)

    def _beat(self) -> None:
        self._beat_timer = None
        if self.is_active:
            lines = self._last()
            if self._question:
                lines += b"Nats-Consumer-Stalled: %b\r\n" % self._question.encode()
            self.internal.publish(self.subject, b"", header=b"NATS/1.0 100 Idle Heartbeat\r\n%b\r\n" % lines)
            if (
                self.consumer.config.ack_policy is AckPolicy.FLOW_CONTROL
                and self.feed.outstanding
                and not self._question
            ):
                self._ask()
        self._beat_later()
