"""Measures for how long a server delivers nothing while it reloads a configuration of many users."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tools.bench.client import log_in, settle, subscribe
from tools.bench.config import HOST
from tools.bench.crowd import Crowd, password, tenant, user
from tools.bench.errors import BenchError
from tools.bench.servers import Program, Server, free_port
from tools.bench.workers import Figures

INTERVAL = 0.0005
"""Seconds between two messages of the pair that shows the stops."""
RELOAD_SECONDS = 60.0
AFTERMATH_SECONDS = 0.5
"""How long a server is watched after it has said that it is done; it may still be tidying up."""
RELOADED = b"Reloaded server configuration"
REFUSED = b"ailed to reload server configuration"


@dataclass(frozen=True, slots=True)
class Pair:
    """A publisher and a subscriber of one account; every now and then a message goes from one to the other."""

    publisher: socket.socket
    subscriber: socket.socket
    message: bytes

    def longest_stop(self, is_over: Callable[[], bool], seconds: float) -> float:
        """The longest time between two deliveries until something is over.

        Raises:
            BenchError: it took longer than so many seconds, or the server closed the subscriber.
        """
        start = last = due = time.perf_counter()
        longest = 0.0
        while not is_over():
            now = time.perf_counter()
            if now - start > seconds:
                raise BenchError(f"not over within {seconds:g} s")
            if now >= due:
                self.publisher.sendall(self.message)
                due = now + INTERVAL
            readable, _, _ = select.select([self.subscriber], [], [], max(due - now, 0))
            if readable:
                if not self.subscriber.recv(65536):
                    raise BenchError("the server closed the subscriber")
                arrived = time.perf_counter()
                longest, last = max(longest, arrived - last), arrived
        return max(longest, time.perf_counter() - last)


def measure_reload(program: Program, config: Path, crowd: Crowd, sessions: int) -> Figures:
    """Starts a server and reloads it while so many users are connected, none of whom the change concerns.

    The figures are seconds: the longest stop of delivery during the reload, the longest in as much time without one,
    and the reload from the signal until the server says that it is done.
    """
    port = free_port()
    listen = f"{HOST}:{port}"
    config.write_text(crowd.config(listen))
    with ExitStack() as stack:
        server = stack.enter_context(Server(program, config, port))

        def opened(account: int, number: int) -> socket.socket:
            return stack.enter_context(log_in(port, user(account, number), password(account, number)))

        for number in range(sessions):
            account = number % crowd.accounts
            subscribe(opened(account, 0), f"{tenant(account)}.>")
        subject = f"{tenant(0)}.beat"
        pair = Pair(opened(0, 0), opened(0, 0), f"PUB {subject} 4\r\nbeat\r\n".encode())
        subscribe(pair.subscriber, subject)
        settle(pair.publisher)
        config.write_text(crowd.config(listen, is_changed=True))
        watch = _Watch(server)
        start = time.perf_counter()
        server.hang_up()
        stop = pair.longest_stop(watch.is_over, RELOAD_SECONDS)
        end = time.perf_counter() + watch.done_at - start
        quiet = pair.longest_stop(lambda: time.perf_counter() >= end, RELOAD_SECONDS)
    return {"stop": stop, "quiet": quiet, "reload": watch.done_at - start}


class _Watch:
    """Waits for the line that ends a reload, and a little longer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.done_at = 0.0

    def is_over(self) -> bool:
        """Whether the reload and its aftermath are over. Raises BenchError where it was refused."""
        if not self.done_at:
            news = self._server.news()
            if REFUSED in news:
                raise BenchError(f"the reload was refused (log: {self._server.log_tail()})")
            if RELOADED in news:
                self.done_at = time.perf_counter()
        return bool(self.done_at) and time.perf_counter() - self.done_at >= AFTERMATH_SECONDS
