"""Grants of the account tool: they become allows, stay readable beside them, and go with no more than came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts.grants import parse_named_grant, permissions_of
from tests.unit.nsk.tool import Tool, tool_at


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    return found


def allowed(tool: Tool, user: str) -> tuple[set[str], set[str], list[str]]:
    """What a user may publish and subscribe to, and the grants."""
    nats: dict[str, Any] = tool.claims("user", user)["nats"]
    return set(nats["pub"]["allow"]), set(nats["sub"]["allow"]), nats["natskeep"]["grants"]


def expected(*grants: str) -> set[str]:
    return {one.subject for one in permissions_of([parse_named_grant(text) for text in grants]).publish.allow}


def test_grants_become_allows_and_stay_to_be_read(tool: Tool) -> None:
    assert not tool("add", "user", "u", "--grant", "kv:read  C", "--grant", "stream:write S s.>", "--allow-pub", "own")
    assert '[ OK ] granted "kv:read C"\n[ OK ] granted "stream:write S s.>"\n' in tool.err
    assert '[ OK ] added pub "$JS.API.DIRECT.GET.KV_C"' in tool.err
    both = expected("kv:read C", "stream:write S s.>")
    assert allowed(tool, "u") == (both | {"own"}, {"_INBOX.>"}, ["kv:read C", "stream:write S s.>"])
    shown = tool.ok("describe", "user", "u")
    assert "| Grants               | kv:read C " in shown
    assert "| Pub Allow            | $JS.ACK.KV_C.> " in shown
    assert tool("can-i", "publish", "$JS.API.STREAM.INFO.KV_C", "-u", "u") == 0
    assert '(user JWT pub.allow, grant "kv:read C")' in tool.out
    assert tool("can-i", "publish", "$JS.API.STREAM.PURGE.KV_C", "-u", "u") == 1
    assert 'as the grant "kv:manage C" would' in tool.out


def test_a_grant_goes_with_what_no_other_one_gives(tool: Tool) -> None:
    tool.ok("add", "user", "u", "--grant", "stream:read S", "--grant", "consumer:use S c", "--grant", "kv:write C")
    tool.ok("edit", "user", "u", "--rm-grant", "stream:read S", "--grant", "kv:read C k.*")
    kept = ["consumer:use S c", "kv:write C", "kv:read C k.*"]
    assert allowed(tool, "u") == (expected(*kept), {"_INBOX.>"}, kept)
    before = tool.files()
    assert "it has: " in tool.refused("edit", "user", "u", "--rm-grant", "stream:read S")
    assert tool.files() == before
    tool.ok("edit", "user", "u", "--rm-grant", ",".join(kept))
    nats = tool.claims("user", "u")["nats"]
    # Without an entry everything would be open.
    assert (nats["pub"], nats["sub"]) == ({"deny": [">"]}, {"deny": [">"]})
    assert "natskeep" not in nats
    assert "no grant lifts that" in tool.refused("edit", "user", "u", "--grant", "kv:read C")
    tool.ok("edit", "user", "u", "--grant", "kv:read C", "--rm", ">")
    assert allowed(tool, "u") == (expected("kv:read C"), {"_INBOX.>"}, ["kv:read C"])
    tool.ok("edit", "user", "u", "--rm", "$JS.ACK.KV_C.>")
    assert "kv:read C (not in full: some of its entries were removed)" in tool.ok("describe", "user", "u")


def test_inboxes_stay_private(tool: Tool) -> None:
    tool.ok("add", "user", "u", "--grant", "kv:read C", "--private-inbox")
    tool.ok("edit", "user", "u", "--grant", "kv:write C")
    assert allowed(tool, "u")[1] == {"_INBOX_u.>"}
    tool.ok("add", "user", "v", "--grant", "kv:read C,inbox:private _INBOX_v")
    assert allowed(tool, "v")[1] == {"_INBOX_v.>"}
    assert "an inbox alone leaves publishing open" in tool.refused("add", "user", "w", "--grant", "inbox:private x")


def test_filters_that_another_server_does_not_hold_to_are_warned_of(tool: Tool) -> None:
    assert not tool("add", "user", "u", "--grant", "stream:read S s.>")
    assert "[WARN] a nats-server lets it read all of the stream: it does not look at what payloads name" in tool.err
    assert not tool("add", "user", "v", "--grant", "stream:read S")
    assert "WARN" not in tool.err


def test_roles_of_signing_keys_have_grants(tool: Tool) -> None:
    grant = "kv:read C {{name()}}.>"
    tool.ok("edit", "signing-key", "--sk", "generate", "--role", "reader", "--grant", grant)
    assert grant in tool.ok("describe", "account", "A")
    assert "cannot be given together" in tool.refused("add", "user", "u", "-K", "reader", "--grant", "kv:read C")
    tool.ok("add", "user", "u", "-K", "reader")
    assert tool("can-i", "publish", "$JS.API.DIRECT.GET.KV_C.$KV.C.u.x", "-u", "u") == 0
    assert f'grant "{grant}"' in tool.out
    assert tool("can-i", "publish", "$JS.API.DIRECT.GET.KV_C.$KV.C.v.x", "-u", "u") == 1


def test_many_users_from_a_file(tool: Tool) -> None:
    Path("users.csv").write_text('name,grant\nu,"kv:read C,stream:write S s"\nv,\n')
    tool.ok("add", "users", "--from-csv", "users.csv")
    assert allowed(tool, "u")[0] == expected("kv:read C", "stream:write S s")


@pytest.mark.parametrize(
    ("grant", "problem"),
    [
        ("kv:rad C", "docs/grants.md shows how each is written"),
        ("stream:write S", "name the subjects that may be published to"),
    ],
)
def test_what_is_no_grant_is_refused(tool: Tool, grant: str, problem: str) -> None:
    before = tool.files()
    assert problem in tool.refused("add", "user", "u", "--grant", grant)
    assert tool.files() == before
