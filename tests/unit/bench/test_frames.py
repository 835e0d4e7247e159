"""Prebuilt frames are the bytes of the protocol, equally long, and new in each epoch."""

from __future__ import annotations

import pytest

from tools.bench.errors import BenchError
from tools.bench.frames import (
    Side,
    Walk,
    deliver_frame,
    epoch_text,
    publish_frame,
    ring_of,
    unique_subjects,
)


def test_frames_are_protocol_lines() -> None:
    assert publish_frame("bench.one", b"abc") == b"PUB bench.one 3\r\nabc\r\n"
    assert publish_frame("bench.one", b"abc", "_INBOX.1") == b"PUB bench.one _INBOX.1 3\r\nabc\r\n"
    assert deliver_frame("bench.one", b"abc", sid=7) == b"MSG bench.one 7 3\r\nabc\r\n"
    assert deliver_frame("bench.one", b"", "_INBOX.1") == b"MSG bench.one 1 _INBOX.1 0\r\n\r\n"


def test_ring_holds_at_least_the_target_and_whole_turns() -> None:
    ring = ring_of(["s.1", "s.2", "s.3"], 16, target_bytes=1000)
    assert len(ring.published.data) >= 1000
    assert ring.published.count % 3 == 0
    assert ring.published.count == ring.delivered.count
    assert ring.growth == len(deliver_frame("s.1", b"x" * 16)) / len(publish_frame("s.1", b"x" * 16))


def test_ring_refuses_frames_of_different_length() -> None:
    with pytest.raises(BenchError, match="equally long"):
        ring_of(["s.1", "s.10"], 16)


def test_ring_refuses_epochs_at_different_places() -> None:
    with pytest.raises(BenchError, match="same place"):
        Side.join([b"a@@@bcd", b"ab@@@cd"])


def test_epoch_is_base_36() -> None:
    assert epoch_text(0) == b"000"
    assert epoch_text(35) == b"00z"
    assert epoch_text(36) == b"010"
    assert epoch_text(36**3 - 1) == b"zzz"


@pytest.mark.parametrize("epoch", [-1, 36**3])
def test_epoch_out_of_range_is_refused(epoch: int) -> None:
    with pytest.raises(BenchError, match="out of range"):
        epoch_text(epoch)


def test_no_subject_comes_twice_over_many_epochs() -> None:
    side = Side.join([publish_frame(subject, b"x") for subject in unique_subjects("s", 11)])
    seen: set[bytes] = set()
    for _ in range(40):
        frames = [bytes(side.data[n * side.size : (n + 1) * side.size]) for n in range(side.count)]
        assert seen.isdisjoint(frames)
        seen.update(frames)
        side.renew()
    assert len(seen) == 40 * 11
    assert all(frame.startswith(b"PUB s.") and b"@" not in frame for frame in seen)


def test_a_fresh_side_starts_over_and_leaves_the_other_alone() -> None:
    side = Side.join([b"<@@@1>", b"<@@@2>"])
    side.renew()
    assert bytes(side.fresh().data) == b"<0001><0002>"
    assert bytes(side.data) == b"<0011><0012>"


def test_walk_takes_frames_round_the_ring_with_new_epochs() -> None:
    side = Side.join([f"<@@@{number}>".encode() for number in range(3)])
    walk = Walk(side)
    assert b"".join(bytes(view) for view in walk.take(2)) == b"<0000><0001>"
    assert b"".join(bytes(view) for view in walk.take(5)) == b"<0002><0010><0011><0012><0020>"


def test_walk_compares_whatever_the_cut() -> None:
    stream = b"".join(f"<{epoch:03d}{number}>".encode() for epoch in range(3) for number in range(3))
    for cut in range(1, len(stream)):
        walk = Walk(Side.join([f"<@@@{number}>".encode() for number in range(3)]))
        counts = [walk.check(stream[start : start + cut]) for start in range(0, len(stream), cut)]
        assert sum(counts) == 9


def test_walk_refuses_other_bytes() -> None:
    walk = Walk(Side.join([b"<1>", b"<2>"]))
    assert walk.check(b"<1><") == 1
    with pytest.raises(BenchError, match="other frames"):
        walk.check(b"3>")
