"""Names for single events, of the length and the digits that NATS uses for them."""

from __future__ import annotations

import os
from typing import Final

LENGTH: Final = 22

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_id() -> str:
    """A name that is used once: 22 digits to the base of 62, drawn by chance."""
    value = int.from_bytes(os.urandom(20), "big")
    digits = []
    for _ in range(LENGTH):
        value, digit = divmod(value, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)
