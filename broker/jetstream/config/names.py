"""What streams and consumers may be called, and the ceilings of what is said about them."""

from __future__ import annotations

from typing import Final

from accounts.subject import REST
from accounts.transform import SubjectTransform

MAXIMUM_NAME: Final = 255
"""Bytes of a name."""
MAXIMUM_DESCRIPTION: Final = 4096
"""Bytes of a description."""

_FORBIDDEN: Final = frozenset(" \t\r\n\f.*>\\/")


def is_asset_name(name: str) -> bool:
    """Whether a stream or a consumer may be called so."""
    return bool(name) and _FORBIDDEN.isdisjoint(name)


def has_separator(name: str) -> bool:
    """Whether a name has what separates the parts of a path."""
    return "/" in name or "\\" in name


def size(text: str) -> int:
    """Bytes of a text."""
    return len(text.encode("utf-8", "surrogatepass"))


def transform(source: str, destination: str) -> SubjectTransform | None:
    """What rewrites subjects; an empty source stands for all, None is what an empty destination makes.

    Raises InvalidTransformError.
    """
    return SubjectTransform.parse(source or REST, destination) if destination else None
