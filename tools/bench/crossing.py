"""The rows about what crosses the walls of accounts, is renamed on its way, or is judged by long lists."""

from __future__ import annotations

from tools.bench.client import Target
from tools.bench.exchange import SERVICE, new_inbox
from tools.bench.forge import SUBJECTS, AccountPlan
from tools.bench.frames import ring_of
from tools.bench.load import Lane, Shape
from tools.bench.rows import SUBJECT, Metric, Row, Starts, Streaming, latency, rate
from tools.bench.servers import Server
from tools.bench.services import IMPORTED, measure_service, prepare_service
from tools.bench.standin import Route, Routes
from tools.bench.starts import many_imports
from tools.bench.workers import Figures

SHARED = "bench.shared.one"
"""The subject of the exported stream in the accounts that import it."""
RULES = 1000
"""Allow rules, and as many deny rules."""

EXPORTER = AccountPlan(
    "BENCH",
    exports=[
        {"name": "stream", "subject": SUBJECT, "type": "stream"},
        {"name": "service", "subject": SERVICE, "type": "service"},
    ],
    permissions={"pub": {"allow": ["bench.>", "_R_.>"], "deny": SUBJECTS["deny"]}, "sub": SUBJECTS},
)
MAPPED = ("bench.to.a", "bench.to.b")
MAPPING = AccountPlan("BENCH", mappings={SUBJECT: [{"subject": subject, "weight": 50} for subject in MAPPED]})


class ServiceRequests(Row):
    """Requests to a service of another account, each with a new inbox, so many of them unanswered at a time."""

    def __init__(self, key: str, in_flight: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics, plans=(EXPORTER, _importer("OTHER", "service", SERVICE, IMPORTED)))
        self._in_flight = in_flight
        self._ceiling_inbox = new_inbox()

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        inbox = self._ceiling_inbox if server is None else new_inbox()
        return measure_service(target, seconds, self._in_flight, inbox)

    def routes(self) -> Routes:
        exchange = prepare_service(self._ceiling_inbox)
        return {
            "requester": Route(exchange.request.size, exchange.request_received, ("responder",)),
            "responder": Route(exchange.reply.size, exchange.reply_received, ("requester",)),
        }


def crossing_rows(accounts: int) -> list[Row]:
    """Every such row, in the order of the table; `accounts` is the number of accounts with imports of the last one."""
    return [
        _imported("import-1-1-128", "1 → 1 across accounts, 128 B", 1, 2.0),
        _imported("import-1-100-128", "1 → 100 accounts, 128 B", 100, 3.0),
        ServiceRequests(
            "import-request",
            64,
            rate("request-reply across accounts, 64 in flight", 1.5),
            latency("p99 latency of these"),
        ),
        Streaming(
            "mapping-1-1-128",
            rate("1 → 1, mapped to two by weight, 128 B", 2.0),
            Shape((Lane(ring_of([SUBJECT], 128, arriving=MAPPED), (0,)),), ("bench.to.*",)),
            plans=(MAPPING, AccountPlan("OTHER")),
        ),
        Streaming(
            "permissions-1000",
            rate(f"publish, {RULES:,} allow + {RULES:,} deny entries, 16 B", 2.0),
            Shape((Lane(ring_of([_allowed(number) for number in range(RULES)], 16)),)),
            plans=(_restricted(RULES), AccountPlan("OTHER")),
        ),
        Starts(
            "start-imports",
            many_imports(accounts),
            Metric("ready", f"start with {accounts:,} accounts, 10 imports each", "s", 1.0, more_is_better=False),
            Metric("memory", "memory when ready", "B", 1.0, more_is_better=False),
        ),
    ]


def _importer(name: str, kind: str, subject: str, local_subject: str) -> AccountPlan:
    claim = {"name": kind, "subject": subject, "local_subject": local_subject, "type": kind}
    return AccountPlan(name, imports=[(EXPORTER.name, claim)])


def _imported(key: str, title: str, importers: int, wanted: float) -> Row:
    """One publisher, and one subscriber in each account that imports."""
    lane = Lane(ring_of([SUBJECT], 128, arriving=[SHARED]), tuple(range(importers)))
    shape = Shape((lane,), (SHARED,) * importers, tuple(range(1, importers + 1)))
    plans = (EXPORTER, *(_importer(f"TENANT{number}", "stream", SUBJECT, SHARED) for number in range(importers)))
    return Streaming(key, rate(title, wanted), shape, plans=plans)


def _allowed(number: int) -> str:
    return f"bench.rule{number:04d}.one"


def _restricted(rules: int) -> AccountPlan:
    """An account whose users may publish to so many subjects, and are denied a part of each."""
    allow = [f"bench.rule{number:04d}.>" for number in range(rules)]
    deny = [f"bench.rule{number:04d}.private" for number in range(rules)]
    return AccountPlan("BENCH", permissions={"pub": {"allow": allow, "deny": deny}, "sub": SUBJECTS})
