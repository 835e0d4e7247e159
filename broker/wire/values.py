"""Times, durations and text as the JSON of NATS holds them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(unix: float) -> str:
    """A Unix time in seconds as RFC 3339 in UTC; the fraction stands without its last zeros."""
    # The offset at the end is always that of UTC.
    text = datetime.fromtimestamp(unix, UTC).isoformat()[: -len("+00:00")]
    return f"{text.rstrip('0')}Z" if "." in text else f"{text}Z"


def nanoseconds(seconds: float) -> int:
    """Seconds as the integer that durations are in JSON."""
    return round(seconds * 1_000_000_000)


def readable(text: str | bytes) -> str:
    """Text of any origin as valid Unicode: what is none becomes U+FFFD."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")
