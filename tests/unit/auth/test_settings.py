"""Settings that contradict themselves do not start a server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.permissions import Grant, Permissions, SubjectRules
from accounts.policy import PolicyTable
from auth import jwt
from auth.authenticate import Authenticator
from auth.claims import UserClaims
from auth.creds import decorate_jwt
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings, NkeyEntry, SettingsError, UserEntry
from tests.unit.auth.realm import (
    ACCOUNT,
    ACCOUNT_SIGNING,
    OPERATOR,
    PROXY,
    STRANGER,
    SYSTEM,
    USER,
    Realm,
)

ALICE = UserEntry(name="alice", password="secret")


def operator_mode(**changes: Any) -> Callable[[], AuthSettings]:
    return lambda: Realm().settings(**changes)


def static(**changes: Any) -> Callable[[], AuthSettings]:
    return lambda: AuthSettings(**changes)


def with_version(version: str) -> Callable[[], AuthSettings]:
    def build() -> AuthSettings:
        realm = Realm()
        realm.operator.nats.assert_server_version = version
        return realm.settings()

    return build


def tampered() -> AuthSettings:
    settings = Realm().settings()
    head, body, _ = settings.operators[0].split(".")
    other = jwt.encode(UserClaims.new(USER.public), ACCOUNT).split(".")[2]
    return Realm().settings(operators=(f"{head}.{body}.{other}",))


def sentinel(*, bearer: bool) -> str:
    claims = UserClaims.new(USER.public)
    claims.nats.bearer_token = bearer
    return jwt.encode(claims, ACCOUNT)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            operator_mode(trusted_keys=(STRANGER.public,)),
            "conflicting options for 'TrustedKeys' and 'TrustedOperators'",
        ),
        (operator_mode(resolver=None), "operators require an account resolver to be configured"),
        (
            operator_mode(peer_mapping=True),
            "verify_and_map of a Unix socket maps to users of the configuration; operators allow none",
        ),
        (
            static(users=(ALICE,), peer_mapping=True),
            "verify_and_map of a Unix socket needs users: name one unix:uid=1000 or unix:user=alice, say",
        ),
        (
            static(users=(UserEntry(name="unix:uid=1"), UserEntry(name="unix:gid=1")), peer_mapping=True),
            "unix:gid=1 is neither unix:uid= and a number nor unix:user= and the name of a system user",
        ),
        (
            operator_mode(accounts={"A": Account("A")}),
            "operators do not allow Accounts to be configured directly",
        ),
        (operator_mode(users=(ALICE,)), "operators do not allow users to be configured directly"),
        (operator_mode(nkeys=(NkeyEntry(public_key=USER.public),)), "operators do not allow users .*"),
        (operator_mode(token="t"), "operators do not allow users .*"),
        (operator_mode(no_auth_user="alice"), "no_auth_user not compatible with Trusted Operator"),
        (
            operator_mode(system_account=ACCOUNT.public),
            "system_account in config and operator JWT must be identical",
        ),
        (operator_mode(preload={ACCOUNT.public: "x"}), "invalid account JWT"),
        (
            operator_mode(pinned_accounts=frozenset({"X"})),
            'pinned account key "X" is not a valid public account nkey',
        ),
        (
            operator_mode(operators=(), trusted_keys=("X",)),
            'trusted Keys "X" are required to be a valid public operator nkey',
        ),
        (operator_mode(default_sentinel="x"), "default sentinel JWT not valid"),
        (operator_mode(default_sentinel=sentinel(bearer=False)), "default sentinel must be a bearer token"),
        (static(default_sentinel=sentinel(bearer=True)), "default sentinel requires operators and accounts"),
        (operator_mode(operators=("x",)), "error parsing operator JWT: expected 3 chunks"),
        (tampered, "error parsing operator JWT: claim failed V2 signature verification"),
        (with_version("3.0.0"), "operator O.* expected major version 3 > server major version 2"),
        (with_version("2.15.0"), "operator O.* expected minor version 15 > server minor version 14"),
        (with_version("2.14.6"), "operator O.* expected update version 6 > server update version 5"),
        (with_version("2.x.0"), "operator O.* assert server version error: .*"),
        (static(users=(ALICE, ALICE)), 'Duplicate user "alice" detected'),
        (
            static(nkeys=(NkeyEntry(public_key=USER.public),) * 2),
            f'Duplicate nkey "{USER.public}" detected',
        ),
        (static(nkeys=(NkeyEntry(public_key=ACCOUNT.public),)), "Not a valid public nkey for a user"),
        (
            static(users=(UserEntry(name="a", account="B"),)),
            'user "a" belongs to account "B", which is not defined',
        ),
        (
            static(users=(UserEntry(name="a", connection_types=frozenset({"ZZ"})),)),
            'unknown connection type "ZZ"',
        ),
        (
            static(users=(UserEntry(name="u", permissions=Permissions(publish=SubjectRules(allow=(Grant("a..b"),)))),)),
            'invalid permissions for user "u": publish allow: subject "a..b" is not a valid subject',
        ),
        (
            static(
                users=(UserEntry(name="u", permissions=Permissions(publish=SubjectRules(deny=(Grant("a", "q"),)))),)
            ),
            'invalid permissions for user "u": subject "a q" is not a valid subject',
        ),
        (static(no_auth_user="x"), 'no_auth_user: "x" present, but users/nkeys are not defined'),
        (
            static(no_auth_user="x", users=(ALICE,)),
            'no_auth_user: "x" not present as user or nkey in authorization block or account configuration',
        ),
        (static(trusted_proxies=("x",)), 'proxy trusted key "x" is invalid'),
    ],
)
def test_refused_settings(build: Callable[[], AuthSettings], text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{text}$"):
        Authenticator(build())


@pytest.mark.parametrize("version", ["", "2.14.5", "2.13.9", "1.99.99"])
def test_operators_may_demand_what_the_server_is(version: str) -> None:
    Authenticator(with_version(version)())


def test_the_only_operator_names_the_system_account() -> None:
    assert Realm().authenticator().system_account == SYSTEM.public
    assert Realm().authenticator(system_account=SYSTEM.public).system_account == SYSTEM.public


def test_operators_may_be_in_armour() -> None:
    realm = Realm()
    armoured = decorate_jwt(realm.settings().operators[0])
    assert realm.connect(settings={"operators": (armoured,)}).account.name == ACCOUNT.public


def test_trusted_keys_need_no_operator() -> None:
    realm = Realm()
    assert realm.connect(settings={"operators": (), "trusted_keys": (OPERATOR.public,)}).user == USER.public


def test_a_scoped_user_without_rights_may_be_the_sentinel() -> None:
    claims = UserClaims.new(USER.public, scoped=True)
    claims.nats.issuer_account = ACCOUNT.public
    Realm().authenticator(default_sentinel=jwt.encode(claims, ACCOUNT_SIGNING))


def test_secrets_stay_out_of_representations() -> None:
    settings = Realm().settings(
        default_sentinel=sentinel(bearer=True), password="hunter2", token="hunter3", trusted_proxies=(PROXY.public,)
    )
    shown = repr(settings) + repr(UserEntry(name="a", password="hunter2"))
    assert "hunter" not in shown
    assert "eyJ" not in shown


def test_the_memory_resolver_keeps_tokens() -> None:
    resolver = MemoryResolver({"A": "1"})
    resolver.store("B", "2")
    assert (resolver.lookup("A"), resolver.lookup("C"), sorted(resolver), len(resolver)) == ("1", None, ["A", "B"], 2)
    assert resolver.remove("A")
    assert not resolver.remove("A")
    assert repr(resolver) == "MemoryResolver(1 accounts)"


def test_secrets_in_the_clear_are_noticed() -> None:
    hashed = "$2b$04$" + "x" * 53
    assert AuthSettings(token="t").has_plain_secrets
    assert AuthSettings(users=(ALICE,)).has_plain_secrets
    assert not AuthSettings(users=(UserEntry(name="a", password=hashed), UserEntry(name="b"))).has_plain_secrets


def test_users_with_the_same_permissions_share_one_policy_which_is_compiled_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[Permissions | None] = []

    def compiling(permissions: Permissions | None, account: Account, user: str = "") -> PolicyTable:
        compiled.append(permissions)
        return compile_policy(permissions, account, user)

    monkeypatch.setattr("auth.authenticate.compile_policy", compiling)
    alike = [Permissions(subscribe=SubjectRules(allow=(Grant("a", None, "x:1"),))) for _ in range(2)]
    users = [UserEntry(name=f"u{number}", account="A", permissions=one) for number, one in enumerate([*alike, None])]
    authenticator = Authenticator(AuthSettings(users=tuple(users), accounts={"A": Account("A")}))
    before = len(compiled)
    assert authenticator.policy_of("u0") is authenticator.policy_of("u1")
    assert authenticator.policy_of("u0") is not authenticator.policy_of("u2")
    assert len(compiled) - before == 2


@pytest.mark.parametrize(
    ("permissions", "account", "text"),
    [
        (Permissions(publish=SubjectRules(allow=(Grant("a", "q"),))), Account("A"), '"a q" is not a valid subject'),
        (Permissions(subscribe=SubjectRules(deny=(Grant("a b"),))), Account("A"), 'subscribe deny: subject "a b"'),
        (None, Account("A", default_permissions=Permissions(SubjectRules((Grant("a."),)))), 'subject "a."'),
    ],
)
def test_permissions_that_cannot_be_enforced_are_refused_before_anybody_needs_them(
    permissions: Permissions | None, account: Account, text: str
) -> None:
    user = UserEntry(name="u", account="A", permissions=permissions)
    with pytest.raises(SettingsError, match=re.escape("invalid permissions for user \"u\": ") + ".*" + re.escape(text)):
        Authenticator(AuthSettings(users=(user,), accounts={"A": account}))
