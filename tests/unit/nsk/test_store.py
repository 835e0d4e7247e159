"""The Python API: operators, accounts and users are made, found and signed, and nothing is half made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import OperatorClaims, Permissions, UserPermissionLimits, UserScope
from auth.creds import parse_creds
from auth.nkey import KeyKind, KeyPair
from tools.nsk import Store as ExportedStore
from tools.nsk.errors import StoreError
from tools.nsk.keystore import KeyStore
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.resolver_config import memory_resolver, nats_resolver
from tools.nsk.store import Store


@pytest.fixture
def keystore(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path, keystore: KeyStore) -> Store:
    return create_operator(tmp_path / "stores", "O", keystore)


def test_it_is_exported() -> None:
    assert ExportedStore is Store


def test_an_operator_an_account_and_a_user(store: Store, tmp_path: Path) -> None:
    account = create_account(store, "A", expires_at=4102444800)
    user = create_user(store, "A", "u", tags=("x",))
    path = store.write_creds("A", "u")
    again = Store.open(tmp_path / "stores", "O", store.keystore)
    assert again.accounts() == ["A"]
    assert again.users("A") == ["u"]
    assert again.operator().did_sign(again.account("A"))
    assert again.account("A").did_sign(again.user("A", "u"))
    assert again.account("A").expires_at == 4102444800
    assert again.account_name(account.subject) == "A"
    token, seed = parse_creds(path.read_text())
    assert token == again.user_token("A", "u")
    assert KeyPair.from_seed(seed).public == user.subject
    assert path == tmp_path / "keys/creds/O/A/u.creds"


def test_every_file_is_private(store: Store, tmp_path: Path) -> None:
    add_system_account(store)
    create_account(store, "A")
    create_user(store, "A", "u")
    store.write_creds("A", "u")
    for path in (*(tmp_path / "stores").rglob("*"), *(tmp_path / "keys").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_what_exists_is_not_made_again(store: Store, tmp_path: Path) -> None:
    create_account(store, "A")
    create_user(store, "A", "u")
    keys = list(store.keystore.public_keys())
    for again in (
        lambda: create_operator(tmp_path / "stores", "O", store.keystore),
        lambda: create_account(store, "a"),
        lambda: create_user(store, "A", "u"),
    ):
        with pytest.raises(StoreError, match="exist"):
            again()
    assert list(store.keystore.public_keys()) == keys
    assert Store.exists(tmp_path / "stores", "O")
    assert store.has_account("A")
    assert store.has_user("A", "u")
    assert not store.has_user("A", "")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", ".hidden", "a\nb"])
def test_names_that_are_no_file_names(store: Store, name: str) -> None:
    for create in (lambda: create_account(store, name), lambda: create_user(store, "A", name)):
        with pytest.raises(StoreError, match=r"name"):
            create()


def test_the_system_account(store: Store) -> None:
    made = add_system_account(store)
    assert store.operator().nats.system_account == made.account.subject
    assert made.creds.is_file()
    issuer = store.user("SYS", "sys").issuer
    assert issuer in store.account("SYS").nats.signing_keys
    assert memory_resolver(store).splitlines()[3] == f"system_account: {made.account.subject}"


def test_the_configuration_holds_every_account(store: Store) -> None:
    for name in ("A", "B"):
        create_account(store, name)
    text = memory_resolver(store)
    assert text.startswith(
        f'// Operator "O"\noperator: {store.operator_token()}\n\nresolver: MEMORY\n\nresolver_preload: {{\n'
    )
    for name in ("A", "B"):
        assert f'  // Account "{name}"\n  {store.account(name).subject}: {store.account_token(name)}\n\n' in text
    assert text.endswith("}\n")
    with pytest.raises(StoreError, match="system account is not set"):
        nats_resolver(store)


def test_signing_keys_and_strict_operators(store: Store) -> None:
    create_account(store, "A")
    signing_key = KeyPair.generate(KeyKind.OPERATOR)
    store.keystore.store_key(signing_key)
    operator = store.operator()
    operator.nats.signing_keys = [signing_key.public]
    operator.nats.strict_signing_key_usage = True
    store.sign_operator(operator)
    assert create_account(store, "B").issuer == signing_key.public
    identity = store.keystore.key(operator.subject)
    with pytest.raises(StoreError, match="servers would refuse the account"):
        store.sign_account(store.account("B"), identity)
    with pytest.raises(StoreError, match="requires signing keys and the account has none"):
        create_user(store, "B", "u")


def test_foreign_keys_do_not_sign(store: Store) -> None:
    create_account(store, "A")
    create_user(store, "A", "u")
    with pytest.raises(StoreError, match="servers would refuse the account"):
        store.sign_account(store.account("A"), KeyPair.generate(KeyKind.OPERATOR))
    with pytest.raises(StoreError, match="servers would refuse the user"):
        store.sign_user("A", store.user("A", "u"), KeyPair.generate(KeyKind.ACCOUNT))
    with pytest.raises(StoreError, match="does not sign for operator"):
        store.sign_operator(store.operator(), KeyPair.generate(KeyKind.OPERATOR))


def test_a_user_that_cannot_be_signed_leaves_no_key(store: Store) -> None:
    create_account(store, "A")
    keys = list(store.keystore.public_keys())
    with pytest.raises(StoreError, match="servers would refuse the user"):
        create_user(store, "A", "u", signer=KeyPair.generate(KeyKind.ACCOUNT))
    assert list(store.keystore.public_keys()) == keys


def _scoped(store: Store) -> KeyPair:
    account = create_account(store, "A")
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    store.keystore.store_key(pair)
    account.set_signing_key(UserScope(key=pair.public, role="r"))
    store.sign_account(account)
    return pair


def test_roles_decide_everything_about_their_users(store: Store) -> None:
    pair = _scoped(store)
    user = create_user(store, "A", "u", signer=pair)
    assert user.nats.is_empty
    assert user.nats.issuer_account == store.account("A").subject
    with pytest.raises(StoreError, match="scoped users require no permissions"):
        create_user(store, "A", "v", signer=pair, limits=UserPermissionLimits(payload=5))
    assert store.users("A") == ["u"]


def test_bearer_tokens_are_refused_where_the_account_disallows_them(store: Store) -> None:
    account = create_account(store, "A")
    account.nats.limits.disallow_bearer = True
    store.sign_account(account)
    with pytest.raises(StoreError, match="forbids the use of bearer"):
        create_user(store, "A", "u", limits=UserPermissionLimits(bearer_token=True))


def test_default_permissions(store: Store) -> None:
    permissions = Permissions()
    permissions.publish.allow = ["a.>"]
    create_account(store, "A", default_permissions=permissions)
    assert store.account("A").nats.default_permissions == permissions


def test_a_key_serves_one_account(store: Store) -> None:
    key = KeyPair.generate(KeyKind.ACCOUNT).public
    create_account(store, "A", public_key=key)
    with pytest.raises(StoreError, match=f'account "A" has the key {key} already'):
        create_account(store, "B", public_key=key)


def test_an_account_of_a_managed_operator_signs_itself(tmp_path: Path, keystore: KeyStore) -> None:
    pair = KeyPair.generate(KeyKind.OPERATOR)
    claims = OperatorClaims.new(pair.public)
    claims.name = "M"
    store = Store.create(tmp_path / "stores", "M", keystore, managed=True)
    store.write_operator(jwt.encode(claims, pair))
    assert create_account(store, "A").is_self_signed
    assert Store.open(tmp_path / "stores", "M", keystore).managed


def test_without_keys_nothing_is_signed(store: Store) -> None:
    for public in list(store.keystore.public_keys()):
        store.keystore.remove_key(public)
    with pytest.raises(StoreError, match=f"signing keys in the keystore: {store.operator().subject}"):
        create_account(store, "A")
    assert store.accounts() == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda store: store.account_path("A").write_text("garbage"), "expected 3 chunks"),
        (lambda store: store.account_path("A").write_bytes(b"\xff"), "is not a JWT"),
        (lambda store: store.account_path("A").write_text(store.operator_token()), "not account claim"),
        (lambda store: store.account_path("A").unlink(), "does not exist"),
    ],
)
def test_spoilt_files_are_named(store: Store, spoil: Callable[[Store], object], message: str) -> None:
    create_account(store, "A")
    spoil(store)
    with pytest.raises(StoreError, match=message):
        store.account("A")


def test_spoilt_stores_are_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"NOPE/\.nsc: no such file or directory"):
        Store.open(tmp_path / "stores", "NOPE", store.keystore)
    (store.directory / ".nsc").write_text("[]")
    with pytest.raises(StoreError, match="it is not a JSON object"):
        Store.open(tmp_path / "stores", "O", store.keystore)
    store.operator_path.unlink()
    with pytest.raises(StoreError, match='operator "O" has no JWT'):
        store.operator()
