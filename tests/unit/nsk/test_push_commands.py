"""What push, plan and pull refuse before any server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.commands import push
from tools.nsk.remote import Access
from tools.nsk.report import Report
from tools.nsk.session import Session

NOBODY = "nats://127.0.0.1:1"


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    tool = tool_at(tmp_path, capsys, monkeypatch)
    tool.ok("add", "operator", "P", "--sys")
    tool.ok("add", "account", "A")
    return tool


def test_tls_is_a_demand_that_nsc_does_not_know(tool: Tool) -> None:
    assert 'scheme "tls" is not supported' in tool.refused("--nsc-compatible-output", "push", "-u", "tls://127.0.0.1:1")
    assert "connection refused" in tool.refused("push", "-u", "tls://127.0.0.1:1")


def test_where_nobody_serves(tool: Tool) -> None:
    error = tool.refused("--nsc-compatible-output", "push", "-u", NOBODY)
    assert "[ERR ] failed to connect: nats: no servers available for connection" in error
    assert "failed to connect: cannot reach nats://127.0.0.1:1: connection refused" in tool.refused(
        "push", "-u", NOBODY
    )
    assert tool("plan", "-u", NOBODY) == 2
    assert "failed to connect" in tool.err
    tool.ok("edit", "operator", "--account-jwt-server-url", NOBODY)
    assert f"failed to connect to {NOBODY}: cannot reach" in tool.refused("pull", "-A")


def test_a_plan_needs_an_address(tool: Tool) -> None:
    assert tool("plan") == 2
    assert "no account server url or nats-server url was provided" in tool.err
    assert tool("plan", "-a", "B") == 2


@pytest.mark.parametrize("curves", ["P256", "p384,P521", "CurveP256, x25519"])
def test_curves_of_tls(tool: Tool, curves: str) -> None:
    assert "connection refused" in tool.refused("push", "-u", NOBODY, "--tls-curves", curves)


@pytest.mark.parametrize("curves", ["P257", "P256,,P384", "secp256k1"])
def test_unknown_curves_of_tls(tool: Tool, curves: str) -> None:
    assert "(accepted: P256, P384, P521, X25519)" in tool.refused("push", "-u", NOBODY, "--tls-curves", curves)


def test_without_a_system_account_nobody_can_ask(tool: Tool) -> None:
    tool.ok("env", "-o", "O")
    tool.ok("add", "account", "B")
    assert 'error obtaining system account user: system account "" not found' in tool.refused("push", "-u", NOBODY)


def test_what_is_no_plan_is_not_called_stale(tool: Tool) -> None:
    error = tool.refused("apply", "latest", "-u", NOBODY)
    assert 'Error: "latest" is neither the id of a plan nor a file' in error


def test_an_interrupted_push_tells_what_servers_have(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(session: Session, access: Access, task: push.Task, report: Report) -> push.PushResult:
        report.ok('pushed "A"')
        raise KeyboardInterrupt

    monkeypatch.setattr(push, "deliver", interrupted)
    assert tool("push", "-D", "-u", NOBODY) == 130
    assert '[ OK ] pushed "A"' in tool.err
    assert "interrupted: " in tool.err


def test_servers_have_to_be_told_of_a_deleted_account(tool: Tool) -> None:
    tool.ok("edit", "operator", "--account-jwt-server-url", NOBODY)
    public = tool.claims("account", "--name", "A")["sub"]
    tool.ok("delete", "account", "A")
    assert f"nsk push --account-removal {public}" in tool.err
