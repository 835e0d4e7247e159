"""Failures that nobody foresaw: where they are contained, and what the log says of them."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

LOGGER: Final = logging.getLogger("natskeep.net")

FRAMES_SHOWN: Final = 4
"""Places of a failure that the log names, the innermost last."""


def described(error: Exception) -> str:
    """The kind and the places of a failure. Its text may quote what a client sent, so it is left out."""
    places = traceback.extract_tb(error.__traceback__)[-FRAMES_SHOWN:]
    where = ", ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in places)
    return f"{type(error).__name__} in {where}"


class Contained:
    """Logs a failure of what runs inside it, and lets it go no further: others must not suffer for it."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        LOGGER.error("Internal error: %s", described(error))
        return True
