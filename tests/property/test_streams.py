"""Streams and consumers do what a plain model of them says, whatever is asked of them and whenever the server ends.

With NATSKEEP_FUZZ=long much more is tried.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.jetstream import stream
from broker.jetstream.codec import times
from broker.jetstream.consumer import delivery
from tests.fuzz.inputs import LONG
from tests.oracle.stream import SECOND, PlainConsumer, PlainStream
from tests.support.streams_apart import START, Apart, Moment

SUBJECTS = ["s.a", "s.b", "s.c.d"]
FILTERS = ["", "s.a", "s.*", "s.>", "s.c.*"]
NAMES = ["A", "B", "C"]
STEP = 371_000_000
"""Time moves in such steps, so that nothing falls due at the very moment at which something else happens."""

limits = st.sampled_from([-1, -1, 1, 2, 3, 5])
kinds = st.fixed_dictionaries(
    {
        "storage": st.sampled_from(["file", "file", "memory"]),
        "retention": st.sampled_from(["limits", "interest", "workqueue"]),
        "discard": st.sampled_from(["old", "old", "new"]),
        "max_msgs": limits,
        "max_msgs_per_subject": limits,
        "discard_new_per_subject": st.booleans(),
        "max_age": st.sampled_from([0, 0, 5 * SECOND]),
        "duplicate_window": st.sampled_from([2 * SECOND, 4 * SECOND]),
    }
)
consumers = st.fixed_dictionaries(
    {
        "ack_policy": st.sampled_from(["explicit", "explicit", "all", "none"]),
        "deliver_policy": st.sampled_from(["all", "all", "new", "last", "last_per_subject", "by_start_sequence"]),
        "filter_subject": st.sampled_from(FILTERS),
        "ack_wait": st.sampled_from([2 * SECOND, 30 * SECOND]),
        "max_deliver": st.sampled_from([-1, -1, 1, 2, 3]),
        "max_ack_pending": st.sampled_from([1000, 1000, 1, 2]),
        "backoff": st.sampled_from([None, None, [SECOND, 3 * SECOND]]),
    }
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Nats-Msg-Id": st.sampled_from(["one", "two", "three"]),
        "Nats-Rollup": st.sampled_from(["sub", "all"]),
        "Nats-TTL": st.sampled_from(["1", "3", "8"]),
    },
)
expectations = st.sampled_from(
    [None] * 3 + [f"Nats-Expected-Last-{what}" for what in ("Subject-Sequence", "Sequence", "Msg-Id")]
)
words = st.sampled_from(["", "", "", "+ACK", "-NAK", "-NAK 4s", "+WPI", "+TERM"])


def adjusted(kind: dict[str, Any]) -> dict[str, Any]:
    """A configuration that goes together."""
    if kind["discard"] != "new" or kind["max_msgs_per_subject"] < 0:
        kind["discard_new_per_subject"] = False
    return kind


class Streams(RuleBasedStateMachine):
    """One stream, and the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = Moment()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(times, "time", self.moment)
        self.patches.setattr(delivery, "time", self.moment)
        self.patches.setattr(stream, "PLACES", 3)
        self.directory = Path(tempfile.mkdtemp(prefix="natskeep-streams"))
        self.apart = Apart(self.directory, self.moment)
        self.given: dict[str, list[str]] = {}
        """By consumer, on what its messages are acknowledged."""

    def teardown(self) -> None:
        try:
            self.apart.close()
        finally:
            self.patches.undo()
            shutil.rmtree(self.directory)

    @property
    def now(self) -> int:
        return self.moment.passed

    @initialize(kind=kinds)
    def make(self, kind: dict[str, Any]) -> None:
        fixed = {"name": "S", "subjects": ["s.>"], "allow_rollup_hdrs": True, "allow_msg_ttl": True}
        self.config = {**fixed, **adjusted(kind)}
        answer = self.apart.ask("STREAM.CREATE.S", self.config)
        assert "error" not in answer, answer
        self.stream = PlainStream(self.config)

    # Messages

    @rule(subject=st.sampled_from(SUBJECTS), lines=headers, expects=expectations, right=st.booleans())
    def publish(self, subject: str, lines: dict[str, str], expects: str | None, right: bool) -> None:
        if expects is not None:
            truth = {
                "Nats-Expected-Last-Subject-Sequence": max(self.stream.of(subject), default=0),
                "Nats-Expected-Last-Sequence": self.stream.last,
                "Nats-Expected-Last-Msg-Id": self.stream.last_id or "none",
            }[expects]
            lines = {**lines, expects: str(truth) if right else "77"}
        self.say(subject, lines)

    @rule(subject=st.sampled_from(SUBJECTS), count=st.integers(1, 4))
    def publish_some(self, subject: str, count: int) -> None:
        for _ in range(count):
            self.say(subject, {})

    def say(self, subject: str, lines: dict[str, str]) -> None:
        payload = b"%d" % self.stream.last
        told = self.apart.said(subject, payload, lines or None)
        wanted = self.stream.publish(subject, payload, lines, self.now)
        if "error" in wanted:
            assert told.get("error", {}).get("err_code") == wanted["error"], told
        else:
            assert "error" not in told, told
            assert (told["seq"], told.get("duplicate", False)) == (wanted["seq"], wanted.get("duplicate", False))

    @rule(back=st.integers(0, 6))
    def remove(self, back: int) -> None:
        sequence = max(self.stream.last - back, 1)
        answer = self.apart.ask("STREAM.MSG.DELETE.S", {"seq": sequence})
        assert self.stream.remove(sequence) == ("error" not in answer)

    @rule(subject=st.sampled_from(["", *SUBJECTS]), back=st.integers(0, 5), keep=st.integers(0, 2), by=st.booleans())
    def purge(self, subject: str, back: int, keep: int, by: bool) -> None:
        sequence = max(self.stream.last + 1 - back, 1) if by else 0
        keep = 0 if by else keep
        answer = self.apart.ask("STREAM.PURGE.S", {"filter": subject, "seq": sequence, "keep": keep})
        assert answer["purged"] == self.stream.purge(subject, sequence, keep)

    @rule(most=limits, each=limits)
    def update(self, most: int, each: int) -> None:
        config = adjusted({**self.config, "max_msgs": most, "max_msgs_per_subject": each})
        if self.config["discard_new_per_subject"] != config["discard_new_per_subject"]:
            config["discard_new_per_subject"] = False
        answer = self.apart.ask("STREAM.UPDATE.S", config)
        assert "error" not in answer, answer
        self.config = config
        self.stream.update(config)

    # Consumers

    @precondition(lambda self: len(self.stream.consumers) < len(NAMES))
    @rule(name=st.sampled_from(NAMES), config=consumers)
    def add_consumer(self, name: str, config: dict[str, Any]) -> None:
        if name in self.stream.consumers:
            return
        config = self.fitted(config)
        if config is None:
            return
        made = {"durable_name": name, "name": name, **config}
        answer = self.apart.ask(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": made})
        assert "error" not in answer, answer
        self.stream.consumers[name] = PlainConsumer(self.stream, config)
        self.given[name] = []

    def fitted(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """A configuration that the stream takes; None where it takes no other consumer."""
        config = {key: value for key, value in config.items() if value is not None}
        if self.config["retention"] == "workqueue":
            if self.stream.consumers:
                return None
            config |= {"ack_policy": "explicit", "deliver_policy": "all"}
        if config["ack_policy"] == "none":
            config = {key: config[key] for key in ("ack_policy", "deliver_policy", "filter_subject")}
        elif "backoff" in config:
            config["ack_wait"] = config["backoff"][0]
            if 0 < config["max_deliver"] < len(config["backoff"]):
                config["max_deliver"] = len(config["backoff"])
        if config["deliver_policy"] == "last_per_subject":
            config["filter_subject"] = config["filter_subject"] or "s.>"
        elif config["deliver_policy"] == "by_start_sequence":
            config["opt_start_seq"] = self.stream.last // 2 + 1
        return config

    @precondition(lambda self: self.stream.consumers)
    @rule(data=st.data())
    def delete_consumer(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.stream.consumers)))
        assert self.apart.ask(f"CONSUMER.DELETE.S.{name}")["success"]
        self.stream.forget(name)
        del self.given[name]

    @precondition(lambda self: self.stream.consumers)
    @rule(data=st.data(), count=st.integers(1, 6))
    def fetch(self, data: st.DataObject, count: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.stream.consumers)))
        consumer = self.stream.consumers[name]
        count = consumer.may_get(count)
        if not count:
            return
        before = {one: stored.payload for one, stored in self.stream.held.items()}
        got = [one for one in self.apart.taken("S", name, count) if one.reply]
        tokens = [[int(token) for token in one.reply.split(".")[4:]] for one in got]
        places = [(deliveries, sequence, number, ahead) for deliveries, sequence, number, _, ahead in tokens]
        assert places == consumer.fetch(count, self.now)
        assert [one.payload for one in got] == [before[sequence] for _, sequence, _, _ in places]
        self.given[name] += [one.reply for one in got]

    @precondition(lambda self: any(self.given.values()))
    @rule(data=st.data(), word=words, asks=st.booleans())
    def answer(self, data: st.DataObject, word: str, asks: bool) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, given in self.given.items() if given)))
        reply = data.draw(st.sampled_from(self.given[name]))
        consumer, sequence = self.stream.consumers[name], int(reply.split(".")[5])
        if asks:
            answered = self.apart.send(reply, word.encode())
            self.apart.loop.settle()
            assert self.apart.answer(answered) is not None
        else:
            self.apart.client.publish(reply, word.encode())
            self.apart.loop.settle()
        if word in ("", "+ACK"):
            consumer.acknowledge(sequence)
        elif word == "-NAK":
            consumer.refuse(sequence, None, self.now)
        elif word == "-NAK 4s":
            consumer.refuse(sequence, 4 * SECOND, self.now)
        elif word == "+WPI":
            consumer.in_progress(sequence, self.now)
        else:
            consumer.terminate(sequence)

    # Time, and ends

    @rule(steps=st.integers(1, 16))
    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self.apart.loop.advance(STEP)
            self.stream.expire(self.now)
            for consumer in self.stream.consumers.values():
                consumer.pass_time(self.now)

    @precondition(lambda self: self.config["storage"] == "file")
    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        if orderly:
            self.apart.restart()
        else:
            # Progress that nobody waits for is kept within a quarter of a second.
            self.wait(1)
            self.apart.crash()
        self.stream.restart(self.now)

    # What must be so

    @invariant()
    def says_what_is_there(self) -> None:
        if not hasattr(self, "stream"):
            return
        told = self.apart.ask("STREAM.INFO.S", {"deleted_details": True, "subjects_filter": ">"})["state"]
        wanted = self.stream.state
        assert {key: told.get(key, 0) for key in wanted} == wanted
        counts: dict[str, int] = {}
        for stored in self.stream.held.values():
            counts[stored.subject] = counts.get(stored.subject, 0) + 1
        assert told.get("subjects", {}) == counts
        span = range(self.stream.first, self.stream.last + 1) if self.stream.held else ()
        assert told.get("deleted", []) == [one for one in span if one not in self.stream.held]
        for name, consumer in self.stream.consumers.items():
            self.compare(name, consumer)

    def compare(self, name: str, consumer: PlainConsumer) -> None:
        told = self.apart.ask(f"CONSUMER.INFO.S.{name}")
        for key in ("delivered", "ack_floor"):
            told[key] = (told[key]["consumer_seq"], told[key]["stream_seq"])
        wanted = consumer.info
        assert {key: told[key] for key in wanted} == wanted, name

    @invariant()
    def keeps_what_it_was_given(self) -> None:
        if hasattr(self, "stream") and self.stream.held:
            stored = self.apart.streams.streams["S"].log.get(max(self.stream.held))
            assert stored is not None
            model = self.stream.held[stored.sequence]
            assert (stored.payload, (stored.time - START) // STEP) == (model.payload, model.time // STEP)


TestStreams = Streams.TestCase
TestStreams.settings = settings(
    max_examples=100_000 if LONG else 30,
    stateful_step_count=40 if LONG else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
