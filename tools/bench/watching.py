"""Measures what being watched costs: pages that are asked for over and over, metrics, and the ledger.

The row's own server is not watched. A second one of the same program is, with the same accounts; both do the same work
in short turns, so that a drift of the machine favours neither.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tools.bench.client import Target
from tools.bench.config import HOST
from tools.bench.servers import Program, Server, free_port
from tools.bench.workers import Figures

TURNS = 4
ASK_SECONDS = 0.25
"""How often the pages are asked for."""
PAGES = {"natskeep": ("/metrics", "/varz", "/connz")}
"""What is asked, by program."""
OTHER_PAGES = ("/varz", "/connz", "/accstatz")


def watched_config(plain: str, program: Program, port: int, http_port: int, directory: Path) -> str:
    """The configuration of a server that differs from another in its ports and in being watched."""
    text = moved(plain, port, http_port)
    if program.name == "natskeep":
        text += f'audit {{ dir: "{directory / "ledger"}" }}\ndashboard: true\n'
    return text


def moved(plain: str, port: int, http_port: int) -> str:
    """The configuration of a server that differs from another in its ports, of which one is for monitoring."""
    lines = [line for line in plain.splitlines() if not line.startswith("listen: ")]
    return "\n".join([*lines, f"listen: {HOST}:{port}", f'http: "{HOST}:{http_port}"']) + "\n"


def measure_watching(
    program: Program, plain: Path, target: Target, work: Callable[[Target, float], Figures], seconds: float
) -> Figures:
    """How much lower the rate of a work is while the server is watched, as a share of it: `lost`, and both rates.

    `plain` is the configuration of the server at `target`. Raises BenchError.
    """
    port, http_port = free_port(), free_port()
    directory = plain.parent / f"{plain.stem}-watched"
    directory.mkdir(exist_ok=True)
    config = directory / "server.conf"
    config.write_text(watched_config(plain.read_text(), program, port, http_port, directory))
    rates: list[tuple[float, float]] = []
    with Server(program, config, port), _asking(program, http_port):
        watched = replace(target, port=port)
        for turn in range(TURNS):
            part = seconds / TURNS
            pair = [work(one, part)["rate"] for one in ((target, watched) if turn % 2 else (watched, target))]
            rates.append((pair[0], pair[1]) if turn % 2 else (pair[1], pair[0]))
    # The best turn of each is the one that other work on the machine disturbed least.
    alone, seen = (max(column) for column in zip(*rates, strict=True))
    return {"lost": max(1 - seen / alone, 0.0), "rate": seen, "alone": alone}


@contextmanager
def _asking(program: Program, port: int) -> Iterator[None]:
    """Somebody who asks for the pages over and over."""
    done = threading.Event()
    pages = PAGES.get(program.name, OTHER_PAGES)

    def ask() -> None:
        while not done.wait(ASK_SECONDS):
            for page in pages:
                try:
                    with urllib.request.urlopen(f"http://{HOST}:{port}{page}", timeout=10) as answer:
                        answer.read()
                except OSError:
                    # A server that is about to end, or too busy to answer, is asked again.
                    break

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
