"""Account JWTs that a configuration preloads, verified once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import final

from auth.claims import AccountClaims


@final
class VerifiedPreload(Mapping[str, str]):
    """Tokens by account key. Each has been verified, because there is no other way in."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def add(self, name: str, token: str) -> None:
        """Verifies a token and keeps it for an account. Raises JwtError, and then keeps nothing."""
        AccountClaims.from_token(token)
        self._tokens[name] = token

    def __getitem__(self, name: str) -> str:
        return self._tokens[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"VerifiedPreload({len(self)} accounts)"
