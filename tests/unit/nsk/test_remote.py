"""What servers answer, who asks them, and what may be taken from them into the store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims, UserClaims, UserScope
from auth.nkey import KeyKind, KeyPair
from tools.nsk.errors import NskError, StoreError
from tools.nsk.keystore import KeyStore
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.pulling import accept
from tools.nsk.remote import Access, RemoteError, is_resolver_url, push_accounts, read_answer, read_pack
from tools.nsk.store import Store
from tools.nsk.system_user import LIFETIME_SECONDS, system_user

PUBLISH = ("$SYS.REQ.CLAIMS.UPDATE",)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_operator(tmp_path / "stores", "O", KeyStore(tmp_path / "keys"))
    add_system_account(store)
    return store


# Answers.


def test_an_answer_tells_the_server_and_what_it_did() -> None:
    answer = read_answer(b'{"server":{"name":"S1","id":"N1"},"data":{"message":"jwt updated","code":200}}')
    assert (answer.server, answer.id, answer.message, answer.problem) == ("S1", "N1", "jwt updated", "")


def test_statistics_stand_beside_the_server() -> None:
    answer = read_answer(b'{"server":{"name":"S1"},"statsz":{"active_servers":3}}')
    assert answer.data == {"active_servers": 3}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"nonsense", "failed to parse response"),
        (b"[1]", "server responded without server name in info: [1]"),
        (b'{"server":null}', "without server name"),
        (b'{"server":{"name":""},"data":1}', "without server name"),
        (b'{"server":{"name":7},"data":1}', "without server name"),
        (b'{"server":{"name":"S"},"error":{"description":"no","code":500}}', "server S responded with error: no"),
        (b'{"server":{"name":"S"},"error":"no"}', "server S responded with error: no"),
        (b'{"server":{"name":"S"}}', "server S responded without data"),
        (b"\xff\xfe", "failed to parse response"),
    ],
)
def test_what_is_no_answer_is_a_problem(payload: bytes, problem: str) -> None:
    assert problem in read_answer(payload).problem


def test_packs() -> None:
    assert read_pack(b"A1|t1\nA2|t2") == [("A1", "t1"), ("A2", "t2")]
    for payload in (b"A1", b"A1|t|u", b"A1|t\n"):
        with pytest.raises(RemoteError, match="pull response bad"):
            read_pack(payload)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://h:1", True),
        ("TLS://h", True),
        ("ws://h", True),
        ("wss://h", True),
        ("http://h", False),
        ("https://h", False),
        ("nats", False),
        ("", False),
    ],
)
def test_addresses_of_servers(url: str, expected: bool) -> None:
    assert is_resolver_url(url) is expected


# Who asks.


def test_a_temporary_user_may_do_what_it_is_made_for(store: Store) -> None:
    who = system_user(store, PUBLISH, "_INBOX.>")
    claims = UserClaims.from_token(who.token)
    assert who.is_temporary
    assert (claims.nats.publish.allow, claims.nats.subscribe.allow) == (list(PUBLISH), ["_INBOX.>"])
    assert claims.expires_at - claims.issued_at == LIFETIME_SECONDS
    assert claims.issuer == store.operator().nats.system_account
    assert who.pair.seed not in repr(who)
    assert who.token not in repr(who)


def test_a_strict_operator_has_a_signing_key_sign_it(store: Store) -> None:
    operator = store.operator()
    operator.nats.strict_signing_key_usage = True
    store.write_operator(jwt.encode(operator, store.identity_signer(operator.subject)))
    claims = UserClaims.from_token(system_user(store, PUBLISH, ">").token)
    assert claims.issuer in store.account("SYS").nats.signing_keys
    assert claims.nats.issuer_account == operator.nats.system_account


@pytest.mark.parametrize("scoped", [True, False])
def test_a_strict_operator_without_a_free_signing_key(store: Store, scoped: bool) -> None:
    operator, account = store.operator(), store.account("SYS")
    key = KeyPair.generate(KeyKind.ACCOUNT)
    account.nats.signing_keys = [UserScope.new(key.public)] if scoped else []
    operator.nats.strict_signing_key_usage = True
    signer = store.identity_signer(operator.subject)
    store.write_account("SYS", jwt.encode(account, signer))
    store.write_operator(jwt.encode(operator, signer))
    with pytest.raises(StoreError, match="only has scoped" if scoped else "doesn't have signing keys"):
        system_user(store, PUBLISH, ">")


def test_without_the_key_of_the_account_a_stored_user_asks(store: Store) -> None:
    store.keystore.remove_key(store.account("SYS").subject)
    who = system_user(store, PUBLISH, ">")
    assert not who.is_temporary
    assert who.token == store.user_token("SYS", "sys")
    store.keystore.remove_key(store.user("SYS", "sys").subject)
    with pytest.raises(StoreError, match="no system account user with corresponding nkey found"):
        system_user(store, PUBLISH, ">")


def test_named_users_ask(store: Store) -> None:
    create_account(store, "A")
    create_user(store, "A", "u")
    assert system_user(store, PUBLISH, ">", account="A", user="u").token == store.user_token("A", "u")
    with pytest.raises(StoreError, match="no system account user"):
        system_user(store, PUBLISH, ">", user="nobody")


def test_an_operator_without_a_system_account(tmp_path: Path) -> None:
    store = create_operator(tmp_path / "stores", "P", KeyStore(tmp_path / "keys"))
    with pytest.raises(StoreError, match='system account "" not found'):
        system_user(store, PUBLISH, ">")


def test_pushing_needs_an_address(store: Store) -> None:
    with pytest.raises(RemoteError, match="no account server url"):
        push_accounts(store, ["SYS"])
    with pytest.raises(NskError, match="connection refused"):
        push_accounts(store, ["SYS"], Access(url="nats://127.0.0.1:1"))
    with pytest.raises(NskError, match="connection refused"):
        push_accounts(store, ["SYS"], Access(url="http://127.0.0.1:1/jwt/v1"))


# What is taken.


@dataclass
class Foreign:
    """Claims that somebody else signed, or signed otherwise."""

    store: Store

    def __post_init__(self) -> None:
        self.operator_key = self.store.identity_signer(self.store.operator().subject)

    def account(self, name: str, *, signer: KeyPair | None = None, key: KeyPair | None = None, at: int = 1) -> str:
        claims = AccountClaims.new((key or KeyPair.generate(KeyKind.ACCOUNT)).public)
        claims.name = name
        return jwt.encode(claims, signer or self.operator_key, issued_at=at)


@pytest.fixture
def foreign(store: Store) -> Foreign:
    return Foreign(store)


def test_accounts_of_the_operator_are_taken(store: Store, foreign: Foreign) -> None:
    claims, token = accept(store, foreign.account("B"))
    assert (claims.name, AccountClaims.from_token(token).subject) == ("B", claims.subject)
    operator, _ = accept(store, store.operator_token())
    assert operator.subject == store.operator().subject


def test_newer_claims_of_the_store_stay_unless_told_otherwise(store: Store) -> None:
    claims = store.account("SYS")
    older = jwt.encode(claims, store.identity_signer(claims.issuer), issued_at=claims.issued_at - 10)
    with pytest.raises(NskError, match="is newer than remote version"):
        accept(store, older)
    assert accept(store, older, overwrite=True)[1] == older


def test_what_the_operator_did_not_sign_is_not_taken(store: Store, foreign: Foreign) -> None:
    stranger, account = KeyPair.generate(KeyKind.OPERATOR), KeyPair.generate(KeyKind.ACCOUNT)
    with pytest.raises(NskError, match="no key of operator"):
        accept(store, foreign.account("B", signer=stranger))
    with pytest.raises(NskError, match="no key of operator"):
        accept(store, foreign.account("B", signer=account, key=account))
    store.set_managed(True)
    assert accept(store, foreign.account("B", signer=account, key=account))[0].name == "B"


def test_an_account_does_not_take_the_place_of_another(store: Store, foreign: Foreign) -> None:
    with pytest.raises(NskError, match="has the name of another one"):
        accept(store, foreign.account("SYS"), overwrite=True)
    with pytest.raises(NskError, match="the server sent account"):
        accept(store, foreign.account("B"), public=store.account("SYS").subject)
    with pytest.raises(NskError, match="cannot contain"):
        accept(store, foreign.account("../B"))


def test_another_operator_is_not_taken(store: Store) -> None:
    stranger = KeyPair.generate(KeyKind.OPERATOR)
    with pytest.raises(NskError, match="the server has operator"):
        accept(store, jwt.encode(OperatorClaims.new(stranger.public), stranger))
    claims = store.operator()
    with pytest.raises(NskError, match="no key of the operator"):
        accept(store, jwt.encode(claims, stranger))


def test_other_tokens_are_not_taken(store: Store) -> None:
    with pytest.raises(NskError, match="unsupported token type"):
        accept(store, store.user_token("SYS", "sys"))
    head, body, signature = store.account_token("SYS").split(".")
    with pytest.raises(NskError, match="error decoding remote token"):
        accept(store, f"{head}.{body}.{signature[::-1]}")
    with pytest.raises(NskError, match="error decoding remote token"):
        accept(store, json.dumps({}))
