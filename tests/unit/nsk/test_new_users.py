"""Roles, private inboxes and many users at once: what is signed is what was asked for, or nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.subject import is_literal, overlaps
from auth.claims import Permissions
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.bulk import numbered
from tools.nsk.private_inbox import grant_private_inbox, private_prefix, withdraw_private_inbox
from tools.nsk.roles import ROLES
from tools.nsk.values import format_duration


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    return found


def permissions(tool: Tool, user: str) -> dict[str, Any]:
    nats = tool.claims("user", user)["nats"]
    return {name: nats[name] for name in ("pub", "sub", "resp") if nats.get(name)}


ANSWERS = {"max": 1, "ttl": 60_000_000_000}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--role", "service", "--subject", "s.>"], {"sub": {"allow": ["s.>"]}, "resp": ANSWERS}),
        (["--role", "service", "--subject", "s q"], {"sub": {"allow": ["s q"]}, "resp": ANSWERS}),
        (["--role", "consumer", "--subject", "s,t"], {"pub": {"deny": [">"]}, "sub": {"allow": ["s", "t"]}}),
        (["--role", "publisher", "--subject", "s"], {"pub": {"allow": ["s"]}, "sub": {"deny": [">"]}}),
        (["--role", "admin"], {"pub": {"allow": [">"]}, "sub": {"allow": [">", "_INBOX.>"]}, "resp": ANSWERS}),
        (
            ["--role", "Consumer", "--subject", "s", "--allow-pub", "acks"],
            {"pub": {"allow": ["acks"]}, "sub": {"allow": ["s"]}},
        ),
        (
            ["--role", "service", "--subject", "s", "--allow-pub-response=5", "--response-ttl", "2s"],
            {"sub": {"allow": ["s"]}, "resp": {"max": 5, "ttl": 2_000_000_000}},
        ),
        (
            ["--role", "publisher", "--subject", "s", "--private-inbox"],
            {"pub": {"allow": ["s"]}, "sub": {"allow": ["_INBOX_w.>"]}},
        ),
        (
            ["--role", "admin", "--private-inbox", "--subject", "s"],
            {"pub": {"allow": ["s"]}, "sub": {"allow": ["_INBOX_w.>", "s"]}, "resp": ANSWERS},
        ),
    ],
)
def test_a_role_is_spelled_out_in_the_claims(tool: Tool, flags: list[str], expected: dict[str, Any]) -> None:
    tool.ok("add", "user", "w", *flags)
    assert permissions(tool, "w") == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--role", "boss"], "the roles are: service, consumer, publisher, admin"),
        (["--role", "service"], "--subject <subject>"),
        (["--subject", "s"], "--subject names the subjects of a role"),
        (["--role", "publisher", "--subject", "s q"], "nobody can"),
        (["--role", "service", "--subject", "a..b"], "servers would refuse the JWT"),
    ],
)
def test_what_is_no_role_is_refused(tool: Tool, flags: list[str], message: str) -> None:
    before = tool.files()
    assert message in tool.refused("add", "user", "w", *flags)
    assert tool.files() == before


@pytest.mark.parametrize("flags", [["--role", "admin"], ["--private-inbox"]])
def test_a_scoped_signing_key_decides_alone(tool: Tool, flags: list[str]) -> None:
    tool.ok("edit", "signing-key", "--sk", "generate", "--role", "worker", "--allow-pub", "work.>")
    error = tool.refused("add", "user", "w", "-K", "worker", *flags)
    assert "cannot be given together with the scoped signing key" in error
    tool.ok("add", "user", "w", "-K", "worker")


def test_every_role_is_described() -> None:
    assert set(ROLES) == {"service", "consumer", "publisher", "admin"}
    assert all(role.purpose for role in ROLES.values())


# Private inboxes.


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_inboxes_of_two_users_never_overlap(one: str, other: str) -> None:
    for name in (one, other):
        assert is_literal(private_prefix(name))
        assert "." not in private_prefix(name)
    apart = not overlaps(f"{private_prefix(one)}.>", f"{private_prefix(other)}.>")
    assert apart is (one != other)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("alice", "_INBOX_alice"),
        ("my_user-1", "_INBOX_my_user-1"),
        ("a.b", "_INBOX_a%2Eb"),
        ("a b", "_INBOX_a%20b"),
        ("a*>", "_INBOX_a%2A%3E"),
        ("100%", "_INBOX_100%25"),
        ("zoë", "_INBOX_zo%C3%AB"),
    ],
)
def test_names_become_one_token(name: str, prefix: str) -> None:
    assert private_prefix(name) == prefix


def test_a_private_inbox_takes_the_place_of_the_shared_one() -> None:
    granted = Permissions()
    granted.subscribe.allow = ["_INBOX.>", "_INBOX.> q", "_INBOX.mine.*", "a.>"]
    assert grant_private_inbox(granted, "u") == ["_INBOX.>", "_INBOX.> q", "_INBOX.mine.*"]
    assert granted.subscribe.allow == ["_INBOX_u.>", "a.>"]
    assert withdraw_private_inbox(granted, "u")
    assert granted.subscribe.allow == ["_INBOX.>", "a.>"]
    assert not withdraw_private_inbox(granted, "u")


def test_a_context_beside_the_creds_tells_the_prefix(tool: Tool) -> None:
    tool.ok("edit", "operator", "--service-url", "nats://127.0.0.1:4222")
    tool.ok("add", "user", "a.b", "--private-inbox", "--allow-sub", "news.>")
    creds = tool.home / "creds" / "O" / "A"
    context = json.loads((creds / "a.b.json").read_text())
    assert context == {
        "nsc": "nsc://O/A/a.b",
        "url": "nats://127.0.0.1:4222",
        "creds": str(creds / "a.b.creds"),
        "inbox_prefix": "_INBOX_a%2Eb",
    }
    assert permissions(tool, "a.b") == {"sub": {"allow": ["_INBOX_a%2Eb.>", "news.>"]}}
    tool.ok("edit", "user", "a.b", "--private-inbox=false")
    assert not (creds / "a.b.json").exists()
    assert permissions(tool, "a.b") == {"sub": {"allow": ["_INBOX.>", "news.>"]}}
    tool.ok("edit", "user", "a.b", "--private-inbox")
    assert (creds / "a.b.json").exists()
    tool.ok("delete", "user", "a.b", "--rm-creds", "--rm-nkey")
    assert not list(creds.iterdir())


def test_a_generated_context_tells_the_prefix(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    tool.ok("add", "user", "u", "--private-inbox")
    tool.ok("generate", "context", "--user", "u", "--context", "mine")
    context = json.loads((tmp_path / "config" / "nats" / "context" / "mine.json").read_text())
    assert context["inbox_prefix"] == "_INBOX_u"


# Many users.


def test_numbered_names_sort_in_their_order() -> None:
    assert numbered("s-", 3) == ["s-1", "s-2", "s-3"]
    assert sorted(numbered("s", 120)) == numbered("s", 120)


def test_many_users_are_added_with_creds_and_copies(tool: Tool, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    words = ("add", "users", "--count", "30", "--prefix", "s", "--role", "publisher", "--subject", "t.>")
    document = json.loads(tool.ok(*words, "--output-dir", str(copies), "--json"))
    names = [user["name"] for user in document["result"]["users"]]
    assert names == numbered("s", 30)
    for user in document["result"]["users"]:
        assert (copies / f"{user['name']}.creds").read_text() == Path(user["creds_file"]).read_text()
        assert (copies / f"{user['name']}.creds").stat().st_mode & 0o777 == 0o600
    assert permissions(tool, "s30") == {"pub": {"allow": ["t.>"]}, "sub": {"deny": [">"]}}
    assert tool("validate", "-A") == 0, tool.err


CSV = """\
name,role,subject,allow-sub,expiry,tag,private-inbox
alice,service,"orders.*,stock.*",,30d,"blue,Red",
bob,publisher,orders.new,,,,true
carol,,,news.>,,,
"""


def test_users_of_a_file_are_added(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(CSV)
    tool.ok("add", "users", "--from-csv", "users.csv")
    assert permissions(tool, "alice") == {"sub": {"allow": ["orders.*", "stock.*"]}, "resp": ANSWERS}
    assert sorted(tool.claims("user", "alice")["nats"]["tags"]) == ["blue", "red"]
    assert tool.claims("user", "alice")["exp"] > 0
    assert permissions(tool, "bob") == {"pub": {"allow": ["orders.new"]}, "sub": {"allow": ["_INBOX_bob.>"]}}
    assert permissions(tool, "carol") == {"sub": {"allow": ["news.>"]}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dave,,,,5x,,", "users.csv:5: expiry: expiry"),
        ("dave,boss,s,,,,", "users.csv:5: role: there is no role"),
        ("dave,service,,,,,", "users.csv:5: role: the role service needs subjects"),
        (",service,s,,,,", "users.csv:5: name: user name is required"),
        ("a/b,,,,,,", "users.csv:5: name: name cannot contain"),
        ("alice,,,,,,", "users.csv:5: name: alice stands in line 2 already"),
        ("old,,,,,,", "users.csv:5: name: the user old already exists"),
        ("dave,,,a b c,,,", "users.csv:5: allow-sub: subscribe permission subject"),
        ("dave,,,,,,maybe", "users.csv:5: private-inbox: invalid argument"),
        ("dave,,s,,,,", "users.csv:5: subject: --subject names"),
        ("dave,,", "users.csv:5: 3 cells, where the first line has 7 columns"),
        ('dave,"', "cannot be read"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_added(tool: Tool, tmp_path: Path, line: str, message: str) -> None:
    tool.ok("add", "user", "old")
    (tmp_path / "users.csv").write_text(f"{CSV}{line}\n")
    before = tool.files()
    assert message in tool.refused("add", "users", "--from-csv", "users.csv")
    assert tool.files() == before


def test_all_wrong_lines_are_told_together(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("name,expiry\na,5x\nb,3d\nc,6x\n")
    error = tool.refused("add", "users", "--from-csv", "users.csv")
    assert "users.csv:2: expiry" in error
    assert "users.csv:4: expiry" in error
    assert ":3:" not in error


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("name,bogus", "no column 'bogus'"),
        ("name,name", "twice"),
        ("role,subject", "no column name"),
        ("", "no column"),
    ],
)
def test_the_first_line_names_the_columns(tool: Tool, tmp_path: Path, head: str, message: str) -> None:
    (tmp_path / "users.csv").write_text(f"{head}\n")
    error = tool.refused("add", "users", "--from-csv", "users.csv")
    assert message in error
    assert "the columns are: name, bearer" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--count, or name a file"),
        (["--count", "2", "--from-csv", "f"], "--count, or name a file"),
        (["--count", "0"], "from 1 to"),
        (["--count", "2", "--prefix", "a/"], "cannot contain"),
        (["--from-csv", "none.csv"], "cannot be read"),
        (["--from-csv", "none.csv", "--role", "admin"], "write it into a column"),
        (["--count", "2", "--output-dir", "h/out"], "lies in the keystore"),
        (["--count", "9", "--prefix", "u"], "choose another --prefix"),
    ],
)
def test_what_cannot_be_added_together_is_refused(tool: Tool, words: list[str], message: str) -> None:
    tool.ok("add", "user", "u7")
    before = tool.files()
    assert message in tool.refused("add", "users", *words)
    assert tool.files() == before


def test_the_documented_table_of_roles_is_the_data() -> None:
    lines = (Path(__file__).resolve().parents[3] / "docs" / "nsk" / "users.md").read_text().splitlines()
    for name, role in ROLES.items():
        publish, subscribe = (
            " ".join(f"`{entry}`" for entry in entries) or "nothing" for entries in (role.publish, role.subscribe)
        )
        answers = f"{role.responses} in {format_duration(role.response_ttl)}" if role.responses else "none"
        assert f"| `{name}` | {role.purpose} | {publish} | {subscribe} | {answers} |" in lines
