"""How the values of an account are sealed: by data keys that only this account has.

A value is bound to its table and key, so rows cannot be exchanged. Documents, whose names tell what an account calls
its streams and consumers, stand under digests of their names that need the data key too, and hold the name sealed. What
can be seen of an account without its keys is how much there is, when it was written, and the sequences of messages.

While an account changes from one key to the next, or from none, values of both kinds stand beside each other.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import nacl.bindings
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from nacl.exceptions import CryptoError

from broker.jetstream.store.tables import DOCUMENTS, PLAIN, Checked, DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHACHA: Final = "chacha"
AES: Final = "aes"

KEY_BYTES: Final = 32

IN_THE_CLEAR, FIRST, SECOND = "plain", "1", "2"
"""The forms in which values stand: not sealed, sealed by the only key there was, sealed by a key that they name."""

_MARKS: Final = {SECOND: {CHACHA: b"\x11", AES: b"\x12"}, FIRST: {CHACHA: b"\x01", AES: b"\x02"}}
_NUMBER: Final = struct.Struct("<I")
_NAME: Final = struct.Struct("<H")
_GROUP_BYTES: Final = 8
_NAME_BYTES: Final = 24
_CHACHA_NONCE: Final = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_AES_NONCE: Final = 12


@dataclass(frozen=True, slots=True)
class DataKey:
    """One key of an account, by its number; the highest one seals."""

    number: int
    form: str = SECOND
    secret: bytes = field(default=b"", repr=False)

    @classmethod
    def generate(cls, number: int) -> DataKey:
        """A new key."""
        return cls(number, SECOND, os.urandom(KEY_BYTES))

    @property
    def id(self) -> str:
        """What the key is called where it is spoken of; says nothing about it. Empty where nothing is sealed."""
        return hashlib.blake2b(self.secret, digest_size=8, person=b"natskeep id").hexdigest() if self.secret else ""


class Sealed:
    """Values that nobody can read or change without the data keys. May be used by any thread."""

    def __init__(self, keys: Iterable[DataKey], cipher: str = CHACHA) -> None:
        """``keys`` are those that values may be sealed with, the newest of them of the second form."""
        self.cipher = cipher
        self.kept: Callable[[], None] | None = None
        """Keeps the keys on disk, where they are not yet. Raises StoreError."""
        self._take(keys)

    def __repr__(self) -> str:
        return f"Sealed({self.cipher})"

    def _take(self, keys: Iterable[DataKey]) -> None:
        ordered = sorted(keys, key=lambda key: key.number)
        self.keys = tuple(ordered)
        self._current = ordered[-1]
        self._head = _MARKS[SECOND][self.cipher] + _NUMBER.pack(self._current.number)
        self._number = self._head[1:]
        self._secrets = {_NUMBER.pack(key.number): key.secret for key in ordered if key.form == SECOND}
        self._first = next((key.secret for key in ordered if key.form == FIRST), b"")
        # The key of names is another one, so that no digest is made with what seals.
        self._namings = tuple(
            _derived(key.secret) if key.form == SECOND else b"" for key in reversed(ordered)
        )
        self.has_plain = any(key.form != SECOND for key in ordered)
        self._takes_plain = any(key.form == IN_THE_CLEAR for key in ordered)

    @property
    def current(self) -> DataKey:
        """The key that seals."""
        return self._current

    @property
    def is_turning(self) -> bool:
        """Whether there may be values that are sealed otherwise than new ones."""
        return len(self.keys) > 1

    def prepare(self) -> None:
        """Sees to it that the keys are kept before anything is sealed with them. Raises StoreError."""
        if self.kept is not None:
            self.kept()
            self.kept = None

    def next_key(self) -> DataKey:
        """A new key, to be the next one."""
        return DataKey.generate(self._current.number + 1)

    def begin(self, key: DataKey) -> None:
        """Seals with another key from now on."""
        self._take((*self.keys, key))

    def end(self) -> None:
        """Opens only what the current key has sealed."""
        self._take((self._current,))

    def is_current(self, stored: bytes) -> bool:
        """Whether a value was sealed with the current key, by whichever cipher."""
        return stored[:1] in _MARKS[SECOND].values() and stored[1:5] == self._number

    # Values

    def encode(self, table: str, key: bytes, value: bytes) -> bytes:
        """A mark for the cipher, the number of the key, a random nonce, and the sealed value."""
        head = self._head
        bound = head + table.encode() + b"\0" + key
        return head + seal(self.cipher, self._secrets[head[1:]], value, bound)

    def decode(self, table: str, key: bytes, stored: bytes) -> bytes:
        """The value. Raises DamagedError."""
        mark = stored[:1]
        try:
            for cipher in (CHACHA, AES):
                if mark == _MARKS[SECOND][cipher] and stored[1:5] in self._secrets:
                    bound = stored[:5] + table.encode() + b"\0" + key
                    return unseal(cipher, self._secrets[stored[1:5]], stored[5:], bound)
                if mark == _MARKS[FIRST][cipher] and self._first:
                    return unseal(cipher, self._first, stored[1:], table.encode() + b"\0" + key)
        except ValueError:
            pass
        if mark == PLAIN and self._takes_plain:
            return Checked().decode(table, key, stored)
        raise DamagedError(f"a row of {table} was not sealed with the account's data key, or is damaged")

    # Documents

    def places(self, name: bytes) -> tuple[bytes, ...]:
        """Where a document of that name may stand: first where it is written, then where it was."""
        return tuple(_group(naming, name) + _digest(naming, name, _NAME_BYTES) if naming else name
                     for naming in self._namings)

    def beginnings(self, prefix: bytes) -> tuple[bytes, ...]:
        """Where documents may stand whose names begin so; what may be moved is read before where it goes."""
        return tuple((_group(naming, prefix) if prefix else b"") if naming else prefix
                     for naming in reversed(self._namings))

    def encode_document(self, key: bytes, name: bytes, document: bytes) -> bytes:
        """Name and document, sealed together."""
        return self.encode(DOCUMENTS, key, _NAME.pack(len(name)) + name + document)

    def decode_document(self, key: bytes, stored: bytes) -> tuple[bytes, bytes]:
        """Name and document. Raises DamagedError."""
        value = self.decode(DOCUMENTS, key, stored)
        if stored[:1] not in _MARKS[SECOND].values():
            return key, value
        (length,) = _NAME.unpack_from(value)
        behind = _NAME.size + length
        return value[_NAME.size : behind], value[behind:]


def _derived(secret: bytes) -> bytes:
    return hashlib.blake2b(key=secret, digest_size=KEY_BYTES, person=b"natskeep names").digest()


def _digest(naming: bytes, name: bytes, size: int) -> bytes:
    return hashlib.blake2b(name, key=naming, digest_size=size).digest()


def _group(naming: bytes, name: bytes) -> bytes:
    """What all names have in common that are the same up to the last slash."""
    return _digest(naming, name[: name.rindex(b"/") + 1] if b"/" in name else b"", _GROUP_BYTES)


def seal(cipher: str, key: bytes, value: bytes, bound: bytes) -> bytes:
    """A random nonce and the value, sealed and bound to something."""
    if cipher == AES:
        nonce = os.urandom(_AES_NONCE)
        return nonce + AESGCMSIV(key).encrypt(nonce, value, bound)
    nonce = os.urandom(_CHACHA_NONCE)
    sealed: bytes = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(value, bound, nonce, key)
    return nonce + sealed


def unseal(cipher: str, key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """The value. Raises ValueError when it was sealed otherwise."""
    try:
        if cipher == AES:
            return AESGCMSIV(key).decrypt(sealed[:_AES_NONCE], sealed[_AES_NONCE:], bound)
        opened: bytes = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[_CHACHA_NONCE:], bound, sealed[:_CHACHA_NONCE], key
        )
    except (InvalidTag, CryptoError, ValueError, TypeError):
        raise ValueError("sealed otherwise") from None
    return opened
