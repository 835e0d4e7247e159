"""Keys, accounts, users and operators moved in and out: what is asked for, safely, with a result for programs."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims, UserClaims
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A and a user u."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    found.ok("add", "user", "u")
    return found


# Keys.


def test_exported_seeds_are_for_the_owner_alone(tool: Tool, tmp_path: Path) -> None:
    tool.ok("export", "keys", "--dir", "out/deep")
    assert (tmp_path / "out" / "deep").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out" / "deep").iterdir()} == {0o600}
    assert not any(path.read_text() in tool.err + tool.out for path in (tmp_path / "out" / "deep").iterdir())


def test_curve_keys_alone(tool: Tool, tmp_path: Path) -> None:
    pair = KeyPair.generate(KeyKind.CURVE)
    other = KeyPair.generate(KeyKind.CURVE)
    claims = AccountClaims.from_token((tool.home / "O" / "accounts" / "A" / "A.jwt").read_text())
    claims.nats.authorization.xkey = pair.public
    claims.nats.authorization.auth_users = [tool.claims("user", "u")["sub"]]
    operator = tool.claims("operator", "O")["sub"]
    seed = (tool.home / "keys" / "O" / operator[1:3] / f"{operator}.nk").read_text()
    (tool.home / "O" / "accounts" / "A" / "A.jwt").write_text(jwt.encode(claims, KeyPair.from_seed(seed)))
    (tmp_path / "k").mkdir()
    for number, key in enumerate((pair, other)):
        (tmp_path / "k" / f"{number}.nk").write_text(key.seed)
    tool.ok("import", "keys", "--dir", "k")
    result = json.loads(tool.ok("export", "keys", "--curves", "--dir", "out", "--json"))["result"]
    assert result["keys"] == [pair.public]
    result = json.loads(tool.ok("export", "keys", "--curve", pair.public, "--dir", "one", "--json"))["result"]
    assert result["keys"] == [pair.public]
    result = json.loads(tool.ok("export", "keys", "--curves", "--not-referenced", "--dir", "rest", "--json"))["result"]
    assert result["keys"] == [other.public]


def test_removed_seeds_come_back_by_import(tool: Tool, tmp_path: Path) -> None:
    before = tool.files()
    result = json.loads(tool.ok("export", "keys", "-A", "--remove", "--dir", "out", "--json"))["result"]
    assert len(result["keys"]) == 3
    assert not list((tool.home / "keys").rglob("*.nk"))
    result = json.loads(tool.ok("import", "keys", "--dir", "out", "--json"))["result"]
    assert len(result["keys"]) == 3
    assert tool.files() == before


def test_a_seed_stays_where_its_copy_cannot_be_written(tool: Tool, tmp_path: Path) -> None:
    before = tool.files()
    public = tool.claims("account", "A")["sub"]
    (tmp_path / "out" / f"{public}.nk").mkdir(parents=True)
    tool.refused("export", "keys", "-A", "--remove", "--force", "--dir", "out")
    assert tool.files() == before


def test_one_bad_file_does_not_keep_the_others_out(tool: Tool, tmp_path: Path) -> None:
    pair = KeyPair.generate(KeyKind.USER)
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "a.nk").write_bytes(b"\xff\xfe")
    (tmp_path / "k" / "b.nk").write_text(f"{pair.seed}\n")
    error = tool.refused("import", "keys", "--dir", "k")
    assert "a.nk`: the file is not a text" in error
    assert "Usage:" not in error
    assert (tool.home / "keys" / "U" / pair.public[1:3] / f"{pair.public}.nk").read_text() == pair.seed


# Accounts and users.


def _account(tool: Tool, name: str, signer: KeyPair | None = None, subject: KeyPair | None = None) -> AccountClaims:
    pair = subject or KeyPair.generate(KeyKind.ACCOUNT)
    claims = AccountClaims.new(pair.public)
    claims.name = name
    (tool.home.parent / "a.jwt").write_text(jwt.encode(claims, signer or pair))
    return claims


def test_a_self_signed_account_is_signed(tool: Tool) -> None:
    claims = _account(tool, "S")
    result = json.loads(tool.ok("import", "account", "-j", "a.jwt", "--json"))["result"]
    assert result == {"name": "S", "public_key": claims.subject, "issuer": tool.claims("operator", "O")["sub"]}
    tool.ok("validate", "-a", "S")


def test_accounts_that_would_not_work_are_refused(tool: Tool) -> None:
    before = tool.files()
    _account(tool, "../../x")
    assert "name cannot contain '/'" in tool.refused("import", "account", "-j", "a.jwt")
    _account(tool, "F", KeyPair.generate(KeyKind.OPERATOR))
    assert "can only import account signed by same operator" in tool.refused("import", "account", "-j", "a.jwt")
    _account(tool, "A")
    assert "has a name collision only" in tool.refused("import", "account", "-j", "a.jwt", "--overwrite")
    _account(tool, "F")
    error = tool.refused("import", "account", "-j", "a.jwt", "-K", KeyPair.generate(KeyKind.OPERATOR).seed)
    assert "invalid account signer" in error
    (tool.home.parent / "a.txt").write_text("x")
    assert "expected these file endings: [.jwt]" in tool.refused("import", "account", "-j", "a.txt")
    assert tool.files() == before


def test_validation_may_be_skipped(tool: Tool) -> None:
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    claims = AccountClaims.new(pair.public)
    claims.name, claims.nats.info_url = "S", "nohost"
    (tool.home.parent / "a.jwt").write_text(jwt.encode(claims, pair))
    assert "[ERR ] validation is blocking, skip with --skip" in tool.refused("import", "account", "-j", "a.jwt")
    tool.ok("import", "account", "-j", "a.jwt", "--skip")
    assert "[WARN] validation resulted in: " in tool.err


def test_a_creds_file_with_the_seed_of_another_user_is_refused(tool: Tool) -> None:
    creds = tool.home / "creds" / "O" / "A" / "u.creds"
    path = tool.home.parent / "u.creds"
    lines = creds.read_text().splitlines()
    swapped = [KeyPair.generate(KeyKind.USER).seed if line.startswith("SU") else line for line in lines]
    path.write_text("\n".join(swapped))
    tool.ok("delete", "user", "u", "-a", "A", "-D", "-C")
    before = tool.files()
    assert "[ERR ] the seed is that of U" in tool.refused("import", "user", "-f", "u.creds")
    assert tool.files() == before


def test_a_user_of_a_foreign_key_is_refused(tool: Tool) -> None:
    claims = UserClaims.new(KeyPair.generate(KeyKind.USER).public)
    claims.name, claims.nats.issuer_account = "x", tool.claims("account", "A")["sub"]
    (tool.home.parent / "x.jwt").write_text(jwt.encode(claims, KeyPair.generate(KeyKind.ACCOUNT)))
    assert "can only import user signed by exiting account" in tool.refused("import", "user", "-f", "x.jwt")


# The operator.


def test_reissue_with_the_key_of_a_file(tool: Tool, tmp_path: Path) -> None:
    pair = KeyPair.generate(KeyKind.OPERATOR)
    (tmp_path / "key").write_text(pair.seed)
    old = tool.claims("operator", "O")["sub"]
    result = json.loads(tool.ok("reissue", "operator", "-K", "key", "--json"))["result"]
    assert (result["old_key"], result["new_key"], result["signed_again"]) == (old, pair.public, ["A"])
    tool.ok("validate", "-A")


def test_a_mistyped_identity_changes_nothing(tool: Tool) -> None:
    before = tool.files()
    assert "-K names no public key, no seed and no file" in tool.refused("reissue", "operator", "-K", "SOBOGUS")
    assert tool.files() == before


def test_reissue_of_an_operator_that_requires_signing_keys(tool: Tool) -> None:
    tool.ok("delete", "user", "u", "-a", "A")
    tool.ok("edit", "operator", "--sk", "generate")
    key = tool.claims("operator", "O")["nats"]["signing_keys"][0]
    tool.ok("edit", "account", "A", "--tag", "x", "-K", key)
    tool.ok("edit", "operator", "--require-signing-keys")
    pair = KeyPair.generate(KeyKind.OPERATOR)
    tool.ok("reissue", "operator", "-K", pair.seed)
    assert tool.claims("account", "A")["iss"] == key
    tool.ok("validate", "-A")


# Old layouts.


def test_a_keystore_that_cannot_be_migrated_stays(tool: Tool) -> None:
    (tool.home / "x.nk").write_text("hello")
    before = tool.files()
    assert "needs migration - type `nsk keys migrate` to update" in tool.refused("list", "keys")
    assert "illegal base32 data at input byte 0" in tool.refused("keys", "migrate")
    assert tool.files() == before


def test_an_operator_of_version_1_is_upgraded(tool: Tool, tmp_path: Path) -> None:
    operator = tool.claims("operator", "O")["sub"]
    pair = KeyPair.from_seed((tool.home / "keys" / "O" / operator[1:3] / f"{operator}.nk").read_text())
    path = tool.home / "O" / "O.jwt"
    path.write_text(_version_1(pair))
    assert "only supports jwtV2" in tool.refused("list", "accounts")
    before = tool.files()
    tool.ok("upgrade-jwt")
    assert "Declined to convert at this time. Rerun command when ready." in tool.err
    assert tool.files() == before
    result = json.loads(tool.ok("upgrade-jwt", "--OK", "--backup", "b.zip", "--json"))["result"]
    assert result == {"name": "O", "version": 2, "changed": True, "backup": str(tmp_path / "b.zip")}
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600
    assert "O/O.jwt" in zipfile.ZipFile(tmp_path / "b.zip").namelist()
    tool.ok("validate", "-A")


def test_an_operator_of_version_1_without_its_key_stays(tool: Tool) -> None:
    (tool.home / "O" / "O.jwt").write_text(_version_1(KeyPair.generate(KeyKind.OPERATOR)))
    assert "Identity Key for Operator O not found." in tool.refused("upgrade-jwt", "--OK")
    (tool.home / "O" / ".nsc").write_text('{"managed":true,"name":"O","kind":"operator","version":"1"}')
    assert "obtain a V2 jwt and re issue the above command" in tool.refused("upgrade-jwt", "--OK")


def _version_1(pair: KeyPair) -> str:
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (
            {"typ": "jwt", "alg": "ed25519"},
            {"iat": 1700000000, "iss": pair.public, "name": "O", "sub": pair.public, "type": "operator", "nats": {}},
        )
    )
    signature = base64.urlsafe_b64encode(pair.sign(payload.encode())).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


# Accounts of another operator.


def test_migrated_accounts_are_signed_by_their_new_operator(tool: Tool) -> None:
    tool.ok("add", "operator", "P")
    tool.ok("migrate", "--operator-dir", "h/O")
    assert tool.claims("account", "A")["iss"] == tool.claims("operator", "P")["sub"]
    tool.ok("validate", "-A")
    assert "cannot migrate" in tool.refused("migrate", "--operator-dir", "h/P")


# The tool itself.


def test_update_says_how(tool: Tool) -> None:
    assert "pip install --upgrade natskeep`" in tool.refused("update")
    assert "pip install --upgrade natskeep==9.9`" in tool.refused("update", "--version", "v9.9")
    installed = tool.ok("--version").split()[-1]
    tool.ok("update", "--version", installed)


def test_the_command_line_describes_itself(tool: Tool, tmp_path: Path) -> None:
    tool.ok("test", "flags")
    rows = [line.split(",") for line in tool.err.splitlines() if line]
    assert rows[0][0] == "cmd"
    assert {len(row) for row in rows} == {len(rows[0])}
    tool.ok("test", "whoflag", "not-referenced")
    assert tool.err.split("\n")[:2] == ["nsk export keys", "nsk list keys"]
    result = json.loads(tool.ok("test", "doc", "pages", "--json"))["result"]
    assert {path.name for path in (tmp_path / "pages").iterdir()} == set(result["files"])
    assert "nsk_restore.md" in result["files"]
    assert "## nsk export keys\n" in (tmp_path / "pages" / "nsk_export_keys.md").read_text()
