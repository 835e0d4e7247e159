"""The compiled unframer against its twin, on frames and on noise, split anywhere, into rooms of any size."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.unframer import Unframer
from tests.oracle import unframer as twin
from tests.support.websocket import BINARY, CONTINUATION, TEXT, frame

MORE, CONTROL, DEFLATED, VIOLATION, TOO_BIG = range(5)

masks = st.one_of(st.none(), st.binary(min_size=4, max_size=4))
sizes = st.one_of(st.integers(0, 10), st.sampled_from([31, 32, 63, 75]))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in fragments with control frames between, mostly as it must be."""
    compressed = draw(st.booleans())
    count = draw(st.integers(1, 3))
    found = b""
    for place in range(count):
        payload = draw(st.binary(max_size=4)) * draw(sizes)
        opcode = draw(st.sampled_from([TEXT, BINARY])) if place == 0 else CONTINUATION
        reserved = 0x40 if compressed and place == 0 else 0
        found += frame(payload, opcode, final=place == count - 1, reserved=reserved, mask=draw(masks))
        if draw(st.booleans()):
            body = draw(st.binary(max_size=125))
            found += frame(body, draw(st.sampled_from([8, 9, 10])), mask=draw(masks))
    return found


noise = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30),
)  # fmt: skip


def taken(core: Unframer, chunks: Sequence[bytes], room_sizes: Sequence[int]) -> list[tuple[object, ...]]:
    """What comes out of the compiled one."""
    found: list[tuple[object, ...]] = []
    turns = 0
    for chunk in chunks:
        core.feed(chunk)
        while True:
            room = bytearray(room_sizes[turns % len(room_sizes)])
            turns += 1
            count = core.take(room)
            assert not any(room[count:])
            if count and found and found[-1][0] == "data":
                last = found[-1][1]
                assert isinstance(last, bytes)
                found[-1] = ("data", last + bytes(room[:count]))
            elif count:
                found.append(("data", bytes(room[:count])))
            if core.event == CONTROL:
                found.append(("control", core.opcode, core.body))
            elif core.event == DEFLATED:
                found.append(("deflated", core.body))
            elif core.event == VIOLATION:
                return [*found, ("violation", core.problem)]
            elif core.event == TOO_BIG:
                return [*found, ("too big",)]
            elif core.left == 0:
                break
    return found


@given(
    st.lists(st.one_of(messages(), noise), max_size=4),
    st.tuples(st.booleans(), st.booleans()),
    st.lists(st.integers(0, 400), max_size=12),
    st.lists(st.integers(1, 500), min_size=1, max_size=4),
    st.sampled_from([0, 5, 1000, 1 << 20]),
)
@example([frame(b"x" * 300, reserved=0x40)], (True, True), [1, 2, 3], [7], 1000)
@example([b"\x82\xff" + b"\x80" + bytes(20)], (True, False), [], [64], 1000)
def test_any_stream(
    pieces: list[bytes], agreed: tuple[bool, bool], cuts: list[int], rooms: list[int], maximum: int
) -> None:
    has_masks, deflate = agreed
    data = b"".join(pieces)
    core, model = Unframer(masked=has_masks, deflate=deflate), twin.Unframer(has_masks, deflate, maximum)
    core.maximum = maximum
    model.feed(data)
    places = sorted({min(cut, len(data)) for cut in cuts})
    chunks = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert taken(core, chunks, rooms) == model.found


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 125, 126, 65535, 65536, 300_000])
def test_a_payload_of_any_size_comes_out_as_it_went_in(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    core = Unframer()
    assert taken(core, [frame(payload)], [1 << 20]) == ([("data", payload)] if payload else [])


def test_a_length_takes_no_memory_before_the_bytes_come() -> None:
    """CVE-2026-33219 is about lengths that are believed."""
    core = Unframer(deflate=True)
    core.maximum = 1 << 62
    core.feed(b"\xc2\xff" + (1 << 61).to_bytes(8, "big") + bytes(4) + b"abc")
    assert core.take(bytearray(16)) == 0
    assert (core.event, core.left) == (MORE, 0)


def test_an_idle_connection_keeps_nothing_of_what_it_read() -> None:
    core = Unframer()
    data = frame(bytes(1000))
    held = sys.getrefcount(data)
    core.feed(data)
    assert core.take(bytearray(500)) == 500
    assert sys.getrefcount(data) > held
    assert core.take(bytearray(500)) == 500
    assert sys.getrefcount(data) == held
