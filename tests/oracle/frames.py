"""Reads what a server sends to a client back into its parts."""

from __future__ import annotations

from tests.oracle.plan import Delivery


def read_frames(data: bytes) -> list[Delivery | bytes]:
    """Return messages as ``Delivery`` and every other line as bytes; raise ``ValueError`` for anything unfinished."""
    found: list[Delivery | bytes] = []
    while data:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise ValueError(f"a line without an end: {line!r}")
        verb, *arguments = line.split(b" ")
        if verb not in (b"MSG", b"HMSG"):
            found.append(line)
            continue
        numbers = 1 if verb == b"MSG" else 2
        if len(arguments) not in (numbers + 2, numbers + 3):
            raise ValueError(f"a message with wrong arguments: {line!r}")
        reply = arguments[2] if len(arguments) == numbers + 3 else None
        size = int(arguments[-1])
        header = None if numbers == 1 else data[: int(arguments[-2])]
        body, data = data[:size], data[size:]
        if len(body) < size or data[:2] != b"\r\n":
            raise ValueError(f"a message of another size than announced: {line!r}")
        data = data[2:]
        found.append(Delivery(arguments[0], arguments[1], reply, header, body[len(header or b"") :]))
    return found
