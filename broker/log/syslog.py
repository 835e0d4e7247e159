"""The log sent to syslog: the local daemon, or one elsewhere by UDP, TCP or a Unix socket.

Lines are sent by a thread of their own, so that a daemon that does not read cannot hold up the broker. What it cannot
keep up with is dropped, counted, and reported in the next line that goes through.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from broker.log.destination import LogError, note
from broker.log.formats import TRACE, offset

LOCAL_SOCKETS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
"""Where syslog daemons listen on one machine or another."""

QUEUED_LINES: Final = 10_000
CONNECT_SECONDS: Final = 5.0
SEND_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
"""How long a lost connection is left alone after a vain attempt to restore it."""
CLOSE_SECONDS: Final = 2.0
"""How long the end of the program waits for lines that are still to be sent."""

_SEVERITIES: Final = {
    TRACE: 5, logging.DEBUG: 7, logging.INFO: 5, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2,
}  # fmt: skip
"""Syslog's severities (RFC 5424, section 6.2.1) for levels of the log, as nats-server chooses them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A socket to send to."""

    family: socket.AddressFamily
    kind: socket.SocketKind
    address: str | tuple[str, int]
    local: bool
    """Whether the short form of a line is understood there: without the host's name, and without the year."""


def targets(url: str) -> tuple[Target, ...]:
    """Where to try to send to, in order: the local daemon for an empty URL. Raises LogError for a URL that is none."""
    if not url:
        return tuple(
            Target(socket.AF_UNIX, kind, path, local=True)
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
            for path in LOCAL_SOCKETS
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise LogError(f"remote_syslog: {error}") from error
    match parts.scheme:
        case "unix":
            return (Target(socket.AF_UNIX, socket.SOCK_STREAM, parts.path, local=True),)
        case "udp" | "tcp":
            if not host or not port:
                raise LogError(f"remote_syslog: {parts.scheme} needs a host and a port: {parts.scheme}://localhost:514")
            kind = socket.SOCK_DGRAM if parts.scheme == "udp" else socket.SOCK_STREAM
            return (Target(socket.AF_UNSPEC, kind, (host, port), local=False),)
    raise LogError(f'remote_syslog: invalid network type: "{parts.scheme}"; use udp, tcp or unix')


def connected(candidates: Sequence[Target]) -> tuple[socket.socket, Target]:
    """A socket connected to the first candidate that answers. Raises LogError with the reason of the last one."""
    reason: OSError | None = None
    for target in candidates:
        try:
            return _connect(target), target
        except OSError as error:
            reason = error
    why = "nobody listens" if reason is None else reason.strerror or str(reason)
    raise LogError(f'error connecting to syslog: "{why}"') from reason


def _connect(target: Target) -> socket.socket:
    family: int = target.family
    address: str | tuple[object, ...] = target.address
    if not isinstance(target.address, str):
        family, _, _, _, address = socket.getaddrinfo(*target.address, type=target.kind)[0]
    made = socket.socket(family, target.kind)
    try:
        made.settimeout(CONNECT_SECONDS)
        made.connect(address)
        made.settimeout(SEND_SECONDS)
    except OSError:
        made.close()
        raise
    return made


class Syslog(logging.Handler):
    """Sends records to syslog under the name `tag`. Raises LogError when nobody listens there at the start."""

    def __init__(self, url: str, tag: str) -> None:
        self._candidates = targets(url)
        self._socket: socket.socket | None
        self._socket, self._target = connected(self._candidates)
        # From here on the logging module knows the handler and closes it at the end of the program.
        super().__init__()
        self._tag = tag
        self._host = socket.gethostname()
        self._retry_at = 0.0
        self._lost = 0
        self._lines: queue.Queue[tuple[int, float, str] | None] = queue.Queue(QUEUED_LINES)
        self._sender = threading.Thread(target=self._send_lines, name="natskeep-syslog", daemon=True)
        self._sender.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hands one record to the sender; each of its lines is a message of its own."""
        severity = _SEVERITIES.get(record.levelno, 5)
        for line in self.format(record).split("\n"):
            try:
                self._lines.put_nowait((severity, record.created, line))
            except queue.Full:
                self._lost += 1

    def close(self) -> None:
        """Sends what is still queued, for a moment at most."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        if self._sender is not threading.current_thread():
            self._sender.join(CLOSE_SECONDS)
        super().close()

    def _send_lines(self) -> None:
        while (item := self._lines.get()) is not None:
            if self._lost:
                lost, self._lost = self._lost, 0
                record = note(logging.WARNING, f"{lost} lines were not sent to syslog")
                if not self._send(_SEVERITIES[logging.WARNING], record.created, self.format(record)):
                    self._lost += lost
            if not self._send(*item):
                self._lost += 1
        if self._socket is not None:
            self._socket.close()

    def _send(self, severity: int, moment: float, line: str) -> bool:
        """Sends one line, over a new connection when the old one has broken."""
        data = self._frame(severity, moment, line)
        for _ in range(2):
            if self._socket is None and not self._reconnect():
                return False
            try:
                if self._socket is not None:
                    self._socket.sendall(data)
                    return True
            except OSError:
                self._disconnect()
        return False

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _reconnect(self) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._socket, self._target = connected(self._candidates)
        except LogError:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def _frame(self, severity: int, moment: float, line: str) -> bytes:
        parts = time.localtime(moment)
        if self._target.local:
            head = f"{_MONTHS[parts.tm_mon - 1]} {parts.tm_mday:2d} {time.strftime('%H:%M:%S', parts)}"
        else:
            head = f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}{offset(parts)} {self._host}"
        return f"<{severity}>{head} {self._tag}[{os.getpid()}]: {line}\n".encode("utf-8", "backslashreplace")


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
