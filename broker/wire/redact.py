"""CONNECT as a log may show it: every value that proves who somebody is is blanked, however it is spelled."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

SECRET_NAMES: Final = frozenset(
    {"auth_token", "jwt", "nkey", "sig", "proxy_sig", "token", "seed", "secret", "creds"}
)
"""Names, in lower case, whose values are not shown; some are no fields of CONNECT, but somebody's mistake for one."""

BEGINNINGS: Final = ("pass",)
"""What begins like this is a password, under whichever name."""

UNREADABLE: Final = "{unreadable}"
BLANK: Final = '"[REDACTED]"'

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COLON: Final = re.compile(r"\s*:\s*")


def redacted_connect(argument: bytes) -> str:
    """CONNECT's argument without secrets, and otherwise as it was sent.

    What is no JSON object is not shown at all, since nobody can say where its secrets are.
    """
    try:
        msgspec.json.decode(argument, type=dict[str, msgspec.Raw])
        text = argument.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    shown = []
    position = 0
    # Outside of strings there is no quotation mark, so each one that is met begins a string.
    while (string := _STRING.search(text, position)) is not None:
        shown.append(text[position : string.end()])
        position = string.end()
        colon = _COLON.match(text, position)
        if colon is not None and _is_secret(string[0]):
            shown += [colon[0], BLANK]
            position = _end_of_value(text, colon.end())
    return "".join((*shown, text[position:]))


def _is_secret(name: str) -> bool:
    # Casefolded, because names match without regard to case.
    folded = json.loads(name, strict=False).casefold()
    return folded in SECRET_NAMES or folded.startswith(BEGINNINGS)


def _end_of_value(text: str, start: int) -> int:
    """Where a JSON value that starts at `start` ends; the end of the text when it is nested beyond reason."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return len(text)
