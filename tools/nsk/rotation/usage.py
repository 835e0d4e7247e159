"""Who still uses an old key: what is stored under it, and who is connected with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from auth.gojson import quote
from tools.nsk.deletions import deletions
from tools.nsk.live import Servers, words
from tools.nsk.rotation.records import Kind, Rotation, Stage
from tools.nsk.rotation.renew import imports_activated_by
from tools.nsk.store import Store


@dataclass(frozen=True, slots=True)
class Usage:
    """Uses of an old key. ``live`` is None where no server was asked.

    ``deleted`` are accounts that were deleted here and that servers have not forgotten: these hold up nothing.
    """

    stored: list[str] = field(default_factory=list)
    live: list[str] | None = None
    deleted: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether servers say that nobody uses it, and the store neither."""
        return self.live == [] and not self.stored


def is_gone(store: Store, rotation: Rotation) -> bool:
    """Whether the account of a rotation has left the store, and nothing is left to rotate."""
    return bool(rotation.account) and not store.has_account(rotation.account)


def usage_of(store: Store, rotation: Rotation, servers: Servers | None) -> Usage:
    """Who uses the old key of a rotation. Raises NskError."""
    if is_gone(store, rotation):
        return Usage()
    if servers is None:
        return Usage(_stored(store, rotation))
    if rotation.kind.is_operators:
        live, deleted = _live_accounts(store, rotation, servers)
        return Usage(_stored(store, rotation), live, deleted)
    return Usage(_stored(store, rotation), _live(store, rotation, servers))


def _stored(store: Store, rotation: Rotation) -> list[str]:
    match rotation.kind:
        case Kind.USER:
            is_new = not store.has_user(rotation.account, rotation.user) or (
                store.user(rotation.account, rotation.user).subject != rotation.old
            )
            return [] if is_new else [f"the JWT of user {quote(rotation.user)}"]
        case Kind.SIGNING_KEY:
            users = [
                f"the JWT of user {quote(user)}"
                for user in store.users(rotation.account)
                if store.user(rotation.account, user).issuer == rotation.old
            ]
            return users + [
                f"the activation of {quote(item.subject)} for account {quote(name)}"
                for name, item in imports_activated_by(store, rotation.old, rotation.account)
            ]
        case Kind.ACCOUNT:
            if rotation.stage is Stage.RETIRED:
                return []
            return [
                f"the import of {quote(item.effective_local_subject)} in account {quote(name)}"
                for name in store.accounts()
                for item in store.account(name).nats.imports
                if item is not None and item.is_service and item.account == rotation.old
            ]
        case _:
            return [
                f"the JWT of account {quote(name)}"
                for name in store.accounts()
                if store.account(name).issuer == rotation.old
            ]


def _live_accounts(store: Store, rotation: Rotation, servers: Servers) -> tuple[list[str], list[str]]:
    """The accounts that servers hold under an operator's old key, and those of them that were deleted here."""
    live, deleted = [], []
    gone = deletions(store)
    for key, issuers in sorted(servers.account_issuers().items()):
        if rotation.old not in issuers:
            continue
        if key in gone:
            deleted.append(f"account {quote(gone[key].name)} ({key})")
        elif store.account_with_key(key) is None:
            live.append(
                f"the JWT of account {key} on a server, which this store does not have: "
                f"'nsk pull --all' takes it, 'nsk push --account-removal {key}' has servers forget it"
            )
        else:
            live.append(f"the JWT of account {key} on a server")
    return live, deleted


def _live(store: Store, rotation: Rotation, servers: Servers) -> list[str]:
    account = rotation.old if rotation.kind is Kind.ACCOUNT else store.account(rotation.account).subject
    connected = servers.connections(account)
    if rotation.kind is Kind.USER:
        connected = [one for one in connected if one.user == rotation.old]
    elif rotation.kind is Kind.SIGNING_KEY:
        connected = [one for one in connected if one.issuer == rotation.old]
    return words(connected)
