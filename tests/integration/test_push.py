"""Pushing accounts of a store to running servers: what the plan says beforehand happens, and nothing unasked.

natskeep keeps the accounts in memory here; with NATSKEEP_REFERENCE=/path/to/nats-server, that server keeps them in a
directory.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from auth.claims import Export, Import, UserPermissionLimits
from tests.support.ports import reserve_port
from tests.support.servers import ROOT, ServerProcess, Target, targets
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.keystore import KeyStore
from tools.nsk.provision import add_system_account, create_account, create_user
from tools.nsk.remote import UPDATE, UPDATE_ONE, Access, push_accounts
from tools.nsk.store import Store

SECONDS = 30.0


@dataclass
class Stage:
    """A store, and a server that knows its operator."""

    tool: Tool
    target: Target
    store: Store
    url: str

    def plan(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit code, and the plan."""
        code = self.tool("plan", "--json", *words)
        return code, json.loads(self.tool.out)["result"]

    @contextmanager
    def listening(self, user: str, subject: str) -> Iterator[subprocess.Popen[str]]:
        """A client of SHOP that listens, and ends when the server ends its connection."""
        words = ["-H", str(self.tool.home), "tool", "sub", "-a", "SHOP", "-u", user, subject]
        command = [sys.executable, "-m", "tools.nsk", *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
            try:
                assert process.stderr is not None
                assert "Listening on" in process.stderr.readline()
                yield process
            finally:
                process.kill()


def make_store(home: Path, url: str) -> Store:
    """Accounts SHOP, which exports news, and HUB, which imports them; each has a user."""
    store = Store.open(home, "O", KeyStore(home))
    add_system_account(store)
    operator = store.operator()
    operator.nats.account_server_url = url
    operator.nats.operator_service_urls = [url]
    store.sign_operator(operator)
    shop, hub = create_account(store, "SHOP"), create_account(store, "HUB")
    shop.nats.exports = [Export(name="news", subject="news.>", type="stream")]
    hub.nats.imports = [Import(name="news", subject="news.>", account=shop.subject, type="stream")]
    store.sign_account(shop)
    store.sign_account(hub)
    for account, user in (("SHOP", "web"), ("SHOP", "bob"), ("HUB", "reader")):
        create_user(store, account, user)
        store.write_creds(account, user)
    return store


@pytest.fixture(params=targets(), ids=lambda target: target.name)
def stage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    target: Target = request.param
    tool = tool_at(tmp_path, capsys, monkeypatch)
    url = f"nats://127.0.0.1:{reserve_port()}"
    store = make_store(tool.home, url)
    resolver = "--nats-resolver" if target.is_reference else "--mem-resolver"
    tool.ok("generate", "config", resolver, "--config-file", str(tmp_path / "operator.conf"))
    configuration = tmp_path / "server.conf"
    configuration.write_text(f'listen: "{url.removeprefix("nats://")}"\nserver_name: S1\ninclude "operator.conf"\n')
    with ServerProcess(target, ["-c", str(configuration)], tmp_path) as server:
        assert server.wait_until_ready(), server.output
        stage = Stage(tool, target, store, url)
        if target.is_reference:
            code, plan = stage.plan()
            assert (code, [account["deed"] for account in plan["accounts"]]) == (0, ["add", "add"])
            tool.ok("push", "-A")
        yield stage


def test_a_plan_tells_what_a_push_then_does(stage: Stage) -> None:
    tool = stage.tool
    with stage.listening("web", "orders.>") as web, stage.listening("bob", "secret.x") as bob:
        code, plan = stage.plan()
        assert (code, plan["accounts"], plan["breaks"]) == (0, [], False)
        bob_key = stage.store.user("SHOP", "bob").subject
        tool.ok("revocations", "add-user", "-a", "SHOP", "-n", "bob", "--at", "4000000000")
        code, plan = stage.plan()
        (shop,) = plan["accounts"]
        assert (code, plan["breaks"], shop["account"], shop["deed"]) == (1, True, "SHOP", "change")
        assert [(live["user"], "revoked" in live["closed"]) for live in shop["live"]] == [(bob_key, True)]
        assert [(user["name"], "revoked" in user["refused_after"]) for user in shop["users"]] == [("bob", True)]

        assert "push with --yes; nothing was pushed" in tool.refused("push", "-A")
        assert f"plan 12345 is stale: the store or the servers have changed since, and the plan is {plan['id']}" in (
            tool.refused("push", "--plan", "12345", "--yes")
        )
        assert stage.plan()[1]["id"] == plan["id"]
        assert bob.poll() is None

        assert '"SHOP" to nats-server S1: jwt updated' in tool_messages(tool, "apply", plan["id"], "--yes")
        assert bob.wait(SECONDS) == 1
        assert web.poll() is None


def tool_messages(tool: Tool, *words: str) -> str:
    """Run what must succeed; what it said."""
    tool.ok(*words)
    return tool.err


def test_subscriptions_that_go_are_told_beforehand(stage: Stage) -> None:
    with stage.listening("web", "secret.x") as web:
        stage.tool.ok("edit", "account", "SHOP", "--deny-sub", "secret.>", "--allow-pub", "orders.>")
        code, plan = stage.plan("-a", "SHOP")
        (shop,) = plan["accounts"]
        (live,) = shop["live"]
        assert (code, live["server"], live["closed"]) == (1, "S1", "")
        assert [one["subject"] for one in live["subscriptions"]] == ["secret.x"]
        assert {grant["subject"] for user in shop["users"] for grant in user["lost"]} == {">", "secret.>"}
        assert web.poll() is None


def test_a_plan_in_a_file_is_applied_or_stale(stage: Stage, tmp_path: Path) -> None:
    tool = stage.tool
    tool.ok("edit", "account", "SHOP", "--tag", "x")
    path = tmp_path / "plan.json"
    path.write_text(tool.ok("plan", "--json"))
    tool.ok("edit", "account", "SHOP", "--tag", "y")
    assert "is stale" in tool.refused("apply", str(path))
    path.write_text(tool.ok("plan", "--json"))
    tool.ok("apply", str(path))
    path.write_text("{}")
    assert "holds no plan" in tool.refused("apply", str(path))


def test_an_import_that_does_not_work_is_told(stage: Stage) -> None:
    tool = stage.tool
    assert 'import news.> of account "HUB" is in force' in tool_messages(tool, "push", "-a", "HUB", "--yes")
    hub = stage.store.account("HUB")
    hub.nats.imports.append(
        Import(name="n", subject="rumours", account=stage.store.account("SHOP").subject, type="stream")
    )
    stage.store.sign_account(hub)
    assert tool("plan", "-a", "HUB") == 0
    assert "~ stream import rumours of SHOP does not work" in tool.out
    if stage.target.is_reference:
        assert tool("push", "-a", "HUB") == 1
        assert 'import rumours of account "HUB" is not in force' in tool.err


def test_what_was_pushed_is_pulled_back_equal(stage: Stage) -> None:
    tool, store = stage.tool, stage.store
    if not stage.target.is_reference:
        assert "no responders" in tool.refused("pull", "-A")
        return
    before = store.account_tokens()
    store.delete_account("HUB")
    assert tool("pull", "-A") == 0, tool.err
    assert store.account_tokens() == before
    assert "list 3 accounts from nats-server S1" in tool_messages(tool, "push", "--diff")

    # What is deleted in the store goes from servers only when that is asked for and agreed to.
    hub = store.account("HUB").subject
    store.delete_account("HUB")
    assert stage.plan()[0] == 0
    code, plan = stage.plan("--prune")
    assert (code, plan["remove"], [account["deed"] for account in plan["accounts"]]) == (1, [hub], ["remove"])
    assert "push with --yes" in tool.refused("push", "--prune")
    assert "deleted 1 accounts" in tool_messages(tool, "push", "--prune", "--yes")
    assert "list 2 accounts from nats-server S1" in tool_messages(tool, "push", "--diff")
    assert "nothing to prune" in tool_messages(tool, "push", "--prune")
    assert "deleted 1 accounts" in tool_messages(tool, "push", "--account-removal", "SHOP", "--yes")
    assert "list 1 accounts from nats-server S1" in tool_messages(tool, "push", "--diff")


def test_a_deleted_account_is_told_until_servers_forget_it(stage: Stage) -> None:
    """Every plan of all accounts names it, and it stays on servers until its removal is asked for."""
    tool, hub = stage.tool, stage.store.account("HUB").subject
    with stage.listening("web", "orders.>"):
        tool.ok("delete", "account", "HUB")
        code, plan = stage.plan()
        assert (code, plan["breaks"], plan["accounts"]) == (0, False, [])
        (told,) = plan["only_on_servers"]
        assert (told["account"], told["public_key"], told["deleted_at"] > 0) == ("HUB", hub, True)
        assert stage.plan("-a", "SHOP")[1]["only_on_servers"] == []
        assert f"account HUB ({hub}): only on the servers, deleted here at " in tool_messages(tool, "push", "-A")
        assert stage.plan()[1]["only_on_servers"] == [told]
        code, plan = stage.plan("--prune")
        assert (code, plan["remove"], plan["only_on_servers"]) == (1, [hub], [])
    if stage.target.is_reference:
        assert "deleted 1 accounts" in tool_messages(tool, "push", "--prune", "--yes")
        assert stage.plan()[1]["only_on_servers"] == []


def test_a_user_that_may_only_push_pushes_without_a_plan(stage: Stage) -> None:
    limits = UserPermissionLimits(subscriptions=-1, data=-1, payload=-1)
    limits.publish.allow = [UPDATE, UPDATE_ONE.format("*")]
    create_user(stage.store, "SYS", "pusher", limits=limits)
    words = ("push", "-a", "SHOP", "--system-user", "pusher")
    refusal = stage.tool.refused(*words)
    assert "servers do not tell what they hold: Permissions Violation" in refusal
    said = tool_messages(stage.tool, *words, "--force")
    assert '"SHOP" to nats-server S1: jwt updat' in said
    assert "whether imports work cannot be told" in said


def test_the_modules_push_without_the_command(stage: Stage) -> None:
    (pushed,) = push_accounts(stage.store, ["SHOP"], Access(timeout=SECONDS))
    assert (pushed.succeeded, [answer.server for answer in pushed.taken]) == (True, ["S1"])
    (refused,) = push_accounts(stage.store, ["SHOP"], tokens={"SHOP": "nonsense"})
    assert not refused.succeeded
    assert refused.answers[0].problem


# Account servers.


class Accounts(BaseHTTPRequestHandler):
    """Keeps what is put to it."""

    kept: dict[str, bytes]

    def do_POST(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(200 if self.headers["Content-Type"] == "application/jwt" else 415, b"")

    def do_GET(self) -> None:
        found = self.kept.get(self.path)
        self._reply(404 if found is None else 200, found or b"")

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def account_server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of an account server, and what it keeps."""
    kept: dict[str, bytes] = {}
    handler = type("Handler", (Accounts,), {"kept": kept})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/jwt/v1", kept
        server.shutdown()
        thread.join(SECONDS)


class Person(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def test_account_servers_over_http(
    account_server: tuple[str, dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, kept = account_server
    tool = tool_at(tmp_path, capsys, monkeypatch)
    store = make_store(tool.home, url)
    assert 'pushed "SHOP" to account server' in tool_messages(tool, "push", "-A")
    shop = store.account("SHOP").subject
    assert kept[f"/jwt/v1/accounts/{shop}"].decode() == store.account_token("SHOP")
    assert tool("plan") == 0
    assert "nothing would change" in tool.out
    tool.ok("edit", "account", "SHOP", "--conns", "1")
    assert tool("plan") == 1
    assert "limit of connections: unlimited -> 1" in tool.out
    assert "nothing was pushed" in tool.refused("push", "-a", "SHOP")
    older = kept[f"/jwt/v1/accounts/{shop}"].decode()
    for answer, error in (("n", "Error: nothing was pushed"), ("y", 'pushed "SHOP" to account server')):
        monkeypatch.setattr(sys, "stdin", Person(f"{answer}\n"))
        tool("push", "-a", "SHOP")
        assert "something would break - push nevertheless?" in tool.err
        assert error in tool.err
    assert kept[f"/jwt/v1/accounts/{shop}"].decode() == store.account_token("SHOP") != older
    kept[f"/jwt/v1/accounts/{shop}"] = older.encode()
    kept["/jwt/v2/operator"] = store.operator_token().encode()
    tool.ok("pull", "-a", "SHOP", "--overwrite-newer")
    assert store.account_token("SHOP") == older
    assert 'pulled "O" from the account server' in tool_messages(tool, "pull", "-A")
    kept[f"/jwt/v1/accounts/{shop}"] = store.account_token("HUB").encode()
    assert "the server sent account" in tool.refused("pull", "-a", "SHOP")
    assert store.account_token("SHOP") == older
