"""Times, durations and text as the JSON of NATS holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def moment(unix: float) -> str:
    """A Unix time in seconds as RFC 3339 in UTC; the fraction stands without its last zeros."""
    whole, microseconds = divmod(round(unix * 1_000_000), 1_000_000)
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    return f"{_second(whole)}{fraction}Z"


@lru_cache(4096)
def _second(whole: int) -> str:
    # Thousands of connections are listed at once, and most began, or were active, in the same few seconds.
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


def nanoseconds(seconds: float) -> int:
    """Seconds as the integer that durations are in JSON."""
    return round(seconds * 1_000_000_000)


def readable(text: str | bytes) -> str:
    """Text of any origin as valid Unicode: what is none becomes U+FFFD."""
    if isinstance(text, str) and text.isascii():
        return text
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")
