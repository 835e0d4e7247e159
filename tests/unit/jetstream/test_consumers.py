"""Where streams and consumers stand after acknowledgements, purges, rollups, limits and failures of power."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.control.internal import Received
from broker.jetstream.codec import times
from broker.jetstream.consumer import delivery
from tests.support.streams_apart import NANOSECONDS, Apart, Moment


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    """An account with streams, and with time that stands still."""
    moment = Moment()
    monkeypatch.setattr(times, "time", moment)
    monkeypatch.setattr(delivery, "time", moment)
    made = Apart(tmp_path, moment)
    yield made
    made.close()


def stream(apart: Apart, **config: Any) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], **config})


def consumer(apart: Apart, **config: Any) -> None:
    made = {"durable_name": "C", "name": "C", "ack_policy": "explicit", **config}
    assert "error" not in apart.ask("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": made})


def publish(apart: Apart, *subjects: str) -> None:
    for subject in subjects:
        assert "error" not in apart.said(subject, b"")


def sequences(got: list[Received]) -> list[int]:
    return [int(one.reply.split(".")[5]) for one in got if one.reply]


def acknowledge(apart: Apart, received: Received, word: bytes = b"") -> None:
    answer = apart.send(received.reply, word)
    apart.loop.settle()
    assert apart.answer(answer) is not None


def stands(apart: Apart) -> tuple[tuple[int, int], tuple[int, int], int]:
    """What was delivered, the floor, and how many messages are waited for."""
    told = apart.ask("CONSUMER.INFO.S.C")
    places = [(told[key]["consumer_seq"], told[key]["stream_seq"]) for key in ("delivered", "ack_floor")]
    return places[0], places[1], told["num_ack_pending"]


def test_a_new_consumer_misses_nothing_when_the_power_fails_before_it_delivered(apart: Apart) -> None:
    stream(apart)
    publish(apart, "s.a")
    consumer(apart, deliver_policy="new")
    publish(apart, "s.a", "s.a")
    apart.crash()
    assert sequences(apart.taken("S", "C", 5)) == [2, 3]


def test_a_message_that_was_given_up_leaves_a_work_queue_when_it_is_acknowledged_late(apart: Apart) -> None:
    stream(apart, retention="workqueue")
    consumer(apart, max_deliver=1, ack_wait=NANOSECONDS)
    publish(apart, "s.a", "s.a", "s.a")
    first, second = apart.taken("S", "C", 2)
    apart.loop.advance(2 * NANOSECONDS)
    assert stands(apart)[2] == 0
    acknowledge(apart, first)
    acknowledge(apart, second, b"+TERM")
    assert apart.ask("STREAM.INFO.S")["state"]["messages"] == 1
    # The third was never given to anybody.
    apart.client.publish(second.reply.replace(".1.2.2.", ".1.3.3."), b"")
    apart.loop.settle()
    assert apart.ask("STREAM.INFO.S")["state"]["messages"] == 1


def test_the_floor_stands_below_the_first_that_is_waited_for(apart: Apart) -> None:
    stream(apart)
    consumer(apart, filter_subject="s.a")
    publish(apart, "s.b", "s.a", "s.b", "s.a", "s.a")
    two, four, _ = apart.taken("S", "C", 3)
    acknowledge(apart, four)
    acknowledge(apart, two, b"-NAK")
    (again, *_) = apart.taken("S", "C", 1)
    assert sequences([again]) == [2]
    acknowledge(apart, again)
    assert stands(apart) == ((4, 5), (2, 4), 1)


def test_a_purge_moves_consumers_and_tells_nobody_of_single_messages(apart: Apart) -> None:
    stream(apart)
    consumer(apart)
    publish(apart, "s.a", "s.a", "s.a")
    told: list[Received] = []
    apart.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", told.append)
    apart.taken("S", "C", 2)
    assert apart.ask("STREAM.PURGE.S")["purged"] == 3
    assert stands(apart) == ((2, 3), (2, 3), 0)
    assert told == []


def test_a_filtered_purge_moves_who_sees_only_what_went(apart: Apart) -> None:
    stream(apart)
    consumer(apart, filter_subject="s.a")
    publish(apart, "s.a", "s.b", "s.a", "s.a")
    apart.taken("S", "C", 1)
    apart.ask("STREAM.PURGE.S", {"filter": "s.a", "keep": 1})
    assert stands(apart) == ((1, 3), (1, 3), 0)
    apart.ask("STREAM.PURGE.S", {"filter": "s.b"})
    assert stands(apart) == ((1, 3), (1, 3), 0)


def test_what_leaves_a_full_stream_is_waited_for_no_longer(apart: Apart) -> None:
    stream(apart, max_msgs=2)
    consumer(apart, max_ack_pending=2)
    publish(apart, "s.a", "s.a")
    apart.taken("S", "C", 2)
    told: list[Received] = []
    apart.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", told.append)
    publish(apart, "s.a", "s.a")
    assert sequences(apart.taken("S", "C", 2)) == [3, 4]
    facts = [json.loads(one.payload) for one in told]
    assert [(one["stream_seq"], one["reason"]) for one in facts] == [
        (1, "Unacknowledged message was deleted"),
        (2, "Unacknowledged message was deleted"),
    ]


def test_tighter_limits_free_what_consumers_wait_for(apart: Apart) -> None:
    stream(apart)
    consumer(apart, max_ack_pending=2)
    publish(apart, "s.a", "s.a", "s.a")
    apart.taken("S", "C", 2)
    apart.ask("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.*"], "max_msgs": 1})
    assert stands(apart) == ((2, 2), (2, 2), 0)


def test_a_consumer_of_the_last_of_each_subject_stands_before_the_first_of_them(apart: Apart) -> None:
    stream(apart)
    publish(apart, "s.a", "s.b", "s.c", "s.a")
    consumer(apart, deliver_policy="last_per_subject", filter_subject="s.*")
    assert stands(apart) == ((0, 1), (0, 1), 0)
    apart.restart()
    assert stands(apart) == ((0, 1), (0, 1), 0)
    assert sequences(apart.taken("S", "C", 4)) == [2, 3, 4]


def test_what_fell_due_while_the_server_was_down_comes_before_all_that_is_new(apart: Apart) -> None:
    stream(apart)
    consumer(apart, ack_wait=NANOSECONDS)
    publish(apart, "s.a", "s.a")
    apart.taken("S", "C", 1)
    apart.close()
    apart.moment.passed += 2 * NANOSECONDS
    apart.begin()
    assert sequences(apart.taken("S", "C", 2)) == [1, 2]


def test_of_tighter_limits_that_of_the_whole_stream_comes_first(apart: Apart) -> None:
    stream(apart)
    publish(apart, "s.a", "s.a", *["s.b"] * 6)
    apart.ask("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.*"], "max_msgs": 5, "max_msgs_per_subject": 3})
    state = apart.ask("STREAM.INFO.S")["state"]
    assert (state["messages"], state["first_seq"]) == (3, 6)


def test_a_rollup_on_a_pattern_takes_the_place_of_all_that_it_matches(apart: Apart) -> None:
    stream(apart, allow_rollup_hdrs=True)
    publish(apart, "s.a", "s.b", "s.a")
    apart.said("s.a", b"", {"Nats-Rollup": "sub"})
    assert apart.ask("STREAM.INFO.S", {"subjects_filter": ">"})["state"]["subjects"] == {"s.a": 1, "s.b": 1}
    apart.said("s.*", b"", {"Nats-Rollup": "sub"})
    assert apart.ask("STREAM.INFO.S", {"subjects_filter": ">"})["state"]["subjects"] == {"s.*": 1}
