"""What a directory of tokens holds: which accounts, until when, and which of them have to go. No file is touched here.

The rules are those of nats-server. Where there is a ``ttl``, a token is forgotten when it has not been asked for so
long; where there is none, when it expires itself. A cache makes room for a new token by dropping the one that has not
been asked for the longest, while a full directory takes no more than its limit.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

DIGEST_SIZE: Final = 32
"""Bytes of a SHA-256."""

FULL: Final = "jwt store is full"


@dataclass(slots=True)
class Entry:
    """One token of the directory. ``digest`` is None as long as its file has not been read."""

    digest: bytes | None = None
    expires_at: int = 0
    """Unix seconds at which the token itself expires; 0 is never."""
    asked_at: float = 0.0
    """Unix seconds at which it was last written or asked for."""


class FullError(Exception):
    """There is no room for one more token."""


class Index:
    """The tokens of one directory, the one that was not asked for the longest first.

    ``limit`` is how many there may be, 0 for any number; ``evicts`` says that a new one takes the place of the oldest;
    ``ttl`` is in seconds, 0 for none.
    """

    def __init__(
        self, *, limit: int = 0, evicts: bool = False, ttl: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.limit = limit
        self.evicts = evicts
        self.ttl = ttl
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._sum = 0

    # What there is

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def unread(self) -> list[str]:
        """Accounts whose files have not been read."""
        return [name for name, entry in self._entries.items() if entry.digest is None]

    def digest_of(self, name: str) -> bytes | None:
        """The SHA-256 of an account's token; None where it is not known."""
        entry = self._entries.get(name)
        return None if entry is None else entry.digest

    @property
    def digest(self) -> bytes:
        """What tells this directory from others: all digests of its tokens under exclusive or."""
        return self._sum.to_bytes(DIGEST_SIZE)

    def is_current(self, name: str) -> bool:
        """Whether the token of an account is there and has not expired itself."""
        entry = self._entries.get(name)
        return entry is not None and not 0 < entry.expires_at < self._clock()

    def ended(self) -> list[str]:
        """Accounts whose tokens have to go now, by the ``ttl`` or else by their own expiry."""
        now = self._clock()
        if not self.ttl:
            return sorted(name for name, entry in self._entries.items() if 0 < entry.expires_at <= now)
        found = []
        for name, entry in self._entries.items():
            if entry.asked_at + self.ttl > now:
                break
            found.append(name)
        return found

    def surplus(self, name: str) -> str | None:
        """Whose token has to go before one of this account is written, None for nobody's. Raises FullError."""
        if name in self._entries or not self.limit or len(self._entries) < self.limit:
            return None
        if not self.evicts:
            raise FullError(FULL)
        return next(iter(self._entries))

    # What changes

    def note(self, names: Iterable[str]) -> None:
        """There are files of accounts, of which nothing more is known yet unless they are known already."""
        now = self._clock()
        for name in names:
            if name not in self._entries:
                self._entries[name] = Entry(asked_at=now)

    def doubt(self) -> None:
        """Somebody else may have changed the files: all of them count as not read."""
        for entry in self._entries.values():
            self._toggle(entry.digest)
            entry.digest = None

    def read(self, name: str, token: bytes, expires_at: int) -> None:
        """The file of a known account has been read; for the account's age this does not count."""
        entry = self._entries.get(name)
        if entry is not None:
            self._set(entry, token, expires_at)

    def put(self, name: str, token: bytes, expires_at: int) -> None:
        """A token has been written for an account."""
        entry = self._entries.setdefault(name, Entry())
        self._set(entry, token, expires_at)
        self.touch(name)

    def touch(self, name: str) -> None:
        """The token of an account has been asked for."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.asked_at = self._clock()
            self._entries[name] = self._entries.pop(name)

    def drop(self, name: str) -> bool:
        """The token of an account is gone; says whether it was there."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return False
        self._toggle(entry.digest)
        return True

    def _set(self, entry: Entry, token: bytes, expires_at: int) -> None:
        self._toggle(entry.digest)
        entry.digest, entry.expires_at = hashlib.sha256(token).digest(), max(expires_at, 0)
        self._toggle(entry.digest)

    def _toggle(self, digest: bytes | None) -> None:
        if digest is not None:
            self._sum ^= int.from_bytes(digest)
