"""A store whose operator is elsewhere: what is put to the account server, what is fetched, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.account_server import AccountServer, serving
from tests.unit.nsk.tool import Tool, tool_at


@pytest.fixture
def server() -> Iterator[AccountServer]:
    with serving() as found:
        yield found


@pytest.fixture
def tool(
    server: AccountServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Tool:
    """A managed store of the server's operator MO, with an account A."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "operator", "-u", f"{server.base}/operator")
    found.ok("add", "account", "A")
    return found


def _issuer(tool: Tool, account: str = "A") -> str:
    return str(tool.claims("account", account)["iss"])


def test_accounts_come_back_signed(tool: Tool, server: AccountServer) -> None:
    public = tool.claims("account", "A")["sub"]
    assert _issuer(tool) == server.pair.public
    tool.ok("edit", "account", "A", "--tag", "x")
    assert tool.err.splitlines() == [
        '[ OK ] added tag "x"',
        "[ OK ] push jwt to account server",
        "[ OK ] pull jwt from account server",
        '[ OK ] edited account "A"',
    ]
    assert server.posts == [(f"/jwt/v1/accounts/{public}", "application/jwt")] * 2
    tool.ok("add", "user", "u")
    tool.ok("validate", "-A")


def test_words_of_the_server_are_shown(tool: Tool, server: AccountServer) -> None:
    server.post_answer = b"thank you\nvery much\n"
    tool.ok("edit", "account", "A", "--tag", "x")
    assert tool.err.splitlines()[1:5] == [
        "[ OK ] push jwt to account server:",
        "       [ OK ] pushed account jwt to the account server",
        "       > thank you",
        "       > very much",
    ]


def test_an_accepted_account_stays_signed_by_itself(tool: Tool, server: AccountServer) -> None:
    server.post_status = 202
    tool.ok("edit", "account", "A", "--tag", "x")
    assert "[WARN] pushed account jwt was accepted by the account server" in tool.err
    assert "[WARN] perform push/pull again or exchange self-signed JWT manually" in tool.err
    assert _issuer(tool) == tool.claims("account", "A")["sub"]


def test_a_refused_edit_is_kept_to_be_pushed_later(tool: Tool, server: AccountServer) -> None:
    server.post_status, server.post_answer = 403, b"no"
    error = tool.refused("edit", "account", "A", "--tag", "x")
    assert "[ERR ] failed to push account to remote server\n       > no\n" in error
    assert "Error: 1 job failed - 2 jobs succeeded and 0 had warnings\n" in error
    assert tool.claims("account", "A")["nats"]["tags"] == ["x"]
    assert _issuer(tool) == tool.claims("account", "A")["sub"]


def test_a_refused_account_is_not_made_current(tool: Tool, server: AccountServer) -> None:
    server.post_status = 500
    tool.refused("add", "account", "B")
    assert json.loads((tool.home / "nsc.json").read_text())["account"] == "A"
    tool.ok("describe", "account", "B")


def test_an_account_that_the_server_keeps_is_not_deleted(tool: Tool, server: AccountServer) -> None:
    tool.ok("add", "user", "u")
    server.post_status = 500
    before = tool.files()
    tool.refused("delete", "account", "A", "--force", "-D", "-C")
    assert tool.files() == before
    server.post_status = 200
    tool.ok("delete", "account", "A", "--force", "-D", "-C")
    assert not (tool.home / "MO" / "accounts" / "A").exists()


def test_a_server_that_is_not_there_is_an_error(tool: Tool, server: AccountServer) -> None:
    server.shutdown()
    server.server_close()
    error = tool.refused("edit", "account", "A", "--tag", "x")
    assert '[ERR ] error pushing account "A": Post "http://127.0.0.1' in error
    assert tool.claims("account", "A")["nats"]["tags"] == ["x"]


def _other_account(server: AccountServer, public: str) -> str:
    return jwt.encode(AccountClaims.new(KeyPair.generate(KeyKind.ACCOUNT).public), server.pair)


def _under_another_name(server: AccountServer, public: str) -> str:
    claims = AccountClaims.new(public)
    claims.name = "../../../x"
    return jwt.encode(claims, server.pair)


def _from_another_operator(server: AccountServer, public: str) -> str:
    claims = AccountClaims.new(public)
    claims.name = "A"
    return jwt.encode(claims, KeyPair.generate(KeyKind.OPERATOR))


def _no_token(server: AccountServer, public: str) -> str:
    return "junk"


@pytest.mark.parametrize("make", [_other_account, _under_another_name, _from_another_operator, _no_token])
def test_only_the_account_that_was_asked_for_is_stored(
    tool: Tool, server: AccountServer, make: Callable[[AccountServer, str], str]
) -> None:
    public = tool.claims("account", "A")["sub"]
    server.replacements[public] = make(server, public)
    names = set(tool.files())
    assert "failed to store jwt: " in tool.refused("edit", "account", "A", "--tag", "x")
    assert set(tool.files()) == names
    assert tool.claims("account", "A")["sub"] == _issuer(tool) == public


def test_renaming_tells_the_server(tool: Tool, server: AccountServer) -> None:
    tool.ok("rename", "account", "A", "B", "--OK")
    assert tool.err.splitlines()[1:4] == [
        '       [ OK ] copy account "A" to "B":',
        "              [ OK ] push jwt to account server",
        "              [ OK ] pull jwt from account server",
    ]
    assert _issuer(tool, "B") == server.pair.public


# load


def _service(server: AccountServer, monkeypatch: pytest.MonkeyPatch) -> KeyPair:
    """An account L of the service HARBOUR that the server has; its key pair."""
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    claims = AccountClaims.new(pair.public)
    claims.name = "L"
    server.take(pair.public, jwt.encode(claims, pair))
    monkeypatch.setenv("NSC_HARBOUR_OPERATOR", f"{server.base}/operator")
    return pair


def test_load_takes_what_a_service_gives(tool: Tool, server: AccountServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _service(server, monkeypatch)
    tool.ok("load", "--profile", f"nsc://harbour?secret={pair.seed}&user=kim")
    assert pair.seed not in tool.out + tool.err
    assert _issuer(tool, "L") == server.pair.public
    assert tool.claims("user", "kim")["iss"] == pair.public
    assert (tool.home / "creds" / "harbour" / "L" / "kim.creds").is_file()
    tool.ok("load", "--profile", f"nsc://harbour?secret={pair.seed}&user=kim")
    assert '[WARN] the user "kim" already exists' in tool.err
    tool.ok("load", "--url", f"{server.base}/operator", "--seed", pair.seed)
    assert (tool.home / "creds" / "MO" / "L" / "default.creds").is_file()


def _forged(server: AccountServer) -> str:
    """A JWT of the server's operator that somebody else made."""
    forger = KeyPair.generate(KeyKind.OPERATOR)
    claims = OperatorClaims.from_token(server.operator)
    claims.nats.signing_keys = [forger.public]
    return jwt.encode(claims, forger)


def test_load_refuses_what_is_no_account_of_the_service(
    tool: Tool, server: AccountServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = _service(server, monkeypatch)
    before = tool.files()
    other = KeyPair.generate(KeyKind.ACCOUNT).seed
    for seed, words in (
        ("", "expected account seed to initialize"),
        ("SA", "failed to parse account name as an nkey"),
        (KeyPair.generate(KeyKind.USER).seed, "expected account seed to initialize"),
        (other, "404 Not Found"),
    ):
        error = tool.refused("load", "--profile", f"nsc://harbour?secret={seed}")
        assert words in error
        assert seed == "" or f" {seed}" not in error
    tool.ok("load", "--profile", f"nsc://harbour?secret={pair.seed}")
    before = tool.files()
    genuine, server.operator = server.operator, _forged(server)
    error = tool.refused("load", "--profile", f"nsc://harbour?secret={pair.seed}")
    assert 'a different operator named "harbour" already exists' in error
    server.operator = genuine
    server.replacements[pair.public] = _from_another_operator(server, pair.public)
    assert "does not sign for operator" in tool.refused("load", "--profile", f"nsc://harbour?secret={pair.seed}")
    assert tool.files() == before


def test_operators_of_the_environment_are_known_by_name(
    tool: Tool, server: AccountServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSC_Harbour_OPERATOR", f"{server.base}/operator")
    tool.ok("add", "operator", "-u", "harbour")
    assert '[ OK ] imported operator "Harbour"' in tool.err
    assert "404 Not Found" in tool.refused("add", "operator", "-u", f"{server.base}/nothing")
