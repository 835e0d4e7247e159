"""How many of something may begin in a second."""

from __future__ import annotations

import logging
from typing import Final

LOGGER: Final = logging.getLogger("natskeep.net")

SECOND: Final = 1.0


class HandshakeRate:
    """Counts TLS handshakes, which cost the server far more than a stranger, against a limit for each second."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._count = 0
        self._refused = 0

    def admits(self, limit: int, now: float) -> bool:
        """Whether one more may begin; `limit` is 0 for any number, `now` is in monotonic seconds."""
        if limit <= 0:
            return True
        if now - self._began >= SECOND:
            if self._refused:
                LOGGER.warning("Rejected %d connections due to TLS rate limiting", self._refused)
            self._began, self._count, self._refused = now, 0, 0
        if self._count >= limit:
            self._refused += 1
            return False
        self._count += 1
        return True
