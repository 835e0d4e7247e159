"""``list keys``: the keys of operator, accounts and users, and whether the keystore has them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from auth.claims import UserScope
from auth.nkey import KeyKind, public_key_kind
from tools.nsk.cli import Command
from tools.nsk.commands import LIST_FLAGS
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.render import Table, printable
from tools.nsk.session import Session

_LEGEND = "[ T ] auth callout encryption target"
_SEED_LEGEND = f"[ ! ] seed is not stored\n[ERR] error reading seed\n{_LEGEND}"
_UNREFERENCED = "[?] unreferenced key - may belong to a different operator context"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it belongs to. ``depth`` is 0 for the operator, 1 for accounts, 2 for users."""

    name: str
    public: str
    depth: int
    kind: KeyKind
    token: str = ""
    """The JWT of the entity whose identity the key is; none for its other keys."""
    parent: str = ""
    is_signing_key: bool = False
    is_encryption_key: bool = False

    @property
    def mark(self) -> str:
        """What the key is for, when it is no identity."""
        return "T" if self.is_encryption_key else "*" if self.is_signing_key else ""

    @property
    def entity(self) -> str:
        """The name, indented by what it is below."""
        return " " * self.depth + printable(self.name)


class Selection:
    """Which keys the flags ask for."""

    def __init__(self, session: Session, flags: Flags) -> None:
        named = flags.given("operator", "accounts", "users", "curve")
        everything = flags.boolean("all")
        self.operator = everything or flags.boolean("operator") or not named
        self.accounts = everything or flags.boolean("accounts") or not named
        self.users = everything or flags.boolean("users") or not named
        self.curve = self.accounts or flags.boolean("curve")
        # Without a kind, only what is current is shown.
        self._all_accounts = everything or (named and not flags.given("account"))
        self._account = flags.text("account") or session.environment.account
        self._user = flags.text("user")

    def names(self, session: Session) -> list[str]:
        """The accounts to look at. Raises StoreError."""
        if self._all_accounts:
            return session.store.accounts()
        if not self._account:
            return []
        session.store.account_token(self._account)
        return [self._account]

    def users_of(self, session: Session, account: str) -> list[str]:
        """The users to look at. Raises StoreError."""
        users = session.store.users(account)
        if not self._user:
            return users
        if not self._all_accounts:
            session.store.user_token(account, self._user)
        return [user for user in users if user == self._user]

    def keys(self, session: Session) -> Iterator[Key]:
        """The keys that the JWTs name, in the order of the tree. Raises StoreError."""
        store = session.store
        operator, token = store.operator(), store.operator_token()
        if self.operator:
            yield Key(store.name, operator.subject, 0, KeyKind.OPERATOR, token)
            for public in sorted(operator.nats.signing_keys):
                yield Key(store.name, public, 0, KeyKind.OPERATOR, is_signing_key=True)
        for name in self.names(session):
            account, token = store.account(name), store.account_token(name)
            identity = Key(name, account.subject, 1, KeyKind.ACCOUNT, token, operator.subject)
            if self.accounts:
                yield identity
                for item in account.nats.signing_keys:
                    public = item.key if isinstance(item, UserScope) else item
                    yield replace(identity, public=public, token="", parent="", is_signing_key=True)
            if self.curve and (xkey := account.nats.authorization.xkey):
                yield replace(identity, public=xkey, token="", parent="", is_encryption_key=True)
            if self.users:
                for user in self.users_of(session, name):
                    public, token = store.user(name, user).subject, store.user_token(name, user)
                    yield Key(user, public, 2, KeyKind.USER, token, account.subject)

    def wants(self, kind: KeyKind) -> bool:
        """Whether keys of a kind are asked for."""
        wanted = {KeyKind.OPERATOR: self.operator, KeyKind.ACCOUNT: self.accounts, KeyKind.USER: self.users}
        return wanted.get(kind, self.curve)


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
    selection = Selection(session, flags)
    keys = _unreferenced(session, selection) if unreferenced else list(selection.keys(session))
    keys = [key for key in keys if flags.text("filter").upper() in key.public]
    if flags.boolean("json"):
        session.output.line(_json(session, keys, seeds=seeds))
    elif not keys:
        session.output.message("no keys matched query")
    elif seeds:
        session.output.line(f"{_seeds(session, keys).render()}{_SEED_LEGEND}\n")
    else:
        note = _UNREFERENCED if unreferenced else ""
        session.output.line(f"{_keys(session, keys).render()}{note}{_LEGEND}\n")


def _unreferenced(session: Session, selection: Selection) -> list[Key]:
    known: set[str] = set()
    if session.environment.operator:
        known = {key.public for key in selection.keys(session)}
    found = []
    for public in session.keystore.public_keys():
        kind = public_key_kind(public)
        if public not in known and kind is not None and selection.wants(kind):
            found.append(Key("?", public, 0, kind))
    return found


def _keys(session: Session, keys: list[Key]) -> Table:
    table = Table("Keys", ("Entity", "Key", "Signing Key", "Stored"))
    for key in keys:
        table.row(key.entity, key.public, key.mark, "*" if session.keystore.has_key(key.public) else "")
    return table


def _seeds(session: Session, keys: list[Key]) -> Table:
    table = Table("Seeds Keys", ("Entity", "Private Key", "Signing Key"))
    for key in keys:
        try:
            pair = session.keystore.key(key.public)
            shown = pair.seed if pair else f"{key.public} [!]"
        except StoreError:
            shown = f"{key.public} [ERR]"
        table.row(key.entity, shown, key.mark)
    return table


def _json(session: Session, keys: list[Key], *, seeds: bool) -> str:
    entries = []
    for key in keys:
        path = session.keystore.key_path(key.public)
        entry: dict[str, object] = {
            "name": key.name,
            "pub": key.public,
            **({"parent": key.parent} if key.parent else {}),
            "signing": key.is_signing_key,
            "curve": public_key_kind(key.public) is KeyKind.CURVE,
            "key_path": str(path) if path.is_file() else "",
            "invalid": False,
            **({"jwt": base64.b64encode(key.token.encode()).decode()} if key.token else {}),
            "expected_kind": key.kind.label,
        }
        try:
            pair = session.keystore.key(key.public)
        except StoreError:
            entry["invalid"], pair = True, None
        if seeds and pair:
            entry["seed"] = pair.seed
        entries.append(entry)
    return json.dumps(entries, indent=1, ensure_ascii=False)


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
    ),
    aliases=("key",),
    group_flags=LIST_FLAGS,
    usage_on_error=True,
)
