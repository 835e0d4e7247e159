"""Creating operators, accounts and users: each call makes the key, signs the claims, and stores both.

The functions refuse what exists already; ``Store.exists``, ``has_account`` and ``has_user`` tell beforehand. A key is
stored only when the claims it belongs to are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from auth.claims import AccountClaims, Export, OperatorClaims, Permissions, UserClaims, UserPermissionLimits
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, is_public_key
from tools.nsk.errors import StoreError
from tools.nsk.issuer import UserIssuer
from tools.nsk.keystore import KeyStore
from tools.nsk.report import Report
from tools.nsk.store import Store, check_name

SYSTEM_ACCOUNT = "SYS"
SYSTEM_USER = "sys"
_SYSTEM_DOCUMENTATION = "https://docs.nats.io/nats-server/configuration/sys_accounts"


@dataclass(frozen=True, slots=True)
class SystemAccount:
    """What ``add_system_account`` made."""

    account: AccountClaims
    user: UserClaims
    creds: Path


def create_operator(
    root: Path,
    name: str,
    keystore: KeyStore,
    *,
    key: KeyPair | None = None,
    not_before: int = 0,
    expires_at: int = 0,
    signing_key: KeyPair | None = None,
    service_urls: tuple[str, ...] = (),
) -> Store:
    """A new operator with a new key, or with the given one, which is then not stored. Times are Unix seconds.

    A given signing key is listed and stored. Raises StoreError.
    """
    name = check_name(name, "operator")
    identity = key or KeyPair.generate(KeyKind.OPERATOR)
    if identity.kind is not KeyKind.OPERATOR:
        raise StoreError("specified key is not a valid operator nkey")
    claims = OperatorClaims.new(identity.public)
    claims.name, claims.not_before, claims.expires_at = name, not_before, expires_at
    claims.nats.operator_service_urls = list(service_urls)
    if signing_key is not None:
        claims.nats.signing_keys = [signing_key.public]
    _refuse_taken_creds(root, name, keystore)
    store = Store.create(root, name, keystore)
    keystore.prepare()
    for pair in (None if key else identity, signing_key):
        if pair is not None:
            keystore.store_key(pair)
    store.sign_operator(claims, identity)
    return store


def _refuse_taken_creds(root: Path, name: str, keystore: KeyStore) -> None:
    """Refuse a new operator whose creds files would take the place of those of another one. Raises StoreError."""
    directory = keystore.creds_directory / name
    if not Store.exists(root, name) and any(
        keystore.files.names(directory / entry) for entry in keystore.files.names(directory)
    ):
        raise StoreError(
            f"`{directory}` holds the creds files of another operator {quote(name)}, which would be overwritten",
            remedy="choose another name, or keep this operator's keys apart: --keystore-dir <directory>; "
            "where that operator is gone, move its creds files away first",
        )


def import_operator(
    root: Path, name: str, keystore: KeyStore, token: str, report: Report, *, force: bool = False
) -> Store:
    """An operator of which only the JWT is here, or a newer JWT for one that is here already.

    Raises StoreError when there is one already, unless that is what is wanted.
    """
    name = check_name(name, "operator")
    if not Store.exists(root, name):
        store = Store.create(root, name, keystore, managed=True)
    elif not force:
        raise StoreError(f"operator named {name} exists already please inspect and use --force to overwrite")
    else:
        store = Store.open(root, name, keystore)
        subject = OperatorClaims.from_token(token).subject
        if store.files.is_file(store.operator_path) and store.operator().subject != subject:
            report.warn("existing and new operator represent different entities, forced to continue")
    keystore.prepare()
    store.write_operator(token)
    return store


def add_system_account(
    store: Store, *, operator_key: KeyPair | None = None, signer: KeyPair | None = None
) -> SystemAccount:
    """The system account with its exports, a signing key and a user, named in the operator's claims.

    ``operator_key`` signs the operator, ``signer`` the account; both are found in the keystore when not given.
    Raises StoreError.
    """
    pair, signing_key = KeyPair.generate(KeyKind.ACCOUNT), KeyPair.generate(KeyKind.ACCOUNT)
    claims = AccountClaims.new(pair.public)
    claims.name = SYSTEM_ACCOUNT
    claims.nats.exports = [
        Export(
            name="account-monitoring-services",
            subject="$SYS.REQ.ACCOUNT.*.*",
            type="service",
            response_type="Stream",
            account_token_position=4,
            description="Request account specific monitoring services for: SUBSZ, CONNZ, LEAFZ, JSZ and INFO",
            info_url=_SYSTEM_DOCUMENTATION,
        ),
        Export(
            name="account-monitoring-streams",
            subject="$SYS.ACCOUNT.*.>",
            type="stream",
            account_token_position=3,
            description="Account specific monitoring stream",
            info_url=_SYSTEM_DOCUMENTATION,
        ),
    ]
    claims.nats.signing_keys = [signing_key.public]
    _refuse_taken_account(store, SYSTEM_ACCOUNT)
    store.keystore.store_key(pair)
    store.keystore.store_key(signing_key)
    store.sign_account(claims, signer or operator_key)
    user = create_user(store, SYSTEM_ACCOUNT, SYSTEM_USER, signer=signing_key)
    creds = store.write_creds(SYSTEM_ACCOUNT, SYSTEM_USER)
    operator = store.operator()
    operator.nats.system_account = pair.public
    store.sign_operator(operator, operator_key)
    return SystemAccount(claims, user, creds)


def create_account(
    store: Store,
    name: str,
    *,
    public_key: str = "",
    not_before: int = 0,
    expires_at: int = 0,
    default_permissions: Permissions | None = None,
    signer: KeyPair | None = None,
) -> AccountClaims:
    """A new account without limits, with a new key unless a public key is given. Raises StoreError.

    Account names are unique whatever their case.
    """
    name = check_name(name, "account")
    _refuse_taken_account(store, name)
    pair = None if public_key else KeyPair.generate(KeyKind.ACCOUNT)
    public = pair.public if pair else public_key
    if not is_public_key(public, KeyKind.ACCOUNT):
        raise StoreError("specified key is not a valid account nkey")
    if (other := store.account_with_key(public)) is not None:
        raise StoreError(f"account {quote(other)} has the key {public} already")
    claims = AccountClaims.new(public)
    claims.name, claims.not_before, claims.expires_at = name, not_before, expires_at
    if default_permissions is not None:
        claims.nats.default_permissions = default_permissions
    if pair is not None and store.managed and signer is None:
        # The account signs itself when nobody here holds an operator key, and its seed is not stored yet.
        signer = pair if not any(map(store.keystore.has_key, store.operator_signers())) else None
    signer = signer or store.operator_signer()
    if pair is not None:
        store.keystore.store_key(pair)
    store.sign_account(claims, signer)
    return claims


def _refuse_taken_account(store: Store, name: str) -> None:
    if name.casefold() in (other.casefold() for other in store.accounts()):
        raise StoreError(f"the account {quote(name)} already exists")


@dataclass(frozen=True, slots=True)
class UserPlan:
    """A user to be made, with a new key unless a public key is given. Times are Unix seconds.

    Without ``limits`` the user is unlimited, or has what the scope of the signing key gives.
    """

    name: str
    public_key: str = ""
    not_before: int = 0
    expires_at: int = 0
    tags: tuple[str, ...] = ()
    limits: UserPermissionLimits | None = None


@dataclass(frozen=True, slots=True)
class IssuedUser:
    """A user that was made. ``pair`` is None when only its public key is known."""

    claims: UserClaims
    token: str
    pair: KeyPair | None


def issue_user(issuer: UserIssuer, plan: UserPlan) -> IssuedUser:
    """Make one user: its key, its claims, both stored. Raises StoreError, and then has stored nothing."""
    store = issuer.store
    name = check_name(plan.name, "user")
    if store.has_user(issuer.account, name):
        raise StoreError(f"the user {quote(name)} already exists")
    pair = None if plan.public_key else KeyPair.generate(KeyKind.USER)
    public = pair.public if pair else plan.public_key
    if not is_public_key(public, KeyKind.USER):
        raise StoreError("invalid user key")
    claims = UserClaims.new(public, scoped=issuer.scope is not None and plan.limits is None)
    claims.name, claims.not_before, claims.expires_at = name, plan.not_before, plan.expires_at
    claims.nats.tags = list(plan.tags)
    if plan.limits is not None:
        for field in UserPermissionLimits.__struct_fields__:
            setattr(claims.nats, field, getattr(plan.limits, field))
    token = issuer.sign(claims)
    if pair is not None:
        store.keystore.store_key(pair)
    return IssuedUser(claims, token, pair)


def create_user(
    store: Store,
    account: str,
    name: str,
    *,
    public_key: str = "",
    not_before: int = 0,
    expires_at: int = 0,
    tags: tuple[str, ...] = (),
    limits: UserPermissionLimits | None = None,
    signer: KeyPair | None = None,
) -> UserClaims:
    """A new user of an account, with a new key unless a public key is given. Raises StoreError.

    A user that a scoped signing key signs takes everything from the scope and may have no limits of its own.
    ``write_creds`` of the store writes the creds file.
    """
    plan = UserPlan(check_name(name, "user"), public_key, not_before, expires_at, tags, limits)
    return issue_user(UserIssuer(store, account, signer), plan).claims
