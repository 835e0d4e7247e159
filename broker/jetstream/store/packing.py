"""Records of streams that are to be compressed, as they stand in journal and tables: Snappy behind a mark.

A value says itself whether it is packed, so a stream's setting may change: it is about what is written from then on.
"""

from __future__ import annotations

from typing import Final

import cramjam

from broker.jetstream.store.tables import DamagedError

_MARK: Final = b"\xff\xff\xff\xff"
"""Records begin with their size, which is never so large."""
_WORTH_IT: Final = 8
"""What saves less than the eighth part is left as it is, since it costs time whenever it is read."""


def packed(records: bytes) -> bytes:
    """Records in the fewest bytes. Runs in any thread."""
    made = bytes(cramjam.snappy.compress_raw(records))
    saved = len(records) - len(_MARK) - len(made)
    return _MARK + made if saved * _WORTH_IT > len(records) else records


def unpacked(value: bytes) -> bytes:
    """The records in a value, packed or not. Raises DamagedError."""
    if not value.startswith(_MARK):
        return value
    try:
        return bytes(cramjam.snappy.decompress_raw(memoryview(value)[len(_MARK) :]))
    except cramjam.DecompressionError as error:
        raise DamagedError(f"packed records cannot be read: {error}; restore them from a backup") from None
