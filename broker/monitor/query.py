"""The parameters of a monitoring request, read as strictly as the reference reads them and refused in its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from auth.gojson import quote

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_UNSIGNED: Final = re.compile(r"[0-9]+", re.ASCII)
_LARGEST_INTEGER: Final = 2**63 - 1
_LARGEST_UNSIGNED: Final = 2**64 - 1
_LONGEST_NUMBER: Final = 400
"""Digits that are looked at: reading a number takes quadratic time in its digits."""


class QueryError(ValueError):
    """A parameter that cannot be understood or fulfilled; the text is the answer's body."""


class Query:
    """One request's parameters by name; an empty one counts as absent."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters

    def text(self, name: str) -> str:
        """The parameter as it was sent, empty when it was not."""
        return self._parameters.get(name, "")

    def boolean(self, name: str) -> bool:
        """False when absent. Raises QueryError."""
        text = self.text(name)
        if text in _TRUE:
            return True
        if not text or text in _FALSE:
            return False
        raise QueryError(_invalid_syntax(text, f"Error decoding boolean for '{name}': strconv.ParseBool"))

    def integer(self, name: str) -> int:
        """0 when absent. Raises QueryError."""
        text = self.text(name)
        if not text:
            return 0
        value = _number(text, _INTEGER, f"Error decoding int for '{name}': strconv.Atoi")
        if not -_LARGEST_INTEGER - 1 <= value <= _LARGEST_INTEGER:
            raise QueryError(_out_of_range(text, f"Error decoding int for '{name}': strconv.Atoi"))
        return value

    def unsigned(self, name: str) -> int:
        """0 when absent. Raises QueryError."""
        text = self.text(name)
        if not text:
            return 0
        value = _number(text, _UNSIGNED, f"Error decoding uint64 for '{name}': strconv.ParseUint")
        if value > _LARGEST_UNSIGNED:
            raise QueryError(_out_of_range(text, f"Error decoding uint64 for '{name}': strconv.ParseUint"))
        return value


def _number(text: str, pattern: re.Pattern[str], what: str) -> int:
    if pattern.fullmatch(text) is None:
        raise QueryError(_invalid_syntax(text, what))
    if len(text) > _LONGEST_NUMBER:
        raise QueryError(_out_of_range(text, what))
    return int(text)


def _invalid_syntax(text: str, what: str) -> str:
    return f"{what}: parsing {quote(text)}: invalid syntax"


def _out_of_range(text: str, what: str) -> str:
    return f"{what}: parsing {quote(text)}: value out of range"
