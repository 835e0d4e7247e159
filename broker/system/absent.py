"""What is answered about parts that this version lacks, beyond what HTTP monitoring says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from auth.gojson import quote
from broker.monitor.wording import duration

if TYPE_CHECKING:
    from broker.system.requests import ProfilezRequest

LONGEST_PROFILE: Final = 15_000_000_000
"""Nanoseconds over which the reference profiles the processor, at most."""


class Profile(msgspec.Struct, kw_only=True):
    """A profile, or why there is none."""

    profile: str | None = None
    error: str


def profilez(request: ProfilezRequest) -> Profile:
    """Profiles of the Go runtime: there is none of any name."""
    if not request.name:
        return Profile(error="Profile name not specified")
    if request.name == "cpu" and not 0 < request.duration <= LONGEST_PROFILE:
        asked = duration(request.duration / 1e9) if request.duration else "0s"
        return Profile(error=f"Duration {asked} should be between 0s and 15s")
    return Profile(error=f"Profile {quote(request.name)} not found")
