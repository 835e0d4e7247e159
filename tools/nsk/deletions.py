"""What is remembered of deleted accounts: a hidden file beside the operator's JWT, which nsc passes over.

Servers go on with what they hold of an account until they are told to forget it. The record tells an account that was
deleted here from one that only another store has.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from tools.nsk.errors import StoreError
from tools.nsk.store import Store

_NAME: Final = ".deleted-accounts"
_VERSION: Final = 1


class Deletion(msgspec.Struct, kw_only=True):
    """A deleted account: its name, its public key, and when that was, in Unix seconds."""

    name: str
    key: str
    at: int


class _File(msgspec.Struct, kw_only=True):
    version: int
    deleted: list[Deletion]


def note_deletion(store: Store, name: str, key: str) -> None:
    """Remember that an account is deleted now. Raises StoreError."""
    kept = [one for one in _read(store) if one.key != key]
    kept.append(Deletion(name=name, key=key, at=int(time.time())))
    _write(store, kept)


def forget_deletion(store: Store, key: str) -> None:
    """Forget that an account was deleted, since it is back. Raises StoreError."""
    found = _read(store)
    kept = [one for one in found if one.key != key]
    if not kept:
        store.files.remove(store.record_path(_NAME))
    elif kept != found:
        _write(store, kept)


def deletions(store: Store) -> dict[str, Deletion]:
    """The deleted accounts by their public keys, without those that are back. Raises StoreError."""
    found = {one.key: one for one in _read(store)}
    if found:
        for name in store.accounts():
            try:
                found.pop(store.account(name).subject, None)
            except StoreError:
                # Whatever cannot be read is told by whoever needs it.
                continue
    return found


def _write(store: Store, kept: list[Deletion]) -> None:
    store.write_record(_NAME, msgspec.json.encode(_File(version=_VERSION, deleted=kept)).decode())


def _read(store: Store) -> list[Deletion]:
    text = store.record(_NAME)
    if text is None:
        return []
    try:
        return msgspec.json.decode(text, type=_File).deleted
    except msgspec.DecodeError as problem:
        path = store.record_path(_NAME)
        raise StoreError(
            f"`{path}` cannot be read: {problem}",
            remedy="remove the file: what it tells is which accounts that servers still hold were deleted here",
        ) from None
