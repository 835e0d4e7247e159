"""What is remembered of rotations under way: a hidden file beside the operator's JWT, which nsc passes over.

Each step writes its record in the same transaction as the claims that it changes, so whoever goes on after an
interruption finds the step done or not begun.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from auth.gojson import quote
from tools.nsk.errors import StoreError
from tools.nsk.store import Store

VERSION: Final = 1
_NAME: Final = ".rotations"


class Kind(StrEnum):
    """What is rotated."""

    USER = "user"
    SIGNING_KEY = "signing-key"
    ACCOUNT = "account"
    OPERATOR_SIGNING_KEY = "operator-signing-key"
    OPERATOR = "operator"

    @property
    def is_operators(self) -> bool:
        """Whether servers learn of it by the operator's JWT, which their configuration holds."""
        return self in (Kind.OPERATOR_SIGNING_KEY, Kind.OPERATOR)


class Stage(StrEnum):
    """How far a rotation is; each stage has been reached when its record is written."""

    ISSUED = "issued"
    """The new key stands beside the old one."""
    ADOPTED = "adopted"
    """What the old key signed, or was known by, is signed by the new one, or known by it."""
    RETIRED = "retired"
    """The old key is out of the claims."""


class Rotation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One rotation. Keys are public ones; times are Unix seconds, 0 where there is none."""

    id: str
    kind: Kind
    stage: Stage
    old: str
    new: str
    account: str = ""
    user: str = ""
    kept_as: str = ""
    """The name under which the store keeps an account that another takes the place of."""
    signing_keys: dict[str, str] = msgspec.field(default_factory=dict)
    """Of an account's identity: its old signing keys, and which new ones stand for them."""
    old_stays: bool = False
    """Whether the old key is an identity that a signing key takes work from: it remains what it is."""
    old_expires_at: int = 0
    """When the JWT of a user's old key expires."""
    started_at: int = 0
    retire_after: int = 0
    """From when on the old key is retired whoever uses it."""
    keep_key: bool = False
    """Whether the seed of the old key stays stored."""
    unpushed: list[str] = msgspec.field(default_factory=list)
    """Accounts whose JWTs servers do not have yet."""

    @property
    def what(self) -> str:
        """What is rotated, in words."""
        match self.kind:
            case Kind.USER:
                return f"user {quote(self.user)} of account {quote(self.account)}"
            case Kind.SIGNING_KEY:
                return f"signing key of account {quote(self.account)}"
            case Kind.ACCOUNT:
                return f"identity of account {quote(self.account)}"
            case Kind.OPERATOR_SIGNING_KEY:
                return "signing key of the operator"
            case Kind.OPERATOR:
                return "identity of the operator"


class RetiredUser(msgspec.Struct, kw_only=True):
    """A user's key that is out of use: until when its last JWT would hold, in Unix seconds, 0 for ever."""

    account: str
    key: str
    expires_at: int


class _File(msgspec.Struct, kw_only=True):
    version: int
    rotations: list[Rotation]
    retired: list[RetiredUser] = msgspec.field(default_factory=list)


class Book:
    """The records of one operator, read anew for every question."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def path(self) -> Path:
        """The file that they stand in."""
        return self._store.record_path(_NAME)

    def rotations(self) -> list[Rotation]:
        """Those under way, the oldest first. Raises StoreError where the file cannot be read."""
        return self._read().rotations

    def retired(self) -> list[RetiredUser]:
        """The users' keys that rotations took out of use. Raises StoreError."""
        return self._read().retired

    def find(self, given: str) -> Rotation:
        """The rotation whose id begins so. Raises StoreError where there is none, or more than one."""
        found = [rotation for rotation in self.rotations() if rotation.id.startswith(given)]
        if len(found) != 1:
            known = ", ".join(rotation.id for rotation in self.rotations()) or "none"
            raise StoreError(f"{'no' if not found else 'more than one'} rotation {quote(given)}; under way: {known}")
        return found[0]

    def refuse_second(self, key: str) -> None:
        """Raises StoreError where a key is being rotated already."""
        for rotation in self.rotations():
            if key in (rotation.old, rotation.new):
                raise StoreError(
                    f"{key} is part of rotation {rotation.id} ({rotation.what}), which is under way: "
                    f"finish it with 'nsk rotate continue {rotation.id}'"
                )

    def save(self, *rotations: Rotation) -> None:
        """Write records over those of the same ids, or add them."""
        file = self._read()
        changed = {rotation.id: rotation for rotation in rotations}
        kept = [changed.pop(rotation.id, rotation) for rotation in file.rotations]
        file.rotations = [*kept, *changed.values()]
        self._write(file)

    def finish(self, rotation: Rotation) -> None:
        """Forget a rotation that is over, but for what its revocation is there for."""
        file = self._read()
        file.rotations = [other for other in file.rotations if other.id != rotation.id]
        if rotation.kind is Kind.USER:
            file.retired.append(
                RetiredUser(account=rotation.account, key=rotation.old, expires_at=rotation.old_expires_at)
            )
        self._write(file)

    def replaced(self, account: str, user: str) -> list[str]:
        """The keys of a user that rotations under way take out of use, and servers still let in."""
        return [
            rotation.old
            for rotation in self.rotations()
            if rotation.kind is Kind.USER and (rotation.account, rotation.user) == (account, user)
        ]

    def forget(self, rotation: Rotation) -> None:
        """Forget a rotation of what is not in the store any more."""
        file = self._read()
        file.rotations = [other for other in file.rotations if other.id != rotation.id]
        self._write(file)

    def rename_account(self, old: str, new: str) -> None:
        """Have the records follow an account to another name."""
        file = self._read()
        for rotation in file.rotations:
            rotation.account = new if rotation.account == old else rotation.account
            rotation.kept_as = new if rotation.kept_as == old else rotation.kept_as
            rotation.unpushed = [new if name == old else name for name in rotation.unpushed]
        for one in file.retired:
            one.account = new if one.account == old else one.account
        if file.rotations or file.retired:
            self._write(file)

    def forget_retired(self, keys: Iterable[str]) -> None:
        """Forget users' keys whose revocations are gone."""
        gone = set(keys)
        file = self._read()
        file.retired = [one for one in file.retired if one.key not in gone]
        self._write(file)

    def _read(self) -> _File:
        text = self._store.record(_NAME)
        if text is None:
            return _File(version=VERSION, rotations=[])
        try:
            file = msgspec.json.decode(text, type=_File)
        except msgspec.DecodeError as problem:
            raise StoreError(f"`{self.path}` cannot be read: {problem}") from None
        if file.version != VERSION:
            raise StoreError(
                f"`{self.path}` is of version {file.version}, which only a newer nsk understands"
            )
        return file

    def _write(self, file: _File) -> None:
        self._store.write_record(_NAME, msgspec.json.encode(file).decode())


def new_id() -> str:
    """A short name for a rotation."""
    return secrets.token_hex(4)
