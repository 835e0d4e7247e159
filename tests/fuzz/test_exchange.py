"""Fuzz target: accounts that export, import and map, and clients that publish all they can.

Invariant: every client gets what the twin says, on the subjects and in the directions that it says, and nothing else.
With NATSKEEP_FUZZ=long this goes on until ten million deliveries were compared.
"""

from __future__ import annotations

import random

from tests.fuzz.inputs import LONG
from tests.support.scenes import play
from tests.support.servers import NATSKEEP
from tests.support.topologies import SIZE, Choices

DELIVERIES = 10_000_000 if LONG else 20_000
ROUNDS = 12


def test_nothing_crosses_that_must_not() -> None:
    seed = random.SystemRandom().getrandbits(64)
    source = random.Random(seed)
    compared = 0
    while compared < DELIVERIES:
        data = source.randbytes(2 * SIZE)
        try:
            compared += play(Choices(data, crowded=True).scene(), NATSKEEP, ROUNDS)
        except (AssertionError, ValueError) as error:
            error.add_note(f"Choices(bytes.fromhex({data.hex()!r}), crowded=True)")
            raise
