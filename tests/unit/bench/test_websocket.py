"""The generator's WebSocket: frames that a server takes, and payload told from headers wherever a read ends."""

from __future__ import annotations

import pytest

from broker.core.unframer import Unframer
from broker.wire import frames
from tools.bench.errors import BenchError
from tools.bench.websocket import FrameCounter, masked


@pytest.mark.parametrize("size", [1, 2, 5, 125, 126, 65535, 65536])
def test_a_server_takes_its_frames(size: int) -> None:
    payload = bytes(range(1, 256)) * (size // 255 + 1)
    unframer, room = Unframer(), bytearray(size + 1)
    unframer.feed(masked(payload[:size]))
    assert unframer.take(room) == size
    assert room[:size] == payload[:size]


def test_payload_is_told_from_headers() -> None:
    parts = [b"x" * size for size in (1, 125, 126, 70_000, 3)]
    data = b"".join(frames.message(part) for part in parts)
    for step in (1, 2, 3, 7, 1000, len(data)):
        counter = FrameCounter()
        pieces = [
            piece
            for start in range(0, len(data), step)
            for piece in counter.payload(memoryview(data)[start : start + step])
        ]
        assert b"".join(pieces) == b"".join(parts)


def test_a_close_frame_is_an_error() -> None:
    with pytest.raises(BenchError, match="0x88"):
        FrameCounter().payload(memoryview(frames.close(1001)))
