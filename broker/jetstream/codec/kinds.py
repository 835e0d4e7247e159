"""The types of fields, by the names that Go has for them: error texts tell these names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self


@dataclass(frozen=True, slots=True)
class Integer:
    """Whole numbers from ``least`` to ``most``, called ``name`` in error texts."""

    name: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A time: nanoseconds since 1970 here, RFC 3339 in JSON."""


_64: Final = Integer("int64", -(1 << 63), (1 << 63) - 1)

Int = Annotated[int, Integer("int", _64.least, _64.most)]
Int32 = Annotated[int, Integer("int32", -(1 << 31), (1 << 31) - 1)]
Int64 = Annotated[int, _64]
Uint64 = Annotated[int, Integer("uint64", 0, (1 << 64) - 1)]
Duration = Annotated[int, Integer("time.Duration", _64.least, _64.most)]
"""Nanoseconds."""
Time = Annotated[int, Moment()]


class Word(StrEnum):
    """One of a few words; the first member is what an absent one means."""

    @classmethod
    def read(cls, text: str | None, raw: str) -> Self:
        """The member that a JSON value means; ``text`` is None where it is no string. Raises ValueError."""
        try:
            return cls(text or "")
        except ValueError:
            raise ValueError(cls.refusal(raw)) from None

    @classmethod
    def refusal(cls, raw: str) -> str:
        """The text of the error about a value, given as it is written in JSON."""
        escaped = raw.replace("\\", "\\\\").replace('"', '\\"')
        return f'can not unmarshal "{escaped}"'


class TextWord(Word):
    """A word that nothing but text may stand for; of all else the error tells the type."""
