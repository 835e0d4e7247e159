"""A key-value bucket under load, as official clients use it (ADR-8): puts and gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tools.bench.errors import BenchError
from tools.bench.jetstream import INBOX, Asker, receive
from tools.bench.workers import Figures

BUCKET: Final = "bench"
KEYS: Final = 1000
IN_FLIGHT: Final = 64
_PUT: Final = b'"seq":'
_GOT: Final = b"Nats-Sequence: "
_LONGEST: Final = max(len(_PUT), len(_GOT))


def make_bucket(port: int) -> None:
    """Makes the bucket, with a value of each key."""
    asker = Asker(port)
    config = {
        "name": f"KV_{BUCKET}",
        "subjects": [f"$KV.{BUCKET}.>"],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "storage": "file",
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    asker.ask(f"STREAM.CREATE.KV_{BUCKET}", config)
    asker.connection.sendall(b"".join(_put(number) for number in range(KEYS)))
    _await(asker, KEYS)
    asker.connection.close()


def measure_puts(port: int, seconds: float) -> Figures:
    """Keeps puts in flight; returns `rate`, acknowledged puts per second."""
    return _measure(port, seconds, _put)


def measure_gets(port: int, seconds: float) -> Figures:
    """Keeps gets in flight; returns `rate`, answered gets per second."""
    return _measure(port, seconds, _get)


def _measure(port: int, seconds: float, request: Callable[[int], bytes]) -> Figures:
    asker = Asker(port)
    requests = [request(number) for number in range(KEYS)]
    asker.connection.sendall(b"".join(requests[:IN_FLIGHT]))
    sent, answered, tail = IN_FLIGHT, 0, b""
    start = now = time.monotonic()
    while now < start + seconds:
        data = tail + receive(asker.connection)
        if b'"error"' in data or b"NATS/1.0 4" in data:
            raise BenchError(f"a request was refused: {data[:300]!r}")
        found = data.count(_PUT) + data.count(_GOT)
        # What was counted must not be found again in the part that is looked at twice.
        tail = data[max(len(data) - _LONGEST + 1, data.rfind(_PUT) + 1, data.rfind(_GOT) + 1) :]
        asker.connection.sendall(b"".join(requests[number % KEYS] for number in range(sent, sent + found)))
        sent += found
        answered += found
        now = time.monotonic()
    _await(asker, sent - answered, tail)
    asker.connection.close()
    return {"rate": answered / (now - start)}


def _await(asker: Asker, left: int, tail: bytes = b"") -> None:
    while left:
        data = tail + receive(asker.connection)
        left -= data.count(_PUT) + data.count(_GOT)
        tail = data[max(len(data) - _LONGEST + 1, data.rfind(_PUT) + 1, data.rfind(_GOT) + 1) :]


def _put(number: int) -> bytes:
    return b"PUB $KV.%b.k%d %b.p 64\r\n%b\r\n" % (BUCKET.encode(), number * 7 % KEYS, INBOX.encode(), b"v" * 64)


def _get(number: int) -> bytes:
    bucket, key = BUCKET.encode(), number * 13 % KEYS
    return b"PUB $JS.API.DIRECT.GET.KV_%b.$KV.%b.k%d %b.g 0\r\n\r\n" % (bucket, bucket, key, INBOX.encode())
