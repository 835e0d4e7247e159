"""A client that only logs in, at little cost to the machine that the server shares.

It leaves reading and writing to OpenSSL, on a socket that blocks, and makes no object that a login does not need:
beside a generator that takes more than the server every server looks much like any other.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from OpenSSL import SSL

from tls import native
from tools.bench.client import ANSWER_SECONDS, MAXIMUM_ANSWER, PING, PONG, Target, connect_line
from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.secured import NAME

_PATIENCE: Final = struct.pack("ll", int(ANSWER_SECONDS), 0)
"""A struct timeval: with a time-out of the socket module each read would cost one more system call."""


class Newcomer:
    """Comes, is let in, and goes, over and over: with a full handshake, or with the ticket of the last time."""

    def __init__(self, target: Target, name: str, *, resumes: bool = False) -> None:
        if target.tls is None:
            raise BenchError("logins are measured over TLS")
        self._target = target
        self._name = name
        self._resumes = resumes
        self._ticket: SSL.Session | None = None
        self._context = target.tls

    def visit(self, source: str) -> None:
        """One login from this loopback address, until the answer to a PING behind it.

        Raises:
            BenchError: the server refused, did not answer in time, or did not take the ticket.
            OSError: the connection failed.
        """
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.bind((source, 0))
            raw.connect((HOST, self._target.port))
            try:
                self._log_in(raw)
            except SSL.Error as error:
                raise BenchError(f"TLS with the server failed: {error}") from error
            except BlockingIOError:
                raise BenchError(f"the server did not answer within {ANSWER_SECONDS:g} s") from None

    def _log_in(self, raw: socket.socket) -> None:
        info = b""
        while not info.endswith(b"\r\n"):
            info += _some(raw.recv(MAXIMUM_ANSWER))
        connection = SSL.Connection(self._context, raw)
        connection.set_connect_state()
        connection.set_tlsext_host_name(NAME)
        if self._ticket is not None:
            connection.set_session(self._ticket)
        connection.do_handshake()
        if native.is_resumed(connection) is not (self._ticket is not None):
            raise BenchError("the server resumed a session that was not meant" if self._ticket is None
                             else "the server did not take a session's ticket")
        connection.sendall(connect_line(self._target.users[0], info, self._name) + PING)
        answer = b""
        while PONG not in answer:
            answer += _some(connection.recv(MAXIMUM_ANSWER))
            if answer.startswith(b"-ERR"):
                raise BenchError(f"the server answered {answer.decode(errors='replace')}")
        # OpenSSL takes a session for broken whose end was not said.
        connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        if self._resumes:
            self._ticket = connection.get_session()


def _some(data: bytes) -> bytes:
    if not data:
        raise BenchError("the server closed the connection")
    return data
