"""Runs the linters and all tests, as many at once as there are processors: ``python -m tests``.

The tests are taken in parts, the longest first, each by a pytest of its own; what a part prints is shown when it ends.
The status is 0 where everything passed. ``python -m pytest PATH`` runs a part of them as ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).resolve().parent
ROOT: Final = TESTS.parent

PARTS: Final = (
    ("integration/test_[a-c]*.py", "integration/test_[m-q]*.py"),
    ("unit/nsk/*",),
    ("golden/*",),
    ("integration/test_[d-l]*.py", "integration/test_[r-z]*.py"),
    ("property/*", "advisories/*", "oracle/*"),
    ("vectors/*", "parity/*", "scan/*", "browser/*"),
    ("unit/[a-m]*",),
    ("unit/[o-z]*", "unit/net/*"),
    ("transcripts/*", "fuzz/*", "source/*"),
)
"""Patterns of files below this directory; parts that wait much for servers stand beside parts that compute."""

LINTERS: Final = (("ruff", "check", "."), ("mypy",), ("lint-imports",))

class Outcome(NamedTuple):
    """What one command came to."""

    what: str
    status: int
    seconds: float
    output: str


def files(part: Sequence[str]) -> list[Path]:
    """The test files of a part, in order."""
    found = {path for pattern in part for path in TESTS.glob(pattern)}
    found |= {path for directory in found if directory.is_dir() for path in directory.rglob("test_*.py")}
    return sorted(path for path in found if path.is_file() and path.name.startswith("test_") and path.suffix == ".py")


def commands() -> Iterator[tuple[str, list[str]]]:
    """What is run, with its name: the longest first."""
    programs = Path(sys.executable).parent
    for part in PARTS:
        named = [str(path.relative_to(ROOT)) for path in files(part)]
        yield " ".join(part), [sys.executable, "-m", "pytest", "-q", *named]
    for linter in LINTERS:
        yield linter[0], [str(programs / linter[0]), *linter[1:]]


def run(what: str, command: list[str]) -> Outcome:
    """Runs one command to its end."""
    start = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Outcome(what, done.returncode, time.monotonic() - start, done.stdout)


def main() -> int:
    """Runs everything; returns 1 where something failed."""
    start = time.monotonic()
    failed: list[str] = []
    with ThreadPoolExecutor(max(os.cpu_count() or 1, 1)) as workers:
        for future in as_completed([workers.submit(run, what, command) for what, command in commands()]):
            outcome = future.result()
            good = outcome.status == 0
            last = outcome.output.strip().splitlines()[-1:] or [""]
            word = "ok" if good else "FAILED"
            print(f"== {outcome.what}: {word} after {outcome.seconds:.0f} s: {last[0]}", flush=True)
            if not good:
                failed.append(outcome.what)
                print(outcome.output, flush=True)
    seconds = time.monotonic() - start
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'all passed'} in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
