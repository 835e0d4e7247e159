"""Crowds of connections that stall before login, from the many addresses of loopback."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

PATIENCE = 60.0
"""Seconds that an event may take that must come; generous, because only a failing test waits so long."""

SPARE_FILES = 300
"""Descriptors that are left to everybody else in the process."""


class Phase(Enum):
    """Where a connection stalls."""

    BEFORE_INFO = "before INFO"
    IN_THE_HANDSHAKE = "in the handshake"
    BEFORE_CONNECT = "before CONNECT"


def allowed(wanted: int) -> int:
    """So many connections, or as many as the open files of this process allow, which are raised to the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return wanted if most < 0 else min(wanted, most - SPARE_FILES)


def hello(context: ssl.SSLContext) -> bytes:
    """What a client of TLS says first."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Stalling:
    """Connections that say so much and no more."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._living: dict[int, socket.socket] = {}
        self._opened = 0

    def __len__(self) -> int:
        """How many the server has not ended."""
        self.look()
        return len(self._living)

    def open(self, port: int, words: bytes, address: str | None = None) -> None:
        """One more; without an address from one of its own."""
        number, self._opened = self._opened, self._opened + 1
        source = address or f"127.{1 + number // 62500}.{1 + number // 250 % 250}.{1 + number % 250}"
        sock = socket.socket()
        sock.bind((source, 0))
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.send(words)
        sock.setblocking(False)
        self._living[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN)

    def look(self, seconds: float = 0.0) -> None:
        """Finds out who was ended."""
        for descriptor, _ in self._poll.poll(seconds, 1024):
            sock = self._living[descriptor]
            with contextlib.suppress(BlockingIOError):
                try:
                    while sock.recv(65536):
                        pass
                except ConnectionError:
                    pass
                del self._living[descriptor]
                sock.close()

    def wait_for_the_end(self, but: int) -> None:
        """Returns once the server has ended all but so many of them, and no more than that."""
        end = time.monotonic() + PATIENCE
        while len(self) > but and time.monotonic() < end:
            self.look(0.1)
        assert len(self) == but

    def close(self) -> None:
        """Ends what is left."""
        for sock in self._living.values():
            sock.close()
        self._poll.close()


@contextmanager
def stalling() -> Iterator[Stalling]:
    """A crowd that is gone at the end."""
    crowd = Stalling()
    try:
        yield crowd
    finally:
        crowd.close()


def log_in(port: int, certificates: Path) -> None:
    """A client that behaves: it comes, shakes hands, says who it is, and goes when it was answered."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        told = b""
        while b"\r\n" not in told:
            data = plain.recv(4096)
            assert data, told
            told += data
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b'CONNECT {"auth_token":"t","verbose":false}\r\nPING\r\n')
            answer = b""
            while b"PONG\r\n" not in answer:
                data = sock.recv(4096)
                assert data, answer
                answer += data


def processor_seconds(pid: int) -> float:
    """What a process has used of a processor."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100.0
