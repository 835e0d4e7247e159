"""With ``--json``, what the commands that ask servers print is as their schemas say.

``Tool`` holds each document to its schema; the other commands are held to theirs in tests/unit/nsk/test_schemas.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import reserve_port
from tests.support.schema import problems
from tests.support.servers import NATSKEEP, ROOT, ServerProcess
from tests.unit.nsk.tool import Tool, schema_of, tool_at

SECONDS = 30.0


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tool]:
    """A store with an account A, and a server that keeps its accounts and a ledger in directories."""
    tool = tool_at(tmp_path, capsys, monkeypatch)
    url = f"nats://127.0.0.1:{reserve_port()}"
    tool.ok("add", "operator", "P", "--sys")
    tool.ok("edit", "operator", "--account-jwt-server-url", url, "--service-url", url)
    tool.ok("add", "account", "A")
    tool.ok("add", "user", "u")
    tool.ok("edit", "signing-key", "--sk", "generate", "--role", "worker", "--allow-pubsub", ">")
    tool.ok("add", "user", "w", "-K", "worker")
    tool.ok("generate", "config", "--nats-resolver", "--config-file", "operator.conf")
    configuration = (f'listen: "{url.removeprefix("nats://")}"', 'include "operator.conf"', 'audit { dir: "audit" }')
    (tmp_path / "server.conf").write_text("\n".join(configuration))
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], tmp_path, preforked=True) as server:
        assert server.wait_until_ready(), server.output
        yield tool


def _result(tool: Tool, *words: str) -> Any:
    tool.ok(*words, "--json")
    return json.loads(tool.out)["result"]


def test_accounts_and_keys(tool: Tool) -> None:
    plan = _result(tool, "plan")
    assert [account["deed"] for account in plan["accounts"]] == ["add"]
    _result(tool, "apply", plan["id"], "--yes")
    _result(tool, "push", "-A", "--yes")
    _result(tool, "pull", "-A")
    _result(tool, "rotate", "signing-key", "--account", "A", "--sk", "worker")
    for words in ("rotate status", "rotate continue", "rotate user u", "rotate continue", "rotate account A"):
        _result(tool, *words.split())
    _result(tool, "validate", "-A")
    creds = next(tool.home.rglob("w.creds"))
    leak = _result(tool, "leaked", str(creds), "--yes", "--log", "audit")
    assert leak["user"] == "w"


def test_messages(tool: Tool) -> None:
    tool.ok("push", "-A", "--yes")
    assert _result(tool, "tool", "rtt", "--user", "u")["microseconds"] > 0
    assert _result(tool, "tool", "pub", "--user", "u", "a.b", "hello")["count"] == 1
    heard = _until_it_ends(tool, ["sub", "a.b", "--max-messages", "1"], ["pub", "--user", "u", "a.b", "hello"])
    assert [message["text"] for message in heard["messages"]] == ["hello"]
    asked = _until_it_ends(
        tool, ["reply", "ask", "here it is", "--max-messages", "1"], ["req", "--user", "u", "ask", "please"]
    )
    assert [message["text"] for message in asked["messages"]] == ["please"]
    assert json.loads(tool.out)["result"]["messages"][0]["text"] == "here it is"


def _until_it_ends(tool: Tool, first: list[str], words: list[str]) -> Any:
    """What a client of its own prints that ends when it was served; ``words`` serve it as soon as it is there."""
    line = ["tool", first[0], "--user", "u", *first[1:], "--json"]
    command = [sys.executable, "-m", "tools.nsk", "-H", str(tool.home), *line]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end:
            served = tool("tool", *words, "--json")
            if words[0] == "req" and not served:
                break
        printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert problems(json.loads(printed), schema_of(line)) == []
    return json.loads(printed)["result"]


def test_the_ledger(tool: Tool) -> None:
    tool.ok("push", "-A", "--yes")
    assert _result(tool, "audit", "query", "audit", "--event", "account_changed")["entries"]
    assert len(_result(tool, "audit", "tail", "audit", "-n", "1")["entries"]) == 1
    assert tool("audit", "verify", "audit", "--json") in (0, 1)
    assert json.loads(tool.out)["result"]["intact"] is True
