"""Measures how long a server takes from its start until it is ready, with a small and with a large configuration."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.servers import START_SECONDS, Program
from tools.bench.workers import Figures

READY = b"Server is ready"
PLAIN = f'listen: "{HOST}:-1"\n'


def many_users(accounts: int, users: int) -> str:
    """A configuration with so many accounts, each with so many users and permissions that they share."""
    lines = [PLAIN, "accounts: {"]
    for account in range(accounts):
        name = f"tenant{account:04d}"
        subjects = f'"{name}.>", "_INBOX.>"'
        lines.append(f"  {name}: {{ default_permissions: {{ publish: [{subjects}], subscribe: [{subjects}] }}")
        lines.append("    users: [")
        lines += [f'      {{ user: "{name}-{user}", password: "secret-{account}-{user}" }}' for user in range(users)]
        lines.append("    ] }")
    return "\n".join([*lines, "}"]) + "\n"


def measure_start(program: Program, config: Path) -> Figures:
    """Seconds until the server is ready, and how many of them an empty program of its kind would not take."""
    bare = [sys.executable, "-c", "pass"] if program.name == "natskeep" else [*program.command, "--version"]
    start = time.perf_counter()
    subprocess.run(bare, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    empty = time.perf_counter() - start
    ready = _seconds_until_ready(program, config)
    return {"ready": ready, "beyond": ready - empty}


def _seconds_until_ready(program: Program, config: Path) -> float:
    start = time.perf_counter()
    process = subprocess.Popen(
        [*program.command, "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = threading.Timer(START_SECONDS, process.kill)
    deadline.start()
    last = b""
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if READY in line:
                return time.perf_counter() - start
            last = line
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()
    raise BenchError(f"{program.name} did not become ready: {last.decode(errors='replace').strip()}")
