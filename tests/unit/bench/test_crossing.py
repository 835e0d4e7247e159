"""The rows across accounts: what they issue holds together, and their loads run through against the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims
from broker.config.language import parse_bytes
from broker.config.tree import Table
from tools.bench.client import Target
from tools.bench.config import server_config
from tools.bench.crossing import EXPORTER, MAPPED, ServiceRequests, crossing_rows
from tools.bench.errors import BenchError
from tools.bench.forge import ALONE, forge_trust
from tools.bench.frames import ring_of
from tools.bench.rows import Metric, Row
from tools.bench.run import Bench, Settings
from tools.bench.servers import Program
from tools.bench.services import answers
from tools.bench.standin import StandIn
from tools.bench.starts import many_imports

ROWS = {row.key: row for row in crossing_rows(5)}
RATE = Metric("rate", "a rate", "msg/s", 1.0)


def claims(row: Row) -> dict[str, AccountClaims]:
    """The claims of the row's accounts by name, read back from what the servers get."""
    found = [jwt.decode(token) for token in forge_trust(row.plans).account_jwts.values()]
    return {account.name: account for account in found if isinstance(account, AccountClaims)}


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.plans is not ALONE])
def test_every_import_names_an_export_of_its_row(key: str) -> None:
    accounts = {account.subject: account for account in claims(ROWS[key]).values()}
    for account in accounts.values():
        for taken in filter(None, account.nats.imports):
            offered = filter(None, accounts[taken.account].nats.exports)
            assert (taken.type, taken.subject) in {(export.type, export.subject) for export in offered}


def test_a_hundred_accounts_import() -> None:
    importers = [account for account in claims(ROWS["import-1-100-128"]).values() if account.nats.imports]
    assert len(importers) == 100


@pytest.mark.parametrize("key", ["import-1-1-128", "mapping-1-1-128", "permissions-1000", "import-1-100-128"])
def test_streaming_rows_run_against_the_stand_in(key: str) -> None:
    row = ROWS[key]
    routes = row.routes()
    assert routes is not None
    with StandIn(routes) as standin:
        figures = row.measure(Target(standin.port, forge_trust(row.plans).users), None, 0.05)
    assert figures["messages"] > 0


@pytest.mark.parametrize("in_flight", [1, 64])
def test_each_request_across_accounts_is_answered_and_timed(in_flight: int) -> None:
    row = ServiceRequests("x", in_flight, RATE)
    with StandIn(row.routes()) as standin:
        target = Target(standin.port, forge_trust(row.plans).users)
        figures = [row.measure(target, None, 0.05), row.measure(target, None, 0.05)][1]
    assert figures["answered"] >= in_flight
    assert 0 < figures["p50"] <= figures["p99"]


def test_requests_are_answered_whole_and_the_rest_is_kept() -> None:
    header = b'NATS/1.0\r\nNats-Request-Info: {"acc":"A","rtt":7}\r\n\r\n'
    frame = b"HMSG bench.service 1 _R_.a.b %d %d\r\n" % (len(header), len(header) + 16) + header + b"x" * 16 + b"\r\n"
    answer = b"PUB _R_.a.b 16\r\n" + b"x" * 16 + b"\r\n"
    for split in range(len(frame)):
        assert answers(frame * 2 + frame[:split]) == (answer * 2, 2, frame[:split])


@pytest.mark.parametrize("data", [b"MSG bench.service 1 _R_.a 0\r\n\r\n", b"+OK\r\n", b"-ERR 'x'\r\n"])
def test_what_is_no_request_is_noticed(data: bytes) -> None:
    with pytest.raises(BenchError, match="something else than requests"):
        answers(data)


def test_a_message_may_arrive_on_any_of_the_mapped_subjects() -> None:
    ring = ring_of(["bench.one"], 2, 100, arriving=MAPPED)
    first, second = (b"MSG %b 1 2\r\nxx\r\n" % subject.encode() for subject in MAPPED)
    assert ring.accepts(first)
    assert ring.accepts(second + first)
    assert not ring.accepts(first + b"MSG bench.to.c 1 2\r\nxx\r\n")
    assert not ring.accepts(first[:-1])


def test_the_exporter_may_answer_below_the_reply_prefix() -> None:
    permissions = claims(ROWS["import-request"])[EXPORTER.name].nats.default_permissions
    assert "_R_.>" in permissions.publish.allow


def test_the_configuration_with_imports_has_that_many() -> None:
    accounts = table(parse_bytes(many_imports(200).encode()), "accounts")
    imports = [table(accounts, f"tenant{number}").entries["imports"].value.content for number in range(200)]
    assert len(accounts) == 300
    assert {len(found) for found in imports if isinstance(found, list)} == {10}


def table(within: Table, key: str) -> Table:
    content = within.entries[key].value.content
    assert isinstance(content, Table)
    return content


def test_rows_with_plans_get_their_own_accounts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Program("natskeep", ("natskeep",))], Settings(1, 0.05), print)
    first, again = (bench._trust(ROWS["import-1-1-128"]) for _ in range(2))
    assert first is again
    assert len(bench._trust(ROWS["import-1-100-128"]).users) == 101
    assert server_config(1, first, None).count(": eyJ") == 4
