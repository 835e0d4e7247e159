"""``shred``, ``rotate data-key`` and ``audit receipt``: the keys that seal what accounts have on a server's disk."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from auth.nkey import KeyKind, is_public_key
from broker.audit.entry import LineError
from broker.audit.ledger import LedgerError, load_key
from broker.jetstream.settings import directory_name
from broker.jetstream.store.files import erase, lock
from broker.jetstream.store.marks import is_sealed, key_file
from broker.jetstream.store.shredding import RECEIPTS, Shredder, check_receipt
from broker.jetstream.store.tables import StoreError
from tools.nsk.cli import Answer, Command
from tools.nsk.commands.access import SYSTEM_FLAGS, TLS_FLAGS, access_of
from tools.nsk.custody import SERVER_FLAGS, account_of, asked
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.render import printable
from tools.nsk.session import Session

_KEEP_APART = (
    "Backups of the key files, and only those, can still open backups of the data: delete the account's key file "
    "there as well, or give the server another key and destroy the old one."
)


@dataclass(frozen=True, slots=True)
class Shredded:
    """What was destroyed."""

    account: Annotated[str, "the account, as the server calls it"]
    receipt: Annotated[str, "the receipt: one line of JSON that the server's nkey has signed"]
    kept: Annotated[str, "where the server keeps the receipt"]
    copies_destroyed: Annotated[bool, "whether copies of the key file are worth nothing either"]


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """Another data key."""

    account: Annotated[str, "the account, as the server calls it"]
    key: Annotated[str, "id of the key that seals from now on"]
    before: Annotated[str, "id of the key before it, which is destroyed when nothing needs it any more"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt proves."""

    valid: Annotated[bool, "whether it is as the server has signed it"]
    problem: Annotated[str, "what is wrong, empty when nothing is"]
    account: Annotated[str, "the account that was destroyed"]
    destroyed: Annotated[str, "when its key was"]
    by: Annotated[str, "who asked for it"]
    keys: Annotated[list[str], "ids of the data keys"]
    files: Annotated[list[dict[str, Any]], "name, bytes and SHA-256 of each file that the key opened"]
    key_files: Annotated[dict[str, str], "SHA-256 of the key file, by its name: a copy with that hash is to be deleted"]
    copies_destroyed: Annotated[bool, "whether copies of the key file are worth nothing either"]
    key: Annotated[str, "public key of the server that has signed"]
    key_given: Annotated[bool, "whether the key was given, and not taken from the receipt itself"]


def _shred(session: Session, flags: Flags) -> Shredded:
    account = account_of(session, flags)
    _confirm(session, flags, account)
    if flags.text("store-dir"):
        found = _offline(flags, account)
    else:
        access = access_of(session, flags, url=flags.text("nats"))
        answer = asyncio.run(asked(session, flags, access, "SHRED", account))
        found = str(answer["receipt"]).encode(), str(answer["kept"])
    receipt, kept = found
    try:
        members = check_receipt(receipt)
    except LineError as error:
        raise NskError(f"the server's receipt is not valid: {error}", remedy="look into its log") from None
    output = session.output
    if flags.text("output"):
        path = Path(flags.text("output")).expanduser()
        path.write_bytes(receipt + b"\n")
        output.message(f"All that account {printable(account)} had on disk is destroyed; the receipt is {path}")
    else:
        output.message(f"All that account {printable(account)} had on disk is destroyed")
        output.line(receipt.decode())
    if not members["copies_destroyed"]:
        output.message(_KEEP_APART)
    return Shredded(account, receipt.decode(), kept, bool(members["copies_destroyed"]))


def _confirm(session: Session, flags: Flags, account: str) -> None:
    if flags.boolean("yes"):
        return
    if session.output.structured or not sys.stdin.isatty():
        raise NskError(
            "nobody can undo that: confirm with --yes", remedy="run it again with --yes once there is no doubt"
        )
    if not session.output.confirm(f"Destroy all that account {printable(account)} has on disk, for ever?"):
        raise NskError("nothing was destroyed", remedy="run it again with --yes once there is no doubt")


def _offline(flags: Flags, account: str) -> tuple[bytes, str]:
    """Destroys an account in the directory of a server that does not run."""
    store = Path(flags.text("store-dir")).expanduser()
    directory, name = store / "jetstream", directory_name(account)
    keys = Path(flags.text("key-dir")).expanduser() if flags.text("key-dir") else store / "keys"
    if not flags.text("seed"):
        raise NskError(
            "who signs the receipt is not said", remedy="name the file with the server's seed: --seed audit/server.nk"
        )
    if not is_sealed(directory / name, keys):
        raise NskError(
            f"account {account} has nothing in `{store}` that a key of its own seals",
            remedy="name the server's store_dir with --store-dir and its key_dir with --key-dir",
        )

    def destroy(name: str, _: str) -> bool:
        erase(key_file(keys, name))
        return False

    held = -1
    try:
        seed = Path(flags.text("seed")).expanduser()
        if not seed.exists():
            raise NskError(f"`{seed}` does not exist", remedy="name the file that audit.key of the server names")
        signer = load_key(seed)
        held = lock(directory)
        found = Shredder(directory, keys, store / RECEIPTS, signer, destroy).shred(
            name, account, {"keys": [], "by": f"{getpass.getuser()}@{socket.gethostname()}"}
        )
    except (StoreError, LedgerError, OSError) as error:
        raise NskError(str(error), remedy="nothing else of the account was touched") from None
    finally:
        if held >= 0:
            os.close(held)
    return found.receipt, str(found.path)


SHRED = Command(
    "shred",
    "Destroy the key of an account on a server, and with it all that its streams have on disk.\n"
    "Without the key nobody reads anything of it any more, in the server's files, snapshots or backups.\n"
    "The server signs a receipt. --store-dir does the same where no server runs.",
    _shred,
    (
        boolean("yes", "y", "there is no doubt: do not ask"),
        text("output", "o", "file for the receipt, which is printed otherwise"),
        *SERVER_FLAGS,
        text("store-dir", "", "store_dir of a server that does not run"),
        text("key-dir", "", "its key_dir, keys below store_dir unless given"),
        text("seed", "", "file with the seed of the server's nkey, which signs the receipt"),
        *SYSTEM_FLAGS,
        *TLS_FLAGS,
    ),
    arguments=(1, 1),
    examples="    nsk shred SHOP --yes -o shop.receipt\n    nsk audit receipt shop.receipt --key NDHO…",
    result=Shredded,
)


def _rotate(session: Session, flags: Flags) -> KeyChanged:
    account = account_of(session, flags)
    access = access_of(session, flags, url=flags.text("nats"))
    found = asyncio.run(asked(session, flags, access, "ROTATE", account))
    key, before = str(found["key"]), str(found["before"])
    session.output.line(f"account {printable(account)} is sealed by data key {key} from now on")
    session.output.message(f"What data key {before} sealed is sealed anew beside serving; then that key is destroyed.")
    return KeyChanged(account, key, before)


DATA_KEY = Command(
    "data-key",
    "Give an account another data key, which seals what its streams have on a server's disk",
    _rotate,
    (*SERVER_FLAGS, *SYSTEM_FLAGS, *TLS_FLAGS),
    arguments=(1, 1),
    result=KeyChanged,
)


def _receipt(session: Session, flags: Flags) -> Answer:
    path, key = Path(flags.arguments[0]).expanduser(), flags.text("key")
    if key and not is_public_key(key, KeyKind.SERVER):
        raise NskError("--key takes the public key of the server, which begins with N")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NskError(f"`{path}` cannot be read: {error.strerror}") from None
    output = session.output
    try:
        found = check_receipt(content, key)
    except LineError as error:
        output.line(f"NOT VALID: {printable(str(error))}")
        return Answer(Receipt(False, str(error), "", "", "", [], [], {}, False, key, bool(key)), 1)
    account, files = str(found["account"]), list(found["files"])
    size = sum(int(file["bytes"]) for file in files)
    output.line(f"valid: signed by {found['key']}")
    by = f", as {printable(str(found['by']))} asked" if found["by"] else ""
    output.line(f"the key of account {printable(account)} was destroyed at {found['destroyed']}{by}")
    output.line(f"it opened {len(files)} files, {size} bytes")
    for name, digest in found["key_files"].items():
        output.line(f"copies of {name} to be deleted have the SHA-256 {digest}")
    if not key:
        output.message("The key was taken from the receipt itself, so only its consistency is proved: give --key.")
    result = Receipt(
        True, "", account, str(found["destroyed"]), str(found["by"]), list(found["keys"]), files,
        dict(found["key_files"]), bool(found["copies_destroyed"]), str(found["key"]), bool(key),
    )
    return Answer(result, 0)


RECEIPT = Command(
    "receipt",
    "Prove with the server's public key alone what `nsk shred` destroyed and when.\n"
    "The exit code is 0 for a valid receipt, 1 for another, and 2 where there is no answer.",
    _receipt,
    (text("key", "", "public key of the server: the id that its log and INFO show"),),
    arguments=(1, 1),
    examples="    nsk audit receipt shop.receipt --key NDHO…",
    error_code=2,
    result=Receipt,
)
