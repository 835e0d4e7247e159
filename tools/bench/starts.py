"""Measures how long a server takes from its start until it is ready, and how much memory it then holds.

The configurations are a small one, one with many users, and one with many accounts that import from each other.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.servers import Program, resident_memory
from tools.bench.workers import Figures

READY = b"Server is ready"
LOAD_SECONDS = 120.0
"""How long a start may take; a large configuration on a busy machine takes its time."""
ANY_PORT = f"{HOST}:-1"
PLAIN = f'listen: "{ANY_PORT}"\n'


def many_imports(accounts: int, exporters: int = 100, imports: int = 10) -> str:
    """A configuration with so many accounts, each with so many imports, half of them streams and half services.

    The first `exporters` accounts export one stream and one service each, which the imports of all others spread over.
    """
    lines = [PLAIN, "accounts: {"]
    for number in range(exporters):
        lines.append(f"  exporter{number}: {{ users: [ {{ user: exporter{number}, password: secret }} ]")
        lines.append(f'    exports: [ {{ stream: "feed{number}.>" }}, {{ service: "ask{number}.*" }} ] }}')
    for number in range(accounts):
        lines.append(f"  tenant{number}: {{ users: [ {{ user: tenant{number}, password: secret }} ]")
        lines.append("    imports: [")
        for step in range(imports):
            exporter = (number + step * (exporters // imports)) % exporters
            if step % 2:
                source = f'service: {{ account: exporter{exporter}, subject: "ask{exporter}.*" }}'
                lines.append(f'      {{ {source}, to: "service{step}.*" }}')
            else:
                source = f'stream: {{ account: exporter{exporter}, subject: "feed{exporter}.>" }}'
                lines.append(f"      {{ {source}, prefix: stream{step} }}")
        lines.append("    ] }")
    return "\n".join([*lines, "}"]) + "\n"


def measure_start(program: Program, config: Path) -> Figures:
    """Seconds until the server is ready, how many of them an empty program of its kind would not take, and memory.

    The memory is what is resident when the server says that it is ready, in bytes.
    """
    bare = [sys.executable, "-c", "pass"] if program.name == "natskeep" else [*program.command, "--version"]
    start = time.perf_counter()
    subprocess.run(bare, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    empty = time.perf_counter() - start
    ready, memory = _until_ready(program, config)
    return {"ready": ready, "beyond": ready - empty, "memory": float(memory)}


def _until_ready(program: Program, config: Path) -> tuple[float, int]:
    """Seconds until the server is ready, and the bytes of memory that it holds then."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*program.command, "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = threading.Timer(LOAD_SECONDS, process.kill)
    deadline.start()
    last = b""
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if READY in line:
                return time.perf_counter() - start, resident_memory(process.pid)
            last = line
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()
    raise BenchError(f"{program.name} did not become ready: {last.decode(errors='replace').strip()}")
