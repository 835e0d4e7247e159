"""What takes long is done a slice in each turn of the loop, and others have their turn between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.jetstream import stream
from broker.jetstream.codec import times
from broker.jetstream.consumer import delivery
from tests.support.streams_apart import API, NANOSECONDS, Apart, Moment

SLICE = 50
COUNT = 1000


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    """An account with a stream of a thousand messages, whose slices are small."""
    monkeypatch.setattr(stream, "PLACES", SLICE)
    moment = Moment()
    monkeypatch.setattr(times, "time", moment)
    monkeypatch.setattr(delivery, "time", moment)
    made = Apart(tmp_path, moment)
    yield made
    made.close()


def filled(apart: Apart, subjects: int = 10, **config: Any) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], **config})
    fill(apart, subjects)


def fill(apart: Apart, subjects: int) -> None:
    for number in range(COUNT):
        apart.client.publish(f"s.{number % subjects}", b"")
    apart.loop.settle()
    assert messages(apart) == COUNT


def messages(apart: Apart) -> int:
    return apart.streams.streams["S"].log.messages


def consumer(apart: Apart, name: str, subject: str) -> None:
    config = {"name": name, "durable_name": name, "ack_policy": "explicit", "filter_subject": subject}
    assert "error" not in apart.ask(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})


def gone_in_each_turn(apart: Apart) -> list[int]:
    """Turns until nothing is left to be done, and says how many messages went in each."""
    gone = []
    before = messages(apart)
    while apart.loop.turn():
        gone.append(before - messages(apart))
        before = messages(apart)
    return gone


@pytest.mark.parametrize("storage", ["file", "memory"])
@pytest.mark.parametrize(
    ("purge", "left"), [({}, 0), ({"filter": "s.3"}, 900), ({"keep": 10}, 10), ({"seq": 501}, 500)]
)
def test_a_purge_takes_many_turns(apart: Apart, storage: str, purge: dict[str, Any], left: int) -> None:
    filled(apart, storage=storage)
    reply = apart.send(API + "STREAM.PURGE.S", json.dumps(purge).encode())
    apart.loop.turn()
    published = apart.send("s.3", b"meanwhile")
    gone = gone_in_each_turn(apart)
    assert max(gone) <= SLICE
    told = apart.answer(published)
    assert told is not None
    assert json.loads(told.payload)["seq"] == COUNT + 1
    answered = apart.answer(reply)
    assert answered is not None
    assert json.loads(answered.payload)["purged"] == COUNT - left
    assert messages(apart) == left + 1


def test_others_are_answered_while_a_stream_is_purged(apart: Apart) -> None:
    filled(apart)
    purging = apart.send(API + "STREAM.PURGE.S")
    apart.loop.turn()
    asking = apart.send(API + "INFO")
    while (told := apart.answer(asking)) is None:
        assert apart.loop.turn()
    assert apart.answer(purging) is None
    assert json.loads(told.payload)["streams"] == 1


def test_a_purge_of_a_stream_that_is_deleted_meanwhile_says_so(apart: Apart) -> None:
    filled(apart)
    purging = apart.send(API + "STREAM.PURGE.S")
    apart.loop.turn()
    deleting = apart.send(API + "STREAM.DELETE.S")
    apart.loop.settle()
    deleted, refused = apart.answer(deleting), apart.answer(purging)
    assert deleted is not None
    assert refused is not None
    assert json.loads(deleted.payload)["success"]
    assert json.loads(refused.payload)["error"]["description"] == "stream closed"


def test_what_a_consumer_alone_wanted_goes_in_slices(apart: Apart) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], "retention": "interest"})
    consumer(apart, "ALL", "s.*")
    consumer(apart, "ONE", "s.1")
    fill(apart, 10)
    apart.send(API + "CONSUMER.DELETE.S.ALL")
    gone = gone_in_each_turn(apart)
    # Who asks has a slice done in the turn of the request too.
    assert max(gone) <= 2 * SLICE
    assert sum(gone) == 900
    assert len(apart.taken("S", "ONE", 100)) == 100


def test_messages_that_were_given_and_not_acknowledged_stay_when_another_consumer_goes(apart: Apart) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], "retention": "interest"})
    consumer(apart, "ONE", "s.*")
    consumer(apart, "OTHER", "s.*")
    fill(apart, 10)
    given = apart.taken("S", "ONE", COUNT)
    for one in given[::2]:
        apart.client.publish(one.reply, b"")
    apart.loop.settle()
    apart.send(API + "CONSUMER.DELETE.S.OTHER")
    gone_in_each_turn(apart)
    assert messages(apart) == COUNT // 2


def test_what_was_selected_is_still_wanted(apart: Apart) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], "retention": "interest"})
    consumer(apart, "ONE", "s.*")
    fill(apart, 10)
    config = {"name": "LAST", "durable_name": "LAST", "ack_policy": "explicit", "deliver_policy": "last_per_subject"}
    config["filter_subject"] = "s.*"
    assert "error" not in apart.ask("CONSUMER.CREATE.S.LAST", {"stream_name": "S", "config": config})
    apart.send(API + "CONSUMER.DELETE.S.ONE")
    apart.loop.settle()
    assert messages(apart) == 10
    assert len(apart.taken("S", "LAST", 10)) == 10


def test_subjects_are_counted_in_slices(apart: Apart) -> None:
    filled(apart, subjects=400)
    asking = apart.send(API + "STREAM.INFO.S", json.dumps({"subjects_filter": "s.*", "offset": 3}).encode())
    before = apart.loop.turns
    apart.loop.settle()
    assert apart.loop.turns - before >= 400 // SLICE
    told = apart.answer(asking)
    assert told is not None
    answer = json.loads(told.payload)
    assert (answer["total"], answer["offset"]) == (400, 3)
    wanted = {f"s.{number}": 3 if number < 200 else 2 for number in range(400)}
    assert answer["state"]["subjects"] == {subject: wanted[subject] for subject in sorted(wanted)[3:]}


@pytest.mark.parametrize("how", [{"allow_msg_ttl": False}, {"subject_delete_marker_ttl": NANOSECONDS}])
def test_what_is_too_old_goes_in_slices(apart: Apart, how: dict[str, Any]) -> None:
    filled(apart, max_age=2 * NANOSECONDS, duplicate_window=NANOSECONDS, **how)
    apart.loop.moment.passed += 3 * NANOSECONDS
    gone = gone_in_each_turn(apart)
    assert max(gone) <= 2 * SLICE
    assert messages(apart) == (10 if "subject_delete_marker_ttl" in how else 0)


def test_messages_that_end_by_themselves_go_in_slices(apart: Apart) -> None:
    assert "error" not in apart.ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"], "allow_msg_ttl": True})
    for _ in range(COUNT):
        apart.send("s.1", b"", {"Nats-TTL": "1s"})
    apart.loop.settle()
    apart.loop.moment.passed += 2 * NANOSECONDS
    gone = gone_in_each_turn(apart)
    assert max(gone) <= SLICE
    assert sum(gone) == COUNT
