"""Where a consumer stands, as the store keeps it."""

from __future__ import annotations

from typing import Final

import msgspec

from broker.jetstream.store.tables import DamagedError

DOCUMENT: Final = "standing/"
"""Behind it stand the id of the stream and the consumer's name."""


class Standing(msgspec.Struct, array_like=True, kw_only=True):
    """How far a consumer has come, and what it waits for."""

    number: int = 0
    """Of its last delivery."""
    sequence: int = 0
    """The highest of the stream that it delivered."""
    position: int = 1
    """The next sequence that it looks at."""
    floor_number: int = 0
    floor_sequence: int = 0
    given: list[tuple[int, int, int, int, int]] = []
    """Sequence, number, time of delivery, time when it is due again and deliveries of each that is not settled."""
    selected: list[int] = []
    """Sequences that come before all others."""


def dumps(standing: Standing) -> bytes:
    """The document."""
    return msgspec.msgpack.encode(standing)


def loads(document: bytes) -> Standing:
    """What a document says. Raises DamagedError."""
    try:
        return msgspec.msgpack.decode(document, type=Standing)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"where a consumer stands cannot be read: {error}") from None
