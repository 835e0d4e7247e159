"""The official client for browsers, in a browser: it logs in over wss by a cookie or by credentials, and comes back."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from auth.creds import format_creds
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.certificates import Certificates, make_certificates
from tests.support.outside import at_hand
from tests.support.pages import HTML, SCRIPT, pages
from tests.support.ports import reserve_port
from tests.support.realm import Realm
from tests.support.servers import NATSKEEP, ServerProcess

OFFICIAL: Final = at_hand(
    [str(Path(__file__).parent / "build" / "nats.js")],
    "the official client is not built for tests/browser: install npm, then: make client",
)
PROGRAMS: Final = [(chromium, Path(official).read_text()) for chromium in CHROMIUM for official in OFFICIAL]
PAGE: Final = """<!doctype html><title>NATS</title><script src="/nats.js"></script><script>
const heard = [], states = [], waiting = [];
let client;
function note(list, value) { list.push(value); waiting.splice(0).forEach((wake) => wake()); }
async function until(condition) { while (!condition()) { await new Promise((wake) => waiting.push(wake)); } }
async function start(url, creds) {
  const options = {servers: url, name: "page", reconnectTimeWait: 50, maxReconnectAttempts: -1};
  if (creds) { options.authenticator = nats.credsAuthenticator(new TextEncoder().encode(creds)); }
  client = await nats.wsconnect(options);
  (async () => {
    for await (const state of client.status()) { note(states, state.error ? state.error.message : state.type); }
  })();
  client.subscribe("page.>", {callback: (_, message) => note(heard, message.string())});
  client.subscribe("ask.page", {callback: (_, message) => message.respond("page: " + message.string())});
  await client.flush();
}
async function outcome(url, creds) {
  try { await start(url, creds); return "connected"; } catch (error) { return error.message; }
}
</script>"""
LARGE: Final = 500_000


@dataclass
class Site:
    """A natskeep with a WebSocket port, pages that may connect to it, and pages of another origin that may not."""

    tab: Browser
    directory: Path
    certificates: Path
    realm: Realm
    origin: str
    elsewhere: str
    port: int
    url: str

    def start(self) -> ServerProcess:
        """The server, ready."""
        server = ServerProcess(NATSKEEP, ["-c", "server.conf"], self.directory)
        assert server.wait_until_ready(), server.output
        return server

    @asynccontextmanager
    async def counterpart(self) -> AsyncIterator[Client]:
        """A client of the same account, over TCP."""
        neighbour = Realm(operator_key=self.realm.operator_key, account_key=self.realm.account_key)
        creds = self.directory / "desk.creds"
        creds.write_text(format_creds(neighbour.token(), neighbour.user_key.seed))
        client = await nats.connect(f"nats://127.0.0.1:{self.port}", user_credentials=str(creds))
        yield client
        await client.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def site(
    programs: tuple[str, str], certificates: Certificates, directory: Path, realm: Realm, cookie: str
) -> AsyncIterator[Site]:
    """The site, its server not started; its pages set the cookie."""
    chromium, official = programs
    made = certificates.directory
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "server.pem", made / "server-key.pem")
    pin = base64.b64encode(bytes.fromhex(certificates.pins["server"])).decode()
    content = {"/": (HTML, PAGE), "/nats.js": (SCRIPT, official)}
    port, websocket_port = reserve_port(), reserve_port()
    options = realm.options()
    async with AsyncExitStack() as stack:
        origin = stack.enter_context(pages(content, tls=context, cookie=cookie))
        elsewhere = stack.enter_context(pages(content, tls=context, cookie=cookie))
        (directory / "server.conf").write_text(
            f"""
            listen: "127.0.0.1:{port}"
            operator: "{options.operators[0].token}"
            resolver: MEMORY
            resolver_preload {{ {realm.account_key.public}: "{realm.account_token()}" }}
            websocket {{
              listen: "127.0.0.1:{websocket_port}"
              tls {{ cert_file: "{made}/server.pem", key_file: "{made}/server-key.pem" }}
              jwt_cookie: "session"
              allowed_origins: ["{origin}"]
              compression: true
            }}
            """
        )
        tab = await stack.enter_async_context(browser(chromium, f"--ignore-certificate-errors-spki-list={pin}"))
        yield Site(tab, directory, made, realm, origin, elsewhere, port, f"wss://localhost:{websocket_port}")


def bearer() -> Realm:
    """A realm whose user needs no signature."""
    realm = Realm()
    realm.user.nats.bearer_token = True
    return realm


def in_a_cookie(token: str) -> str:
    """A cookie that no script can read."""
    return f"session={token}; Secure; HttpOnly; SameSite=Strict; Path=/"


@pytest.mark.parametrize("programs", PROGRAMS, ids=["chromium" for _ in PROGRAMS])
@pytest.mark.parametrize("way", ["cookie", "creds"])
async def test_a_page_talks_and_comes_back(
    way: str, programs: tuple[str, str], certificates: Certificates, tmp_path: Path
) -> None:
    realm = bearer() if way == "cookie" else Realm()
    realm.user.nats.publish.deny = ["secret.>"]
    cookie = in_a_cookie(realm.token()) if way == "cookie" else ""
    creds = "" if way == "cookie" else format_creds(realm.token(), realm.user_key.seed)
    async with site(programs, certificates, tmp_path, realm, cookie) as stage:
        tab = stage.tab
        await tab.open(stage.origin)
        with stage.start():
            assert await tab.value(f"outcome({stage.url!r}, {creds!r})") == "connected"
            assert await tab.value("document.cookie") == ""
            await converse(stage, "first")
            await tab.value("client.publish('secret.a')")
            await tab.value("until(() => states.some((state) => state.includes('Permissions Violation')))")
        with stage.start():
            await tab.value("until(() => states.includes('reconnect'))")
            await converse(stage, "second")
            await tab.value("client.close()")
            assert await tab.value("client.isClosed()")


async def converse(stage: Site, word: str) -> None:
    """Messages from the page to itself, and requests both ways between it and a client over TCP."""
    tab = stage.tab
    await tab.value(f"client.publish('page.small', '{word}')")
    await tab.value(f"client.publish('page.large', '{word[0]}'.repeat({LARGE}))")
    await tab.value(f"until(() => heard.includes('{word[0]}'.repeat({LARGE})))")
    assert await tab.value("heard.splice(0).map((text) => text.slice(0, 10))") == [word, word[0] * 10]
    async with stage.counterpart() as desk:

        async def answer(message: Msg) -> None:
            await message.respond(b"desk: " + message.data)

        await desk.subscribe("ask.desk", cb=answer)
        await desk.flush()
        said = await tab.value(f"client.request('ask.desk', '{word}', {{timeout: 20000}}).then((m) => m.string())")
        assert said == f"desk: {word}"
        assert (await desk.request("ask.page", word.encode(), timeout=20)).data == f"page: {word}".encode()


@pytest.mark.parametrize("programs", PROGRAMS, ids=["chromium" for _ in PROGRAMS])
async def test_a_cookie_alone_does_not_let_in(
    programs: tuple[str, str], certificates: Certificates, tmp_path: Path
) -> None:
    realm = Realm()
    async with site(programs, certificates, tmp_path, realm, in_a_cookie(realm.token())) as stage:
        with stage.start() as server:
            await stage.tab.open(stage.origin)
            assert "Authorization Violation" in await stage.tab.value(f"outcome({stage.url!r}, '')")
            assert server.wait_for("Signature missing")
            # The browser sends the cookie along for a page of another port too, and says where the page comes from.
            await stage.tab.open(stage.elsewhere)
            assert await stage.tab.value(f"outcome({stage.url!r}, '')") != "connected"
            assert server.wait_for("origin not allowed: not in the allowed list")
