"""Encryption at rest: each account has a data key of its own, which stands on disk sealed by the server's key.

Whoever destroys the file with the data key destroys all that the account has on disk, in snapshots and in backups.
A value is bound to its table and key, so rows cannot be exchanged. Names of consumers and sources, in keys of
documents, are not hidden.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import nacl.bindings
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.exceptions import CryptoError

from broker.jetstream.store.journal import sync_directory
from broker.jetstream.store.tables import Checked, Codec, DamagedError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

CHACHA: Final = "chacha"
AES: Final = "aes"

KEY_FILE: Final = "data.key"
_MAGIC: Final = b"natskeep data key 1\n"
_SEALED: Final = {CHACHA: b"\x01", AES: b"\x02"}
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_CHACHA_NONCE: Final = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_AES_NONCE: Final = 12


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What the server seals the data keys of accounts with."""

    current: str = field(default="", repr=False)
    """The key, best 32 random bytes in base64; empty where nothing is encrypted."""
    previous: str = field(default="", repr=False)
    """The key before it: what it sealed is sealed anew with the current one."""
    cipher: str = CHACHA


class Sealed:
    """Values that nobody can read or change without the data key."""

    def __init__(self, data_key: bytes, cipher: str) -> None:
        self._key = data_key
        self._cipher = cipher

    def __repr__(self) -> str:
        return f"Sealed({self._cipher})"

    def encode(self, table: str, key: bytes, value: bytes) -> bytes:
        """A mark for the cipher, a random nonce, and the sealed value."""
        return _SEALED[self._cipher] + _seal(self._cipher, self._key, value, table.encode() + b"\0" + key)

    def decode(self, table: str, key: bytes, stored: bytes) -> bytes:
        """The value, by whichever cipher it was sealed. Raises DamagedError."""
        for cipher, mark in _SEALED.items():
            if stored[:1] == mark:
                try:
                    return _open(cipher, self._key, stored[1:], table.encode() + b"\0" + key)
                except ValueError:
                    break
        raise DamagedError(f"a row of {table} was not sealed with the account's data key, or is damaged")


def _seal(cipher: str, key: bytes, value: bytes, bound: bytes) -> bytes:
    if cipher == AES:
        nonce = os.urandom(_AES_NONCE)
        return nonce + AESGCMSIV(key).encrypt(nonce, value, bound)
    nonce = os.urandom(_CHACHA_NONCE)
    sealed: bytes = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(value, bound, nonce, key)
    return nonce + sealed


def _open(cipher: str, key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Raises ValueError when it was sealed otherwise."""
    try:
        if cipher == AES:
            return AESGCMSIV(key).decrypt(sealed[:_AES_NONCE], sealed[_AES_NONCE:], bound)
        opened: bytes = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[_CHACHA_NONCE:], bound, sealed[:_CHACHA_NONCE], key
        )
    except (InvalidTag, CryptoError, ValueError, TypeError):
        raise ValueError("sealed otherwise") from None
    return opened


def _wrapping(server_key: str, salt: bytes, account: str) -> bytes:
    """The key that seals an account's data key (RFC 5869)."""
    info = b"natskeep data key\0" + account.encode()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=info).derive(server_key.encode())


class Vault:
    """Hands out how each account's values stand on disk."""

    def __init__(self, keys: ServerKeys) -> None:
        self._keys = keys

    def codec(self, directory: Path, account: str) -> Codec:
        """For an account's directory, whose data key is made where there is neither one nor any data.

        Raises StoreError: the key does not fit, is missing, or the data is not encrypted.
        """
        path = directory / KEY_FILE
        try:
            document = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from None
        if not self._keys.current:
            if document:
                raise StoreError(f"{directory} is encrypted; give its 'key' in the jetstream block")
            return Checked()
        if document:
            return Sealed(self._opened(path, document, account), self._keys.cipher)
        if (directory / "data.mdb").exists():
            remedy = "take the key out, or begin with an empty directory"
            raise StoreError(f"{directory} is not encrypted, and a key is configured; {remedy}")
        data_key = os.urandom(_KEY_BYTES)
        self._write(path, data_key, account)
        return Sealed(data_key, self._keys.cipher)

    def _opened(self, path: Path, document: bytes, account: str) -> bytes:
        salt = document[len(_MAGIC) : len(_MAGIC) + _SALT_BYTES]
        sealed = document[len(_MAGIC) + _SALT_BYTES :]
        if not document.startswith(_MAGIC) or not sealed:
            raise StoreError(f"{path} is no data key; restore it from a backup")
        for server_key in (self._keys.current, self._keys.previous):
            if not server_key:
                continue
            try:
                data_key = _open(CHACHA, _wrapping(server_key, salt, account), sealed, _MAGIC)
            except ValueError:
                continue
            if server_key != self._keys.current:
                self._write(path, data_key, account)
            return data_key
        raise StoreError(f"{path} was sealed with another key; give that one as 'prev_key' of the jetstream block")

    def _write(self, path: Path, data_key: bytes, account: str) -> None:
        """Seals a data key anew; the file is replaced as a whole."""
        salt = os.urandom(_SALT_BYTES)
        sealed = _seal(CHACHA, _wrapping(self._keys.current, salt, account), data_key, _MAGIC)
        made = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + salt + sealed)
                file.flush()
                os.fsync(file.fileno())
            made.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
