"""``list keys``: the keys of operator, accounts and users, and whether the keystore has them."""

from __future__ import annotations

import base64
from typing import Annotated

import msgspec

from auth.nkey import KeyKind, public_key_kind
from tools.nsk.cli import Command
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.selection import Key, Selection
from tools.nsk.session import Session

_LEGEND = "[ T ] auth callout encryption target"
_SEED_LEGEND = f"[ ! ] seed is not stored\n[ERR] error reading seed\n{_LEGEND}"
_UNREFERENCED = "[?] unreferenced key - may belong to a different operator context"


def _list(session: Session, flags: Flags) -> None:
    if not session.keystore.directory.is_dir():
        raise StoreError(f"keystore `{session.keystore.directory}` does not exist")
    unreferenced, seeds = flags.boolean("not-referenced"), flags.boolean("show-seeds")
    if unreferenced and seeds:
        raise NskError("specify one of --show-seeds or --not-referenced")
    if not session.environment.operator and not unreferenced:
        raise StoreError(
            "operator is not set -- set an operator first or try --not-referenced to list all keys not in the context"
        )
    try:
        keys = selected(session, flags, Selection.of(session, flags, curves="curve"))
    except StoreError:
        session.output.message("no keys matched query")
        raise
    if flags.boolean("json"):
        session.output.line(_json(session, keys, seeds=seeds))
    elif not keys:
        session.output.line("no keys matched query", Channel.REPORT)
    elif seeds:
        session.output.line(f"{_seeds(session, keys).render()}{_SEED_LEGEND}\n")
    else:
        note = _UNREFERENCED if unreferenced else ""
        session.output.line(f"{_keys(session, keys).render()}{note}{_LEGEND}\n")


def selected(session: Session, flags: Flags, selection: Selection) -> list[Key]:
    """The keys of a selection, or with ``--not-referenced`` the others. Raises StoreError."""
    if not flags.boolean("not-referenced"):
        return selection.keys(session.store)
    return selection.unreferenced(session.store if session.environment.operator else None, session.keystore)


def _entity(key: Key) -> str:
    return " " * key.depth + printable(key.name)


def _mark(key: Key) -> str:
    return "T" if key.is_encryption_key else "*" if key.is_signing_key else ""


def _keys(session: Session, keys: list[Key]) -> Table:
    table = Table("Keys", ("Entity", "Key", "Signing Key", "Stored"))
    for key in keys:
        table.row(_entity(key), key.public, _mark(key), "*" if session.keystore.has_key(key.public) else "")
    return table


def _seeds(session: Session, keys: list[Key]) -> Table:
    table = Table("Seeds Keys", ("Entity", "Private Key", "Signing Key"))
    for key in keys:
        try:
            pair = session.keystore.key(key.public)
            shown = pair.seed if pair else f"{key.public} [!]"
        except StoreError:
            shown = f"{key.public} [ERR]"
        table.row(_entity(key), shown, _mark(key))
    return table


class ListedKey(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A key, in nsc's own form. What does not hold is left out where it says so."""

    name: Annotated[str, msgspec.Meta(description="of the operator, account or user that has it")]
    pub: Annotated[str, msgspec.Meta(description="the public key")]
    parent: Annotated[
        str, msgspec.Meta(description="the account of a user, or the operator; left out for operators")
    ] = ""
    signing: Annotated[bool, msgspec.Meta(description="whether it is a signing key")]
    curve: Annotated[bool, msgspec.Meta(description="whether it encrypts rather than signs")]
    key_path: Annotated[str, msgspec.Meta(description="where the seed is stored, empty when it is not")]
    invalid: Annotated[bool, msgspec.Meta(description="whether what is stored is no seed")]
    jwt: Annotated[str, msgspec.Meta(description="the JWT in base64, left out where there is none")] = ""
    expected_kind: Annotated[str, msgspec.Meta(description="what the key is for")]
    seed: Annotated[str, msgspec.Meta(description="the seed, with --show-seeds only")] = ""


def _json(session: Session, keys: list[Key], *, seeds: bool) -> str:
    entries = []
    for key in keys:
        path = session.keystore.key_path(key.public)
        invalid, pair = False, None
        try:
            pair = session.keystore.key(key.public)
        except StoreError:
            invalid = True
        entries.append(
            ListedKey(
                name=key.name,
                pub=key.public,
                parent=key.parent,
                signing=key.is_signing_key,
                curve=public_key_kind(key.public) is KeyKind.CURVE,
                key_path=str(path) if path.is_file() else "",
                invalid=invalid,
                jwt=base64.b64encode(key.token.encode()).decode() if key.token else "",
                expected_kind=key.kind.label,
                seed=pair.seed if seeds and pair else "",
            )
        )
    return msgspec.json.format(msgspec.json.encode(entries), indent=1).decode()


LIST = Command(
    "keys",
    "List operator, account and user keys in the current operator and account context.\n"
    "Flags choose the kinds of keys, and the account or user whose keys are shown. --not-referenced shows\n"
    "stored keys that nothing in the current operator refers to.",
    _list,
    (
        boolean("operator", "o", "show operator keys"),
        boolean("accounts", "a", "show account keys"),
        boolean("users", "u", "show user keys"),
        boolean("curve", "x", "show curve keys"),
        boolean("all", "A", "show operator, accounts and users"),
        text("account", "", "show specified account keys"),
        text("user", "", "show specified user key"),
        text("filter", "f", "filter keys containing string"),
        boolean("not-referenced", "", "shows keys that are not referenced in the current operator context"),
        boolean("show-seeds", "S", "shows seed keys value"),
        boolean("json", "J", "list keys as JSON"),
    ),
    aliases=("key",),
    examples="""\
nsk list keys
nsk list keys --all (same as specifying --operator --accounts --users)
nsk list keys --operator --not-referenced (shows all other operator keys)
nsk list keys --all --filter VSVMGA (shows all keys containing the filter)
nsk list keys --account A (changes the account context to the specified account)
""",
    usage_on_error=True,
    result=list[ListedKey],
)
