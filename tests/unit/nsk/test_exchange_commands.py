"""Exports, imports, activations, mappings and auth callouts: what is refused, what is told, and what is left alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from auth.claims import Export, Import, WeightedMapping
from auth.nkey import KeyKind, KeyPair
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk import exchange
from tools.nsk.errors import NskError
from tools.nsk.keystore import KeyStore
from tools.nsk.provision import create_account, create_operator
from tools.nsk.store import Store

USER = KeyPair.generate(KeyKind.USER)


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with accounts A and B, of which A offers p privately."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "B")
    found.ok("add", "account", "A")
    found.ok("add", "export", "-s", "p", "--private")
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The same for those who call Python."""
    store = create_operator(tmp_path / "stores", "O", KeyStore(tmp_path / "keys"))
    create_account(store, "A")
    create_account(store, "B")
    exchange.add_export(store, "A", Export(name="p", subject="p", type="stream", token_required=True))
    return store


def exports(tool: Tool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tool.claims("account", "A")["nats"]["exports"]
    return found


def document(tool: Tool, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tool.ok(*words, "--json"))
    assert found["ok"]
    result: dict[str, Any] = found["result"]
    return result


# What the shell took.


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["add", "export", "-s", ".REQ.ACCOUNT.PING"], "'$SYS.REQ.ACCOUNT.PING'"),
        (["add", "export", "-s", ".API.>"], "'$JS.API.>'"),
        (["add", "export", "-s", ".bucket.>"], "'$NAME.bucket.>'"),
        (["add", "export", "-s", ""], "'$SYS.>'"),
        (["add", "export", "-s", "svc", "-r", "--latency", ".lat"], "'$NAME.lat'"),
        (["add", "import", "--src-account", "B", "--remote-subject", ".ACCOUNT.x"], "'$SYS.ACCOUNT.x'"),
        (["add", "import", "--src-account", "B", "--remote-subject", "a.*.b", "-s", "b..c"], "'b.$1.c'"),
        (["add", "mapping", "-f", "", "-t", "b"], "'$SYS.>'"),
        (["add", "mapping", "-f", "a.*", "-t", ""], "'$SYS.>'"),
        (["add", "mapping", "-f", "a.*", "-t", "b."], "'b.$1'"),
        (["add", "user", "u", "--allow-pubsub", ".API.>"], "'$JS.API.>'"),
        (["edit", "account", "A", "--deny-sub", ".ACK.> q"], "'$JS.ACK.>'"),
        (["edit", "account", "A", "--trace-context-subject", ".trace"], "'$NAME.trace'"),
        (["generate", "activation", "-t", "B", "-s", ".REQ.x"], "'$SYS.REQ.x'"),
    ],
)
def test_what_the_shell_took_is_told_with_the_remedy(tool: Tool, words: list[str], remedy: str) -> None:
    before = tool.files()
    error = tool.refused(*words)
    assert f"outside single quotes: write {remedy}" in error
    assert tool.files() == before


@pytest.mark.parametrize("subject", ["a..b", "a b"])
def test_other_mistakes_are_not_laid_to_the_shell(tool: Tool, subject: str) -> None:
    assert "single quotes" not in tool.refused("add", "export", "-s", subject)


@pytest.mark.parametrize(
    ("subject", "meant"),
    [("SYS.REQ.X", "$SYS.REQ.X"), ("YS.REQ.X", "$SYS.REQ.X"), ("JS.API.>", "$JS.API.>"), ("S.API.>", "$JS.API.>")],
)
def test_a_lost_dollar_is_warned_of_and_never_put_back(tool: Tool, subject: str, meant: str) -> None:
    tool.ok("add", "export", "-s", subject)
    assert f"write '{meant}' in single quotes" in tool.err
    assert subject in [export["subject"] for export in exports(tool)]
    tool.ok("add", "user", f"u{len(subject)}", "--allow-pub", subject)
    assert f"write '{meant}' in single quotes" in tool.err


@pytest.mark.parametrize("subject", ["$SYS.REQ.X", "$JS.API.>", "SYS", "SYS.tem", "JS.REQ.x", "api.JS.API"])
def test_subjects_that_are_meant_so_pass_as_they_are(tool: Tool, subject: str) -> None:
    tool.ok("add", "export", "-s", subject)
    assert "WARN" not in tool.err
    assert subject in [export["subject"] for export in exports(tool)]


# Exports.


def test_an_export_becomes_private_only_without_a_token_position(tool: Tool) -> None:
    tool.ok("add", "export", "-s", "acc.*", "--account-token-position", "2")
    before = tool.files()
    assert "only valid for public exports" in tool.refused("edit", "export", "-s", "acc.*", "--private")
    assert tool.files() == before


def test_a_response_type_that_is_named_again_stays(tool: Tool) -> None:
    tool.ok("add", "export", "-s", "svc", "-r", "--response-type", "Chunked")
    tool.ok("edit", "export", "-s", "svc", "--response-type", "Chunked")
    assert "changed response type" not in tool.err
    assert exports(tool)[-1]["response_type"] == "Chunked"
    tool.ok("edit", "export", "-s", "svc", "--latency", "lat")
    assert "response_type" not in exports(tool)[-1]


def test_sampling_is_a_percentage_or_header(tool: Tool) -> None:
    add = ("add", "export", "-s", "svc", "-r", "--latency", "lat", "--sampling")
    assert 'sampling "often" is no percentage' in tool.refused(*add, "often")
    tool.ok(*add, "HEADER")
    assert exports(tool)[-1]["service_latency"] == {"sampling": "headers", "results": "lat"}


def test_what_servers_would_pass_over_is_refused(tool: Tool) -> None:
    before = tool.files()
    assert "is passed over" in tool.refused("add", "export", "-s", "a.>.b")
    assert tool.files() == before


# Activations.


def test_where_signing_keys_are_required_one_signs_activations(tool: Tool) -> None:
    tool.ok("edit", "operator", "--sk", "generate")
    for account in ("A", "B"):
        tool.ok("edit", "account", account, "--tag", "x", "-K", tool.claims("operator")["nats"]["signing_keys"][0])
    tool.ok("edit", "operator", "--require-signing-keys")
    error = tool.refused("generate", "activation", "-t", "B")
    assert "the operator requires signing keys" in error
    assert "edit account A --sk generate" in error
    tool.ok("edit", "account", "A", "--sk", "generate")
    result = document(tool, "generate", "activation", "-t", "B", "-o", "a.tok")
    assert result["file"].endswith("a.tok")
    assert result["token"] is None
    token = tool.claims("jwt", "-f", "a.tok")
    assert token["iss"] == tool.claims("account", "A")["nats"]["signing_keys"][0]
    tool.ok("add", "import", "-a", "B", "--token", "a.tok")


def test_an_expired_activation_is_imported_with_a_warning(tool: Tool) -> None:
    tool.ok("generate", "activation", "-t", "B", "--expiry=-1h", "-o", "a.tok")
    tool.ok("add", "import", "-a", "B", "--token", "a.tok")
    assert "[WARN] the activation expired at" in tool.err


def test_a_token_that_lacks_its_signature_is_not_imported(tool: Tool) -> None:
    tool.ok("generate", "activation", "-t", "B", "-o", "a.tok")
    path = Path("a.tok")
    token = path.read_text().split("\n")[1]
    path.write_text(token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB"))
    before = tool.files()
    tool.refused("add", "import", "-a", "B", "--token", "a.tok")
    assert tool.files() == before


def test_a_later_revocation_is_not_shortened(tool: Tool) -> None:
    revoke = ("revocations", "add-activation", "-t", "B", "--at")
    tool.ok(*revoke, "2000")
    result = document(tool, *revoke, "1000")
    assert [found["before"] for found in result["revocations"]] == [2000]
    assert document(tool, "revocations", "delete-activation", "-t", "B")["revocations"] == []


@dataclass
class Web:
    """An account server: what it was sent, and how it replies."""

    port: int = 0
    status: int = 200
    body: bytes = b""
    posted: list[tuple[str, str | None, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwt/v1"


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.posted.append((self.path, self.headers["Content-Type"], body))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(found.body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """The test's output is not for it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def test_an_activation_is_pushed_and_imported_from_its_url(tool: Tool, web: Web) -> None:
    tool.ok("edit", "operator", "--account-jwt-server-url", web.url)
    result = document(tool, "generate", "activation", "-t", "B", "--push")
    assert web.posted == [("/jwt/v1/activations", "application/jwt", result["token"])]
    assert result["url"].startswith(f"{web.url}/activations/")
    web.body = result["token"].encode()
    tool.ok("add", "import", "-a", "B", "--token", result["url"])
    assert tool.claims("account", "B")["nats"]["imports"][0]["token"] == result["token"]


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (200, ["[ OK ] push jwt to account server:", "       [ OK ] pushed account jwt to the account server"]),
        (202, ["[WARN] push jwt to account server:", "       [WARN] pushed account jwt was accepted by"]),
        (400, ["[ERR ] push jwt to account server:", "       [ERR ] failed to push account to remote server"]),
    ],
)
def test_what_an_account_server_says_is_told(tool: Tool, web: Web, status: int, lines: list[str]) -> None:
    tool.ok("edit", "operator", "--account-jwt-server-url", web.url)
    web.status, web.body = status, b"so be it\n"
    code = tool("generate", "activation", "-t", "B", "-o", "a.tok", "--push")
    assert code == (status == 400)
    for line in (*lines, "       > so be it"):
        assert line in tool.err
    assert ("activation accessible at" in tool.err) is (status != 400)
    assert Path("a.tok").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [("nats://127.0.0.1:1", "only supported for http base account server"), ("http://127.0.0.1:1", "refused")],
)
def test_a_push_that_cannot_be_is_an_error(tool: Tool, url: str, message: str) -> None:
    tool.ok("edit", "operator", "--account-jwt-server-url", url)
    assert message in tool.refused("generate", "activation", "-t", "B", "--push")


def test_an_url_without_a_token_is_not_imported(tool: Tool, web: Web) -> None:
    before = tool.files()
    web.status = 404
    error = tool.refused("add", "import", "-a", "B", "--token", f"{web.url}/activations/x")
    assert "error loading" in error
    assert "404" in error
    web.status, web.body = 200, b"<html>"
    tool.refused("add", "import", "-a", "B", "--token", f"{web.url}/activations/x")
    assert tool.files() == before


# Imports.


def test_an_import_of_another_account_is_not_deleted(tool: Tool) -> None:
    tool.ok("add", "account", "C")
    tool.ok("add", "import", "-a", "C", "--src-account", "A", "--remote-subject", "x")
    before = tool.files()
    assert 'no import matching "x" found from account B' in tool.refused(
        "delete", "import", "-a", "C", "-s", "x", "--src-account", "B"
    )
    assert tool.files() == before
    assert document(tool, "delete", "import", "-a", "C", "-s", "x", "--src-account", "A")["subject"] == "x"


# Mappings.


def test_any_target_of_a_mapping_can_be_deleted(tool: Tool) -> None:
    for target in ("b", "c", "d", "e"):
        tool.ok("add", "mapping", "-f", "a", "-t", target, "--weight", "20")
    assert [target["subject"] for target in document(tool, "delete", "mapping", "-f", "a", "-t", "d")["targets"]] == [
        "b",
        "c",
        "e",
    ]
    assert document(tool, "delete", "mapping", "-f", "a", "-t", "e")["targets"][-1]["subject"] == "c"


# Auth callouts.


def test_a_generated_curve_key_is_stored_only_with_the_edit(tool: Tool) -> None:
    before = tool.files()
    tool.refused("edit", "authcallout", "A", "--curve", "generate", "--allowed-account", "*")
    assert tool.files() == before
    result = document(tool, "edit", "authcallout", "A", "--curve", "generate", "--auth-user", USER.public)
    assert result["auth_users"] == [USER.public]
    assert KeyStore(tool.home).has_key(result["curve"])


def test_seeds_are_taken_and_never_repeated(tool: Tool) -> None:
    assert document(tool, "edit", "authcallout", "A", "--auth-user", USER.seed)["auth_users"] == [USER.public]
    for flag in ("--allowed-account", "--curve"):
        assert USER.seed not in tool.refused("edit", "authcallout", "A", flag, USER.seed)


# From Python.


def test_everything_can_be_done_without_a_command_line(store: Store) -> None:
    activated = exchange.activate(store, "A", "p", store.account("B").subject)
    item = Import(name="p", subject="p", account=store.account("A").subject, token=activated.token, type="stream")
    assert exchange.add_import(store, "B", item).nats.imports == [item]
    assert exchange.delete_import(store, "B", "p", "A") == item
    assert exchange.add_mapping(store, "A", "a", WeightedMapping(subject="b", weight=30)).nats.mappings["a"]
    assert exchange.delete_mapping(store, "A", "a") == 1
    place = exchange.ExportPlace("A", exchange.STREAM)
    assert exchange.revoke_activations(store, place, exchange.EVERY_ACCOUNT, 5).revocations == {"*": 5}
    assert exchange.restore_activations(store, place, exchange.EVERY_ACCOUNT).revocations == {}
    assert exchange.delete_export(store, "A", "p").name == "p"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda store: exchange.delete_export(store, "B", ""), 'account "B" doesn\'t have exports'),
        (lambda store: exchange.delete_import(store, "A", ""), 'account "A" doesn\'t have imports'),
        (
            lambda store: exchange.add_import(
                store, "A", Import(subject="p", account=store.account("A").subject, type="stream")
            ),
            "export issuer is this account",
        ),
        (
            lambda store: exchange.activate(store, "A", "q", store.account("B").subject),
            'a private export for "q" was not found in account "A"',
        ),
        (
            lambda store: exchange.ExportPlace("A", exchange.SERVICE).export(store.account("A")),
            'account "A" doesn\'t have service exports',
        ),
    ],
)
def test_refusals_have_reasons(store: Store, change: Callable[[Store], object], message: str) -> None:
    before = store.account_token("A")
    with pytest.raises(NskError) as refused:
        change(store)
    assert refused.value.text == message
    assert store.account_token("A") == before


def test_an_old_fault_does_not_stop_another_change(store: Store) -> None:
    claims = store.account("A")
    claims.nats.mappings["x.*"] = [WeightedMapping(subject="y.$2")]
    store.sign_account(claims)
    exchange.add_export(store, "A", Export(name="q", subject="q", type="stream"))
    assert exchange.omissions(store.account("A")) == exchange.omissions(claims) != []


# What others make of them.


def test_what_servers_would_pass_over_is_found_by_validate(tool: Tool) -> None:
    tool.ok("add", "export", "-s", "svc", "-r", "--response-type", "Stream", "--latency", "lat")
    assert "No issues found" in tool.ok("validate", "-a", "B")
    assert 'latency of service export "svc" is not measured' in tool.ok("validate", "-a", "A")


@pytest.mark.parametrize("words", [["tool", "req", ".REQ.SERVER.PING"], ["tool", "sub", ".REQ.>"]])
def test_the_small_clients_tell_of_the_shell_as_well(tool: Tool, words: list[str]) -> None:
    assert f"write '$SYS{words[-1]}'" in tool.refused(*words)


def test_questions_tell_of_the_shell_as_well(tool: Tool) -> None:
    tool.ok("add", "user", "u")
    assert tool("can-i", "publish", ".API.INFO", "-u", "u") == 2
    assert "write '$JS.API.INFO'" in tool.err
