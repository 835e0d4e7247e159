"""Who a running server is: its nkey, its curve key, its name, and the version it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from auth.nkey import KeyKind, KeyPair

VERSION: Final = "0.1.0"
"""natskeep's own version. The package takes it from here: to look it up in the package would cost each start 20 ms."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Keys made anew at each start, as the reference does."""

    keys: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.SERVER), repr=False)
    curve: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.CURVE), repr=False)
    name: str = ""

    @property
    def server_id(self) -> str:
        """The public server key `N…`."""
        return self.keys.public

    @property
    def server_name(self) -> str:
        """The configured name, or else the id."""
        return self.name or self.server_id
