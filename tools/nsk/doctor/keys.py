"""Keys: those that sign nothing, those that are missing, those that nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator

from auth.claims import AccountClaims, UserScope
from auth.envelope import JwtError
from auth.gojson import quote
from tools.nsk.doctor.findings import Examined, Finding, Severity, key_of
from tools.nsk.errors import StoreError
from tools.nsk.store import Store


def key_findings(examined: Examined) -> Iterator[Finding]:
    """What is wrong with keys."""
    yield from _unused_operator_keys(examined)
    for name, claims in examined.accounts.items():
        yield from _unused_account_keys(examined, name, claims)
    yield from _missing(examined)
    yield from _unreferenced(examined)


def _unused_operator_keys(examined: Examined) -> Iterator[Finding]:
    if examined.lacks_accounts:
        return
    signers = {claims.issuer for claims in examined.accounts.values()}
    for key in examined.operator.nats.signing_keys:
        if key not in signers and key not in examined.rotating:
            yield Finding(
                "signing-key-unused",
                Severity.INFO,
                f"operator {quote(examined.store.name)}",
                f"the signing key {key} signed none of the accounts here",
                examined.run("edit", "operator", "--rm-sk", key),
            )


def _unused_account_keys(examined: Examined, name: str, claims: AccountClaims) -> Iterator[Finding]:
    if examined.lacks_accounts or name in examined.lacks_users:
        return
    signers = {user.issuer for user in examined.users[name].values()} | _activators(examined)
    for item in claims.nats.signing_keys:
        key = key_of(item)
        if key not in signers and key not in examined.rotating:
            role = f" of role {quote(item.role)}" if isinstance(item, UserScope) and item.role else ""
            yield Finding(
                "signing-key-unused",
                Severity.INFO,
                f"account {quote(name)}",
                f"the signing key {key}{role} signed no user and no activation here",
                examined.run("edit", "account", "--name", name, "--rm-sk", key),
            )


def _activators(examined: Examined) -> set[str]:
    found = set()
    for claims in examined.accounts.values():
        for item in claims.nats.imports:
            if item is not None and item.token:
                try:
                    found.add(item.activation().issuer)
                except JwtError:
                    continue
    return found


def _missing(examined: Examined) -> Iterator[Finding]:
    store = examined.store
    has_key = store.keystore.has_key
    if not store.managed and not any(map(has_key, examined.operator.trusted_keys())):
        yield Finding(
            "key-missing",
            Severity.WARNING,
            f"operator {quote(store.name)}",
            "no key that signs accounts is stored; where a file with one lies in the working directory, import it",
            examined.run("import", "keys", "--dir", "."),
        )
    for name, claims in examined.accounts.items():
        yield from _missing_of_account(examined, name, claims)
        for user, its in examined.users[name].items():
            if not has_key(its.subject) and its.subject not in examined.rotating:
                yield Finding(
                    "key-missing",
                    Severity.INFO,
                    f"user {quote(user)} of account {quote(name)}",
                    f"the private key of {its.subject} is not stored; if nobody has it, give the user another one",
                    examined.run("rotate", "user", "--account", name, "--name", user),
                )


def _missing_of_account(examined: Examined, name: str, claims: AccountClaims) -> Iterator[Finding]:
    has_key = examined.store.keystore.has_key
    keys = [key_of(item) for item in claims.nats.signing_keys]
    if any(map(has_key, [claims.subject, *keys])):
        return
    yield Finding(
        "key-missing",
        Severity.INFO,
        f"account {quote(name)}",
        "no key that signs users is stored; if nobody has one, give the account another signing key",
        examined.run("edit", "account", "--name", name, "--sk", "generate"),
    )


def _unreferenced(examined: Examined) -> Iterator[Finding]:
    if examined.broken:
        return
    keystore = examined.store.keystore
    referenced = set(examined.rotating)
    # One keystore serves all operators beside each other.
    for name in _operators(examined.store):
        try:
            other = examined.store if name == examined.store.name else Store.open(examined.store.root, name, keystore)
            referenced |= _referenced(other)
        except StoreError as problem:
            yield Finding(
                "jwt-broken",
                Severity.WARNING,
                f"operator {quote(name)}",
                f"cannot be read, so it cannot be told which keys nothing refers to: {problem.text}",
                f"{examined.run('select', 'operator', name)} && {examined.run('doctor')}",
            )
            return
    for key in keystore.public_keys():
        if key not in referenced:
            yield Finding(
                "key-unreferenced",
                Severity.INFO,
                str(keystore.key_path(key)),
                "nothing in this store refers to the key; moved out of the keystore it can do no harm here",
                examined.run(
                    "export", "keys", "--not-referenced", "--filter", key, "--dir", "unreferenced-keys", "--remove"
                ),
            )


def _operators(store: Store) -> list[str]:
    return [name for name in store.files.names(store.root) if Store.exists(store.root, name)]


def _referenced(store: Store) -> set[str]:
    """Every key that an operator, its accounts and their users name. Raises StoreError."""
    operator = store.operator()
    found = {operator.subject, *operator.nats.signing_keys}
    for name in store.accounts():
        claims = store.account(name)
        found |= {claims.subject, claims.nats.authorization.xkey, *map(key_of, claims.nats.signing_keys)}
        found |= {store.user(name, user).subject for user in store.users(name)}
    return found
