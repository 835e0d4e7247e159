"""The command: `python -m tools.bench`, or `make bench`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from tools.bench.crossing import crossing_rows
from tools.bench.durable import stream_rows
from tools.bench.load import TOTAL_WINDOW, WINDOW
from tools.bench.report import RowResult, as_json, table
from tools.bench.rows import all_rows, select_rows
from tools.bench.run import Bench, Settings
from tools.bench.servers import Program, default_programs

DEFAULT = Settings(rounds=11, seconds=0.8)
QUICK = Settings(rounds=5, seconds=0.3)
DEFAULT_NAMES = ("natskeep", "nats-server")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1, 1000), help=f"Rounds per row.  [default: {DEFAULT.rounds}]")
@click.option(
    "--seconds", type=click.FloatRange(0.05, 60), help=f"Length of one measurement.  [default: {DEFAULT.seconds}]"
)
@click.option("--quick", is_flag=True, help=f"{QUICK.rounds} rounds of {QUICK.seconds} s; the sizes stay the same.")
@click.option("--row", "patterns", multiple=True, metavar="PATTERN", help="Only rows whose key matches, as in a shell.")
@click.option("--list", "list_rows", is_flag=True, help="List the rows with their keys, and stop.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="NAME=COMMAND",
    help="The command of natskeep or nats-server; it is started with -c FILE.",
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option(
    "--idle",
    type=click.IntRange(2, 60_000),
    default=10_000,
    show_default=True,
    help="Idle connections; half as many with TLS.",
)
@click.option(
    "--subscriptions",
    type=click.IntRange(2, 2_000_000),
    default=1_000_000,
    show_default=True,
    help="Subscriptions to match against.",
)
@click.option(
    "--accounts", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Accounts with imports."
)
@click.option(
    "--messages",
    type=click.IntRange(100_000, 100_000_000),
    default=10_000_000,
    show_default=True,
    help="Messages on disk at a start, in steps of 100,000.",
)
def main(
    *,
    rounds: int | None,
    seconds: float | None,
    quick: bool,
    patterns: tuple[str, ...],
    list_rows: bool,
    servers: tuple[str, ...],
    json_file: Path | None,
    idle: int,
    subscriptions: int,
    accounts: int,
    messages: int,
) -> None:
    """Measure natskeep against nats-server.

    Both run the same configuration: operator mode, accounts with limits, users with permissions. Rounds alternate
    between the two; a ratio is the median of the rounds' ratios. Everything stays on 127.0.0.1.
    """
    if not Path("/proc/self/status").exists():
        raise click.ClickException("the measurement reads /proc and so needs Linux")
    rows = select_rows([*all_rows(idle, subscriptions), *crossing_rows(accounts), *stream_rows(messages)], patterns)
    if not rows:
        raise click.UsageError(f"no row matches {' '.join(patterns)}; --list shows the keys")
    if list_rows:
        for row in rows:
            click.echo(f"{row.key:<28}{row.metrics[0].title}")
        return
    programs = _programs(servers)
    base = QUICK if quick else DEFAULT
    settings = Settings(rounds or base.rounds, seconds or base.seconds)
    _allow_many_files()
    start = time.monotonic()
    results: list[RowResult] = []
    versions = {program.name: program.version() for program in programs}
    interrupted = False
    with _ends_like_ctrl_c(), tempfile.TemporaryDirectory(prefix="natskeep-bench-") as directory:
        bench = Bench(Path(directory), programs, settings, lambda line: click.echo(line, err=True))
        try:
            for row in rows:
                results.append(bench.run(row))
        except KeyboardInterrupt:
            interrupted = True
            click.echo("Interrupted: the table holds the rows that were finished.", err=True)
    for line in _conditions(settings, versions):
        click.echo(line)
    click.echo()
    click.echo(table(results, [program.name for program in programs]))
    click.echo()
    click.echo(f"{len(results)} rows in {time.monotonic() - start:.0f} s")
    if json_file is not None:
        facts = {"conditions": _conditions(settings, versions), "versions": versions, "rows": as_json(results)}
        json_file.write_text(json.dumps(facts, indent=1) + "\n")
    failed = any(server.error for result in results for server in result.servers.values())
    sys.exit(130 if interrupted else 1 if failed else 0)


def _programs(servers: tuple[str, ...]) -> list[Program]:
    """The programs to measure, natskeep first."""
    programs = default_programs()
    for definition in servers:
        name, equals, command = definition.partition("=")
        if name not in DEFAULT_NAMES or not equals or not command.strip():
            raise click.UsageError(f"--server takes natskeep=COMMAND or nats-server=COMMAND, not {definition!r}")
        programs[name] = Program(name, tuple(shlex.split(command)))
    if "natskeep" not in programs:
        raise click.ClickException(
            "natskeep is not installed here: run `make bench`, or name it with --server natskeep=…"
        )
    if "nats-server" not in programs:
        click.echo(
            "No nats-server on PATH, so there is nothing to compare with (Debian: apt-get install nats-server).",
            err=True,
        )
    return [programs[name] for name in DEFAULT_NAMES if name in programs]


def _conditions(settings: Settings, versions: dict[str, str]) -> list[str]:
    return [
        *(f"{name}: {version}" for name, version in versions.items()),
        f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}",
        f"{settings.rounds} rounds of {settings.seconds:g} s, the servers in turn; figures are medians over "
        "the rounds, the ratio is the median of the rounds' ratios",
        f"at most {WINDOW // 1024**2} MiB on their way to a subscriber, {TOTAL_WINDOW // 1024**2} MiB to all of them; "
        "the ceiling is the generator against a server that only moves bytes; peak memory is VmHWM",
    ]


def _allow_many_files() -> None:
    """Raise the soft limit of open files as far as it goes; the servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _ends_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act like Ctrl-C, so that every server and worker is ended too."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
