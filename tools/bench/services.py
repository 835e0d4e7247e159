"""The request-reply load across the wall of an account: the requester imports the service that the responder exports.

The server gives each request a reply subject of its own and says in a header who asks, so the responder has to read
what arrives: one regular expression over all that is there, without a step of Python per request.
"""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack

from tools.bench.client import Target, connect, subscribe
from tools.bench.errors import BenchError
from tools.bench.exchange import SERVICE, Exchange, finish, receive_without_pings, request
from tools.bench.frames import SID, Side, deliver_frame, publish_frame, unique_subjects
from tools.bench.receive import STALL_SECONDS
from tools.bench.workers import Figures, Worker

IMPORTED = "bench.imported.service"
"""The subject of the service in the importing account."""
PAYLOAD = b"x" * 16
EXPORTER, IMPORTER = 0, 1

_REQUEST = re.compile(
    rb"HMSG %b %d (_R_\.[^ \r\n]+) \d+ \d+\r\nNATS/1\.0\r\nNats-Request-Info: \{[^\r\n]*\}\r\n\r\n%b\r\n"
    % (re.escape(SERVICE.encode()), SID, PAYLOAD)
)
_STAND_IN_INFO = b'NATS/1.0\r\nNats-Request-Info: {"acc":"%b","rtt":123456}\r\n\r\n' % (b"A" * 56)


def prepare_service(inbox: str, count: int = 16384) -> Exchange:
    """Build the four rings; the two sides of the responder are what a server without a mind of its own would send."""
    inboxes = unique_subjects(inbox, count)
    replies = unique_subjects("_R_.ABCDEF", count)
    return Exchange(
        request=Side.join([publish_frame(IMPORTED, PAYLOAD, inbox) for inbox in inboxes]),
        request_received=Side.join([_request_frame(reply) for reply in replies]),
        reply=Side.join([publish_frame(reply, PAYLOAD) for reply in replies]),
        reply_received=Side.join([deliver_frame(inbox, PAYLOAD) for inbox in inboxes]),
    )


def measure_service(target: Target, seconds: float, in_flight: int, inbox: str) -> Figures:
    """As :func:`tools.bench.exchange.measure_exchange`, with the requester in the account that imports.

    Raises:
        BenchError: something unexpected arrived, or a connection closed or stalled.
        OSError: a connection failed.
    """
    exchange = prepare_service(inbox)
    with ExitStack() as stack:
        responder = stack.enter_context(connect(target, "responder", account=EXPORTER))
        subscribe(responder, SERVICE)
        requester = stack.enter_context(connect(target, "requester", account=IMPORTER))
        subscribe(requester, f"{inbox}.*")
        worker = stack.enter_context(Worker("responder", lambda: _respond(responder)))
        figures = request(requester, exchange, seconds, in_flight)
        finish(responder, worker, figures)
        return figures


def answers(data: bytes) -> tuple[bytes, int, bytes]:
    """The answers to all whole requests in ``data``, their number, and what is left of it.

    Raises:
        BenchError: something else arrived than a request.
    """
    parts = _REQUEST.split(data)
    replies, between, rest = parts[1::2], parts[:-1:2], parts[-1]
    if any(between) or not b"HMSG ".startswith(rest[:5]):
        raise BenchError("the responder received something else than requests")
    end = b" %d\r\n%b\r\n" % (len(PAYLOAD), PAYLOAD)
    return b"".join(b"PUB " + reply + end for reply in replies), len(replies), rest


def _respond(connection: socket.socket) -> Figures:
    """Answer until the connection is shut down."""
    connection.settimeout(STALL_SECONDS)
    answered = 0
    rest = b""
    while data := receive_without_pings(connection):
        frames, count, rest = answers(rest + data)
        if count:
            connection.sendall(frames)
        answered += count
    return {"answered": float(answered)}


def _request_frame(reply: str) -> bytes:
    size = len(_STAND_IN_INFO)
    line = f"HMSG {SERVICE} {SID} {reply} {size} {size + len(PAYLOAD)}\r\n".encode()
    return line + _STAND_IN_INFO + PAYLOAD + b"\r\n"
