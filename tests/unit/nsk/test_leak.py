"""Leaked credentials files: whose they are, what they open, and that nothing of them is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims, Export, Import, UserClaims
from auth.creds import format_creds, parse_creds
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.errors import NskError
from tools.nsk.keystore import KeyStore
from tools.nsk.leak import Standing, abilities, ledger_traces, read_leak, traces
from tools.nsk.scene import scene_of_tokens
from tools.nsk.store import Store

NOW = 1_800_000_000


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Account A with a user u, of which B takes a stream, and which asks a service of C."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    for name in "ABC":
        found.ok("add", "account", name)
    found.ok("add", "user", "-a", "A", "u", "--allow-pub", "news.>,ask", "--deny-pub", "news.no.>")
    store = store_of(found)
    mine, theirs, asked = (store.account(name) for name in "ABC")
    mine.nats.exports = [Export(name="n", subject="news.*", type="stream")]
    theirs.nats.imports = [Import(name="n", subject="news.*", account=mine.subject, local_subject="a.*", type="stream")]
    asked.nats.exports = [Export(name="q", subject="help", type="service")]
    mine.nats.imports = [Import(name="q", subject="help", account=asked.subject, local_subject="ask", type="service")]
    for claims in (mine, theirs, asked):
        store.sign_account(claims)
    return found


def store_of(tool: Tool) -> Store:
    return Store.open(tool.home, "O", KeyStore(tool.home))


def creds(tool: Tool) -> str:
    return store_of(tool).creds("A", "u")


def test_what_a_file_opens(tool: Tool) -> None:
    store = store_of(tool)
    operator = store.operator()
    scene = scene_of_tokens([operator], store.account_tokens(), NOW, system_account="")
    leak = read_leak(store, creds(tool))
    found = abilities(leak, scene)
    assert (leak.standing, leak.account, leak.user, leak.holds_key) == (Standing.STORED, "A", "u", True)
    assert (found.publish, found.publish_except) == (("ask", "news.>"), ("news.no.>",))
    assert found.subscribe == (">",)
    assert {(one.account, one.subject, one.there) for one in found.sends_to} == {
        ("B", "news.*", "a.*"),
        ("C", "ask", "help"),
    }
    assert found.hears_from == ()
    assert parse_creds(creds(tool))[1] not in repr(leak)
    assert leak.token not in repr(leak)


def test_whom_it_can_hear(tool: Tool) -> None:
    tool.ok("add", "user", "-a", "B", "w", "--allow-sub", "a.x,own.>")
    store = store_of(tool)
    scene = scene_of_tokens([store.operator()], store.account_tokens(), NOW, system_account="")
    found = abilities(read_leak(store, store.creds("B", "w")), scene)
    assert [(one.account, one.subject, one.there) for one in found.hears_from] == [("A", "a.x", "news.x")]
    assert found.hears_from[0].way[0].startswith("export stream")


def test_a_file_without_the_key(tool: Tool) -> None:
    store = store_of(tool)
    leak = read_leak(store, store.user_token("A", "u"))
    scene = scene_of_tokens([store.operator()], store.account_tokens(), NOW, system_account="")
    assert not leak.holds_key
    assert "not at all with this file alone, since the private key is not in it" in abilities(leak, scene).limits


def test_an_expired_file_opens_nothing(tool: Tool) -> None:
    tool.ok("edit", "user", "-a", "A", "u", "--expiry", "2020-01-01")
    store = store_of(tool)
    scene = scene_of_tokens([store.operator()], store.account_tokens(), NOW, system_account="")
    found = abilities(read_leak(store, creds(tool)), scene)
    assert "expired" in found.refusal
    assert found.publish == ()


def test_files_of_nobody_here(tool: Tool) -> None:
    account, user = KeyPair.generate(KeyKind.ACCOUNT), KeyPair.generate(KeyKind.USER)
    claims = UserClaims.new(user.public)
    claims.name = "stranger"
    (tool.home.parent / "x.creds").write_text(format_creds(jwt.encode(claims, account), user.seed))
    before = tool.files()
    assert tool("leaked", "x.creds", "--yes") == 1
    assert 'not ours: the file is of user "stranger"' in tool.out
    assert account.public in tool.out
    assert tool.files() == before


def test_a_key_that_is_no_key_of_the_account_any_more(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--sk", "generate")
    [key] = store_of(tool).account("A").nats.signing_keys
    tool.ok("add", "user", "-a", "A", "v", "-K", str(key))
    text = store_of(tool).creds("A", "v")
    (tool.home.parent / "v.creds").write_text(text)
    tool.ok("edit", "account", "A", "--rm-sk", str(key))
    assert tool("leaked", "v.creds", "--yes") == 1
    assert "no server of this operator lets its holder in" in tool.out
    assert "nsk rotate user --account A --name v" in tool.out


@pytest.mark.parametrize("text", ["", "nonsense", KeyPair.generate(KeyKind.USER).seed, "a.b.c"])
def test_what_is_no_credentials_file(tool: Tool, text: str) -> None:
    with pytest.raises(NskError) as caught:
        read_leak(store_of(tool), text)
    assert not text or text not in caught.value.text


def test_an_account_jwt_is_no_users(tool: Tool) -> None:
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    with pytest.raises(NskError, match="no JWT of a user"):
        read_leak(store_of(tool), jwt.encode(AccountClaims.new(pair.public), pair))


def test_without_a_server_the_revocation_is_written_and_what_is_left_is_said(tool: Tool) -> None:
    (tool.home.parent / "u.creds").write_text(creds(tool))
    issued = store_of(tool).user("A", "u")
    assert tool("leaked", "u.creds") == 1
    assert "confirm with --yes" in tool.err
    assert store_of(tool).account("A").nats.revocations == {}
    assert tool("leaked", "u.creds", "--yes", "--json") == 1
    result = json.loads(tool.out)["result"]
    assert result["done"]["problems"] == ["servers do not know of it: nsk push --account A"]
    assert store_of(tool).account("A").nats.revocations == {issued.subject: issued.issued_at}
    assert parse_creds(creds(tool))[1] not in tool.out


@pytest.mark.parametrize("name", ["nowhere/report.txt", "."])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_done(tool: Tool, name: str) -> None:
    path = tool.home.parent / "found.creds"
    path.write_text(creds(tool))
    before = tool.files()
    assert "Error:" in tool.refused("leaked", str(path), "--yes", "--report", name)
    assert tool.files() == before


def test_a_broken_jwt_of_somebody_else_holds_up_no_revocation(tool: Tool) -> None:
    store = store_of(tool)
    (tool.home.parent / "u.creds").write_text(creds(tool))
    store.user_path("A", "u").with_name("b.jwt").write_text("broken")
    assert tool("leaked", "u.creds", "--yes") == 1
    assert store.user("A", "u").subject in store_of(tool).account("A").nats.revocations


def test_servers_that_are_not_reached_hold_up_no_revocation(tool: Tool) -> None:
    (tool.home.parent / "u.creds").write_text(creds(tool))
    assert tool("leaked", "u.creds", "--yes", "--nats", "nats://127.0.0.1:1", "--json") == 1
    result = json.loads(tool.out)["result"]
    assert result["connected"] is None
    assert result["next"][-1] == "nsk push --account A --account-jwt-server-url nats://127.0.0.1:1"
    assert result["done"]["problems"][0].startswith("servers do not know of it: ")
    assert store_of(tool).user("A", "u").subject in store_of(tool).account("A").nats.revocations


def test_lines_of_a_log() -> None:
    lines = [
        '[7] 2026/11/28 10:00:00.5 [ERR] 10.0.0.9:51 - cid:3 - "v1:python:x" - "A/jwt:UA" - Publish Violation - '
        'Subject "f" - denial 00aa00aa: no publish allow matches "f"\n',
        '[7] 2026/11/28 10:00:00.6 [INF] 10.0.0.9:52 - cid:4 - "A/jwt:UB" - other\n',
        '{"time":"2026-11-28T10:00:00Z","message":"authenticated by jwt","user":"jwt:UA","address":"h:1"}\n',
        "[7] 2026/11/28 10:00:00.7 [ERR] h:2 - cid:5 - authentication error - denial 0a0a0a0a: revoked: UA\n",
        '{"message":"somebody writes jwt:UA into a subject","user":"jwt:UB"}\n',
        "{broken jwt:UA\n",
        '[7] 2026/11/28 10:00:00.8 [INF] unix:uid=7 - cid:6 - "A/jwt:UA" - other\n',
    ]
    first, second, third, fourth = traces(lines, "UA")
    assert fourth.address == "unix:uid=7"
    assert (first.time, first.address, first.is_refusal) == ("2026/11/28 10:00:00.5", "10.0.0.9:51", True)
    assert (third.address, third.is_refusal) == ("h:2", True)
    assert (second.text, second.address, second.is_refusal) == ("authenticated by jwt", "h:1", False)


def test_entries_of_a_ledger() -> None:
    entries = [
        {"seq": 1, "time": "t1", "event": "authenticated", "user": "jwt:UA", "address": "h:1", "cid": 3, "prev": "0"},
        {
            "seq": 2,
            "time": "t2",
            "event": "denied",
            "user": "jwt:UA",
            "address": "h:1",
            "action": "publish",
            "target": "f",
        },
        {"seq": 3, "time": "t3", "event": "denied", "address": "h:2", "action": "connect", "reason": "revoked: UA"},
        {"seq": 4, "time": "t4", "event": "revoked", "user": "jwt:US", "target": "A/UA"},
        {"seq": 5, "time": "t5", "event": "authenticated", "user": "jwt:UB"},
        {"seq": 6, "time": "t6", "event": "sealed"},
    ]
    found = list(ledger_traces(entries, "UA"))
    assert [(one.time, one.is_refusal) for one in found] == [("t1", False), ("t2", True), ("t3", True), ("t4", False)]
    assert found[0].text == "authenticated cid=3"
    assert found[1].text == "denied action=publish target=f"
