"""Measures a page of monitoring that lists very many connections, and for how long nothing is delivered meanwhile."""

from __future__ import annotations

import statistics
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from tools.bench.client import Target, connect, settle, subscribe
from tools.bench.config import HOST
from tools.bench.connects import hold_idle
from tools.bench.errors import BenchError
from tools.bench.reloads import Pair
from tools.bench.servers import Program, Server, free_port
from tools.bench.watching import moved
from tools.bench.workers import Figures, Worker

REQUESTS = 7
"""Requests of a measurement; the medians count."""

REQUEST_SECONDS = 30.0
SUBJECT = "bench.beat"


def measure_listing(program: Program, plain: Path, target: Target, count: int) -> Figures:
    """Asks for /connz of so many connections while messages flow, over and over. Raises BenchError.

    The figures are seconds: a request, the longest stop of delivery meanwhile, and the longest in as much time without.
    `plain` is the configuration of the server at `target`; another one of the program is started for this.
    """
    port, http_port = free_port(), free_port()
    config = plain.with_name(f"{plain.stem}-listing.conf")
    config.write_text(moved(plain.read_text(), port, http_port))
    url = f"http://{HOST}:{http_port}/connz?limit={count + 2}"
    with ExitStack() as stack:
        stack.enter_context(Server(program, config, port))
        listed = replace(target, port=port)
        message = f"PUB {SUBJECT} 4\r\nbeat\r\n".encode()
        publisher = stack.enter_context(connect(listed, "publisher"))
        pair = Pair(publisher, stack.enter_context(connect(listed, "subscriber")), message)
        subscribe(pair.subscriber, SUBJECT)
        settle(pair.publisher)
        # These come last: select() takes no descriptor as high as theirs.
        hold_idle(listed, count, stack)
        found = [_request(pair, url, count + 2) for _ in range(REQUESTS)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def _request(pair: Pair, url: str, count: int) -> Figures:
    # It is asked for by another process, so that taking the page apart does not delay the messages here.
    with Worker("page", partial(_ask, url, count)) as worker:
        stop = pair.longest_stop(worker.has_ended, REQUEST_SECONDS)
        page = worker.result(REQUEST_SECONDS)["page"]
    end = time.perf_counter() + page
    quiet = pair.longest_stop(lambda: time.perf_counter() >= end, REQUEST_SECONDS)
    return {"page": page, "stop": stop, "quiet": quiet}


def _ask(url: str, count: int) -> Figures:
    start = time.perf_counter()
    with urllib.request.urlopen(url, timeout=REQUEST_SECONDS) as answer:
        page = answer.read()
    seconds = time.perf_counter() - start
    found = page.count(b'"cid":')
    if found != count:
        raise BenchError(f"the page lists {found} connections and not {count}")
    return {"page": seconds}
