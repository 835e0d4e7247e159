"""The dashboard of a running server: over HTTP everywhere, and in a real browser where there is one."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from broker import Server
from broker.config.load import load
from broker.config.options import Options
from tests.integration.test_monitor import ask
from tests.support.browser import CHROMIUM, browser
from tests.support.serving import Client, serving
from tests.support.streams import ask as ask_streams
from tests.support.streams import connected, made, said

CONFIGURATION = """
http: "127.0.0.1:-1"
dashboard: true
accounts {
  SHOP {
    users: [{user: web, password: p, permissions: {publish: {allow: ["prices.>"]}}}]
    exports: [{stream: "prices.>"}]
    limits: {max_connections: 10}
  }
  "<script>window.taken=1</script>" {
    users: [{user: eve, password: p}]
    imports: [{stream: {account: SHOP, subject: "prices.>"}}]
  }
}
"""
NAME = "<img src=x onerror='window.taken=1'>"
EVIL = "<script>window.taken=1</script>"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    path = tmp_path / "server.conf"
    path.write_text(CONFIGURATION)
    return load(str(path)).options


async def populate(server: Server) -> None:
    """Clients with the worst of names, who talk, and one refusal."""
    eve = await Client.connect(server, user="eve", **{"pass": "p"}, name=NAME)
    await eve.send(b"SUB prices.> 1\r\n")
    await eve.ping()
    web = await Client.connect(server, user="web", **{"pass": "p"}, name="front")
    await web.send(b"PUB prices.<b> 2\r\nhi\r\nPUB other.<i>x</i> 0\r\n\r\n")
    await web.ping()


async def test_the_pages_over_http(options: Options) -> None:
    async with serving(options) as server:
        await populate(server)
        pages = {path: await ask(server, path) for path in ("/ui", "/ui/account?acc=SHOP", "/ui/denials")}
        assert {page.status for page in pages.values()} == {200}
        assert all("default-src 'none'" in page.headers["content-security-policy"] for page in pages.values())
        assert b"1 of 10" in pages["/ui"].body
        assert b"other.&lt;i&gt;x&lt;/i&gt;" in pages["/ui/denials"].body
        script = await ask(server, "/ui/script.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert (await ask(server, "/ui", method="POST")).status == 405
    async with serving(Options(monitor=options.monitor.__class__(port=-1))) as server:
        assert (await ask(server, "/ui")).status == 404


@pytest.mark.parametrize("program", CHROMIUM)
async def test_the_pages_in_a_browser(options: Options, program: str) -> None:
    async with serving(options) as server, browser(program) as tab:
        await populate(server)
        base = f"http://127.0.0.1:{server.monitor_port}"
        await tab.open(f"{base}/ui")
        assert await tab.value("window.taken === undefined")
        names = await tab.value("[...document.querySelectorAll('tbody a')].map((link) => link.textContent)")
        assert EVIL in names
        # By keyboard alone: past the skip link and the navigation to the first account of the map, and into it.
        visited = []
        for _ in range(8):
            await tab.press("Tab")
            visited.append(await tab.value("document.activeElement.textContent.trim()"))
            if await tab.value("!!document.activeElement.closest('svg')"):
                break
        assert visited[:4] == ["Skip to content", "Overview", "Denials", "Credentials"]
        assert await tab.value("getComputedStyle(document.activeElement.querySelector('circle')).strokeWidth") == "4px"
        await tab.open(f"{base}/ui/account?acc={quote(EVIL)}")
        text = await tab.value("document.querySelector('main').innerText")
        assert NAME in text
        assert "in force" in text
        # The page takes itself anew and shows what has come since.
        waiting = json.dumps("prices.new")
        other = await Client.connect(server, user="eve", **{"pass": "p"})
        await other.send(b"SUB prices.new 1\r\n")
        await other.ping()
        assert await tab.value(
            "new Promise((done) => { const look = () => document.querySelector('main').innerText.includes("
            f"{waiting}) ? done(true) : requestAnimationFrame(look); look(); }})"
        )
        assert await tab.value("window.taken === undefined")
        assert not tab.complaints
        picture = await tab.screenshot()
        assert _colours(picture) > 10


KEEPING = """
http: "127.0.0.1:-1"
dashboard: true
jetstream { store_dir: "DIRECTORY", max_file: 1MB }
monitor_access { token: "the-token-of-all", accounts { SHOP: "the-token-of-shop" } }
accounts {
  SHOP { jetstream: { max_file: 8000, max_streams: 4 }, users: [{user: web, password: p}] }
  BANK { jetstream: enabled, users: [{user: bob, password: p}] }
}
"""


async def fill(server: Server) -> None:
    """A stream that is nearly full, with two consumers, one of them behind, and the worst of descriptions."""
    async with (
        connected(server, user="web", password="p") as client,
        connected(server, user="bob", password="p") as bob,
    ):
        notes = {"team": EVIL, f'x"{NAME}': "y"}
        await made(client, "ORDERS", subjects=["orders.>"], max_bytes=1000, description=EVIL, metadata=notes)
        await made(bob, "SECRET", subjects=["secret"])
        for number in range(9):
            await said(client, f"orders.{number}", b"x" * 60)
        for name, filters in (("billing", ["orders.1", "orders.2"]), ("all", [])):
            config = {"durable_name": name, "ack_policy": "explicit", "description": NAME, "filter_subjects": filters}
            asked = {"stream_name": "ORDERS", "config": config}
            assert "error" not in await ask_streams(client, f"CONSUMER.CREATE.ORDERS.{name}", asked)


@pytest.fixture
def keeping(tmp_path: Path) -> Options:
    path = tmp_path / "server.conf"
    path.write_text(KEEPING.replace("DIRECTORY", str(tmp_path)))
    return load(str(path)).options


async def test_the_pages_of_streams_over_http(keeping: Options, options: Options) -> None:
    async with serving(keeping) as server:
        await fill(server)

        async def page(path: str, token: str = "the-token-of-all", status: int = 200) -> str:
            found = await ask(server, path, token=token)
            assert found.status == status, found.body
            return found.body.decode()

        overview = await page("/ui/streams")
        assert "acc=SHOP" in overview
        assert "acc=BANK" in overview
        assert "1 of 4" in overview
        shop = await page("/ui/streams?acc=SHOP")
        assert "stream=ORDERS" in shop
        assert "of 7.8 KiB" in shop
        assert "&lt;script&gt;" in shop
        assert EVIL not in shop
        stream = await page("/ui/streams?acc=SHOP&stream=ORDERS")
        assert "orders.1, orders.2" in stream
        assert "0 of 1,000" in stream
        assert EVIL not in stream
        assert NAME not in stream
        assert "streams?acc=SHOP" in await page("/ui/account?acc=SHOP")
        assert "no stream NONE" in await page("/ui/streams?acc=SHOP&stream=NONE", status=400)
        # A tenant sees its own.
        own = await page("/ui/streams", "the-token-of-shop")
        assert "stream=ORDERS" in own
        assert "BANK" not in own
        assert "SHOP has no stream SECRET" in await page("/ui/streams?stream=SECRET", "the-token-of-shop", 400)
        await page("/ui/streams?acc=BANK", "the-token-of-shop", 403)
    async with serving(options) as server:
        assert (await ask(server, "/ui/streams")).status == 400
        assert b"/ui/streams" not in (await ask(server, "/ui")).body


@pytest.mark.parametrize("program", CHROMIUM)
async def test_the_pages_of_streams_in_a_browser(keeping: Options, program: str) -> None:
    opened = replace(keeping, monitor=replace(keeping.monitor, access=None))
    async with serving(opened) as server, browser(program) as tab:
        await fill(server)
        base = f"http://127.0.0.1:{server.monitor_port}"
        await tab.open(f"{base}/ui/streams")
        # By keyboard alone, to the account and to its stream.
        for words in ("SHOP", "ORDERS"):
            for _ in range(9):
                await tab.press("Tab")
                if await tab.value("document.activeElement.textContent.trim()") == words:
                    break
            link = await tab.value("document.activeElement.href")
            assert link.startswith(base)
            await tab.open(link)
        text = await tab.value("document.querySelector('main').innerText")
        assert EVIL in text
        assert NAME in text
        assert await tab.value("document.querySelector('meter').value") > 80
        assert await tab.value("document.querySelectorAll('main script, main img').length") == 0
        assert await tab.value("window.taken === undefined")
        assert not tab.complaints
        picture = await tab.screenshot()
        assert _colours(picture) > 10


def _colours(picture: bytes) -> int:
    """How many different rows of pixels a PNG has: a blank page has one."""
    data, place = b"", 8
    width = struct.unpack(">I", picture[16:20])[0]
    channels = {2: 3, 6: 4}[picture[25]]
    while place < len(picture):
        size, kind = struct.unpack(">I4s", picture[place : place + 8])
        if kind == b"IDAT":
            data += picture[place + 8 : place + 8 + size]
        place += size + 12
    raw, line = zlib.decompress(data), width * channels + 1
    return len({raw[start : start + line] for start in range(0, len(raw), line)})
