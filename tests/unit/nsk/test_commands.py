"""Commands refuse what would not work, change what they name, and never print a secret that was not asked for."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A and a user u."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    found.ok("add", "user", "u")
    return found


# Signing keys.


def test_a_mistyped_role_is_no_signer(tool: Tool) -> None:
    tool.ok("edit", "signing-key", "--sk", "generate", "--role", "worker", "--allow-pub", "work.>")
    before = tool.files()
    error = tool.refused("add", "user", "w", "-K", "wroker")
    assert 'names no role with a stored key in account "A"' in error
    assert tool.files() == before
    tool.ok("add", "user", "w", "-K", "worker")
    assert tool.claims("user", "w")["nats"]["issuer_account"] == tool.claims("account", "A")["sub"]


def test_a_role_with_two_keys_is_ambiguous(tool: Tool) -> None:
    for _ in range(2):
        tool.ok("edit", "signing-key", "--sk", "generate", "--role", "r")
    assert "has several keys, name one: A" in tool.refused("add", "user", "w", "-K", "r")
    assert "has several keys, name one: A" in tool.refused("edit", "signing-key", "--sk", "r", "--subs", "5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["edit", "account", "A", "--tag", "x"], "no public key, no seed and no file that holds a seed"),
        (["edit", "operator", "--tag", "x"], "no public key, no seed and no file that holds a seed"),
        (["add", "operator", "P"], "a key is required"),
    ],
)
def test_what_names_no_key_is_no_signer(tool: Tool, words: list[str], message: str) -> None:
    before = tool.files()
    assert message in tool.refused(*words, "-K", "bogus")
    assert tool.files() == before


def test_seeds_are_never_repeated(tool: Tool) -> None:
    seed = KeyPair.generate(KeyKind.USER).seed
    for words in (
        ["edit", "account", "A", "--tag", "x", "-K", seed],
        ["edit", "account", "A", "--sk", seed],
        ["edit", "operator", "--sk", seed],
        ["add", "account", "B", "-k", seed],
        ["add", "user", "v", "-K", seed],
        ["add", "operator", "P", "-K", seed],
    ):
        assert seed not in tool.refused(*words)
        assert seed not in tool.out


def test_a_seed_may_lie_in_a_file(tool: Tool, tmp_path: Path) -> None:
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    (tmp_path / "key").write_text(f"{pair.seed}\n")
    tool.ok("edit", "account", "A", "--sk", pair.public)
    tool.ok("add", "user", "v", "-K", "key")
    assert tool.claims("user", "v")["iss"] == pair.public


# Permissions and limits.


def test_permissions(tool: Tool) -> None:
    tool.ok(
        "add", "user", "v", "--allow-pub", "b,a", "--allow-sub", "q one", "--deny-pubsub", "x", "--allow-pub-response"
    )
    data = tool.claims("user", "v")["nats"]
    assert data["pub"] == {"allow": ["a", "b"], "deny": ["x"]}
    assert data["sub"] == {"allow": ["q one"], "deny": ["x"]}
    assert data["resp"] == {"max": 1, "ttl": 0}
    tool.ok("edit", "user", "v", "--rm", "a,x,q one", "--rm-response-perms", "--allow-sub", "c")
    data = tool.claims("user", "v")["nats"]
    assert data["pub"] == {"allow": ["b"]}
    assert data["sub"] == {"allow": ["c"]}
    assert "resp" not in data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--allow-pub", "a b"], "illegal space"),
        (["--allow-sub", "a b c"], "at most contain one space"),
        (["--allow-pub", "a..b"], "consecutive"),
        (["--response-ttl", "5"], "missing unit"),
        (["--rm-response-perms", "--allow-pub-response=2"], "exclusive"),
        (["--conn-type", "CARRIER_PIGEON"], "unknown connection type CARRIER_PIGEON"),
        (["--locale", "Nowhere/Here"], "unknown time zone"),
        (["--source-network", "10.0.0.1"], "invalid cidr"),
        (["--expiry", "5x"], "couldn't parse expiry: 5x"),
    ],
)
def test_bad_values_change_nothing(tool: Tool, words: list[str], message: str) -> None:
    before = tool.files()
    assert message in tool.refused("edit", "user", "u", *words)
    assert tool.files() == before


def test_a_user_without_own_permissions_may_get_a_role(tool: Tool) -> None:
    tool.ok("edit", "signing-key", "--sk", "generate", "--role", "r", "--allow-pub", "x")
    tool.ok("edit", "user", "u", "-K", "r", "--tag", "t")
    assert tool.claims("user", "u")["nats"].keys() == {"pub", "sub", "issuer_account", "tags", "type", "version"}
    tool.ok("add", "user", "v", "--allow-pub", "mine")
    assert "conflict with signing key scope" in tool.refused("edit", "user", "v", "-K", "r", "--tag", "t")
    assert tool.claims("user", "v")["nats"]["pub"] == {"allow": ["mine"]}


def test_restrictions_of_an_account_stay(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--disallow-bearer", "--wildcard-exports=false")
    tool.ok("edit", "account", "A", "--tag", "x")
    limits = tool.claims("account", "A")["nats"]["limits"]
    assert limits["disallow_bearer"]
    assert "wildcards" not in limits
    assert "disallows bearer token" in tool.refused("edit", "user", "u", "--bearer")
    tool.ok("edit", "account", "A", "--disallow-bearer=false")
    tool.ok("edit", "user", "u", "--bearer")
    assert 'user "u" in account "A" uses bearer token' in tool.refused("edit", "account", "A", "--disallow-bearer")


def test_roles_may_not_be_bearers_where_the_account_disallows_it(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--disallow-bearer")
    error = tool.refused("edit", "signing-key", "--sk", "generate", "--role", "r", "--bearer")
    assert "forbids the use of bearer token" in error


def test_jetstream_limits_do_not_mix(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--js-tier", "3", "--js-disk-storage", "1G")
    tiers = "cannot set a jetstream global limit when a configuration has tiered limits 'R3'"
    assert tiers in tool.refused("edit", "account", "A", "--js-streams", "1")
    assert tiers in tool.refused("edit", "account", "A", "--js-enable", "0")
    tool.ok("edit", "account", "A", "--tag", "x")
    assert tool.claims("account", "A")["nats"]["limits"].keys() & {"streams", "consumer"} == set()
    tool.ok("edit", "account", "A", "--js-disable")
    tool.ok("edit", "account", "A", "--js-enable", "0")
    message = "cannot set a jetstream tier limit when a configuration has a global limit"
    assert message in tool.refused("edit", "account", "A", "--js-tier", "1", "--js-streams", "1")
    tool.ok("edit", "account", "A", "--js-max-bytes-required")
    assert tool.claims("account", "A")["nats"]["limits"]["max_bytes_required"]
    tool.ok("edit", "account", "A", "--js-max-bytes-required=false")
    assert "max_bytes_required" not in tool.claims("account", "A")["nats"]["limits"]
    assert "a number of replicas" in tool.refused("edit", "account", "A", "--js-tier", "-2", "--js-streams", "1")


# Deleting.


def test_nothing_is_deleted_that_cannot_be_revoked(tool: Tool) -> None:
    operator = tool.claims("operator")["sub"]
    (tool.home / "keys" / "O" / operator[1:3] / f"{operator}.nk").unlink()
    before = tool.files()
    for words in (["delete", "user", "u", "-R"], ["delete", "account", "A"]):
        assert "unable to resolve any of the following signing keys" in tool.refused(*words)
    assert tool.files() == before


def test_revocations(tool: Tool) -> None:
    user = tool.claims("user", "u")["sub"]
    tool.ok("revocations", "add-user", "-n", "u", "--at", "1700000000")
    assert tool.claims("account", "A")["nats"]["revocations"] == {user: 1700000000}
    assert "Tue, 14 Nov 2023 22:13:20 UTC" in tool.ok("revocations", "list-users")
    tool.ok("revocations", "delete-user")
    assert "no user revocations set in account A" in tool.refused("revocations", "delete-user")
    tool.ok("revocations", "add-user", "-u", "*")
    assert "is not revoked" in tool.refused("revocations", "delete-user")
    assert "mutually exclusive" in tool.refused("revocations", "add-user", "-n", "u", "-u", user)


# Output.


def test_data_goes_to_stdout_and_reports_to_stderr(tool: Tool) -> None:
    tool.ok("add", "user", "v")
    assert (tool.out, tool.err.count("[ OK ]")) == ("", 3)
    for words in (["list", "users"], ["env"], ["describe", "user", "u"], ["validate"], ["list", "keys", "-A"]):
        assert tool.ok(*words).startswith("+---")
        assert tool.err == ""
        assert "\x1b" not in tool.out


def test_nsc_has_its_own_streams(tool: Tool) -> None:
    tool.ok("--nsc-compatible-output", "add", "user", "v")
    assert tool.out.count("[ OK ]") == 3
    tool.ok("list", "accounts", "--nsc-compatible-output")
    assert tool.out == ""
    assert "\x1b[1mA" in tool.err


def test_flags_of_groups_stand_anywhere(tool: Tool) -> None:
    wanted = tool.ok("describe", "account", "A", "-F", "sub")
    assert tool.ok("describe", "-F", "sub", "account", "A") == wanted
    assert main(["describe", "account", "A", "-H", str(tool.home), "-F", "sub"]) == 0
    assert tool.capture.readouterr().out == wanted


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("nats.limits.conn", "-1"),
        ("nats[limits][conn]", "-1"),
        ("nats.tags[1]", '"b\\u003e"'),
        ("nats.none", "null"),
    ],
)
def test_fields(tool: Tool, path: str, value: str) -> None:
    tool.ok("edit", "account", "A", "--tag", "a,b>")
    assert tool.ok("describe", "account", "A", "-F", path) == f"{value}\n"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nats.none.x", 'unable to extract "x" in "nats.none.x" from <nil>'),
        ("nats.tags[9]", "index is out of bounds: 9"),
        ("nats.tags[-1]", 'error parsing index: "-1"'),
        ("nats.tags[0", "unterminated index expression"),
    ],
)
def test_fields_that_are_not_there(tool: Tool, path: str, message: str) -> None:
    tool.ok("edit", "account", "A", "--tag", "a")
    assert message in tool.refused("describe", "account", "A", "-F", path)


def test_names_of_others_do_not_drive_the_terminal(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--description", "\x1b[2J")
    assert "\x1b" not in tool.ok("describe", "account", "A")


def test_nkeys(tool: Tool) -> None:
    seed, public, _ = tool.ok("generate", "nkey", "-u").split("\n", 2)
    assert KeyPair.from_seed(seed).public == public
    stored = tool.ok("generate", "nkey", "-a", "-S").splitlines()
    assert (tool.home / "keys/A" / stored[0][1:3] / f"{stored[0]}.nk").is_file()
    assert len(stored[1].split()) == 4
    assert "set --operator" in tool.refused("generate", "nkey")


def test_tables_of_keys(tool: Tool) -> None:
    tool.ok("add", "user", "v", "-k", KeyPair.generate(KeyKind.USER).public)
    keys = json.loads(tool.ok("list", "keys", "-A", "-J"))
    assert [(key["name"], key["expected_kind"], bool(key["key_path"])) for key in keys] == [
        ("O", "operator", True),
        ("A", "account", True),
        ("u", "user", True),
        ("v", "user", False),
    ]
    assert "seed" not in keys[0]
    assert json.loads(tool.ok("list", "keys", "-o", "-J", "-S"))[0]["seed"].startswith("SO")
    assert tool.ok("list", "keys", "-A", "-f", "nosuchkey") == ""


def test_a_missing_operator_file_is_named(tool: Tool) -> None:
    error = tool.refused("add", "operator", "-u", "none.jwt")
    assert "none.jwt: no such file or directory" in error


def test_an_imported_operator_must_be_one(tool: Tool, tmp_path: Path) -> None:
    tool.ok("describe", "account", "A", "-R", "-o", "a.jwt")
    assert "not operator claim" in tool.refused("add", "operator", "-u", "a.jwt")
    (tmp_path / "big").write_bytes(b"x" * (2 * 1024 * 1024))
    assert "larger than" in tool.refused("add", "operator", "-u", "big")
    assert "expected 3 chunks" in tool.refused("describe", "jwt", "-f", str(tool.home / "O" / ".nsc"))


def test_random_names(tool: Tool) -> None:
    tool.ok("add", "user", "*")
    names = [entry["name"] for entry in json.loads(tool.ok("list", "users", "-J"))]
    assert len(names) == 2
    assert "*" not in names


# Files of other programs.


def test_the_old_keystore_stops_everything(tool: Tool) -> None:
    (tool.home / "old.nk").write_text("seed")
    assert "needs migration" in tool.refused("list", "accounts")


def _spoil_account(tool: Tool) -> None:
    (tool.home / "O/accounts/A/A.jwt").write_text("garbage")


def _spoil_operator(tool: Tool) -> None:
    (tool.home / "O/O.jwt").write_text("a.b.c")


@pytest.mark.parametrize("spoil", [_spoil_account, _spoil_operator])
def test_spoilt_files_are_errors(tool: Tool, spoil: Callable[[Tool], None]) -> None:
    spoil(tool)
    for words in (["validate"], ["generate", "config", "--mem-resolver"], ["describe", "account", "A"]):
        assert tool.refused(*words).startswith("Error: ")


def test_commands_at_once_lose_nothing(tool: Tool) -> None:
    words = [sys.executable, "-m", "tools.nsk", "-H", str(tool.home), "edit", "account", "A", "--tag"]
    tags = {f"t{number}" for number in range(6)}
    processes = [subprocess.Popen([*words, tag], cwd=ROOT, stderr=subprocess.DEVNULL) for tag in sorted(tags)]
    assert [process.wait(60) for process in processes] == [0] * len(tags)
    assert set(tool.claims("account", "A")["nats"]["tags"]) == tags


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    code = (
        "import sys; from tools.nsk.__main__ import main; main(['describe', 'account', '--help']);"
        "print([name for name in ('nats', 'rich', 'aiohttp', 'importlib.metadata') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# What natskeep adds to claims.


def test_rates_and_the_sender_are_claims_under_the_vendors_name(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--message-rate", "100", "--byte-rate", "1K", "--sender-identity")
    told = tool.claims("account", "A")["nats"]["natskeep"]
    assert told == {"message_rate": 100, "byte_rate": 1000, "sender_identity": True}
    tool.ok("edit", "account", "A", "--message-rate=-1", "--byte-rate=-1", "--sender-identity=false")
    assert "natskeep" not in tool.claims("account", "A")["nats"]
    tool.ok("edit", "user", "u", "--message-rate", "5")
    assert tool.claims("user", "u")["nats"]["natskeep"] == {"message_rate": 5}
    tool.ok("edit", "user", "u", "--message-rate=-1")
    assert "natskeep" not in tool.claims("user", "u")["nats"]


def test_a_rate_that_lets_nothing_through_is_refused(tool: Tool) -> None:
    before = tool.files()
    assert "natskeep message_rate must be 1 or more" in tool.refused("edit", "account", "A", "--message-rate", "0")
    assert "natskeep byte_rate must be 1 or more" in tool.refused("edit", "user", "u", "--byte-rate", "0")
    assert tool.files() == before


@pytest.mark.parametrize("words", [["add", "account", "B"], ["generate", "nkey", "--user", "--store"]])
def test_what_did_not_reach_the_disk_is_not_said_to_be_done(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """The disk is full when the transaction is written down."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    before = tool.files()
    with monkeypatch.context() as patch:
        patch.setattr("tools.nsk.transaction.journal.write", fail)
        assert "no space left" in tool.refused(*words)
        assert (tool.out, "[ OK ]" in tool.err) == ("", False)
        assert tool(*words, "--json") == 1
        assert json.loads(tool.out)["report"] == []
    assert tool.files() == before
    tool.ok(*words)
    assert tool.out + tool.err


def test_an_operator_of_the_same_name_elsewhere_keeps_its_creds(tool: Tool, tmp_path: Path) -> None:
    tool.ok("init", "X")
    creds = sorted((tool.home / "creds" / "X").rglob("*.creds"))
    before = [path.read_text() for path in creds]
    assert len(creds) == 2
    error = tool.refused("init", "X", "--dir", str(tmp_path / "other"))
    assert "holds the creds files of another operator" in error
    assert "--keystore-dir" in error
    assert [path.read_text() for path in creds] == before
    assert not (tmp_path / "other" / "X").exists()
    tool.ok("init", "X", "--dir", str(tmp_path / "other"), "--all-dirs", str(tmp_path / "apart"))
