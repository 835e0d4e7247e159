"""``can-i``, ``explain`` and ``prove``: answers from a store or a configuration file, in words, JSON and exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from auth import jwt
from auth.claims import AccountClaims, ActivationClaims, Export, Import
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.denials import Denial, find_denial
from tools.nsk.errors import NskError
from tools.nsk.keystore import KeyStore
from tools.nsk.matrix import Contact, draw
from tools.nsk.store import Store

CONFIGURATION = """
accounts {
  SHOP {
    users: [
      {user: web, password: p, permissions: {publish: {allow: ["orders.>"]}, subscribe: {deny: "secret.>"}}}
      {user: free, password: p}
    ]
    exports: [{stream: "orders.>"}, {service: "price.*", accounts: [ACME]}]
    mappings: {"legacy.*": "orders.$1", "half": [{dest: "orders.half", weight: 50}]}
  }
  ACME {
    users: [{user: acme, password: p}]
    imports: [
      {stream: {account: SHOP, subject: "orders.eu.*"}, prefix: shop}
      {service: {account: SHOP, subject: "price.*"}, to: "ask.$1"}
    ]
  }
  LONELY {users: [{user: l, password: p}]}
}
"""


@dataclass(slots=True)
class Keeper(Tool):
    """The tool, and a hand in its store."""

    @property
    def store(self) -> Store:
        return Store.open(self.home, "O", KeyStore(self.home))

    def change(self, account: str, change: Callable[[AccountClaims], object]) -> None:
        """Sign an account's claims after a change."""
        claims = self.store.account(account)
        change(claims)
        self.store.sign_account(claims)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    path = tmp_path / "server.conf"
    path.write_text(CONFIGURATION)
    return str(path)


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """An operator O with the accounts SHOP and ACME, and a user of each."""
    found = Keeper(tool_at(tmp_path, capsys, monkeypatch).home, capsys)
    for words in ("add account SHOP", "add account ACME", "add user -a ACME acme"):
        found.ok(*words.split())
    found.ok("add", "user", "-a", "SHOP", "web", "--allow-pub", "orders.>", "--allow-sub", "_INBOX.>")
    return found


class TestCanI:
    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            ("publish orders.new -n web", 0, 'allowed: granted by publish allow "orders.>"'),
            ("pub legacy.x -n web", 0, 'allowed: granted by publish allow "orders.>"'),
            ("publish half -n web", 1, 'denied: no publish allow matches "half"'),
            ("publish other -n web", 1, 'denied: no publish allow matches "other"'),
            ("subscribe secret.a -n web", 1, 'denied: refused by subscribe deny "secret.>"'),
            ("sub > -n web", 0, "allowed: subscribing is not restricted"),
            ("subscribe a workers -n free", 0, "allowed: subscribing is not restricted"),
            ("subscribe a -q _sys_ -n free", 1, "denied: the queue name _sys_ is reserved"),
        ],
    )
    def test_of_a_configuration(self, tool: Keeper, configuration: str, words: str, code: int, said: str) -> None:
        assert tool("can-i", *words.split(), "-c", configuration) == code
        assert tool.out.startswith(said)
        assert tool.err == ""

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            ("publish a..b -n free", "is not a valid subject"),
            ("publish a -n nobody", "the configuration has no user"),
            ("publish a", "name a user with --name"),
            ("sing a -n free", "a user can publish or subscribe"),
            ("publish a q -n free", "only a subscription can have a queue"),
            ("publish -n free", "say what, and on which subject"),
            ("publish a b c d -n free", "accepts at most 3 arg(s)"),
            ("publish a -n free --nonsense", "unknown flag: --nonsense"),
            ("publish a --creds nowhere.creds", "cannot be read"),
        ],
    )
    def test_what_has_no_answer(self, tool: Keeper, configuration: str, words: str, error: str) -> None:
        assert tool("can-i", *words.split(), "-c", configuration) == 2
        assert error in tool.err
        assert tool.out == ""

    def test_a_configuration_that_cannot_be_read(self, tool: Keeper, tmp_path: Path) -> None:
        broken = tmp_path / "broken.conf"
        broken.write_text("accounts {")
        assert tool("can-i", "publish", "a", "-n", "x", "-c", str(broken)) == 2
        assert "broken.conf" in tool.err
        assert tool("can-i", "publish", "a", "-n", "x", "-c", str(tmp_path / "none.conf")) == 2

    def test_of_a_store(self, tool: Keeper) -> None:
        assert tool("can-i", "publish", "orders.new", "-a", "SHOP") == 0
        assert tool.out == 'allowed: granted by publish allow "orders.>" (user JWT pub.allow)\n'
        assert tool("can-i", "publish", "other", "-a", "SHOP", "-u", "web") == 1
        assert tool("can-i", "publish", "other", "-a", "SHOP", "-u", "nobody") == 2

    def test_of_a_credentials_file(self, tool: Keeper, tmp_path: Path) -> None:
        path = tmp_path / "web.creds"
        path.write_text(tool.store.creds("SHOP", "web"))
        assert tool("can-i", "publish", "orders.new", "--creds", str(path)) == 0
        assert tool("can-i", "publish", "other", "--creds", str(path)) == 1

    def test_of_a_user_whom_no_server_admits(self, tool: Keeper) -> None:
        key = tool.store.user("SHOP", "web").subject
        tool.change("SHOP", lambda claims: claims.revoke(key, int(time.time()) + 5))
        assert tool("can-i", "publish", "orders.new", "-a", "SHOP") == 1
        assert tool.out.startswith("denied: no server admits the user: ")
        assert "revoked" in tool.out

    def test_of_an_account_that_no_server_uses(self, tool: Keeper) -> None:
        tool.change("SHOP", lambda claims: claims.nats.exports.append(Export(subject="s..x", type="stream")))
        assert tool("can-i", "publish", "orders.new", "-a", "SHOP") == 1
        assert "denied: no server admits the user: " in tool.out

    def test_as_json(self, tool: Keeper, configuration: str) -> None:
        assert tool("can-i", "publish", "other", "-n", "web", "-c", configuration, "--json") == 1
        answer = json.loads(tool.out)
        assert answer["allowed"] is False
        assert answer["change"] == f'add publish allow "other" to the user at {configuration}:5'


class TestExplain:
    def test_a_publish(self, tool: Keeper, configuration: str) -> None:
        assert tool("explain", "publish", "legacy.eu", "-n", "web", "-c", configuration) == 0
        assert (
            tool.out
            == f"""\
publish "legacy.eu": allowed
  granted by publish allow "orders.>" ({configuration}:5)

  user         web  ({configuration}:5)
  account      SHOP  ({configuration}:3)
  mapping      "legacy.*" to "orders.$1"  ({configuration}:9)
  rule         publish allow "orders.>"  ({configuration}:5)

would be received by subscribers of
  orders.eu  in SHOP
    mapping      "legacy.*" to "orders.$1"  ({configuration}:9)

to deny it: add publish deny "orders.eu" to the user at {configuration}:5
"""
        )

    def test_who_receives_in_other_accounts(self, tool: Keeper, configuration: str) -> None:
        assert tool("explain", "publish", "orders.eu.de", "-n", "web", "-c", configuration, "-J") == 0
        receivers = json.loads(tool.out)["receivers"]
        assert [(one["account"], one["subject"]) for one in receivers] == [
            ("SHOP", "orders.eu.de"),
            ("ACME", "shop.orders.eu.de"),
        ]
        assert [link["what"] for link in receivers[1]["links"]] == ["export", "import"]

    def test_a_subscription(self, tool: Keeper, configuration: str) -> None:
        assert tool("explain", "subscribe", "price.*", "-n", "web", "-c", configuration) == 0
        assert "  ask.*  in ACME\n" in tool.out
        assert tool("explain", "subscribe", "*.a", "-n", "web", "-c", configuration) == 0
        assert 'but nothing that subscribe deny "secret.>"' in tool.out

    def test_what_nothing_turns(self, tool: Keeper, configuration: str) -> None:
        assert tool("explain", "publish", "$NRG.x", "-n", "free", "-c", configuration) == 1
        assert "built-in" in tool.out
        assert tool.out.endswith("no change of the user's rules and limits turns this\n")

    def test_the_chain_of_a_scoped_signing_key(self, tool: Keeper) -> None:
        words = "edit signing-key -a SHOP --sk generate --role worker --allow-pub work.{{name()}}.>"
        assert tool(*words.split()) == 0
        assert tool("add", "user", "-a", "SHOP", "bob", "-K", "worker") == 0
        assert tool("explain", "publish", "work.bob.x", "-a", "SHOP", "-u", "bob") == 0
        assert ", role worker\n" in tool.out
        assert 'rule         publish allow "work.bob.>"' in tool.out
        assert tool("explain", "publish", "work.eve.x", "-a", "SHOP", "-u", "bob") == 1
        assert 'add publish allow "work.eve.x" to the template of signing key A' in tool.out

    def test_defaults_of_the_account(self, tool: Keeper) -> None:
        tool.change("ACME", lambda claims: claims.nats.default_permissions.publish.deny.append("no.>"))
        assert tool("explain", "publish", "no.x", "-a", "ACME") == 1
        assert 'remove publish deny "no.>" (account default_permissions pub.deny)' in tool.out


class TestDenials:
    text = (
        "[1] 2026/01/02 03:04:05.000006 [ERR] 127.0.0.1:5 - cid:7 - "
        '"v1:py:x" - "SHOP/user:web" - Publish Violation - Subject "ot\\"her" - denial 0a1b2c3d: why\n'
    )

    @pytest.mark.parametrize(
        ("line", "found"),
        [
            (text, Denial("0a1b2c3d", "publish", "why", 'ot"her', None, "SHOP", "web")),
            (
                '[1] [ERR] 1:1 - cid:7 - "AKEY/Name/jwt:UKEY" - Subscription Violation - Subject "a.\\xff", '
                'Queue: "q", SID 9 - denial 0a1b2c3d: x: y\n',
                Denial("0a1b2c3d", "subscribe", "x: y", "a.\udcff", "q", "AKEY", "UKEY"),
            ),
            (
                '{"level":"error","message":"Publish Violation - Reply \\"_R_.x\\" - denial 0a1b2c3d: built-in",'
                '"account":"SHOP","user":"user:web","denial":"0a1b2c3d"}\n',
                Denial("0a1b2c3d", "reply", "built-in", "_R_.x", None, "SHOP", "web"),
            ),
            (
                "[1] [ERR] 1:1 - cid:7 - authentication error - denial 0a1b2c3d: wrong password\n",
                Denial("0a1b2c3d", "connect", "wrong password"),
            ),
            (
                "[1] [ERR] 1:1 - cid:7 - TLS handshake error: not OCSP valid - denial 0a1b2c3d: CN=x: it is so\n",
                Denial("0a1b2c3d", "connect", "CN=x: it is so"),
            ),
            (
                '{"level":"error","message":"client certificate revoked - denial 0a1b2c3d: CN=x: it is revoked",'
                '"account":"SHOP","user":"user:web","denial":"0a1b2c3d"}\n',
                Denial("0a1b2c3d", "connect", "CN=x: it is revoked"),
            ),
            (
                "[1] [ERR] 1:1 - cid:7 - TLS handshake error: certificate not pinned - denial 0a1b2c3d\n",
                Denial("0a1b2c3d", "connect", "certificate not pinned"),
            ),
            (
                '{"level":"error","message":"TLS handshake error: a: b - denial 0a1b2c3d","denial":"0a1b2c3d"}\n',
                Denial("0a1b2c3d", "connect", "a: b"),
            ),
        ],
    )
    def test_are_found_in_either_format(self, line: str, found: Denial) -> None:
        noise = ["\n", "{\n", '{"denial":"ffffffff","message":"denial 0a1b2c3d: forged"}\n', "0a1b2c3d\n"]
        assert find_denial([*noise, line], "0a1b2c3d") == found

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(NskError, match="the log has no denial 00000000"):
            find_denial([self.text], "00000000")

    def test_is_explained_as_things_are_now(self, tool: Keeper, configuration: str, tmp_path: Path) -> None:
        log = tmp_path / "natskeep.log"
        log.write_text(self.text)
        words = ("explain", "--denial", "0a1b2c3d", "--log", str(log))
        assert tool(*words, "-c", configuration) == 1
        assert tool.out.startswith('publish "ot\\"her": denied\n')
        assert tool(*words, "-c", configuration, "-n", "free") == 0
        assert tool(*words[:3], "-c", configuration) == 2
        assert "--log" in tool.err
        assert tool(*words[:4], str(tmp_path / "none"), "-c", configuration) == 2

    def test_in_a_store_by_key(self, tool: Keeper, tmp_path: Path) -> None:
        account, user = tool.store.account("SHOP").subject, tool.store.user("SHOP", "web").subject
        log = tmp_path / "natskeep.log"
        log.write_text(self.text.replace("SHOP/user:web", f"{account}/SHOP/jwt:{user}"))
        assert tool("explain", "--denial", "0a1b2c3d", "--log", str(log)) == 1
        assert "user JWT" in tool.out
        log.write_text(self.text.replace("SHOP/user:web", f"{account}/SHOP/jwt:UNKNOWN"))
        assert tool("explain", "--denial", "0a1b2c3d", "--log", str(log)) == 2
        assert "the store has no user UNKNOWN" in tool.err


class TestProve:
    def test_accounts_that_are_isolated(self, tool: Keeper, configuration: str) -> None:
        assert tool("prove", "isolated", "SHOP", "LONELY", "-c", configuration) == 0
        assert tool.out.startswith("SHOP and LONELY are isolated\n")
        assert "taken for granted:" in tool.out

    def test_accounts_that_are_not(self, tool: Keeper, configuration: str) -> None:
        assert tool("prove", "isolated", "SHOP", "ACME", "-c", configuration) == 1
        assert '    2. a client of SHOP publishes to "orders.eu.any1"\n' in tool.out
        assert '    2. a client of ACME publishes to "ask.any1"\n' in tool.out

    def test_as_json(self, tool: Keeper, configuration: str) -> None:
        assert tool("prove", "isolated", "SHOP", "ACME", "-c", configuration, "--json") == 1
        answer = json.loads(tool.out)
        assert answer["isolated"] is False
        assert [way["kind"] for way in answer["ways"]] == ["message", "message"]
        assert answer["ways"][1]["example"][1] == {
            "account": "ACME", "verb": "publish", "subject": "ask.any1", "reply": "",
        }  # fmt: skip

    @pytest.mark.parametrize("names", [("SHOP", "SHOP"), ("SHOP", "NONE"), ("SHOP",)])
    def test_what_has_no_answer(self, tool: Keeper, configuration: str, names: tuple[str, ...]) -> None:
        assert tool("prove", "isolated", *names, "-c", configuration) == 2

    def test_accounts_of_a_store_with_an_activation(self, tool: Keeper) -> None:
        assert tool("prove", "isolated", "SHOP", "ACME") == 0
        store = tool.store
        shop, acme = store.account("SHOP").subject, store.account("ACME").subject
        token = ActivationClaims.new(acme)
        token.nats.import_subject, token.nats.kind = "s", "stream"
        token.expires_at = int(time.time()) + 1000
        signed = jwt.encode(token, store.account_signer(store.account("SHOP")))
        export = Export(subject="s", type="stream", token_required=True)
        tool.change("SHOP", lambda claims: claims.nats.exports.append(export))
        taken = Import(account=shop, subject="s", type="stream", token=signed)
        tool.change("ACME", lambda claims: claims.nats.imports.append(taken))
        assert tool("prove", "isolated", "SHOP", acme) == 1
        assert "a client of SHOP publishes to" in tool.out
        assert "time alone changes what is in force" in tool.out
        export.revocations["*"] = int(time.time())
        tool.change("SHOP", lambda claims: claims.nats.exports.clear() or claims.nats.exports.append(export))
        assert tool("prove", "isolated", "SHOP", "ACME") == 0

    def test_a_matrix(self, tool: Keeper, configuration: str, tmp_path: Path) -> None:
        picture = tmp_path / "matrix.svg"
        assert tool("prove", "matrix", "-c", configuration, "--svg", str(picture)) == 1
        assert "| SHOP   | M    | .      | -    |" in tool.out
        assert ElementTree.fromstring(picture.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
        assert tool("prove", "matrix", "-c", configuration, "--json") == 1
        assert {(one["source"], one["target"]) for one in json.loads(tool.out)["reaches"]} == {
            ("SHOP", "ACME"),
            ("ACME", "SHOP"),
        }
        assert tool("prove", "matrix") == 0
        assert tool("prove", "matrix", "--svg", str(tmp_path / "no" / "x.svg")) == 2


def test_a_picture_escapes_what_accounts_are_called() -> None:
    contacts = {(0, 1): Contact.ANSWER, (1, 0): Contact.POSSIBLE}
    picture = ElementTree.fromstring(draw(["<a> & b", "c" * 80], contacts))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "<a> & b" in texts
    assert "c" * 27 + "…" in texts
    titles = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [f"<a> & b → {'c' * 80}: answers only", f"{'c' * 80} → <a> & b: could not be excluded"]
