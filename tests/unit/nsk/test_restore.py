"""What was deleted comes back from an export or a backup, nothing is overwritten unasked, and all of it or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import OperatorClaims
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with accounts A, B and users u, v, exported to the directory ``x`` and copied to ``copy``."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("edit", "operator", "--sk", "generate")
    for account, user in (("A", "u"), ("B", "v")):
        found.ok("add", "account", account)
        found.ok("edit", "account", account, "--sk", "generate")
        found.ok("add", "user", user)
    found.ok("export", "keys", "--all", "--include-jwts", "--dir", "x")
    shutil.copytree(found.home, tmp_path / "copy")
    return found


def _empty(tool: Tool) -> None:
    for directory in ("O", "keys", "creds"):
        shutil.rmtree(tool.home / directory)


@pytest.mark.parametrize("source", ["x", "copy"])
def test_everything_comes_back(tool: Tool, source: str) -> None:
    before = tool.files()
    _empty(tool)
    tool.ok("restore", "--dir", source)
    assert tool.files() == before
    tool.ok("validate", "-A")


def test_a_deleted_account_comes_back_with_its_users(tool: Tool) -> None:
    before = tool.files()
    tool.ok("delete", "account", "A", "-D", "-C")
    tool.ok("restore", "--dir", "x", "--account", "A")
    assert tool.files() == before
    tool.ok("describe", "account", "B")


def test_a_deleted_user_comes_back(tool: Tool) -> None:
    before = tool.files()
    tool.ok("delete", "user", "u", "-a", "A", "-D", "-C", "--no-revoke")
    tool.ok("restore", "--dir", "x", "--account", "A", "--user", "u")
    assert tool.files() == before


def test_what_is_there_stays(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--tag", "new")
    tool.ok("delete", "user", "v", "-a", "B", "-D")
    before = tool.files()
    tool.ok("restore", "--dir", "x")
    assert '[WARN] account "A" is there and differs - specify --force to overwrite it' in tool.err
    changed = {path for path, text in tool.files().items() if before.get(path) != text}
    assert {path.suffix for path in changed} == {".jwt", ".nk"}
    assert tool.claims("account", "A")["nats"]["tags"] == ["new"]
    tool.ok("restore", "--dir", "x", "--account", "A", "--force")
    assert "tags" not in tool.claims("account", "A")["nats"]


def test_a_revoked_user_is_pointed_out(tool: Tool) -> None:
    tool.ok("delete", "user", "u", "-a", "A", "--revoke")
    tool.ok("restore", "--dir", "x", "--user", "u")
    assert '[WARN] user "u" is revoked' in tool.err


def test_nothing_is_restored_that_servers_refuse(tool: Tool) -> None:
    key = tool.claims("operator", "O")["nats"]["signing_keys"][0]
    tool.ok("edit", "account", "A", "--tag", "x", "-K", key)
    tool.ok("export", "keys", "--all", "--include-jwts", "--dir", "x", "--force")
    tool.ok("delete", "account", "A")
    tool.ok("edit", "operator", "--rm-sk", key)
    before = tool.files()
    assert f"[ERR ] the operator does not sign with {key} any more" in tool.refused("restore", "-d", "x", "-a", "A")
    tool.ok("reissue", "operator")
    assert '[ERR ] operator "O" of this store has another key' in tool.refused("restore", "-d", "x", "-a", "A")
    assert not (tool.home / "O" / "accounts" / "A").exists()
    assert set(before) <= set(tool.files())


def test_nothing_replaces_another_entity(tool: Tool) -> None:
    tool.ok("delete", "account", "A")
    tool.ok("add", "account", "A")
    before = tool.files()
    assert '[ERR ] account "A" of this store has another key' in tool.refused("restore", "--dir", "x", "--force")
    assert tool.files() == before


def test_an_operator_jwt_that_another_key_signed_is_refused(tool: Tool, tmp_path: Path) -> None:
    forger = KeyPair.generate(KeyKind.OPERATOR)
    claims = OperatorClaims.from_token((tool.home / "O" / "O.jwt").read_text())
    claims.nats.signing_keys.append(forger.public)
    token = jwt.encode(claims, forger, issued_at=claims.issued_at + 10)
    (tmp_path / "x" / "forged.jwt").write_text(token)
    before = tool.files()
    error = tool.refused("restore", "--dir", "x", "--force")
    assert f'[ERR ] key {forger.public} does not sign for operator "O" of this store' in error
    assert tool.files() == before


def test_parts_need_their_whole(tool: Tool) -> None:
    tool.ok("delete", "account", "A")
    assert '[ERR ] account "A" is not in this store: restore it first' in tool.refused("restore", "-d", "x", "-u", "u")
    _empty(tool)
    assert '[ERR ] operator "O" is not in this store' in tool.refused("restore", "-d", "x", "-a", "A")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], 'required flag(s) "dir" not set'),
        (["-d", "nowhere"], "is not a directory"),
        (["-d", "h/keys"], "no JWT of an operator found in"),
        (["-d", "x", "-o", "P"], "no JWT of the operator found in"),
        (["-d", "x", "-a", "Z"], "nothing of that name found to restore"),
    ],
)
def test_restore_says_what_is_missing(tool: Tool, words: list[str], message: str) -> None:
    before = tool.files()
    assert message in tool.refused("restore", *words)
    assert tool.files() == before


def test_names_that_lead_out_of_the_store_are_refused(tool: Tool, tmp_path: Path) -> None:
    names = {path for path in tmp_path.rglob("*") if path.parent != tool.home}
    for words in (["restore", "-d", "bad"], ["fix", "--in", "bad", "--out", "made"]):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / "o.jwt").write_text(_operator_named("../../escaped"))
        assert "name cannot contain '/'" in tool.refused(*words)
    assert not [path for path in tmp_path.rglob("*") if path not in names and "escaped" in path.name]


def _operator_named(name: str) -> str:
    pair = KeyPair.generate(KeyKind.OPERATOR)
    claims = OperatorClaims.new(pair.public)
    claims.name = name
    return jwt.encode(claims, pair)


def test_json(tool: Tool) -> None:
    tool.ok("delete", "user", "u", "-a", "A", "-D")
    result = json.loads(tool.ok("restore", "-d", "x", "-a", "A", "--json"))
    assert result["ok"] is True
    assert result["result"]["users"] == ["u"]
    assert len(result["result"]["keys"]) == 1
    assert result["result"]["accounts"] == []
