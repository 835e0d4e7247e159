"""Who speaks HTTP in the clear where TLS is expected: told so, as nats-server does."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from tls.failures import NOT_TLS

_BEGINNINGS: Final = frozenset({b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"})
_LENGTH: Final = 5
_REQUEST: Final = 64 * 1024
_ANSWER: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


def answer_in_the_clear(sock: socket.socket) -> str:
    """Tells a client that sent something else than a handshake what is wrong, where it can be told; what to log."""
    with contextlib.suppress(OSError):
        if sock.recv(_LENGTH, socket.MSG_PEEK) in _BEGINNINGS:
            sock.send(_ANSWER)
            # Bytes that nobody read would turn the close into a reset, which may overtake the answer.
            sock.recv(_REQUEST)
            return "client sent an HTTP request to an HTTPS server"
    return NOT_TLS
