"""The rows of streams: what is published into them, what is taken out of them, and a start with very many messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tools.bench.buckets import make_bucket, measure_gets, measure_puts
from tools.bench.client import Target
from tools.bench.jetstream import Asker, Kept, stream_config
from tools.bench.rows import Metric, Row, rate
from tools.bench.servers import Program, Server, free_port
from tools.bench.starts import measure_start
from tools.bench.streams import (
    CONSUMERS,
    fill,
    make_consumers,
    make_stream,
    measure_consumers,
    measure_publish,
    measure_pull,
)
from tools.bench.workers import Figures

STREAMS: Final = 100
"""Streams that a server starts with."""

_AT_ONCE: Final = 1000


class Streams(Row):
    """Work on streams; `kept` is how natskeep and nats-server keep them, `make` what is there from the beginning."""

    def __init__(
        self,
        key: str,
        metric: Metric,
        kept: Kept,
        make: Callable[[int], None],
        work: Callable[[int, float], Figures],
    ) -> None:
        super().__init__(key, metric)
        self._kept = kept
        self._make = make
        self._work = work

    def config(self, port: int, directory: Path) -> str:
        return stream_config(port, directory, self._kept)

    def prepare(self, target: Target, stack: ExitStack) -> None:
        del stack
        self._make(target.port)

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        del server
        return self._work(target.port, seconds)


class Recovery(Row):
    """A start with very many messages on disk; the row's own server only stands by."""

    def __init__(self, key: str, messages: int, *metrics: Metric) -> None:
        super().__init__(key, *metrics)
        self._messages = messages
        self._filled: dict[str, Path] = {}
        """The configuration of each server that has them."""

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        if server is None:
            return {}
        if server.name not in self._filled:
            self._filled[server.name] = _filled(server.program, server.directory, self._messages)
        return measure_start(server.program, self._filled[server.name])


def _filled(program: Program, directory: Path, messages: int) -> Path:
    """Has a server keep so many messages, ends it, and returns the configuration to start it with again."""
    kept = Kept()
    port = free_port()
    config = directory / f"recovery-{program.name}.conf"
    store = directory / f"recovery-{program.name}"
    config.write_text(stream_config(port, store, kept))
    each = messages // STREAMS
    with Server(program, config, port):
        asker = Asker(port)
        for number in range(STREAMS):
            name = f"S{number}"
            asker.ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"fill.{number}.*"], "storage": "file"})
            frames = b"".join(
                b"PUB fill.%d.%d 128\r\n%b\r\n" % (number, place % 100, b"x" * 128) for place in range(_AT_ONCE)
            )
            for _ in range(each // _AT_ONCE):
                asker.connection.sendall(frames)
            while asker.ask(f"STREAM.INFO.{name}", None)["state"]["messages"] < each:
                time.sleep(0.02)
        asker.connection.close()
    config.write_text(stream_config(-1, store, kept))
    return config


def _make_and_fill(port: int) -> None:
    make_stream(port, Kept())
    fill(port, 128)


def _make_with_consumers(port: int) -> None:
    make_stream(port, Kept())
    make_consumers(port)


def stream_rows(messages: int) -> list[Row]:
    """The rows of streams, in the order of the table; a start is measured with so many messages."""
    disk, always, memory = Kept(), Kept(always=True), Kept(memory=True)
    return [
        Streams(
            "stream-publish-128",
            rate("publish with acks, 128 B, 4,000 in flight, synced ÷ not synced", 1.5),
            disk,
            lambda port: make_stream(port, disk),
            lambda port, seconds: measure_publish(port, 128, 4000, seconds),
        ),
        Streams(
            "stream-publish-1k",
            rate("the same, 1 KiB", 1.2),
            disk,
            lambda port: make_stream(port, disk),
            lambda port, seconds: measure_publish(port, 1024, 4000, seconds),
        ),
        Streams(
            "stream-publish-always-128",
            rate("the same, 128 B, both synced always", 5.0),
            always,
            lambda port: make_stream(port, always),
            lambda port, seconds: measure_publish(port, 128, 4000, seconds),
        ),
        Streams(
            "stream-publish-memory",
            rate("one publish at a time, in memory", 1.0),
            memory,
            lambda port: make_stream(port, memory),
            lambda port, seconds: measure_publish(port, 128, 1, seconds),
        ),
        Streams(
            "stream-pull-none",
            rate("pull by 1,000, no acks, 128 B", 1.5),
            disk,
            _make_and_fill,
            lambda port, seconds: measure_pull(port, seconds, explicit=False),
        ),
        Streams(
            "stream-pull-explicit",
            rate("pull by 1,000, explicit acks, 128 B", 1.2),
            disk,
            _make_and_fill,
            lambda port, seconds: measure_pull(port, seconds, explicit=True),
        ),
        Streams(
            "stream-consumers",
            rate(f"{CONSUMERS:,} consumers with a filter each, 128 B", 1.0),
            disk,
            _make_with_consumers,
            measure_consumers,
        ),
        Streams(
            "stream-bucket-put",
            rate("key-value puts, 64 in flight, synced ÷ not synced", 1.2),
            disk,
            make_bucket,
            measure_puts,
        ),
        Streams(
            "stream-bucket-put-always", rate("the same, both synced always", 5.0), always, make_bucket, measure_puts
        ),
        Streams("stream-bucket-get", rate("key-value gets, 64 in flight", 1.2), disk, make_bucket, measure_gets),
        Recovery(
            "stream-start",
            messages,
            Metric("ready", f"start with {messages:,} messages in {STREAMS} streams", "s", 1.0, more_is_better=False),
            Metric("memory", "memory of the server then", "B", None, more_is_better=False),
        ),
    ]
