"""NKeys: the Ed25519 and X25519 keys that name operators, accounts, users, servers and clusters.

The text form is RFC 4648 base32 without padding over a prefix byte, the key and a little-endian CRC-16/XMODEM
(NATS ADR-14). Public keys are decoded strictly: upper case, exact length, right checksum, right kind.
Seeds are reachable only by asking a key pair for its ``seed``; no representation or error shows one.
"""

from __future__ import annotations

import binascii
import os
from base64 import b32decode, b32encode
from enum import Enum
from functools import lru_cache

import nkeys
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import Box, PrivateKey
from nacl.public import PublicKey as CurvePublicKey
from nacl.signing import VerifyKey

_SEED_PREFIX = nkeys.PREFIX_BYTE_SEED
_CURVE_PREFIX = 23 << 3
_KEY_BYTES = 32
_PUBLIC_TEXT_LENGTH = 56
_SEED_TEXT_LENGTH = 58
_SIGNATURE_BYTES = 64
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_SEALED_VERSION = b"xkv1"
_BOX_NONCE_BYTES = Box.NONCE_SIZE


class NKeyError(ValueError):
    """A key, seed or signature that is not what it should be; the text never holds key material."""


class KeyKind(Enum):
    """What a key stands for. The value is the first letter of its public text form."""

    OPERATOR = "O"
    ACCOUNT = "A"
    USER = "U"
    SERVER = "N"
    CLUSTER = "C"
    CURVE = "X"

    @property
    def prefix(self) -> int:
        """The prefix byte before encoding."""
        return _PREFIXES[self]

    @property
    def label(self) -> str:
        """The kind in words, as error texts of the NATS tools write it."""
        return _LABELS[self]


_PREFIXES: dict[KeyKind, int] = {
    KeyKind.OPERATOR: nkeys.PREFIX_BYTE_OPERATOR,
    KeyKind.ACCOUNT: nkeys.PREFIX_BYTE_ACCOUNT,
    KeyKind.USER: nkeys.PREFIX_BYTE_USER,
    KeyKind.SERVER: nkeys.PREFIX_BYTE_SERVER,
    KeyKind.CLUSTER: nkeys.PREFIX_BYTE_CLUSTER,
    KeyKind.CURVE: _CURVE_PREFIX,
}
_KINDS: dict[int, KeyKind] = {prefix: kind for kind, prefix in _PREFIXES.items()}
_LABELS: dict[KeyKind, str] = {
    KeyKind.OPERATOR: "operator",
    KeyKind.ACCOUNT: "account",
    KeyKind.USER: "user",
    KeyKind.SERVER: "server",
    KeyKind.CLUSTER: "cluster",
    KeyKind.CURVE: "x25519",
}


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")


def _encode(data: bytes) -> str:
    return b32encode(data + _checksum(data)).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    """Base32 and checksum undone. Raises NKeyError."""
    if not text or not _BASE32.issuperset(text):
        raise NKeyError("nkeys: invalid encoded key")
    try:
        raw = b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raise NKeyError("nkeys: invalid encoded key") from None
    if len(raw) < 4:
        raise NKeyError("nkeys: invalid encoded key")
    data = raw[:-2]
    if _checksum(data) != raw[-2:]:
        raise NKeyError("nkeys: invalid checksum")
    return data


@lru_cache(maxsize=8192)
def _decode_any_public(text: str) -> tuple[KeyKind, bytes]:
    if len(text) != _PUBLIC_TEXT_LENGTH:
        raise NKeyError("nkeys: invalid public key")
    data = _decode(text)
    kind = _KINDS.get(data[0])
    if kind is None:
        raise NKeyError("nkeys: invalid prefix byte")
    return kind, data[1:]


def encode_public(raw: bytes, kind: KeyKind) -> str:
    """The text form of a 32-byte public key. Raises NKeyError for another length."""
    if len(raw) != _KEY_BYTES:
        raise NKeyError("nkeys: invalid public key")
    return _encode(bytes([kind.prefix]) + raw)


def decode_public(text: str, kind: KeyKind) -> bytes:
    """The 32 raw bytes of a public key of the given kind. Raises NKeyError."""
    found, raw = _decode_any_public(text)
    if found is not kind:
        raise NKeyError("nkeys: invalid public key")
    return raw


def public_key_kind(text: str) -> KeyKind | None:
    """Of which kind a public key is, or None when the text is no well-formed public key."""
    try:
        return _decode_any_public(text)[0]
    except NKeyError:
        return None


def is_public_key(text: str, kind: KeyKind) -> bool:
    """Whether the text is a well-formed public key of the given kind."""
    return public_key_kind(text) is kind


def verify(public_text: str, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature over the raw bytes of a message.

    Raises NKeyError when the key is malformed or a curve key, or when the signature is not the key's.
    """
    kind, raw = _decode_any_public(public_text)
    if kind is KeyKind.CURVE:
        raise NKeyError("nkeys: curve key is not valid for sign/verify")
    if len(signature) != _SIGNATURE_BYTES:
        raise NKeyError("nkeys: signature verification failed")
    try:
        VerifyKey(raw).verify(message, signature)
    except (BadSignatureError, CryptoError):
        raise NKeyError("nkeys: signature verification failed") from None


def decode_seed(text: str) -> tuple[KeyKind, bytes]:
    """The kind and the 32 raw bytes of a seed. Raises NKeyError, whose text never holds the seed."""
    if len(text) != _SEED_TEXT_LENGTH:
        raise NKeyError("nkeys: invalid seed")
    data = _decode(text)
    if data[0] & 0xF8 != _SEED_PREFIX:
        raise NKeyError("nkeys: invalid seed")
    kind = _KINDS.get((data[0] & 7) << 5 | (data[1] & 0xF8) >> 3)
    if kind is None:
        raise NKeyError("nkeys: invalid prefix byte")
    raw = data[2:]
    if len(raw) != _KEY_BYTES:
        raise NKeyError("nkeys: invalid seed length")
    return kind, raw


def encode_seed(raw: bytes, kind: KeyKind) -> str:
    """The text form of a 32-byte seed. Raises NKeyError for another length."""
    if len(raw) != _KEY_BYTES:
        raise NKeyError("nkeys: invalid seed length")
    prefix = kind.prefix
    return _encode(bytes([_SEED_PREFIX | prefix >> 5, (prefix & 31) << 3]) + raw)


class KeyPair:
    """A key that can sign, or seal when it is a curve key. The seed shows in no representation."""

    __slots__ = ("_curve", "_raw", "_signer", "kind", "public")

    kind: KeyKind
    public: str

    def __init__(self, kind: KeyKind, raw: bytes) -> None:
        """From 32 secret bytes. Raises NKeyError for another length."""
        if len(raw) != _KEY_BYTES:
            raise NKeyError("nkeys: invalid seed length")
        self.kind = kind
        self._raw = raw
        self._curve: PrivateKey | None = None
        self._signer: nkeys.KeyPair | None = None
        if kind is KeyKind.CURVE:
            self._curve = PrivateKey(raw)
            self.public = encode_public(bytes(self._curve.public_key), kind)
        else:
            self._signer = nkeys.from_seed(encode_seed(raw, kind).encode("ascii"))
            self.public = bytes(self._signer.public_key).decode("ascii")

    @classmethod
    def generate(cls, kind: KeyKind) -> KeyPair:
        """A new key pair from the system's random source."""
        return cls(kind, os.urandom(_KEY_BYTES))

    @classmethod
    def from_seed(cls, text: str) -> KeyPair:
        """The key pair of a seed. Raises NKeyError, whose text never holds the seed."""
        kind, raw = decode_seed(text)
        return cls(kind, raw)

    @property
    def seed(self) -> str:
        """The secret, in text form. Whoever holds it is the key's owner."""
        return encode_seed(self._raw, self.kind)

    @property
    def private_key(self) -> str:
        """The secret in the long form that starts with ``P``."""
        if self._signer is None:
            return _encode(bytes([nkeys.PREFIX_BYTE_PRIVATE]) + self._raw)
        return _encode(bytes([nkeys.PREFIX_BYTE_PRIVATE]) + self._raw + _decode_any_public(self.public)[1])

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of the message. Raises NKeyError for a curve key."""
        if self._signer is None:
            raise NKeyError("nkeys: curve key is not valid for sign/verify")
        return bytes(self._signer.sign(message))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature made with this key. Raises NKeyError."""
        verify(self.public, message, signature)

    def seal(self, message: bytes, recipient: str, nonce: bytes | None = None) -> bytes:
        """Encrypt and authenticate a message for a public curve key: version, nonce, then the NaCl box.

        A given nonce has 24 bytes and serves tests only. Raises NKeyError.
        """
        if self._curve is None:
            raise NKeyError("nkeys: only curve key can seal/open")
        try:
            peer = CurvePublicKey(decode_public(recipient, KeyKind.CURVE))
        except NKeyError:
            raise NKeyError("nkeys: not a valid recipient public curve key") from None
        try:
            sealed = Box(self._curve, peer).encrypt(message, nonce)
        except CryptoError:
            # Some keys are points of small order, with which nothing can be kept secret (RFC 7748, section 6.1).
            raise NKeyError("nkeys: nothing can be encrypted for this curve key") from None
        return _SEALED_VERSION + bytes(sealed)

    def open(self, sealed: bytes, sender: str) -> bytes:
        """Decrypt what ``seal`` made for this key. Raises NKeyError."""
        if self._curve is None:
            raise NKeyError("nkeys: only curve key can seal/open")
        if len(sealed) <= len(_SEALED_VERSION) + _BOX_NONCE_BYTES:
            raise NKeyError("nkeys: encrypted input is not valid")
        if not sealed.startswith(_SEALED_VERSION):
            raise NKeyError("nkeys: encrypted input wrong version")
        try:
            peer = CurvePublicKey(decode_public(sender, KeyKind.CURVE))
        except NKeyError:
            raise NKeyError("nkeys: not a valid sender public curve key") from None
        try:
            return Box(self._curve, peer).decrypt(sealed[len(_SEALED_VERSION) :])
        except CryptoError:
            raise NKeyError("nkeys: could not decrypt input") from None

    def __repr__(self) -> str:
        return f"KeyPair({self.kind.name}, {self.public})"
