"""Frames of a server, byte by byte, and close frames."""

from __future__ import annotations

import pytest

from broker.wire import frames
from broker.wire.errors import CloseReason
from broker.wire.frames import CloseFrameError, Opcode
from tests.support.websocket import BINARY, CLOSE, PING, frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_in_one_frame(size: int) -> None:
    assert frames.message(bytes(size)) == frame(bytes(size), mask=None)
    assert frames.message(memoryview(bytes(size)), compressed=True) == frame(bytes(size), reserved=0x40, mask=None)


def test_small_frames_are_messages_of_their_own() -> None:
    whole = b"".join(frame(part, mask=None) for part in (b"aaaa", b"bbbb", b"c"))
    assert frames.message(b"aaaabbbbc", largest=4) == whole
    assert frames.message(b"aaaa", largest=4) == frame(b"aaaa", mask=None)


def test_what_is_compressed_together_stays_one_message() -> None:
    assert frames.message(b"aaaabbbbcccc", compressed=True, largest=4) == (
        frame(b"aaaa", BINARY, final=False, reserved=0x40, mask=None)
        + frame(b"bbbb", 0, final=False, mask=None)
        + frame(b"cccc", 0, mask=None)
    )


def test_control_frames() -> None:
    assert frames.control(Opcode.PING, b"x") == frame(b"x", PING, mask=None)
    assert frames.close(1002, "no") == frame(b"\x03\xeano", CLOSE, mask=None)


def test_a_long_reason_ends_in_dots() -> None:
    long = frames.close(1008, "é" * 100)
    assert len(long) <= 2 + 125
    assert long[4:].decode() == "é" * 60 + "..."


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (CloseReason.CLIENT_CLOSED, 1000),
        (CloseReason.AUTHENTICATION_FAILURE, 1008),
        (CloseReason.MAXIMUM_PAYLOAD, 1009),
        (CloseReason.PROTOCOL_VIOLATION, 1002),
        (CloseReason.SERVER_SHUTDOWN, 1001),
        (CloseReason.KICKED, 1011),
    ],
)
def test_why_a_session_ended(reason: CloseReason, code: int) -> None:
    assert frames.close_for(reason) == frames.close(code, reason.value)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"", frames.control(Opcode.CLOSE)),
        (b"\x03\xe8", frames.close(1000)),
        (b"\x03\xe9bye", frames.close(1001, "bye")),
        (b"\x0b\xb8", frames.close(3000)),
        (b"\x13\x87", frames.close(4999)),
        (b"\x03\xe8\xff", frames.close(1007, "invalid utf8 body in close frame")),
    ],
)
def test_the_answer_to_a_close_frame(body: bytes, answer: bytes) -> None:
    assert frames.answer_to_close(body) == answer


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_nobody_may_send(code: int) -> None:
    with pytest.raises(CloseFrameError, match=f"invalid close status code {code}"):
        frames.answer_to_close(code.to_bytes(2, "big"))


def test_half_a_code() -> None:
    with pytest.raises(CloseFrameError, match="cannot be 1 byte"):
        frames.answer_to_close(b"\x03")
