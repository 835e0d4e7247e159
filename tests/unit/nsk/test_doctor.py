"""Whatever the doctor finds, the command that it names mends, and what is well it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth import jwt
from auth.claims import ActivationClaims, Export, Import, JetStreamLimits, UserScope
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.doctor.examine import examine
from tools.nsk.doctor.findings import Severity
from tools.nsk.journal import NAME, Change, write
from tools.nsk.keystore import KeyStore
from tools.nsk.rotation.begin import Terms, begin_user
from tools.nsk.rotation.progress import Retirement, advance
from tools.nsk.store import Store

PAST, SOON = "2020-01-01", "3d"
MOMENT = int(time.time())


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator with a system account, and accounts A and B of which nothing is to be said."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "operator", "P", "--sys")
    found.ok("edit", "user", "-a", "SYS", "sys", "--expiry", "1y", "--subs", "100")
    for name in ("A", "B"):
        found.ok("add", "account", name)
        found.ok("add", "user", "-a", name, "u", "--allow-pubsub", "x", "--expiry", "1y")
        found.ok("edit", "user", "-a", name, "u", "--subs", "10")
    return found


def store_of(tool: Tool) -> Store:
    return Store.open(tool.home, "P", KeyStore(tool.home))


def findings(tool: Tool, severity: str = "info", code: int | None = None) -> list[dict[str, Any]]:
    ended = tool("doctor", "--severity", severity, "--json")
    found: list[dict[str, Any]] = json.loads(tool.out)["result"]["findings"]
    assert ended == (bool(found) if code is None else code)
    return found


def test_a_store_that_is_well(tool: Tool) -> None:
    assert findings(tool) == []
    assert tool("doctor") == 0
    assert "nothing of severity warning or above was found" in tool.err


# Ailments: each brings about one finding.


def _role(tool: Tool, *flags: str) -> None:
    tool.ok("edit", "signing-key", "-a", "A", "--sk", "generate", "--role", "r", *flags)
    tool.ok("add", "user", "-a", "A", "w", "-K", "r", "--expiry", "1y")


def _foreign_user(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--sk", "generate")
    [key] = store_of(tool).account("A").nats.signing_keys
    tool.ok("edit", "user", "-a", "A", "u", "-K", str(key), "--tag", "x")
    tool.ok("edit", "account", "A", "--rm-sk", str(key))
    store_of(tool).keystore.remove_key(str(key))


def _foreign_account(tool: Tool) -> None:
    store = store_of(tool)
    store.write_account("A", jwt.encode(store.account("A"), KeyPair.generate(KeyKind.OPERATOR)))


def _operator_key(tool: Tool) -> None:
    tool.ok("edit", "operator", "--sk", "generate")


def _export(tool: Tool, **fields: Any) -> Store:
    store = store_of(tool)
    giver = store.account("A")
    giver.nats.exports = [Export(name="s", subject="s.*", type="service", **fields)]
    store.sign_account(giver)
    return store


def _import(store: Store, exporter: str, subject: str = "s.x", token: str = "") -> None:
    taker = store.account("B")
    taker.nats.imports = [
        Import(name="s", subject=subject, account=exporter, type="service", token=token, local_subject="ask")
    ]
    store.sign_account(taker)


def _activation(store: Store, expires_at: int) -> str:
    activation = ActivationClaims.new(store.account("B").subject)
    activation.nats.import_subject, activation.nats.kind, activation.expires_at = "s.x", "service", expires_at
    return jwt.encode(activation, store.identity_signer(store.account("A").subject))


def _dangling(tool: Tool) -> None:
    _import(_export(tool), store_of(tool).account("A").subject, "other")


def _unknown_exporter(tool: Tool) -> None:
    _import(store_of(tool), KeyPair.generate(KeyKind.ACCOUNT).public)


def _not_activated(tool: Tool) -> None:
    _import(_export(tool, token_required=True), store_of(tool).account("A").subject)


def _activation_ended(tool: Tool) -> None:
    store = _export(tool, token_required=True)
    _import(store, store.account("A").subject, token=_activation(store, MOMENT - 5))


def _activation_ends(tool: Tool) -> None:
    store = _export(tool, token_required=True)
    _import(store, store.account("A").subject, token=_activation(store, MOMENT + 86400))


def _revoke(tool: Tool, key: str, moment: int) -> None:
    tool.ok("revocations", "add-user", "-a", "A", "-u", key, "--at", str(moment))


def _covered(tool: Tool) -> None:
    _revoke(tool, KeyPair.generate(KeyKind.USER).public, 1000)
    _revoke(tool, "*", 2000)


def _overtaken(tool: Tool) -> None:
    _revoke(tool, store_of(tool).user("A", "u").subject, 1000)


def _outlived(tool: Tool) -> None:
    """A user who was expired when another key took the place of its own."""
    store = store_of(tool)
    claims = store.user("A", "u")
    claims.expires_at = MOMENT - 10
    store.sign_user("A", claims)
    rotation = begin_user(store, "A", "u", Terms())
    advance(store, rotation, None, Retirement.FORCED, by_hand=True)
    tool.ok("edit", "user", "-a", "A", "u", "--expiry", "1y")


def _expired_and_revoked(tool: Tool) -> None:
    tool.ok("edit", "user", "-a", "A", "u", "--expiry", PAST)
    _revoke(tool, store_of(tool).user("A", "u").subject, int(time.time()) + 5)


def _no_system_account(tool: Tool) -> None:
    store = store_of(tool)
    operator = store.operator()
    operator.nats.system_account = ""
    store.sign_operator(operator)


def _no_system_account_at_all(tool: Tool) -> None:
    _no_system_account(tool)
    tool.ok("delete", "account", "SYS", "--rm-nkey", "--rm-creds")


def _jetstream(tool: Tool) -> None:
    store = store_of(tool)
    claims = store.account("SYS")
    claims.nats.limits.disk_storage = -1
    store.sign_account(claims)


def _jetstream_tier(tool: Tool) -> None:
    store = store_of(tool)
    claims = store.account("SYS")
    claims.nats.limits.tiered_limits = {"R3": JetStreamLimits(disk_storage=-1)}
    store.sign_account(claims)


def _forget_key(tool: Tool, public: Callable[[Store], str]) -> None:
    store = store_of(tool)
    store.keystore.remove_key(public(store))


def _operator_key_elsewhere(tool: Tool) -> None:
    store = store_of(tool)
    pair = store.identity_signer(store.operator().subject)
    store.keystore.remove_key(pair.public)
    (tool.home.parent / f"{pair.public}.nk").write_text(pair.seed)


def _stray_key(tool: Tool) -> None:
    store_of(tool).keystore.store_key(KeyPair.generate(KeyKind.ACCOUNT))


def _stray_creds(tool: Tool) -> None:
    store_of(tool).keystore.write_creds("P", "A", "gone", "x")


def _old_creds(tool: Tool) -> None:
    store = store_of(tool)
    old = store.creds("A", "u")
    tool.ok("edit", "user", "-a", "A", "u", "--tag", "x")
    store.keystore.write_creds("P", "A", "u", old)


def _overdue(tool: Tool) -> None:
    tool.ok("rotate", "user", "-a", "A", "u", "--retire-after", PAST)


def _break(tool: Tool, path: Callable[[Store], Path]) -> None:
    """Spoil a JWT of which there is a backup."""
    store, backup = store_of(tool), tool.home.parent / "backup"
    tool.ok("export", "keys", "--all", "--include-jwts", "--dir", str(backup))
    path(store).write_text("spoilt")


def _lose(tool: Tool) -> None:
    _break(tool, lambda store: store.account_path("A"))
    store_of(tool).account_path("A").unlink()


def _chmod(tool: Tool, mode: int, path: Callable[[Store], Path]) -> None:
    path(store_of(tool)).chmod(mode)


AILMENTS: dict[str, tuple[str, Callable[[Tool], object]]] = {
    "user expired": ("user-expired", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--expiry", PAST)),
    "user ends": ("user-expiring", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--expiry", SOON)),
    "account expired": ("account-expired", lambda tool: tool.ok("edit", "account", "A", "--expiry", PAST)),
    "account ends": ("account-expiring", lambda tool: tool.ok("edit", "account", "A", "--expiry", SOON)),
    "operator expired": ("operator-expired", lambda tool: tool.ok("edit", "operator", "--expiry", PAST)),
    "operator ends": ("operator-expiring", lambda tool: tool.ok("edit", "operator", "--expiry", SOON)),
    "user foreign": ("user-foreign", _foreign_user),
    "account foreign": ("account-foreign", _foreign_account),
    "admin": ("admin-without-expiry", lambda tool: tool.ok("edit", "user", "-a", "SYS", "sys", "--expiry", "0")),
    "broad": ("user-unrestricted", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--rm", "x")),
    "all named": ("user-unrestricted", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--allow-pubsub", ">")),
    "publishes": ("user-unrestricted", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--allow-pub", ">")),
    "broad role": ("user-unrestricted", lambda tool: _role(tool, "--subs", "5")),
    "no limits": ("user-without-limits", lambda tool: tool.ok("edit", "user", "-a", "A", "u", "--subs", "-1")),
    "no limits of a role": ("user-without-limits", lambda tool: _role(tool, "--allow-pubsub", "x")),
    "dangling": ("import-dangling", _dangling),
    "unknown exporter": ("import-unknown-account", _unknown_exporter),
    "not activated": ("import-not-activated", _not_activated),
    "activation ended": ("import-not-activated", _activation_ended),
    "activation ends": ("activation-expiring", _activation_ends),
    "seed": ("file-mode", lambda tool: _chmod(tool, 0o644, lambda s: s.keystore.key_path(s.operator().subject))),
    "jwt": ("file-mode", lambda tool: _chmod(tool, 0o640, lambda s: s.account_path("A"))),
    "directory": ("directory-mode", lambda tool: _chmod(tool, 0o755, lambda s: s.account_directory("A"))),
    "operator key": ("signing-key-unused", _operator_key),
    "account key": ("signing-key-unused", lambda tool: tool.ok("edit", "account", "A", "--sk", "generate")),
    "role": ("signing-key-unused", lambda tool: tool.ok("edit", "signing-key", "-a", "A", "--sk", "generate")),
    "user key": ("key-missing", lambda tool: _forget_key(tool, lambda s: s.user("A", "u").subject)),
    "account keys": ("key-missing", lambda tool: _forget_key(tool, lambda s: s.account("A").subject)),
    "operator keys": ("key-missing", _operator_key_elsewhere),
    "stray key": ("key-unreferenced", _stray_key),
    "covered": ("revocation-covered", _covered),
    "overtaken": ("revocation-overtaken", _overtaken),
    "outlived": ("revocation-outlived", _outlived),
    "expired and revoked": ("revocation-outlived", _expired_and_revoked),
    "no system account": ("system-account-missing", _no_system_account),
    "no account for the system": ("system-account-missing", _no_system_account_at_all),
    "jetstream": ("system-account-jetstream", _jetstream),
    "jetstream tier": ("system-account-jetstream", _jetstream_tier),
    "stray creds": ("creds-without-user", _stray_creds),
    "old creds": ("creds-outdated", _old_creds),
    "overdue": ("rotation-overdue", _overdue),
    "broken operator": ("jwt-broken", lambda tool: _break(tool, lambda s: s.operator_path)),
    "broken account": ("jwt-broken", lambda tool: _break(tool, lambda s: s.account_path("A"))),
    "broken user": ("jwt-broken", lambda tool: _break(tool, lambda s: s.user_path("A", "u"))),
    "no account": ("jwt-broken", _lose),
    "broken rotations": ("rotations-broken", lambda tool: (tool.home / "P" / ".rotations").write_text("{")),
}


@pytest.mark.parametrize("ailment", AILMENTS)
def test_the_command_mends_it(tool: Tool, ailment: str) -> None:
    kind, bring_about = AILMENTS[ailment]
    bring_about(tool)
    found = [finding for finding in findings(tool) if finding["id"] == kind]
    assert found
    for finding in found:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            finding["command"],
            shell=True,
            check=False,
            cwd=tool.home.parent,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{finding['command']}\n{done.stdout}{done.stderr}"
    left = [(one["id"], one["place"]) for one in findings(tool)]
    assert not {(one["id"], one["place"]) for one in found} & set(left)


def test_every_kind_is_tried() -> None:
    """The kinds that the sources name are those that are brought about here."""
    import re

    sources = Path(examine.__code__.co_filename).parent
    text = "".join(path.read_text() for path in sources.glob("*.py"))
    named = set(re.findall(r'^ +(?:kind, \w+ = )?f?"([a-z{}]+(?:-[a-z]+)+)"(?:,| if)', text, re.MULTILINE))
    assert len(named) > 15
    assert {kind for kind, _ in AILMENTS.values()} >= {one for one in named if "{" not in one}


# What cannot be read.


def test_what_cannot_be_read_hides_nothing_else(tool: Tool) -> None:
    """One broken account and one broken user are told, and so is what is wrong with all others."""
    store = store_of(tool)
    tool.ok("edit", "user", "-a", "SYS", "sys", "--expiry", PAST)
    store.account_path("A").write_bytes(b"\xff\xfe")
    store.user_path("B", "u").write_text("spoilt")
    found = {(one["id"], one["place"]) for one in findings(tool)}
    assert found == {
        ("jwt-broken", str(store.account_path("A"))),
        ("jwt-broken", str(store.user_path("B", "u"))),
        ("user-expired", 'user "sys" of account "SYS"'),
    }


def test_without_the_operator_only_files_are_looked_at(tool: Tool) -> None:
    store = store_of(tool)
    store.operator_path.write_text("spoilt")
    store.account_path("A").chmod(0o644)
    assert [one["id"] for one in findings(tool)] == ["jwt-broken", "file-mode"]


def test_a_broken_account_makes_no_import_of_others_look_needless(tool: Tool) -> None:
    """What is said of imports and keys by what is not there is not said while something cannot be read."""
    _import(_export(tool), store_of(tool).account("A").subject)
    store_of(tool).account_path("A").write_text("spoilt")
    assert [one["id"] for one in findings(tool)] == ["jwt-broken"]


def test_another_operator_that_cannot_be_read_leaves_keys_alone(tool: Tool) -> None:
    tool.ok("add", "operator", "Q")
    tool.ok("select", "operator", "P")
    _stray_key(tool)
    assert [one["id"] for one in findings(tool)] == ["key-unreferenced"]
    (tool.home / "Q" / "Q.jwt").write_text("spoilt")
    assert [(one["id"], one["place"]) for one in findings(tool)] == [("jwt-broken", 'operator "Q"')]


# What the command does besides.


def test_a_command_that_was_cut_off(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed command leaves is a journal whose changes are not all made."""
    path = tool.home / "P" / "left"
    with monkeypatch.context() as patch:
        # The end of a transaction is that its journal goes.
        patch.setattr(Path, "unlink", lambda *_, **__: os._exit(9))
        child = os.fork()
        if child == 0:
            write([Change("write", path, "x")], [tool.home])
            os._exit(0)
        os.waitpid(child, 0)
    assert (tool.home / NAME).is_file()
    assert [one["id"] for one in findings(tool, "warning", 1)] == ["journal-left"]
    assert findings(tool, "warning") == []
    assert path.read_text() == "x"


def test_fix_mends_what_is_safe_and_nothing_else(tool: Tool) -> None:
    _covered(tool)
    _chmod(tool, 0o644, lambda store: store.user_path("A", "u"))
    tool.ok("edit", "user", "-a", "B", "u", "--expiry", SOON)
    assert tool("doctor", "--severity", "info", "--fix") == 2
    assert "confirm with --yes" in tool.err
    assert len(findings(tool)) == 3
    assert tool("doctor", "--severity", "info", "--fix", "--yes") == 1
    assert [one["id"] for one in findings(tool)] == ["user-expiring"]
    assert set(store_of(tool).account("A").nats.revocations) == {"*"}
    assert tool("doctor", "--fix", "--yes") == 1
    assert "nothing of it can be mended" in tool.err


def test_severities(tool: Tool) -> None:
    _stray_key(tool)
    tool.ok("edit", "user", "-a", "A", "u", "--expiry", SOON)
    tool.ok("edit", "user", "-a", "B", "u", "--expiry", PAST)
    assert [one["severity"] for one in findings(tool)] == ["error", "warning", "info"]
    assert [one["severity"] for one in findings(tool, "warning")] == ["error", "warning"]
    assert [one["severity"] for one in findings(tool, "error")] == ["error"]
    assert tool("doctor", "--severity", "grave") == 2
    assert tool("doctor", "--within", "sometime") == 2


def test_rotations_under_way_are_no_findings(tool: Tool) -> None:
    tool.ok("rotate", "account", "A")
    tool.ok("rotate", "user", "-a", "B", "u")
    assert findings(tool) == []


def test_from_python(tool: Tool) -> None:
    tool.ok("edit", "user", "-a", "A", "u", "--expiry", SOON)
    store = store_of(tool)
    [finding] = examine(store, severity=Severity.WARNING)
    assert (finding.id, finding.is_safe) == ("user-expiring", False)
    assert examine(store, severity=Severity.WARNING, within=0) == []
    [finding] = examine(store, severity=Severity.ERROR, now=time.time() + 4 * 86400)
    assert finding.id == "user-expired"


def test_a_scope_says_what_its_users_may_do(tool: Tool) -> None:
    _role(tool, "--allow-pubsub", "x", "--subs", "5")
    assert findings(tool) == []
    scope = store_of(tool).account("A").nats.signing_keys[0]
    assert isinstance(scope, UserScope)
    tool.ok("edit", "signing-key", "-a", "A", "--sk", scope.key, "--rm", "x")
    [finding] = findings(tool)
    assert scope.key in finding["command"]
