"""The rows of the table: what each one measures, and the ratio of natskeep to nats-server that is wanted."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from tools.bench.client import Target
from tools.bench.connects import SETTLE_SECONDS, hold_idle, measure_connects, require_open
from tools.bench.crowd import Crowd
from tools.bench.exchange import measure_exchange, new_inbox, prepare_exchange
from tools.bench.forge import ALONE, AccountPlan
from tools.bench.frames import Side, ring_of
from tools.bench.listing import measure_listing
from tools.bench.load import Lane, Shape, measure
from tools.bench.matching import misses, subscribe_many
from tools.bench.reloads import measure_reload
from tools.bench.servers import Server
from tools.bench.standin import Route, Routes
from tools.bench.starts import ANY_PORT, PLAIN, measure_start
from tools.bench.stores import Store, measure_store
from tools.bench.watching import measure_watching
from tools.bench.websocket import masked
from tools.bench.workers import Figures

SUBJECT = "bench.one"
SLICES = 4
CROWD = Crowd(1000, 10)
OWN_PERMISSIONS = Crowd(1000, 10, own_permissions=True)
CROWD_SESSIONS = 1000


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table, taken from a row's figures by `key`.

    `wanted` bounds the ratio natskeep ÷ nats-server: from below where more is better, else from above. Without it the
    line only informs. `at_most` bounds natskeep's own figure instead. A figure below `floor` counts as `floor`, so that
    a ratio of tiny differences means something.
    """

    key: str
    title: str
    unit: str
    wanted: float | None
    more_is_better: bool = True
    floor: float = 0.0
    at_most: float | None = None

    def passes(self, ratio: float) -> bool:
        """Whether this ratio is what is wanted."""
        if self.wanted is None:
            return True
        return ratio >= self.wanted if self.more_is_better else ratio <= self.wanted


class Row(abc.ABC):
    """One kind of work, with a server of its own for each program."""

    once = False
    """Whether one round says everything."""
    ceiling_processes = 1
    websocket = False
    """Whether clients connect to the WebSocket port."""

    def __init__(
        self, key: str, *metrics: Metric, tls: bool = False, plans: Sequence[AccountPlan] = ALONE
    ) -> None:
        self.key = key
        self.metrics = metrics
        self.tls = tls
        self.plans = plans

    def prepare(self, target: Target, stack: ExitStack) -> None:
        """Bring the server into the state that the measurement needs; what `stack` holds stays for all rounds."""
        del target, stack  # Most rows need nothing.

    def config(self, port: int, directory: Path) -> str:
        """A configuration of its own for the servers, which keep files in the directory; empty for the usual one."""
        del port, directory
        return ""

    def best(self, rounds: list[Figures]) -> Figures:
        """The round with the best figure of the first metric that these rounds have."""
        for metric in self.metrics:
            if all(metric.key in figures for figures in rounds):
                return (max if metric.more_is_better else min)(rounds, key=lambda figures: figures[metric.key])
        return {}

    @abc.abstractmethod
    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        """Measure once. `server` is None against the stand-in."""

    def routes(self) -> Routes | None:
        """How the stand-in server has to move the messages; None where no ceiling can be measured."""
        return None


class Streaming(Row):
    """Publishers and subscribers at full speed."""

    def __init__(
        self, key: str, metric: Metric, shape: Shape, *, tls: bool = False, plans: Sequence[AccountPlan] = ALONE
    ) -> None:
        super().__init__(key, metric, tls=tls, plans=plans)
        self._shape = shape

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        return measure(target, self._shape, seconds)

    def routes(self) -> Routes | None:
        return {
            f"pub{number}": Route(
                lane.ring.published.size, lane.ring.delivered, tuple(f"sub{subscriber}" for subscriber in lane.feeds)
            )
            for number, lane in enumerate(self._shape.lanes)
        }


class WebSocketStreaming(Streaming):
    """The same over WebSocket with TLS, each message in a frame of its own."""

    websocket = True

    def __init__(self, key: str, metric: Metric, size: int) -> None:
        ring = ring_of([SUBJECT], size)
        published = ring.published
        frames = [masked(bytes(published.data[: published.size]))] * published.count
        lane = Lane(replace(ring, published=Side.join(frames)), (0,))
        super().__init__(key, metric, Shape((lane,), (SUBJECT,)), tls=True)

    def routes(self) -> None:
        """The stand-in speaks no WebSocket."""


class Requests(Row):
    """Requests, each with a new inbox, so many of them unanswered at a time."""

    def __init__(self, key: str, in_flight: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._in_flight = in_flight
        self._ceiling_inbox = new_inbox()

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        inbox = self._ceiling_inbox if server is None else new_inbox()
        return measure_exchange(target, seconds, self._in_flight, inbox)

    def routes(self) -> Routes:
        exchange = prepare_exchange(self._ceiling_inbox)
        return {
            "requester": Route(exchange.request.size, exchange.request_received, ("responder",)),
            "responder": Route(exchange.reply.size, exchange.reply_received, ("requester",)),
        }


class Connects(Row):
    """Connections per second, each with a handshake and a signature; a full one, or with the ticket of a session."""

    ceiling_processes = 4

    def __init__(self, key: str, *metrics: Metric, resumes: bool = False) -> None:
        super().__init__(key, *metrics, tls=True)
        self._resumes = resumes

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        before = 0.0 if server is None else server.processor_seconds()
        figures = measure_connects(target, seconds, resumes=self._resumes)
        if server is not None:
            figures["server_seconds"] = (server.processor_seconds() - before) / figures["connects"]
        return figures

    def routes(self) -> Routes:
        return {}


class Idle(Row):
    """Resident memory while many authenticated connections are open and silent."""

    once = True

    def __init__(self, key: str, count: int, metric: Metric, *, tls: bool = False) -> None:
        super().__init__(key, metric, tls=tls)
        self._count = count

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        before = server.resident_memory()
        with ExitStack() as stack:
            connections = hold_idle(target, self._count, stack)
            time.sleep(SETTLE_SECONDS)
            memory = server.resident_memory()
            require_open(connections)
        return {"memory": float(memory), "bytes_per_connection": (memory - before) / self._count}


class Matching(Row):
    """The price of a message that matches nothing among very many subscriptions.

    Both accounts get the same messages, in short turns: the one with the subscriptions, and the one without any, which
    is the baseline.
    """

    def __init__(self, key: str, count: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._count = count
        self._shape = Shape((Lane(misses()),))

    def prepare(self, target: Target, stack: ExitStack) -> None:
        stack.enter_context(subscribe_many(target, self._count))

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        empty = replace(target, users=target.users[1:])
        slices = [
            (1 / measure(empty, self._shape, part)["rate"], 1 / measure(target, self._shape, part)["rate"])
            for part in [seconds / (2 * SLICES)] * SLICES
        ]
        # The quickest slice is the one that other work on the machine disturbed least.
        baseline, publish = (min(times) for times in zip(*slices, strict=True))
        if server is None:
            return {"publish": publish}
        return {"publish": publish, "baseline": baseline, "miss": publish - baseline}

    def routes(self) -> Routes:
        return {"pub0": Route(self._shape.lanes[0].ring.published.size)}


class Starts(Row):
    """The time from the start of a process until it says that it is ready; the row's own server only stands by."""

    def __init__(self, key: str, config: str, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._config = config

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        config = server.directory / f"{self.key}.start.conf"
        config.write_text(self._config)
        return measure_start(server.program, config)


class Reloads(Row):
    """How long nothing is delivered while a large configuration is reloaded; the row's own server only stands by."""

    def __init__(self, key: str, crowd: Crowd, sessions: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._crowd = crowd
        self._sessions = sessions

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        config = server.directory / f"{self.key}.{server.name}.reload.conf"
        return measure_reload(server.program, config, self._crowd, self._sessions)


class Watching(Row):
    """What being watched takes of a rate: monitoring, metrics and the ledger against nothing of all that."""

    def __init__(self, key: str, work: Callable[[Target, float], Figures], *metrics: Metric, tls: bool = False) -> None:
        super().__init__(key, *metrics, tls=tls)
        self._work = work

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        return measure_watching(server.program, server.config, target, self._work, seconds)


class Listing(Row):
    """A page of monitoring that lists very many connections; the row's own server only stands by."""

    once = True

    def __init__(self, key: str, count: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._count = count

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        return {} if server is None else measure_listing(server.program, server.config, target, self._count)


class Stores(Row):
    """A server whose full resolver holds very many accounts; the row's own server only stands by."""

    def __init__(self, key: str, accounts: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._accounts = accounts
        self._store: Store | None = None

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        if self._store is None:
            self._store = Store.forge(self._accounts)
        return measure_store(server.program, server.directory, self._store)


def all_rows(idle: int, subscriptions: int) -> list[Row]:
    """Every row, in the order of the table; `idle` connections (half of it with TLS) and `subscriptions` set sizes."""
    return [
        Streaming("publish-16", rate("publish only, 16 B", 1.7), Shape((Lane(ring_of([SUBJECT], 16)),))),
        _fan_out("1-1-16", "1 → 1, 16 B", 16, 1, 3.0),
        _fan_out("1-1-128", "1 → 1, 128 B", 128, 1, 2.0),
        _fan_out("1-1-1k", "1 → 1, 1 KiB", 1024, 1, 1.3),
        _fan_out("1-1-16k", "1 → 1, 16 KiB", 16384, 1, 1.0),
        _fan_out("1-8-128", "1 → 8, 128 B", 128, 8, 3.0),
        _many_to_many("4-4-128", "4 → 4, 128 B, one subject", 2.0, together=True),
        _many_to_many("4-4-128-pairs", "4 → 4, 128 B, four subjects", 2.0, together=False),
        _wildcard("subjects-1000", "1 → 1, 1,000 subjects, wildcard, 16 B", 1000, 2.0),
        Requests(
            "request",
            256,
            rate("request-reply, new inboxes, 256 in flight", 1.0),
            latency("p99 latency of these"),
        ),
        Requests(
            "request-single",
            1,
            rate("request-reply, new inboxes, one at a time", 1.0),
            latency("p99 latency of these"),
        ),
        _fan_out("tls-1-1-128", "TLS 1.3, 1 → 1, 128 B", 128, 1, 2.0, tls=True),
        _fan_out("tls-1-1-1k", "TLS 1.3, 1 → 1, 1 KiB", 1024, 1, 1.2, tls=True),
        _fan_out("tls-1-1-16k", "TLS 1.3, 1 → 1, 16 KiB", 16384, 1, 1.2, tls=True),
        _fan_out("tls-1-8-128", "TLS 1.3, 1 → 8, 128 B", 128, 8, 2.0, tls=True),
        WebSocketStreaming("wss-1-1-128", rate("wss, 1 → 1, 128 B, a frame each", 1.5), 128),
        _connects("connects", "connects, TLS 1.3 + creds", 1.0),
        _connects("connects-resumed", "connects, TLS 1.3 resumed + creds", 1.5, resumes=True),
        _idle("idle", f"memory, {idle:,} idle connections", idle),
        _idle("idle-tls", f"memory, {idle // 2:,} idle connections, TLS 1.3", idle // 2, tls=True),
        Matching(
            "matching",
            subscriptions,
            Metric("miss", f"miss among {subscriptions:,} subscriptions", "s", 1.0, more_is_better=False, floor=1e-9),
            Metric("publish", "publish that misses, in all", "s", 1.0, more_is_better=False),
            Metric("baseline", "the same without subscriptions", "s", None, more_is_better=False),
        ),
        Starts(
            "start",
            PLAIN,
            Metric("beyond", "start to ready, beyond an empty program", "s", None, more_is_better=False, at_most=0.35),
            Metric("ready", "start to ready, in all", "s", None, more_is_better=False),
        ),
        Starts(
            "start-users",
            CROWD.config(ANY_PORT),
            Metric("ready", "start with 10,000 users, 1,000 accounts", "s", None, more_is_better=False, at_most=2.0),
        ),
        Starts(
            "start-users-own",
            OWN_PERMISSIONS.config(ANY_PORT),
            Metric("ready", "the same, permissions for each user", "s", None, more_is_better=False, at_most=2.0),
        ),
        _watching(
            "watched-1-1-128",
            "lost by being watched, 1 → 1, 128 B",
            partial(_stream, Shape((Lane(ring_of([SUBJECT], 128), (0,)),), (SUBJECT,))),
            0.05,
        ),
        _watching("watched-connects", "lost by being watched, connects", measure_connects, 0.10, tls=True),
        Listing(
            f"connz-{idle}",
            idle,
            Metric("page", f"/connz of {idle:,} connections", "s", None, more_is_better=False, at_most=0.3),
            Metric("stop", "longest stop of delivery meanwhile", "s", None, more_is_better=False, at_most=0.01),
            Metric("quiet", "the longest in as much time without", "s", None, more_is_better=False),
        ),
        Stores(
            "resolver",
            10_000,
            Metric("ready", "start, 10,000 accounts in a full resolver", "s", None, more_is_better=False, at_most=3.0),
            Metric("each", "memory of one account there", "B", 1.0, more_is_better=False),
            Metric("memory", "memory of the server in all", "B", None, more_is_better=False),
            Metric("push", "push until it is in force", "s", None, more_is_better=False, at_most=0.05),
        ),
        _reload("reload-users", "reload of these 10,000 users", CROWD),
        _reload("reload-users-own", "reload, permissions for each user", OWN_PERMISSIONS),
    ]


def select_rows(rows: list[Row], patterns: tuple[str, ...]) -> list[Row]:
    """The rows whose key matches one of the patterns (`*` and `?` as in a shell); all of them without patterns."""
    if not patterns:
        return rows
    return [row for row in rows if any(fnmatchcase(row.key, pattern) for pattern in patterns)]


def rate(title: str, wanted: float) -> Metric:
    return Metric("rate", title, "msg/s", wanted)


def latency(title: str) -> Metric:
    return Metric("p99", title, "s", 1.0, more_is_better=False)


def _fan_out(key: str, title: str, size: int, subscribers: int, wanted: float, *, tls: bool = False) -> Row:
    lane = Lane(ring_of([SUBJECT], size), tuple(range(subscribers)))
    return Streaming(key, rate(title, wanted), Shape((lane,), (SUBJECT,) * subscribers), tls=tls)


def _many_to_many(key: str, title: str, wanted: float, *, together: bool) -> Row:
    subjects = [SUBJECT] * 4 if together else [f"bench.pair{number}" for number in range(4)]
    lanes = tuple(
        Lane(ring_of([subject], 128), tuple(range(4)) if together else (number,))
        for number, subject in enumerate(subjects)
    )
    return Streaming(key, rate(title, wanted), Shape(lanes, tuple(subjects)))


def _wildcard(key: str, title: str, count: int, wanted: float) -> Row:
    ring = ring_of([f"bench.many.{number:04d}" for number in range(count)], 16)
    return Streaming(key, rate(title, wanted), Shape((Lane(ring, (0,)),), ("bench.many.*",)))


def _connects(key: str, title: str, wanted: float, *, resumes: bool = False) -> Row:
    return Connects(
        key,
        Metric("rate", title, "/s", wanted),
        Metric("server_seconds", "the server's processor time for one", "s", None, more_is_better=False),
        Metric("client_seconds", "the generator's processor time for one", "s", None, more_is_better=False),
        resumes=resumes,
    )


def _reload(key: str, title: str, crowd: Crowd) -> Row:
    return Reloads(
        key,
        crowd,
        CROWD_SESSIONS,
        Metric("stop", f"{title}: longest stop of delivery", "s", None, more_is_better=False, at_most=0.02),
        Metric("quiet", "the longest in as much time without", "s", None, more_is_better=False),
        Metric("reload", "the reload as a whole", "s", None, more_is_better=False),
    )


def _stream(shape: Shape, target: Target, seconds: float) -> Figures:
    return measure(target, shape, seconds)


def _watching(
    key: str, title: str, work: Callable[[Target, float], Figures], at_most: float, *, tls: bool = False
) -> Row:
    return Watching(
        key,
        work,
        Metric("lost", title, "", None, more_is_better=False, at_most=at_most),
        Metric("rate", "the rate while watched", "/s", None),
        tls=tls,
    )


def _idle(key: str, title: str, count: int, *, tls: bool = False) -> Row:
    return Idle(key, count, Metric("memory", title, "B", 1.0, more_is_better=False), tls=tls)
