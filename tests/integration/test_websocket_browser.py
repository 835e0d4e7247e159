"""A page in a real browser that talks NATS with the browser's own WebSocket, where there is one."""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack
from typing import Any

import pytest

from broker.config.options import AuthorizationOptions, TLSOptions, WebSocketOptions
from tests.support.browser import CHROMIUM, browser
from tests.support.certificates import Certificates, make_certificates
from tests.support.pages import HTML, pages
from tests.support.serving import Client, serving

PAGE = """<!doctype html><title>NATS</title><script>
function exchange(url, connect, payload) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url), encoder = new TextEncoder(), decoder = new TextDecoder();
    let heard = "", size = 0, largest = 0, opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { opened = true; };
    socket.onmessage = (event) => {
      largest = Math.max(largest, event.data.byteLength);
      const text = decoder.decode(event.data);
      size += event.data.byteLength;
      heard += text;
      if (text.startsWith("INFO ") && !heard.includes("PONG")) {
        socket.send(encoder.encode("CONNECT " + JSON.stringify(connect) + "\\r\\nSUB page.> 1\\r\\n"));
        socket.send(encoder.encode("PUB page.one " + payload.length + "\\r\\n" + payload + "\\r\\nPING\\r\\n"));
      }
      if (heard.includes("PONG\\r\\n")) { socket.close(1000, "done"); }
    };
    socket.onclose = (event) => resolve({opened, code: event.code, reason: event.reason, size, largest,
      extensions: socket.extensions, delivered: heard.includes("MSG page.one 1 " + payload.length + "\\r\\n" + payload),
      error: (heard.match(/-ERR '(.*)'/) || [])[1] || ""});
  });
}
</script>"""
LOGIN = {"verbose": False, "pedantic": False, "user": "page", "pass": "p"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("chromium", CHROMIUM)
async def test_a_page_talks(
    chromium: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    directory = certificates.directory
    pin = base64.b64encode(bytes.fromhex(certificates.pins["server"])).decode()
    trusting = f"--ignore-certificate-errors-spki-list={pin}"
    content = {"/": (HTML, PAGE)}
    async with AsyncExitStack() as stack:
        origin, other = stack.enter_context(pages(content)), stack.enter_context(pages(content))
        tab = await stack.enter_async_context(browser(chromium, trusting))
        options: dict[str, Any] = {
            "websocket": WebSocketOptions(
                host="127.0.0.1",
                port=-1,
                tls=TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem")),
                compression=True,
                allowed_origins=(origin,),
            ),
            "authorization": AuthorizationOptions(user="page", password="p"),
        }
        async with serving(**options) as server:
            direct = await Client.connect(server, user="page", **{"pass": "p"})
            await direct.send(b"SUB page.one 1\r\n")
            assert await direct.ping() == []
            await tab.open(origin)
            url = server.websocket_url
            await tab.value(f"window.exchangeWith = (login, payload) => exchange('{url}', login, payload)")
            small = await tab.value(f"exchangeWith({LOGIN!r}".replace("False", "false") + ", 'from a page')")
            assert small["delivered"]
            assert (small["code"], small["reason"], small["error"]) == (1000, "done", "")
            assert small["extensions"].startswith("permessage-deflate")
            assert await direct.frame() == b"MSG page.one 1 11\r\nfrom a page"
            large = await tab.value(f"exchangeWith({LOGIN!r}".replace("False", "false") + ", 'x'.repeat(500000))")
            assert large["delivered"]
            assert large["code"] == 1000
            assert len(await direct.frame()) > 500_000
            refused = await tab.value("exchangeWith({user: 'page', pass: 'wrong'}, '')")
            assert (refused["code"], refused["error"]) == (1008, "Authorization Violation")
            await tab.open(other)
            elsewhere = await tab.value(f"exchange('{url}', {{}}, '')")
            assert (elsewhere["opened"], elsewhere["code"]) == (False, 1006)
            assert "origin not allowed: not in the allowed list" in caplog.text
