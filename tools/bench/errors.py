"""The one error that a measurement raises."""

from __future__ import annotations


class BenchError(RuntimeError):
    """A measurement could not be made; the text says what happened and, where there is one, the remedy."""
