"""What all fuzz targets share: the budget, and inputs that are near to valid ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("NATSKEEP_FUZZ") == "long"
budget = settings(
    max_examples=20_000 if LONG else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""How many inputs a target is given: few in every test run, many with NATSKEEP_FUZZ=long."""


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes], dictionary: list[bytes] | None = None) -> bytes:
    """A valid input with up to four edits: bytes replaced, inserted, removed, repeated, or taken from another seed."""
    data = bytearray(draw(st.sampled_from(seeds)))
    words = st.binary(max_size=8) | st.sampled_from(dictionary or [b"\x00"])
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 16)))
        kind = draw(st.sampled_from(("replace", "insert", "remove", "repeat", "splice", "flip")))
        if kind == "replace":
            data[start:stop] = draw(words)
        elif kind == "insert":
            data[start:start] = draw(words)
        elif kind == "remove":
            del data[start:stop]
        elif kind == "repeat":
            data[start:start] = data[start:stop]
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            data[start:] = other[draw(st.integers(0, len(other))) :]
        elif start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def noise_or(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly near-valid inputs, and some that are anything."""
    return st.one_of(valid, valid, valid, st.binary(max_size=200))
