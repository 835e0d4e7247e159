"""A message that was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ready(NamedTuple):
    """A message that nothing stands against, as it is stored."""

    subject: bytes
    header: bytes | None
    payload: bytes
    lines: Mapping[bytes, bytes]
    """What its header asks for."""
    replaces: bytes | None
    """See `rollup.wanted`."""
    is_kept: bool
    """Whether it is stored, rather than only counted."""
