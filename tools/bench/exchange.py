"""The request-reply load: one requester, one responder, and a new inbox subject for each request.

Requests, replies and their inboxes are prebuilt rings, walked by both sides in the same order, so that nothing has to
be parsed: a server keeps the order of one connection's messages. Every received byte is compared.
"""

from __future__ import annotations

import secrets
import socket
import string
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tools.bench.client import PING, Target, connect, subscribe
from tools.bench.errors import BenchError
from tools.bench.frames import Side, Walk, deliver_frame, publish_frame, unique_subjects
from tools.bench.receive import STALL_SECONDS
from tools.bench.workers import Figures, Worker

SERVICE = "bench.service"
INBOX_ALPHABET = string.ascii_letters + string.digits
READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Exchange:
    """Four rings: the request and the reply, each as sent and as received."""

    request: Side
    request_received: Side
    reply: Side
    reply_received: Side


def new_inbox() -> str:
    """An inbox prefix as clients make it for each connection: 22 characters that are theirs alone."""
    return "_INBOX." + "".join(secrets.choice(INBOX_ALPHABET) for _ in range(22))


def prepare_exchange(inbox: str, payload_size: int = 16, count: int = 16384) -> Exchange:
    """Build rings of `count` requests; each walk round them uses new subjects below `inbox`."""
    payload = b"x" * payload_size
    inboxes = unique_subjects(inbox, count)
    return Exchange(
        request=Side.join([publish_frame(SERVICE, payload, inbox) for inbox in inboxes]),
        request_received=Side.join([deliver_frame(SERVICE, payload, inbox) for inbox in inboxes]),
        reply=Side.join([publish_frame(inbox, payload) for inbox in inboxes]),
        reply_received=Side.join([deliver_frame(inbox, payload) for inbox in inboxes]),
    )


def measure_exchange(target: Target, seconds: float, in_flight: int, inbox: str) -> Figures:
    """Keep `in_flight` requests unanswered for `seconds`; give each measurement an `inbox` of its own.

    Returns `rate` (answered requests per second) and `p50`, `p99` (seconds from sending a request to its answer).

    Raises:
        BenchError: something unexpected arrived, or a connection closed or stalled.
        OSError: a connection failed.
    """
    exchange = prepare_exchange(inbox)
    with ExitStack() as stack:
        responder = stack.enter_context(connect(target, "responder"))
        subscribe(responder, SERVICE)
        requester = stack.enter_context(connect(target, "requester"))
        subscribe(requester, f"{inbox}.*")
        worker = stack.enter_context(Worker("responder", lambda: _respond(responder, exchange)))
        figures = request(requester, exchange, seconds, in_flight)
        finish(responder, worker, figures)
        return figures


def finish(responder: socket.socket, worker: Worker, figures: Figures) -> None:
    """End the responder's process and hold its figures against the requester's.

    Raises:
        BenchError: other answers arrived than were sent.
    """
    # The responder's process shares this socket, reads its end and so knows that it is over.
    responder.shutdown(socket.SHUT_RD)
    answered = worker.result(STALL_SECONDS)["answered"]
    if answered != figures["answered"]:
        raise BenchError(f"{answered:.0f} requests were answered, but {figures['answered']:.0f} answers arrived")


def request(connection: socket.socket, exchange: Exchange, seconds: float, in_flight: int) -> Figures:
    """The requester's side of :func:`measure_exchange`, with the same figures."""
    outgoing, incoming = Walk(exchange.request), Walk(exchange.reply_received)
    waiting: deque[list[float]] = deque()
    samples: list[tuple[float, int]] = []
    connection.settimeout(STALL_SECONDS)
    answered = 0
    pending = more = in_flight
    start = now = time.monotonic()
    deadline = start + seconds
    while pending:
        if more:
            waiting.append([now, more])
            for frames in outgoing.take(more):
                connection.sendall(frames)
        data = receive_without_pings(connection)
        if not data:
            raise BenchError("the server closed the connection of the requester")
        arrived = incoming.check(data)
        now = time.monotonic()
        answered += arrived
        samples += settle_batches(waiting, arrived, now)
        more = arrived if now < deadline else 0
        pending += more - arrived
    quantiles = weighted_quantiles(samples, (0.5, 0.99))
    return {"rate": answered / (now - start), "answered": float(answered), "p50": quantiles[0], "p99": quantiles[1]}


def _respond(connection: socket.socket, exchange: Exchange) -> Figures:
    """Answer until the connection is shut down."""
    incoming, outgoing = Walk(exchange.request_received), Walk(exchange.reply)
    connection.settimeout(STALL_SECONDS)
    answered = 0
    while data := receive_without_pings(connection):
        count = incoming.check(data)
        for frames in outgoing.take(count):
            connection.sendall(frames)
        answered += count
    return {"answered": float(answered)}


def receive_without_pings(connection: socket.socket) -> bytes:
    """What has arrived, without PINGs of the server, whose capitals no message of this load holds; nothing at the end.

    A PING cut in two makes the comparison of frames fail. It comes once in the first seconds of a connection.
    """
    data = connection.recv(READ_BYTES)
    while data == PING:
        data = connection.recv(READ_BYTES)
    return data.replace(PING, b"") if PING in data else data


def settle_batches(waiting: deque[list[float]], arrived: int, now: float) -> list[tuple[float, int]]:
    """Match answers with the requests that wait longest; returns latencies in seconds, each with its count.

    `waiting` holds [time of sending, requests still unanswered] for each batch that was sent, the oldest first.
    """
    samples: list[tuple[float, int]] = []
    while arrived:
        batch = waiting[0]
        count = min(arrived, int(batch[1]))
        samples.append((now - batch[0], count))
        batch[1] -= count
        arrived -= count
        if not batch[1]:
            waiting.popleft()
    return samples


def weighted_quantiles(samples: Sequence[tuple[float, int]], shares: Sequence[float]) -> list[float]:
    """For each share the smallest value that at least this share of all counted samples does not exceed."""
    ordered = sorted(samples)
    total = sum(count for _, count in ordered)
    if not total:
        raise BenchError("no request was answered")
    quantiles = []
    for share in shares:
        left = share * total
        for value, count in ordered:
            left -= count
            if left <= 1e-9:
                quantiles.append(value)
                break
    return quantiles
