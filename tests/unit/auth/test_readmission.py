"""Live connections under new settings: who stays as he is, who is looked at again, and who stays after that."""

from __future__ import annotations

import dataclasses
from typing import Any

import bcrypt
import pytest

from accounts.account import Account
from accounts.limits import AccountLimits
from accounts.permissions import Grant, Permissions, SubjectRules
from auth.authenticate import Authenticator, Evidence
from auth.errors import AuthError, AuthFailure
from auth.evidence import CertificateFacts, LocalPeer
from auth.principal import Method, Principal
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings, NkeyEntry, UserEntry
from tests.unit.auth.realm import ACCOUNT, NONCE, NOW, USER, Realm, sign_nonce

BOB = UserEntry(name="bob", password="pw", account="A", origin="x.conf:3")
ACCOUNTS = {"A": Account("A", origin="x.conf:1"), "B": Account("B")}
BASE = AuthSettings(accounts=ACCOUNTS, users=(BOB,))
NAMED: dict[str, Any] = {"unverified_user": "bob", "unverified_password": "pw"}


def shown(**evidence: Any) -> Evidence:
    return Evidence(nonce=NONCE, remote_ip="127.0.0.1", **evidence)


def again(before: AuthSettings, after: AuthSettings, **evidence: Any) -> tuple[Principal, Principal, bool]:
    """Who came in, who he is afterwards, and whether the change was said to leave him as he is."""
    earlier, later = Authenticator(before), Authenticator(after)
    principal = earlier.authenticate(shown(**evidence), NOW)
    holds = later.standing_since(earlier).holds(principal)
    return principal, later.readmit(principal, shown(**evidence), NOW, earlier), holds


def with_user(**changes: Any) -> AuthSettings:
    return dataclasses.replace(BASE, users=(dataclasses.replace(BOB, **changes),))


def test_a_declaration_that_only_moved_changes_nobody() -> None:
    moved = dataclasses.replace(
        with_user(origin="x.conf:9"), accounts={"A": Account("A", origin="x.conf:7"), "B": Account("B")}
    )
    before, after, holds = again(BASE, moved, **NAMED)
    assert holds
    assert (after.user, after.policy.fingerprint) == (before.user, before.policy.fingerprint)
    assert after.account.origin == "x.conf:7"


NARROW = Permissions(subscribe=SubjectRules(allow=(Grant("a"),)))


@pytest.mark.parametrize(
    "after",
    [
        with_user(permissions=NARROW),
        with_user(connection_types=frozenset({"STANDARD"})),
        dataclasses.replace(BASE, accounts={**ACCOUNTS, "A": Account("A", limits=AccountLimits(connections=3))}),
    ],
)
def test_new_rights_and_limits_are_looked_at_and_stay_without_a_new_proof(after: AuthSettings) -> None:
    _, principal, holds = again(BASE, after, **NAMED)
    assert not holds
    assert principal.user == "bob"
    assert principal.account == after.accounts["A"]


def test_a_changed_password_must_be_proved_again() -> None:
    hashed = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
    assert again(BASE, with_user(password=hashed), **NAMED)[1].user == "bob"
    with pytest.raises(AuthError) as caught:
        again(BASE, with_user(password="other"), **NAMED)
    assert caught.value.failure is AuthFailure.PASSWORD_WRONG


def test_only_a_hash_that_changed_is_slow() -> None:
    one, two = (bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode() for _ in range(2))
    earlier = Authenticator(with_user(password=one))
    principal = earlier.authenticate(shown(**NAMED), NOW)
    same, other = Authenticator(with_user(password=one)), Authenticator(with_user(password=two))
    assert not same.readmission_is_slow(principal, shown(**NAMED), earlier)
    assert other.readmission_is_slow(principal, shown(**NAMED), earlier)


def test_a_single_user_stays_among_other_changes() -> None:
    before = AuthSettings(user="bob", password="pw")
    principal, after, holds = again(before, dataclasses.replace(before, accounts=ACCOUNTS), **NAMED)
    assert holds
    assert (after.user, after.method) == (principal.user, Method.PASSWORD)


def test_a_single_user_that_becomes_one_of_a_list_stays() -> None:
    listed = AuthSettings(users=(UserEntry(name="bob", password="pw"),))
    single = AuthSettings(user="bob", password="pw")
    assert again(single, listed, **NAMED)[1].user == "bob"
    assert again(listed, single, **NAMED)[1].user == "bob"


def test_a_token_stays_where_it_is_the_same_or_nobody_is_asked() -> None:
    before = AuthSettings(token="t")
    evidence: dict[str, Any] = {"unverified_token": "t"}
    assert again(before, before, **evidence)[2]
    assert again(before, AuthSettings(), **evidence)[1].method is Method.NONE
    with pytest.raises(AuthError) as caught:
        again(before, AuthSettings(token="u"), **evidence)
    assert caught.value.failure is AuthFailure.TOKEN_WRONG


def test_authentication_switched_on() -> None:
    assert again(AuthSettings(), BASE_IN_GLOBAL, **NAMED)[1].method is Method.PASSWORD
    with pytest.raises(AuthError) as caught:
        again(AuthSettings(), BASE_IN_GLOBAL)
    assert caught.value.failure is AuthFailure.CREDENTIALS_MISSING
    with pytest.raises(AuthError) as caught:
        again(AuthSettings(), BASE_IN_GLOBAL, unverified_user="al", unverified_password="pw")
    assert caught.value.failure is AuthFailure.USER_GONE_LIVE


BASE_IN_GLOBAL = AuthSettings(users=(UserEntry(name="bob", password="pw"),))


def test_an_nkey_user_need_not_sign_again() -> None:
    before = AuthSettings(nkeys=(NkeyEntry(public_key=USER.public),))
    after = AuthSettings(nkeys=(NkeyEntry(public_key=USER.public, permissions=NARROW),))
    evidence: dict[str, Any] = {"unverified_nkey": USER.public, "unverified_signature": sign_nonce()}
    _, principal, holds = again(before, after, **evidence)
    assert not holds
    assert principal.policy.subscribe_allow
    with pytest.raises(AuthError) as caught:
        again(before, AuthSettings(), **evidence)
    assert caught.value.failure is AuthFailure.USER_GONE_LIVE


def test_whoever_came_without_credentials_follows_the_user_he_became() -> None:
    before = dataclasses.replace(BASE, no_auth_user="bob")
    assert again(before, before)[2]
    narrowed = dataclasses.replace(with_user(permissions=NARROW), no_auth_user="bob")
    assert again(before, narrowed)[1].policy.subscribe_allow
    with pytest.raises(AuthError) as caught:
        again(before, AuthSettings(users=(UserEntry(name="al", password="pw"),)))
    assert caught.value.failure is AuthFailure.USER_GONE_LIVE


def test_the_user_that_only_a_system_account_makes_stays() -> None:
    system = AuthSettings(accounts={"$SYS": Account("$SYS", is_system=True)},
                          users=(UserEntry(name="s", password="pw", account="$SYS"),))
    principal, after, holds = again(system, system)
    assert holds
    assert after.account.name == principal.account.name == "$G"
    assert Authenticator(system).user_names == {"s"}


def test_jwt_users_are_looked_at_where_their_account_changed() -> None:
    realm = Realm()
    earlier = realm.authenticator()
    principal = earlier.authenticate(realm.evidence(), NOW)
    same = realm.authenticator()
    assert same.standing_since(earlier).holds(principal)
    realm.account.nats.limits.connections = 7
    later = realm.authenticator()
    assert not later.standing_since(earlier).holds(principal)
    assert later.readmit(principal, realm.evidence(), NOW, earlier).account.limits.connections == 7
    preload = realm.preload()
    del preload[ACCOUNT.public]
    without = realm.authenticator(preload=preload, resolver=MemoryResolver(preload))
    with pytest.raises(AuthError) as caught:
        without.readmit(principal, realm.evidence(), NOW, earlier)
    assert caught.value.client_text == "Authorization Violation"


PEER = LocalPeer(uid=7, gid=7, pid=7)
LOCAL = AuthSettings(users=(UserEntry(name="unix:uid=7"),), peer_mapping=True)


def test_what_a_mapped_client_calls_itself_counts_after_a_change_no_more_than_before() -> None:
    """Neither a name that nobody has, nor one of somebody else."""
    facts = CertificateFacts(emails=("bob",))
    mapped = dataclasses.replace(BASE, users=(UserEntry(name="bob", account="A"), UserEntry(name="eve", account="B")))
    for name in ("nobody", "eve"):
        before, after, holds = again(mapped, mapped, certificate=facts, unverified_user=name)
        assert (before.user, after.user, after.method, holds) == ("bob", "bob", Method.CERTIFICATE, False)
        before, after, holds = again(LOCAL, LOCAL, peer=PEER, unverified_user=name)
        assert (before.user, after.user, after.method, holds) == ("unix:uid=7", "unix:uid=7", Method.UNIX_PEER, False)


def test_a_local_process_goes_with_its_user_and_comes_by_another_name_of_it() -> None:
    other = AuthSettings(users=(UserEntry(name="unix:uid=8"),), peer_mapping=True)
    with pytest.raises(AuthError) as raised:
        again(LOCAL, other, peer=PEER)
    assert raised.value.failure is AuthFailure.PEER_NOT_MAPPED
    named = AuthSettings(users=(UserEntry(name="unix:user=al"),), peer_mapping=True, system_users={7: ("al",)})
    assert again(LOCAL, named, peer=PEER)[1].user == "unix:user=al"
