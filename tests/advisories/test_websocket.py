"""Published advisories about WebSocket: what strangers send costs no memory to speak of, and ends no server."""

from __future__ import annotations

import pytest

from broker.core.unframer import Unframer
from tests.integration.test_websocket import deflated, is_served, websocket
from tests.support.serving import serving, until
from tests.support.websocket import BINARY, CONTINUATION, DEFLATE, WebSocketClient, frame, request


async def test_cve_2026_27571_a_small_compressed_frame_takes_no_more_memory_than_a_client_may_use() -> None:
    """A compressed message was inflated as a whole, however large it was. Here it is inflated piece by piece."""
    async with serving(**websocket(compression=True)) as server:
        for client in (await WebSocketClient.upgraded(server, DEFLATE), await WebSocketClient.joined(server, DEFLATE)):
            bomb = deflated(b"PING\r\n" * (20 << 20))
            assert len(bomb) < 400_000
            await client.plain_send(bomb)
            await client.rest()
            assert client.close_code in (1008, 1009)
        await is_served(server)


@pytest.mark.parametrize("data", [b"\x82\xff" + b"\xff" * 12, b"\x82\xff\x80" + bytes(11), b"\x82\xfe", b"\x88\xfe"])
async def test_cve_2026_27889_a_length_beyond_all_numbers(data: bytes) -> None:
    """A 64-bit length ended the server before anybody had logged in."""
    async with serving(**websocket()) as server:
        client = await WebSocketClient.upgraded(server)
        await client.plain_send(data)
        client.close()
        await until(lambda: not server.service.connections)
        await is_served(server)


def test_cve_2026_33219_frames_take_the_memory_of_what_has_arrived() -> None:
    """Frames took memory without limit before anybody had logged in. Here none is kept that is not compressed."""
    unframer = Unframer(deflate=True)
    unframer.maximum = 1000
    room = bytearray(1 << 16)
    unframer.feed(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
    for _ in range(100):
        unframer.feed(bytes(1 << 16))
        assert unframer.take(room) == 1 << 16
        assert unframer.left == 0
    compressed = Unframer(deflate=True)
    compressed.maximum = 1000
    compressed.feed(frame(bytes(999), BINARY, final=False, reserved=0x40) + frame(bytes(2), CONTINUATION))
    assert compressed.take(room) == 0
    assert compressed.event == 4


async def test_cve_2026_33219_a_line_without_an_end_is_as_long_as_anywhere() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.upgraded(server)
        await client.plain_send(frame(b"CONNECT {" + b"x" * 5000))
        assert b"maximum control line exceeded" in await client.rest()


@pytest.mark.parametrize("path", ["/mqtt", "/x/mqtt"])
async def test_ghsa_p957_7v2w_g93g_the_path_of_mqtt_without_mqtt(path: str) -> None:
    """It ended the server. Here it is not found."""
    async with serving(**websocket()) as server:
        client = await WebSocketClient.open(server)
        assert await client.ask(request(path)) == 404
        await is_served(server)
