"""Offers one vector's credentials to a running server and reports what came of it, in the shape of ``expect``."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.wire import WireConnection
from tests.vectors.signing import NEEDED_CHARACTERS, forge, sign_nonce
from tests.vectors.vector import Vector

HTTP_SECONDS = 10.0
_ATTEMPTS = 40
_CONNECT: Mapping[str, Any] = {
    "verbose": False,
    "pedantic": False,
    "tls_required": False,
    "name": "",
    "lang": "vectors",
    "version": "1",
    "protocol": 1,
}
_CONNZ_FIELDS = {
    "account": "account",
    "authorized_user": "user",
    "issuer_key": "issuer_key",
    "name_tag": "name_tag",
    "tags": "tags",
}
CLOSED = "<closed>"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens on 127.0.0.1."""

    port: int
    http_port: int


def observe(vector: Vector, address: Address) -> dict[str, Any]:
    """What the server made of the vector: outcome, binding, lines and answers to the probes."""
    jwt = forge(dict(vector.dynamic)) if vector.dynamic else vector.connect.get("jwt")
    reuses_nonce = vector.connect.get("sig") == "reuse"
    earlier = [_offer(vector, jwt, address, way="url") for _ in range(vector.earlier_connections + reuses_nonce)]
    nonce = earlier[-1].connection.info.get("nonce") if earlier else None
    offer = _offer(vector, jwt, address, way=vector.connect.get("sig", "url"), earlier_nonce=nonce)
    try:
        return offer.accepted(vector, address) if offer.lines[-1:] == ["PONG"] else offer.refused()
    finally:
        for each in (*earlier, offer):
            each.connection.close()


@dataclass(slots=True)
class _Offer:
    connection: WireConnection
    lines: list[str]

    def refused(self) -> dict[str, Any]:
        errors = [line for line in self.lines if line.startswith("-ERR")]
        plain = not errors or "-ERR 'Authorization Violation'" in errors
        return {"outcome": "refused" if plain else "closed", "lines": self.lines}

    def accepted(self, vector: Vector, address: Address) -> dict[str, Any]:
        found: dict[str, Any] = {"outcome": "accepted", **_binding(address, self.connection.local_port)}
        found["max_payload"] = self.connection.info.get("max_payload")
        if self.lines[:-1]:
            found["lines"] = self.lines[:-1]
        answers = []
        for probe in vector.probes:
            sent = probe.replace("\n", "\r\n").encode() + b"\r\n"
            answers.append({"send": probe, "answer": _round_trip(self.connection, sent)})
            if self.connection.ended:
                break
        if answers:
            found["probes"] = answers
        if vector.wait_seconds:
            found["after"] = _until_closed(self.connection, vector.wait_seconds)
        return found


def _offer(vector: Vector, jwt: object, address: Address, *, way: str, earlier_nonce: str | None = None) -> _Offer:
    for _ in range(_ATTEMPTS):
        connection = WireConnection(address.port)
        connection.read_info()
        options = dict(_CONNECT)
        if jwt is not None:
            options["jwt"] = jwt
        if (seed := vector.connect.get("seed")) and way != "none":
            options["sig"] = sign_nonce(seed, way, connection.info.get("nonce", ""), earlier_nonce)
        needed = NEEDED_CHARACTERS.get(way, "")
        if not needed or set(needed) & set(options["sig"]):
            break
        connection.close()
    options.update(vector.connect.get("extra") or {})
    lines = _round_trip(connection, b"CONNECT " + json.dumps(options).encode() + b"\r\n")
    if lines[-1] == "PONG":
        # The INFO after CONNECT follows the first PONG, and so may an error that closes the connection.
        late = _until_closed(connection, vector.settle_seconds) if vector.settle_seconds else []
        lines = _without_race(connection, lines[:-1] + (late or _round_trip(connection)))
    return _Offer(connection, lines)


def _round_trip(connection: WireConnection, data: bytes = b"") -> list[str]:
    """Sends ``data`` and PING and returns the lines up to PONG or the end; INFO is kept apart as the connection's own.

    Both go in one write: a PING that arrives after the server has hung up could cost the error that it sent before.
    """
    connection.send(data + b"PING\r\n")
    lines = _until_pong(connection)
    if lines[-1] == "PONG" and any(_may_close(line) for line in lines):
        # The error may close the connection, or not: only another answer tells.
        connection.send(b"PING\r\n")
        lines += [line for line in _until_pong(connection) if line != "PONG"]
    return _without_race(connection, lines)


def _until_pong(connection: WireConnection) -> list[str]:
    lines: list[str] = []
    while (frame := _next_line_frame(connection)) is not None:
        lines += frame
        if frame == ["PONG"]:
            return lines
    return [*lines, CLOSED if connection.ended else "<silence>"]


def _until_closed(connection: WireConnection, seconds: float) -> list[str]:
    """What comes within ``seconds``, or until the end; nothing when nothing comes."""
    lines: list[str] = []
    while (frame := _next_line_frame(connection, seconds)) is not None:
        lines += frame
    return [*lines, CLOSED] if connection.ended else lines


def _next_line_frame(connection: WireConnection, seconds: float | None = None) -> list[str] | None:
    """The next frame other than INFO, as lines."""
    while True:
        frame = connection.frame() if seconds is None else connection.frame(seconds)
        if frame is None:
            return None
        if not frame.startswith(b"INFO "):
            return frame.decode(errors="replace").split("\r\n")
        connection.info = json.loads(frame[5:])


def _may_close(line: str) -> bool:
    return line.startswith("-ERR") and "Permissions Violation" not in line


def _without_race(connection: WireConnection, lines: list[str]) -> list[str]:
    """A closing -ERR races with PONG: what is left is the errors, each once, and the end."""
    if not (connection.ended and any(line.startswith("-ERR") for line in lines)):
        return lines
    kept = dict.fromkeys(line for line in lines if line not in ("PONG", "+OK", CLOSED))
    return [*kept, CLOSED]


def _binding(address: Address, local_port: int) -> dict[str, Any]:
    """The account and user that /connz shows for the connection from ``local_port``."""
    connection = http.client.HTTPConnection("127.0.0.1", address.http_port, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/connz?auth=true&limit=100")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        return {"account": f"/connz answered {response.status}"}
    entries: list[dict[str, Any]] = json.loads(body)["connections"]
    mine = next((entry for entry in entries if entry["port"] == local_port), {})
    return {name: mine[field] for field, name in _CONNZ_FIELDS.items() if mine.get(field)}
