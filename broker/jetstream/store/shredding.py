"""What destroys all that an account has: its key first, then what the key opened; and the receipt for that.

What is under way stands in a file beside the keys, so that a crash ends nothing: it is done to its end at the next
start. The receipt is a line like those of the audit ledger, signed by the server's nkey.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from broker.audit.entry import LineError, check_signature, moment, signed
from broker.jetstream.store.files import erase, replace, sync_directory
from broker.jetstream.store.marks import FIRST_KEY_FILE, key_file
from broker.jetstream.store.tables import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from auth.nkey import KeyPair

RECEIPTS: Final = "receipts"
"""Directory beside the streams."""

_KIND: Final = "natskeep shred 1"
_UNDER_WAY: Final = ".shredding"


@dataclass(frozen=True, slots=True)
class Shredded:
    """What was destroyed: the receipt and where it is kept."""

    receipt: bytes
    path: Path
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shredder:
    """Destroys accounts of one store. Everything blocks on the disk. Nobody may have an account open meanwhile.

    ``destroy`` destroys the key of an account, by the name of its directory and its own, and returns whether copies of
    the key are worth nothing either.
    """

    directory: Path
    keys: Path
    receipts: Path
    signer: KeyPair
    destroy: Callable[[str, str], bool]

    def shred(self, name: str, account: str, members: Mapping[str, object]) -> Shredded:
        """Destroys the account whose directory has a name; ``members`` go into the receipt. Raises StoreError."""
        key = key_file(self.keys, name)
        first = self.directory / name / FIRST_KEY_FILE
        files = {path.name: _digest(path) for path in (key, first) if path.exists()}
        record: dict[str, Any] = {
            "receipt": _KIND,
            "account": account,
            "begun": moment(time.time()),
            **members,
            "key_files": files,
        }
        replace(self._under_way(name), json.dumps(record).encode())
        return self._finish(name, record)

    def resume(self) -> list[Shredded]:
        """Does to its end what a crash has ended. Raises StoreError."""
        done = []
        for path in sorted(self.keys.glob(f"*{_UNDER_WAY}")):
            try:
                record = json.loads(path.read_bytes())
            except (OSError, ValueError):
                raise StoreError(f"{path} cannot be read; look which account it names, and shred that again") from None
            done.append(self._finish(path.name.removesuffix(_UNDER_WAY), record))
        return done

    def _under_way(self, name: str) -> Path:
        return self.keys / f"{name}{_UNDER_WAY}"

    def _finish(self, name: str, record: dict[str, Any]) -> Shredded:
        directory = self.directory / name
        if "copies_destroyed" not in record:
            erase(directory / FIRST_KEY_FILE)
            record["copies_destroyed"] = self.destroy(name, unquote(name))
            record["destroyed"] = moment(time.time())
            replace(self._under_way(name), json.dumps(record).encode())
        if "files" not in record:
            paths = sorted(path for path in directory.rglob("*") if path.is_file()) if directory.exists() else []
            record["files"] = [
                {"name": str(path.relative_to(directory)), "bytes": path.stat().st_size, "sha256": _digest(path)}
                for path in paths
            ]
            replace(self._under_way(name), json.dumps(record).encode())
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            raise StoreError(f"cannot delete {directory}, whose key is destroyed; check its owner and mode")
        receipt = signed(json.dumps({**record, "key": self.signer.public}).encode(), self.signer)
        path = self.receipts / f"{name}-{record['destroyed'].replace(':', '').replace('.', '-')}.json"
        replace(path, receipt + b"\n")
        try:
            self._under_way(name).unlink(missing_ok=True)
            sync_directory(self.keys)
        except OSError as error:
            raise StoreError(f"cannot delete {self._under_way(name)}: {error.strerror}") from None
        return Shredded(receipt, path, json.loads(receipt))


def check_receipt(receipt: bytes, key: str = "") -> dict[str, Any]:
    """What a receipt says, which ``key`` has signed; where none is given, the one that it names itself.

    Raises LineError: it is none, or was changed.
    """
    line = receipt.strip()
    try:
        members = json.loads(line)
        kind, named = members["receipt"], str(members["key"])
    except (ValueError, KeyError, TypeError):
        raise LineError("it is no receipt") from None
    if kind != _KIND:
        raise LineError(f"it is a receipt of another kind: {kind}")
    check_signature(line, key or named)
    found: dict[str, Any] = members
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None
