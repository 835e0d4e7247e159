"""``restore``: what was deleted, or everything, back from a backup or an export.

nsc has no such command. The directory is one that ``export keys --include-jwts`` wrote, or a copy of a store and its
keystore: JWTs, seeds and creds files are found wherever they lie in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from auth.claims import AccountClaims
from auth.claims.account import ALL_USERS
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.cli import Command
from tools.nsk.collection import Collection, FoundAccount, FoundOperator
from tools.nsk.deletions import forget_deletion
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.keystore import KeyStore
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name


@dataclass(frozen=True, slots=True)
class Restored:
    """What ``restore`` put back."""

    operators: Annotated[list[str], "operators whose JWT was written"]
    accounts: Annotated[list[str], "accounts whose JWT was written"]
    users: Annotated[list[str], "users whose JWT was written"]
    keys: Annotated[list[str], "public keys whose seed was written"]


@dataclass(frozen=True, slots=True)
class _Limits:
    """What is to be restored: everything where a name is empty."""

    operator: str
    account: str
    user: str
    force: bool

    @property
    def whole_accounts(self) -> bool:
        """Whether accounts are to be restored themselves, and not only a user of theirs."""
        return not self.user


class Restorer:
    """Puts what was found back into the stores of one root. What is there already stays, unless forced.

    A JWT that cannot be read counts as missing.
    """

    def __init__(self, root: Path, keystore: KeyStore, seeds: dict[str, KeyPair], limits: _Limits) -> None:
        self._root = root
        self._keystore = keystore
        self._seeds = seeds
        self._limits = limits
        self.done = Restored([], [], [], [])

    def restore(self, found: FoundOperator, report: Report) -> None:
        """Restore an operator, or the parts of it that are asked for."""
        name = check_name(found.claims.name, "operator")
        whole = not (self._limits.account or self._limits.user)
        if Store.exists(self._root, name):
            store = Store.open(self._root, name, self._keystore)
            is_broken = whole and not _is_readable(store.operator)
            if is_broken:
                store.write_operator(found.token)
            if store.operator().subject != found.claims.subject:
                report.error(
                    f"operator {quote(name)} of this store has another key: "
                    "`import account --force` takes accounts that another one signed"
                )
                return
            if not store.operator().did_sign(found.claims):
                report.error(f"key {found.claims.issuer} does not sign for operator {quote(name)} of this store")
                return
            old = "" if is_broken else store.operator_token()
        elif not whole:
            report.error(f"operator {quote(name)} is not in this store: restore it without --account and --user first")
            return
        else:
            managed = not any(key in self._seeds for key in (found.claims.subject, *found.claims.nats.signing_keys))
            store, old = Store.create(self._root, name, self._keystore, managed=managed), ""
        if whole:
            if self._may_write(f"operator {quote(name)}", old, found.token, report):
                store.write_operator(found.token)
                self.done.operators.append(name)
            self._keys([found.claims.subject, *found.claims.nats.signing_keys], report)
        for account in found.accounts.values():
            if self._limits.account in ("", account.claims.name, account.claims.subject):
                self._account(store, account, report.section(f"account {quote(account.claims.name)}"))

    def _may_write(self, what: str, old: str, new: str, report: Report) -> bool:
        if old == new:
            report.ok(f"{what} is as it was")
        elif not old or self._limits.force:
            report.ok(f"restored {what}")
            return True
        else:
            report.warn(f"{what} is there and differs - specify --force to overwrite it")
        return False

    def _account(self, store: Store, found: FoundAccount, report: Report) -> None:
        name = check_name(found.claims.name, "account")
        other = store.account_with_key(found.claims.subject)
        if other not in (None, name):
            report.error(f"account {quote(str(other))} has the key {found.claims.subject}")
            return
        old = store.account_token(name) if _is_readable(partial(store.account, name)) else ""
        if old and other is None:
            report.error(f"account {quote(name)} of this store has another key")
            return
        if self._limits.whole_accounts:
            if not store.operator().did_sign(found.claims) and not (store.managed and found.claims.is_self_signed):
                report.error(f"the operator does not sign with {found.claims.issuer} any more: use `import account`")
                return
            if self._may_write(f"account {quote(name)}", old, found.token, report):
                store.write_account(name, found.token)
                forget_deletion(store, found.claims.subject)
                self.done.accounts.append(name)
            keys = found.claims.signing_key_names()
            self._keys([found.claims.subject, *keys, found.claims.nats.authorization.xkey], report)
        elif not old:
            report.error(f"account {quote(name)} is not in this store: restore it first")
            return
        self._users(store, store.account(name), found, report)

    def _users(self, store: Store, account: AccountClaims, found: FoundAccount, report: Report) -> None:
        for user in found.users.values():
            claims, name = user.claims, check_name(user.claims.name, "user")
            if self._limits.user not in ("", name, claims.subject):
                continue
            if claims.issuer not in store.account_signers(account):
                report.error(f"{claims.issuer}, which signed user {quote(name)}, signs for the account no more")
                continue
            old = store.user_token(account.name, name) if _is_readable(partial(store.user, account.name, name)) else ""
            if old and store.user(account.name, name).subject != claims.subject:
                report.error(f"user {quote(name)} of this store has another key")
                continue
            if self._may_write(f"user {quote(name)}", old, user.token, report):
                store.write_user(account.name, name, user.token)
                self.done.users.append(name)
            self._keys([claims.subject], report)
            if self._keystore.has_key(claims.subject):
                store.write_creds(account.name, name)
            for key in (claims.subject, ALL_USERS):
                if account.nats.revocations.get(key, 0) >= claims.issued_at:
                    report.warn(f"user {quote(name)} is revoked: `revocations delete-user` takes that back")

    def _keys(self, keys: list[str], report: Report) -> None:
        for public in keys:
            if public in self._seeds and not self._keystore.has_key(public):
                self._keystore.store_key(self._seeds[public])
                self.done.keys.append(public)
                report.ok(f"restored key {public}")


def _is_readable(read: Callable[[], object]) -> bool:
    """Whether there is a JWT, and nothing is wrong with it."""
    try:
        read()
    except StoreError:
        return False
    return True


def _restore(session: Session, flags: Flags) -> Restored:
    directory = session.environment.absolute(flags.text("dir"))
    if not flags.text("dir"):
        raise NskError('required flag(s) "dir" not set', show_usage=True)
    if not directory.is_dir():
        raise NskError(f"`{directory}` is not a directory")
    limits = _Limits(flags.text("operator"), flags.text("account"), flags.text("user"), flags.boolean("force"))
    looked_at = Report()
    found = Collection.of([directory], looked_at, creds=True)
    operators = [
        operator
        for operator in found.operators.values()
        if limits.operator in ("", operator.claims.name, operator.claims.subject)
    ]
    if not operators:
        raise NskError(f"no JWT of {'the' if limits.operator else 'an'} operator found in `{directory}`")
    report = Report()
    report.children += [problem for section in looked_at.children for problem in section.children if problem.failed]
    restorer = Restorer(session.store_root, session.keystore, found.seeds, limits)
    for operator in operators:
        section = report.section(f"operator {quote(operator.claims.name)}")
        try:
            restorer.restore(operator, section)
        except StoreError as error:
            section.error(error.text)
    done = restorer.done
    if not any(section.children for section in report.children):
        raise NskError("nothing of that name found to restore")
    if done.operators and not session.environment.operator:
        session.environment.remember(store_root=session.store_root, operator=done.operators[0], account="")
    session.finish(report)
    return done


RESTORE = Command(
    "restore",
    "Restore operators, accounts, users and their keys from a directory: a backup of the stores and the keystore,\n"
    "or what 'nsk export keys --all --include-jwts' wrote. Without --account and --user everything in it is\n"
    "restored. What is in the store already stays as it is, unless it cannot be read or --force is given; of several\n"
    "JWTs of one entity the last issued is taken. Creds files are made anew. When anything cannot be restored,\n"
    "nothing is.",
    _restore,
    (
        text("dir", "d", "directory to restore from, with all below it"),
        text("operator", "o", "restore this operator only"),
        text("account", "a", "restore this account and its users only"),
        text("user", "u", "restore this user only"),
        boolean("force", "F", "overwrite what is there and differs"),
    ),
    examples="""\
nsk export keys --all --include-jwts --dir <backup> (before)
nsk restore --dir <backup> (everything that is missing)
nsk restore --dir <backup> --account <name> (a deleted account, with its users)
nsk restore --dir <backup> --account <name> --user <name> (a deleted user)""",
    changes=True,
    result=Restored,
)
