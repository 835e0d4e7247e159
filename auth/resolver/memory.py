"""The memory resolver: account tokens that the configuration preloads and that updates replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class MemoryResolver:
    """Tokens by account key, kept while the server runs. Nothing in it is verified."""

    def __init__(self, preload: Mapping[str, str] | None = None) -> None:
        """With the tokens of ``resolver_preload``."""
        self._tokens = dict(preload or {})

    def lookup(self, name: str) -> str | None:
        """The token of an account, or None."""
        return self._tokens.get(name)

    def store(self, name: str, token: str) -> None:
        """Keep a token for an account in place of the one before."""
        self._tokens[name] = token

    def remove(self, name: str) -> bool:
        """Forget an account; says whether it was there."""
        return self._tokens.pop(name, None) is not None

    def forget(self, name: str) -> None:
        """Nothing is read again here; the token stays as it is."""

    def loaded(self) -> list[str]:
        """Accounts whose tokens are held."""
        return list(self._tokens)

    def __contains__(self, name: object) -> bool:
        return name in self._tokens

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tokens))

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"MemoryResolver({len(self)} accounts)"
