"""A client of streams: how both servers are told to keep them, and requests to their API."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.client import PING, PONG, log_in
from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.receive import STALL_SECONDS

USER = "bench"
PASSWORD = "bench"
INBOX = "_INBOX.bench"
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """How a stream is kept: in memory or on disk, and there synced always or as the server does by itself."""

    memory: bool = False
    always: bool = False


def stream_config(port: int, directory: Path, kept: Kept) -> str:
    """The configuration of a server whose streams are kept in a directory."""
    sync = "\n  sync_interval: always" if kept.always else ""
    return f"""listen: {HOST}:{port}
jetstream {{
  store_dir: "{directory}"{sync}
}}
accounts {{
  BENCH {{ jetstream: enabled, users: [ {{ user: {USER}, password: {PASSWORD} }} ] }}
}}
"""


class Asker:
    """A connection that asks the API."""

    def __init__(self, port: int) -> None:
        self.connection = log_in(port, USER, PASSWORD)
        self.connection.settimeout(STALL_SECONDS)
        self.connection.sendall(f"SUB {INBOX}.> 1\r\n".encode())

    def ask(self, request: str, body: object) -> Any:
        """The answer. Raises BenchError where it is a refusal."""
        payload = b"" if body is None else json.dumps(body).encode()
        self.connection.sendall(
            f"PUB $JS.API.{request} {INBOX}.api {len(payload)}\r\n".encode() + payload + b"\r\n"
        )
        data = b""
        while True:
            head, found, rest = data.partition(b"\r\n")
            words = head.split(b" ")
            if found and words[0] == b"MSG" and len(rest) >= int(words[-1]) + 2:
                answer = json.loads(rest[: int(words[-1])])
                if "error" in answer:
                    raise BenchError(f"{request} was refused: {answer['error']}")
                return answer
            if found and head in (b"PING", b"PONG", b"+OK"):
                data = rest
                continue
            data += receive(self.connection)


def receive(connection: socket.socket) -> bytes:
    """What has arrived. Raises BenchError at the end."""
    data = connection.recv(READ_BYTES)
    if not data:
        raise BenchError("the server closed the connection")
    if PING in data:
        connection.sendall(PONG)
        data = data.replace(PING, b"")
    return data
