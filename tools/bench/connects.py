"""The connection load: full handshakes per second, and many connections that stay open and idle."""

from __future__ import annotations

import resource
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from tools.bench.arriving import Newcomer
from tools.bench.client import PING, Target, connect
from tools.bench.errors import BenchError
from tools.bench.workers import Figures, Worker

WORKERS = 4
OPENERS = 8
SOURCES = 16
SETTLE_SECONDS = 2.0
SPARE_FILES = 200


def measure_connects(target: Target, seconds: float, *, resumes: bool = False) -> Figures:
    """Connect, sign, be let in, close, over and over in several processes; with `resumes` by tickets of sessions.

    Returns `rate` (connections per second that got their PONG) and `client_seconds` (the generator's processor time
    for one of them).
    """
    start = time.monotonic() + 0.2
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(f"connector {n}", partial(_connect_often, target, n, start, seconds, resumes)))
            for n in range(WORKERS)
        ]
        results = [worker.result(seconds + 40) for worker in workers]
    connects = sum(result["connects"] for result in results)
    if not connects:
        raise BenchError("no connection was let in")
    return {
        "rate": connects / seconds,
        "connects": connects,
        "client_seconds": sum(result["processor"] for result in results) / connects,
    }


def hold_idle(target: Target, count: int, stack: ExitStack) -> list[socket.socket]:
    """Open `count` connections, which stay open until `stack` closes.

    Raises:
        BenchError: this process may not open so many files.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + SPARE_FILES:
        raise BenchError(
            f"{count} connections need {count + SPARE_FILES} open files, but only {soft} are allowed: "
            f"raise the hard limit (ulimit -Hn) or ask for fewer with --idle"
        )
    connections: list[socket.socket] = []

    def close_all() -> None:
        for connection in connections:
            connection.close()

    stack.callback(close_all)

    def connect_one(number: int) -> None:
        connections.append(connect(target, "idle", source=_source(number)))

    with ThreadPoolExecutor(OPENERS) as pool:
        for _ in pool.map(connect_one, range(count)):
            pass
    return connections


def require_open(connections: list[socket.socket]) -> None:
    """Make sure that the server has closed none of the idle connections."""
    poll = select.poll()
    by_descriptor = {connection.fileno(): connection for connection in connections}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    closed = 0
    for descriptor, _ in poll.poll(0):
        connection = by_descriptor[descriptor]
        connection.settimeout(1)
        closed += not connection.recv(len(PING))
    if closed:
        raise BenchError(f"the server closed {closed} of {len(connections)} idle connections")


def _source(number: int) -> str:
    return f"127.0.0.{1 + number % SOURCES}"


def _connect_often(target: Target, worker: int, start: float, seconds: float, resumes: bool) -> Figures:
    newcomer = Newcomer(target, "connector", resumes=resumes)
    if resumes:
        # The first time there is no ticket yet.
        newcomer.visit(_source(worker))
    time.sleep(max(0.0, start - time.monotonic()))
    before = time.process_time()
    deadline = start + seconds
    connects = 0
    while time.monotonic() < deadline:
        newcomer.visit(_source(connects * WORKERS + worker))
        connects += time.monotonic() < deadline
    return {"connects": float(connects), "processor": time.process_time() - before}
