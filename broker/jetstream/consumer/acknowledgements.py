"""What a client says of a message that it was given: the words of an acknowledgement, and the subject it comes on."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from broker.jetstream.config.durations import parse_duration


class Kind(Enum):
    """What is said."""

    ACKNOWLEDGED = b"+ACK"
    REFUSED = b"-NAK"
    IN_PROGRESS = b"+WPI"
    NEXT = b"+NXT"
    TERMINATED = b"+TERM"
    UNKNOWN = b""


class Said(NamedTuple):
    """An acknowledgement: what is said, and what stands behind the word."""

    kind: Kind
    rest: bytes


class Place(NamedTuple):
    """Which delivery is meant: the deliveries so far, the stream's sequence and the consumer's."""

    deliveries: int
    sequence: int
    number: int


_PLAIN: Final = (b"", b"+ACK", b"+OK")
_WORDS: Final = (Kind.NEXT, Kind.REFUSED, Kind.IN_PROGRESS, Kind.TERMINATED)
_SHORT: Final = 9
"""Tokens of a reply subject without domain and account."""
_LONG: Final = 11


def said(payload: bytes) -> Said:
    """What the payload of an acknowledgement says."""
    if payload in _PLAIN:
        return Said(Kind.ACKNOWLEDGED, b"")
    for kind in _WORDS:
        if payload.startswith(kind.value):
            return Said(kind, payload[len(kind.value) :])
    return Said(Kind.UNKNOWN, payload)


def place(subject: bytes) -> Place | None:
    """Which delivery the subject of an acknowledgement names; None where it names none.

    `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<time>.<pending>`, or with domain and account in front
    of the stream (ADR-15), where more tokens may follow.
    """
    tokens = subject.split(b".")
    if len(tokens) == _SHORT:
        numbers = tokens[4:7]
    elif len(tokens) >= _LONG:
        numbers = tokens[6:9]
    else:
        return None
    if not all(number.isdigit() and len(number) < 20 for number in numbers):
        return None
    return Place(*(int(number) for number in numbers))


class _Delay(msgspec.Struct):
    delay: int = 0


def delay(rest: bytes) -> int | None:
    """Nanoseconds after which a refused message is wanted again; None for at once. Raises ValueError."""
    text = rest.strip()
    if not text:
        return None
    if text.startswith(b"{"):
        try:
            return msgspec.json.decode(text, type=_Delay).delay
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
    return parse_duration(text.decode("utf-8", "replace"))
