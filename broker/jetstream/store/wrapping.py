"""What stands above the data keys of accounts: a key of the server, or a command that asks whoever keeps one.

What is wrapped are 32 random bytes, which seal what is in a key file. A command is started for each question. It reads
one JSON object from its standard input and writes one to its standard output within the time that it has::

    {"do": "wrap", "account": "SHOP", "key": "<base64>"}         {"wrapped": "<any text>"}
    {"do": "unwrap", "account": "SHOP", "wrapped": "<the text>"} {"key": "<base64>"}
    {"do": "destroy", "account": "SHOP"}                         {}

``destroy`` is for commands that keep a key for each account: what was wrapped for this one must not be opened any more.
A status other than 0 refuses.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.jetstream.store.sealing import CHACHA, KEY_BYTES, seal, unseal
from broker.jetstream.store.tables import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

SALT_BYTES: Final = 16
_BOUND: Final = b"natskeep key file 2"
_LONGEST_REASON: Final = 200
_LONGEST_ANSWER: Final = 64 << 10


class OtherKeyError(StoreError):
    """It was wrapped by something else."""


class Wrapper(Protocol):
    """Wraps keys of accounts. May be used by any thread."""

    def wrap(self, account: str, key: bytes) -> dict[str, str]:
        """What is kept in place of a key. Raises StoreError."""

    def unwrap(self, account: str, wrapped: Mapping[str, str]) -> bytes:
        """The key. Raises StoreError, and OtherKeyError where something else has wrapped it."""

    def destroy(self, account: str) -> bool:
        """Sees to it that nothing wrapped for the account can be unwrapped, where it can; returns whether it did.

        Raises StoreError.
        """


@dataclass(frozen=True, slots=True)
class ByKey:
    """The server has the key: best 32 random bytes in base64."""

    secret: str = field(repr=False)

    def wrap(self, account: str, key: bytes) -> dict[str, str]:
        """Sealed with what is derived for the account (RFC 5869)."""
        salt = os.urandom(SALT_BYTES)
        return {
            "by": "key",
            "salt": encoded(salt),
            "wrapped": encoded(seal(CHACHA, self._derived(salt, account), key, _BOUND)),
        }

    def unwrap(self, account: str, wrapped: Mapping[str, str]) -> bytes:
        """The key. Raises OtherKeyError."""
        if wrapped.get("by") != "key":
            raise OtherKeyError("it was not wrapped by a key of the server")
        try:
            salt, sealed = decoded(wrapped["salt"]), decoded(wrapped["wrapped"])
            return unseal(CHACHA, self._derived(salt, account), sealed, _BOUND)
        except (KeyError, ValueError):
            raise OtherKeyError("it was wrapped by another key") from None

    def destroy(self, account: str) -> bool:
        """Whoever has this key opens what it has wrapped."""
        return False

    def first(self, salt: bytes, sealed: bytes, account: str, bound: bytes) -> bytes:
        """A data key as it was kept at first. Raises ValueError."""
        return unseal(CHACHA, self._derived(salt, account, b"natskeep data key\0"), sealed, bound)

    def _derived(self, salt: bytes, account: str, purpose: bytes = b"natskeep account key\0") -> bytes:
        info = purpose + account.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(self.secret.encode())


@dataclass(frozen=True, slots=True)
class ByCommand:
    """A command asks whoever has the key, which never comes here. ``seconds`` are what it may take."""

    words: tuple[str, ...]
    seconds: float

    def wrap(self, account: str, key: bytes) -> dict[str, str]:
        """What the command made of it. Raises StoreError."""
        answer = self._asked("wrap", account, key=encoded(key))
        wrapped = answer.get("wrapped")
        if not isinstance(wrapped, str) or not wrapped:
            raise StoreError(f"{self} answered a request to wrap a key without 'wrapped'")
        return {"by": "command", "wrapped": wrapped}

    def unwrap(self, account: str, wrapped: Mapping[str, str]) -> bytes:
        """The key. Raises StoreError."""
        if wrapped.get("by") != "command":
            raise OtherKeyError("it was not wrapped by a command")
        answer = self._asked("unwrap", account, wrapped=wrapped.get("wrapped", ""))
        try:
            key = decoded(str(answer.get("key", "")))
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise StoreError(f"{self} answered a request to unwrap the key of account {account} with no key")
        return key

    def destroy(self, account: str) -> bool:
        """Has it destroyed what it keeps for the account. Raises StoreError."""
        return self._asked("destroy", account).get("destroyed", True) is not False

    def __str__(self) -> str:
        return f"key_command {os.path.basename(self.words[0])}"

    def _asked(self, what: str, account: str, **members: str) -> Mapping[str, object]:
        question = json.dumps({"do": what, "account": account, **members})
        try:
            done = subprocess.run(
                self.words, input=question.encode(), capture_output=True, timeout=self.seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise StoreError(
                f"{self} did not answer within {self.seconds:g}s; raise key_timeout, or see what it waits for"
            ) from None
        except OSError as error:
            raise StoreError(f"{self} cannot be started: {error.strerror}") from None
        if done.returncode != 0:
            # What it writes to its standard error is for people; its output might hold a key.
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = f": {said[-1][:_LONGEST_REASON]}" if said else ""
            raise StoreError(f"{self} refused to {what} the key of account {account}{reason}")
        try:
            answer = json.loads(done.stdout[:_LONGEST_ANSWER] or b"{}")
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise StoreError(f"{self} answered something that is no JSON object")
        return answer


def encoded(value: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(value).decode()


def decoded(text: str) -> bytes:
    """The bytes of such a text. Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
