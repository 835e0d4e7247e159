"""A mirror or source beyond the account's wall: a consumer is made there by the API, and delivers here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.jetstream.codec import Plain, dumps, now, shown_time
from broker.jetstream.consumer.acknowledgements import place
from broker.jetstream.errors import JetStreamError
from broker.jetstream.publish.headers import own_lines, without
from broker.wire.ids import new_id

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.control.internal import Received
    from broker.core.plan import Subscription
    from broker.jetstream.following.origin import Origin
    from broker.jetstream.stream import Stream

STALLED: Final = 10.0
"""Seconds of silence after which the consumer is made anew."""

FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 10.0
ANSWER_WITHIN: Final = 5.0
"""Seconds that the API has for its answer."""

HEARTBEAT: Final = 1_000_000_000
INACTIVE: Final = 10_000_000_000
DOCUMENT: Final = "source/"


class RemoteFollower:
    """Takes what a consumer of another account delivers."""

    def __init__(self, stream: Stream, origin: Origin, *, is_mirror: bool) -> None:
        self.stream = stream
        self.origin = origin
        self.is_mirror = is_mirror
        self._internal = stream.account.internal
        self._clock = stream.account.clock
        self._subscriptions: list[Subscription] = []
        self._timer: Timer | None = None
        self._retry = FIRST_RETRY
        self._number = 0
        """The consumer's number of the last message that came."""
        self._lag = 0
        self._closed = False
        self._position = self._kept_position()
        """The next sequence of the other stream."""

    @property
    def _key(self) -> str:
        return f"{DOCUMENT}{self.stream.id}/{self.origin.key}"

    def _kept_position(self) -> int:
        if self.is_mirror:
            return self.stream.log.last + 1 if self.stream.log.last else 0
        kept = None if self.stream.is_memory else self.stream.account.store.documents(self._key).get(self._key)
        return int(kept) if kept else 0

    def open(self) -> None:
        """Begins to ask for messages."""
        self._connect()

    def close(self, *, deleted: bool) -> None:
        """Takes nothing more; the consumer there ends by itself."""
        self._closed = True
        self._forget()
        if deleted and not (self.is_mirror or self.stream.is_memory):
            self.stream.account.store.delete(self._key)

    def wake(self) -> None:
        """Nothing here depends on what streams of this account do."""

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for subscription in self._subscriptions:
            self._internal.unsubscribe(subscription)
        self._subscriptions = []

    # The consumer there

    def _connect(self) -> None:
        self._forget()
        if self._closed:
            return
        external = self.origin.config.external
        api = external.api if external is not None and external.api else "$JS.API"
        prefix = external.deliver if external is not None and external.deliver else "$JS.S"
        deliver, answer = f"{prefix}.{new_id()}", f"$JS.S.{new_id()}"
        self._number = 0
        self._subscriptions = [
            self._internal.subscribe(answer, self._answered),
            self._internal.subscribe(deliver, self._delivered, imports=True),
        ]
        body = dumps({"stream_name": self.origin.name, "config": self._wanted(deliver)})
        self.stream.account.asking.publish(f"{api}.CONSUMER.CREATE.{self.origin.name}", body, reply=answer)
        self._timer = self._clock.call_later(ANSWER_WITHIN, self._try_again)

    def _wanted(self, deliver: str) -> Plain:
        config = self.origin.config
        wanted: Plain = {
            "deliver_subject": deliver,
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "idle_heartbeat": HEARTBEAT,
            "flow_control": True,
            "inactive_threshold": INACTIVE,
            "num_replicas": 1,
            "mem_storage": True,
            "direct": True,
        }
        patterns = self.origin.patterns
        if len(patterns) == 1:
            wanted["filter_subject"] = patterns[0]
        elif patterns:
            wanted["filter_subjects"] = patterns
        if self._position or config.opt_start_seq:
            wanted |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self._position or config.opt_start_seq}
        elif config.opt_start_time is not None:
            wanted |= {"deliver_policy": "by_start_time", "opt_start_time": shown_time(config.opt_start_time)}
        return wanted

    def _answered(self, received: Received) -> None:
        try:
            answer = json.loads(received.payload)
        except ValueError:
            answer = {}
        error = answer.get("error") if isinstance(answer, dict) else None
        self.origin.error = error
        if error is not None or not isinstance(answer, dict):
            self._wait(self._retry)
            self._retry = min(self._retry * 2, LONGEST_RETRY)
        else:
            self._retry = FIRST_RETRY
            self.origin.heard = now()
            self._lag = int(answer.get("num_pending", 0))
            self._wait(STALLED)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._connect)

    def _try_again(self) -> None:
        self._wait(self._retry)
        self._retry = min(self._retry * 2, LONGEST_RETRY)

    # What it delivers

    def _delivered(self, received: Received) -> None:
        self.origin.heard = now()
        self._wait(STALLED)
        if received.header is not None and received.header.startswith(b"NATS/1.0 100"):
            self._controlled(received)
            return
        where = place(wire(received.reply))
        if where is None:
            return
        if where.number != self._number + 1:
            # Something was lost on the way.
            self._connect()
            return
        self._number = where.number
        if where.sequence < self._position:
            return
        self._lag = max(int(received.reply.rsplit(".", 1)[1]), 0)
        if self._take(received, where.sequence):
            self._move(where.sequence + 1)
        else:
            self._wait(self._retry)

    def _controlled(self, received: Received) -> None:
        if received.reply:
            self._internal.publish(received.reply, b"")
            return
        lines = own_lines(received.header)
        last = lines.get(b"Nats-Last-Consumer", b"")
        stalled = lines.get(b"Nats-Consumer-Stalled", b"")
        if last.isdigit() and int(last) != self._number:
            self._connect()
        elif stalled:
            self._internal.publish(stalled.decode("utf-8", "replace"), b"")

    def _take(self, received: Received, sequence: int) -> bool:
        header, ingest = received.header, self.stream.ingest
        if header is not None:
            header = without(header, b"Nats-Request-Info")
        subject = wire(received.subject)
        target = self.origin.target(subject)
        if self.is_mirror:
            ingest.mirror(sequence, target, header, received.payload, _time_of(received.reply))
            self.stream.grew()
            return True
        try:
            ingest.take_over(target, self.origin.marked(header, subject, sequence), received.payload)
        except JetStreamError:
            return False
        self.stream.grew()
        return True

    def _move(self, position: int) -> None:
        self._position = position
        if not (self.is_mirror or self.stream.is_memory):
            self.stream.account.store.put(self._key, b"%d" % position)

    def info(self) -> Plain:
        """What answers tell of it."""
        return self.origin.info(self._lag)


def _time_of(reply: str) -> int:
    """When a message was stored, as the subject says that it would be acknowledged on."""
    text = reply.rsplit(".", 2)[1]
    return int(text) if text.isdigit() else now()
