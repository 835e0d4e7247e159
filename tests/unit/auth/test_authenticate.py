"""Who gets in, and what they get."""

from __future__ import annotations

import base64
import copy
import dataclasses
from datetime import UTC, datetime
from typing import Any

import bcrypt
import pytest

from accounts.account import Account
from accounts.limits import UserLimits
from accounts.permissions import Grant, Permissions, SubjectRules
from auth import challenge, jwt, trust, user
from auth.authenticate import Authenticator, ConnectionType, Evidence
from auth.claims import Permission, TimeRange, UserClaims
from auth.errors import AuthError, AuthFailure
from auth.evidence import CertificateFacts
from auth.principal import Method, Principal, claim_minter
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings, NkeyEntry, UserEntry
from tests.unit.auth.realm import (
    ACCOUNT,
    ACCOUNT_SIGNING,
    NONCE,
    NOW,
    OPERATOR,
    OPERATOR_SIGNING,
    OTHER_USER,
    PROXY,
    SCOPED,
    SYSTEM,
    USER,
    Realm,
    seal,
    sign_nonce,
)


def static(settings: dict[str, Any], **evidence: Any) -> Principal:
    fields: dict[str, Any] = {"nonce": NONCE, "remote_ip": "127.0.0.1"}
    return Authenticator(AuthSettings(**settings)).authenticate(Evidence(**(fields | evidence)), NOW)


def publishes(subject: str) -> Permissions:
    return Permissions(publish=SubjectRules(allow=(Grant(subject),)))


class TestOperatorMode:
    def test_a_user_of_an_account(self) -> None:
        realm = Realm()
        realm.user.nats.tags = ["team:red"]
        principal = realm.connect()
        assert principal.account.name == ACCOUNT.public
        assert principal.account.issuer == OPERATOR.public
        assert (principal.user, principal.public_key, principal.issuer_key) == (
            USER.public,
            USER.public,
            ACCOUNT.public,
        )
        assert (principal.name_tag, principal.tags, principal.method) == ("ACME", ("team:red",), Method.JWT)
        assert (principal.expires_at, principal.expiry_text, principal.bearer) == (None, "", False)
        assert principal.token == realm.token()
        assert principal.token not in repr(principal)
        assert principal.policy.decide_publish("anything").allowed

    def test_the_system_account(self) -> None:
        realm = Realm()
        realm.user_signer = SYSTEM
        principal = realm.connect()
        assert principal.account.is_system
        assert principal.name_tag == "SYS"

    def test_signing_keys_of_operator_and_account(self) -> None:
        realm = Realm()
        realm.account_signer = OPERATOR_SIGNING
        realm.user_signer, realm.user.nats.issuer_account = ACCOUNT_SIGNING, ACCOUNT.public
        principal = realm.connect()
        assert principal.issuer_key == ACCOUNT_SIGNING.public
        assert principal.account.name == ACCOUNT.public

    def test_strict_use_of_signing_keys(self) -> None:
        realm = Realm()
        realm.operator.nats.strict_signing_key_usage = True
        realm.account_signer = OPERATOR_SIGNING
        realm.user_signer, realm.user.nats.issuer_account = ACCOUNT_SIGNING, ACCOUNT.public
        assert realm.connect().user == USER.public

    def test_pinned_accounts_include_the_system_account(self) -> None:
        realm = Realm()
        settings = {"pinned_accounts": frozenset({ACCOUNT.public})}
        assert realm.connect(settings=settings).account.name == ACCOUNT.public
        realm.user_signer = SYSTEM
        assert realm.connect(settings=settings).account.is_system

    def test_version_1_of_everything_below_the_operator(self) -> None:
        limits = {"subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1}
        account = seal(
            {"iss": OPERATOR.public, "sub": ACCOUNT.public, "type": "account", "nats": {"limits": limits}},
            OPERATOR,
            v1=True,
        )
        token = seal({"iss": ACCOUNT.public, "sub": USER.public, "type": "user", "nats": {}}, ACCOUNT, v1=True)
        settings = {"resolver": MemoryResolver({ACCOUNT.public: account})}
        assert Realm().connect(settings=settings, unverified_jwt=token).limits == UserLimits(-1, -1, -1)

    def test_absent_limits_are_zero(self) -> None:
        realm = Realm()
        realm.user = UserClaims.new(USER.public, scoped=True)
        assert realm.connect().limits == UserLimits(0, 0, 0)

    def test_own_permissions_replace_the_defaults_of_the_account(self) -> None:
        realm = Realm()
        realm.account.nats.default_permissions.publish = Permission(allow=["d.>"])
        defaults = realm.connect()
        assert defaults.permissions is None
        assert not defaults.policy.decide_publish("x").allowed
        realm.user.nats.publish = Permission(allow=["x"])
        own = realm.connect()
        assert own.policy.decide_publish("x").allowed
        assert not own.policy.decide_publish("d.x").allowed

    def test_empty_lists_take_the_defaults(self) -> None:
        realm = Realm()
        realm.account.nats.default_permissions.publish = Permission(allow=["d.>"])
        nats = {"pub": {"allow": []}, "sub": {"deny": []}, "type": "user", "version": 2}
        token = seal({"iss": ACCOUNT.public, "sub": USER.public, "nats": nats}, ACCOUNT)
        assert not realm.connect(unverified_jwt=token).policy.decide_publish("x").allowed

    def test_a_response_permission_closes_publishing(self) -> None:
        realm = Realm()
        nats = {"resp": {}, "type": "user", "version": 2}
        token = seal({"iss": ACCOUNT.public, "sub": USER.public, "nats": nats}, ACCOUNT)
        policy = realm.connect(unverified_jwt=token).policy
        assert not policy.decide_publish("x").allowed
        assert policy.responses is not None
        assert (policy.responses.max_messages, policy.responses.expires) == (1, 120.0)

    def test_time_of_a_response_is_in_nanoseconds(self) -> None:
        realm = Realm()
        nats = {"resp": {"max": 3, "ttl": 1_500_000_000}, "type": "user", "version": 2}
        token = seal({"iss": ACCOUNT.public, "sub": USER.public, "nats": nats}, ACCOUNT)
        responses = realm.connect(unverified_jwt=token).policy.responses
        assert responses is not None
        assert (responses.max_messages, responses.expires) == (3, 1.5)

    def test_queues_in_permissions(self) -> None:
        realm = Realm()
        realm.user.nats.subscribe.allow = ["foo q1"]
        policy = realm.connect().policy
        assert policy.decide_subscribe("foo", "q1").allowed
        assert not policy.decide_subscribe("foo", None).allowed

    @pytest.mark.parametrize("types", [["standard"], ["MQTT", "STANDARD"], ["FOO", "STANDARD"], []])
    def test_connection_types(self, types: list[str]) -> None:
        realm = Realm()
        realm.user.nats.allowed_connection_types = types
        assert realm.connect().user == USER.public

    def test_networks_and_windows(self) -> None:
        realm = Realm()
        clock = datetime.fromtimestamp(NOW, UTC)
        realm.user.nats.source_networks = ["10.0.0.0/8", "127.0.0.0/8"]
        realm.user.nats.times = [TimeRange(f"{clock:%H}:00:00", "23:59:59")]
        realm.user.nats.times_location = "UTC"
        principal = realm.connect()
        assert principal.expires_at == clock.replace(hour=23, minute=59, second=59).timestamp()
        assert principal.expiry_text == "User Authentication Expired"

    def test_standard_base64_with_padding_is_a_signature_too(self) -> None:
        text = base64.b64encode(USER.sign(NONCE.encode())).decode()
        assert text.endswith("==")
        assert Realm().connect(unverified_signature=text).user == USER.public

    def test_a_revocation_of_earlier_tokens(self) -> None:
        realm = Realm()
        realm.account.nats.revocations = {USER.public: realm.issued_at - 1, "*": 1, OTHER_USER.public: NOW}
        assert realm.connect().issued_at == realm.issued_at

    def test_no_time_of_issue_and_no_revocations(self) -> None:
        nats = {"type": "user", "version": 2}
        token = seal({"iss": ACCOUNT.public, "sub": USER.public, "nats": nats}, ACCOUNT)
        assert Realm().connect(unverified_jwt=token).issued_at == 0


class TestScopes:
    def test_the_template_is_everything(self) -> None:
        realm = Realm()
        template = realm.use_scope().template
        template.publish.allow = ["u.{{name()}}"]
        template.subscriptions, template.payload = 3, 100
        principal = realm.connect()
        assert principal.issuer_key == SCOPED.public
        assert principal.policy.decide_publish("u.bob").allowed
        assert not principal.policy.decide_publish("u.al").allowed
        assert principal.limits == UserLimits(3, 100, -1)
        assert principal.scope is not None
        assert principal.scope.role == "worker"

    def test_an_empty_template_takes_the_defaults_of_the_account(self) -> None:
        realm = Realm()
        realm.use_scope()
        realm.account.nats.default_permissions.publish = Permission(allow=["d.>"])
        assert not realm.connect().policy.decide_publish("x").allowed

    def test_tags_of_user_and_account(self) -> None:
        realm = Realm()
        realm.use_scope().template.subscribe.allow = ["{{account-tag(dc)}}.{{tag(team)}}.{{account-name()}}"]
        realm.account.nats.tags, realm.user.nats.tags = ["dc:eu"], ["team:red"]
        assert realm.connect().policy.decide_subscribe("eu.red.ACME", None).allowed

    def test_a_template_that_loses_all_it_allows_denies_everything(self) -> None:
        realm = Realm()
        realm.use_scope().template.publish.allow = ["{{tag(none)}}"]
        policy = realm.connect().policy
        assert not policy.decide_publish("x").allowed
        assert policy.decide_subscribe("x", None).allowed

    def test_bearer_by_template(self) -> None:
        realm = Realm()
        realm.use_scope().template.bearer_token = True
        principal = realm.connect(unverified_signature=None)
        assert principal.bearer
        assert principal.token == ""


class TestBearerAndSentinel:
    def bearer(self) -> Realm:
        realm = Realm()
        realm.user.nats.bearer_token = True
        return realm

    @pytest.mark.parametrize("signature", [None, "", "rubbish"])
    def test_a_bearer_signs_nothing(self, signature: str | None) -> None:
        principal = self.bearer().connect(unverified_signature=signature)
        assert (principal.bearer, principal.token) == (True, "")

    @pytest.mark.parametrize("token", [None, "", "garbage", seal({"iss": ACCOUNT.public}, USER)])
    def test_the_sentinel_stands_in_for_tokens_that_cannot_be_read(self, token: str | None) -> None:
        realm = self.bearer()
        principal = realm.connect(
            settings={"default_sentinel": realm.token()},
            unverified_jwt=token,
            unverified_signature=None,
            unverified_user="x",
        )
        assert (principal.method, principal.user, principal.public_key) == (Method.SENTINEL, "x", USER.public)

    def test_the_sentinel_does_not_stand_in_for_a_token_that_is_refused(self) -> None:
        realm = self.bearer()
        sentinel = realm.token()
        realm.user.expires_at = 1
        with pytest.raises(AuthError, match="no longer valid"):
            realm.connect(settings={"default_sentinel": sentinel})

    def test_a_name_beside_a_token_is_nobody(self) -> None:
        assert Realm().connect(unverified_user="admin").user == USER.public


class TestExpiry:
    @pytest.mark.parametrize(
        ("user_end", "account_end", "operator_end", "expected", "text"),
        [
            (5, 0, 0, 5, "User Authentication Expired"),
            (5, 9, 7, 5, "User Authentication Expired"),
            (9, 5, 7, 5, "Account Authentication Expired"),
            (9, 7, 5, 5, "Account Authentication Expired"),
            (0, 0, 5, 5, "Account Authentication Expired"),
            (5, 5, 5, 5, "User Authentication Expired"),
        ],
    )
    def test_the_first_end_counts(
        self, user_end: int, account_end: int, operator_end: int, expected: int, text: str
    ) -> None:
        realm = Realm()
        realm.user.expires_at = user_end and NOW + user_end
        realm.account.expires_at = account_end and NOW + account_end
        realm.operator.expires_at = operator_end and NOW + operator_end
        principal = realm.connect()
        assert (principal.expires_at, principal.expiry_text) == (NOW + expected, text)


class TestMemory:
    """The chain of a token is verified once; what depends on the moment is looked at every time."""

    def test_signature_and_chain_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        realm = Realm()
        authenticator = realm.authenticator()
        first = authenticator.authenticate(realm.evidence(), NOW)
        monkeypatch.setattr(user.UserClaims, "from_token", None)
        second = authenticator.authenticate(realm.evidence(), NOW)
        assert second.policy is first.policy

    def test_the_moment_and_the_connection_are_not(self) -> None:
        realm = Realm()
        realm.user.expires_at = NOW + 10
        realm.user.nats.source_networks = ["127.0.0.0/8"]
        authenticator = realm.authenticator()
        authenticator.authenticate(realm.evidence(), NOW)
        for evidence, now, failure in (
            (realm.evidence(), NOW + 10, AuthFailure.USER_JWT_EXPIRED),
            (realm.evidence(remote_ip="10.0.0.1"), NOW, AuthFailure.SOURCE_NOT_ALLOWED),
            (realm.evidence(unverified_signature=None), NOW, AuthFailure.SIGNATURE_MISSING),
            (realm.evidence(nonce="other"), NOW, AuthFailure.SIGNATURE_NOT_VERIFIED),
        ):
            with pytest.raises(AuthError) as caught:
                authenticator.authenticate(evidence, now)
            assert caught.value.failure is failure

    def test_new_claims_of_the_account_hold_at_once(self) -> None:
        realm = Realm()
        resolver = MemoryResolver(realm.preload())
        authenticator = realm.authenticator(resolver=resolver)
        authenticator.authenticate(realm.evidence(), NOW)
        realm.account.revoke(USER.public, NOW)
        resolver.store(ACCOUNT.public, jwt.encode(realm.account, OPERATOR, issued_at=NOW))
        with pytest.raises(AuthError, match="revoked"):
            authenticator.authenticate(realm.evidence(), NOW)
        resolver.remove(ACCOUNT.public)
        with pytest.raises(AuthError, match="lookup error"):
            authenticator.authenticate(realm.evidence(), NOW)

    def test_a_broken_account_is_examined_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        realm = Realm()
        authenticator = realm.authenticator(resolver=MemoryResolver({ACCOUNT.public: realm.token()}))
        for _ in range(2):
            with pytest.raises(AuthError, match="not account claim"):
                authenticator.authenticate(realm.evidence(), NOW)
            monkeypatch.setattr(trust.AccountClaims, "from_token", None)

    def test_what_is_not_trusted_is_not_remembered(self) -> None:
        realm = Realm()
        authenticator = realm.authenticator(resolver=MemoryResolver({}))
        with pytest.raises(AuthError):
            authenticator.authenticate(realm.evidence(), NOW)
        assert len(authenticator._known) == 0


class TestRecheck:
    def test_defaults_are_compiled_anew(self) -> None:
        realm = Realm()
        resolver = MemoryResolver(realm.preload())
        authenticator = realm.authenticator(resolver=resolver)
        principal = authenticator.authenticate(realm.evidence(), NOW)
        assert authenticator.recheck(principal, NOW).policy == principal.policy
        realm.account.nats.default_permissions.publish = Permission(allow=["d.>"])
        realm.account.expires_at, realm.account.name = NOW + 5, "New"
        resolver.store(ACCOUNT.public, jwt.encode(realm.account, OPERATOR, issued_at=NOW))
        renewed = authenticator.recheck(principal, NOW)
        assert not renewed.policy.decide_publish("x").allowed
        assert (renewed.expires_at, renewed.expiry_text) == (NOW + 5, "Account Authentication Expired")
        assert (renewed.name_tag, renewed.user) == ("New", principal.user)
        realm.account.expires_at = 0
        resolver.store(ACCOUNT.public, jwt.encode(realm.account, OPERATOR, issued_at=NOW))
        assert authenticator.recheck(renewed, NOW).expires_at is None

    def test_users_of_the_configuration_are_left_alone(self) -> None:
        authenticator = Authenticator(AuthSettings(token="t"))
        principal = authenticator.authenticate(Evidence(unverified_token="t"), NOW)
        assert authenticator.recheck(principal, NOW) is principal


class TestConfiguration:
    def test_nobody_is_asked(self) -> None:
        authenticator = Authenticator(AuthSettings())
        assert (authenticator.required, authenticator.nonce_required) == (False, False)
        for evidence in (Evidence(), Evidence(unverified_user="x", unverified_password="y", unverified_jwt="z")):
            principal = authenticator.authenticate(evidence, NOW)
            assert (principal.account.name, principal.user, principal.method) == ("$G", "", Method.NONE)
        assert authenticator.no_auth_principal(ConnectionType.STANDARD) is not None

    def test_accounts_without_users_ask_nobody(self) -> None:
        assert not Authenticator(AuthSettings(accounts={"A": Account("A")}, authorization_block=True)).required

    def test_users_with_passwords(self) -> None:
        accounts = {"ACME": Account("ACME", display_name="ACME")}
        users = (
            UserEntry(name="a", password="x", account="ACME", permissions=publishes("p.>")),
            UserEntry(name="b", password=bcrypt.hashpw(b"y", bcrypt.gensalt(4)).decode()),
            UserEntry(name="c"),
        )
        settings = {"users": users, "accounts": accounts}
        first = static(settings, unverified_user="a", unverified_password="x")
        assert (first.account.name, first.user, first.method, first.name_tag) == ("ACME", "a", Method.PASSWORD, "ACME")
        assert not first.policy.decide_publish("x").allowed
        assert static(settings, unverified_user="b", unverified_password="y").account.name == "$G"
        assert static(settings, unverified_user="c").user == "c"
        assert static(settings, unverified_user="c", unverified_password="").user == "c"

    def test_defaults_of_an_account_hold_for_users_without_permissions(self) -> None:
        account = Account("A", default_permissions=publishes("d.>"))
        users = (
            UserEntry(name="a", password="x", account="A"),
            UserEntry(name="b", password="x", account="A", permissions=Permissions()),
        )
        settings = {"users": users, "accounts": {"A": account}}
        assert not static(settings, unverified_user="a", unverified_password="x").policy.decide_publish("x").allowed
        assert static(settings, unverified_user="b", unverified_password="x").policy.decide_publish("x").allowed

    def test_single_credentials(self) -> None:
        one = static({"user": "a", "password": "x"}, unverified_user="a", unverified_password="x")
        assert (one.account.name, one.user, one.name_tag) == ("$G", "a", "$G")
        token = static({"token": "t"}, unverified_token="t")
        assert (token.user, token.method) == ("[REDACTED]", Method.TOKEN)
        hashed = bcrypt.hashpw(b"t", bcrypt.gensalt(4)).decode()
        assert static({"token": hashed}, unverified_token="t").method is Method.TOKEN

    def test_nkeys(self) -> None:
        settings = {"nkeys": (NkeyEntry(public_key=USER.public, permissions=publishes("p")),)}
        assert Authenticator(AuthSettings(**settings)).nonce_required
        principal = static(settings, unverified_nkey=USER.public, unverified_signature=sign_nonce())
        assert (principal.user, principal.public_key, principal.method) == (USER.public, USER.public, Method.NKEY)

    def test_an_nkey_is_ignored_where_there_are_none(self) -> None:
        settings = {"users": (UserEntry(name="a", password="x"),)}
        principal = static(settings, unverified_nkey=USER.public, unverified_user="a", unverified_password="x")
        assert principal.user == "a"

    def test_no_auth_user(self) -> None:
        users = (UserEntry(name="a", password="x"), UserEntry(name="g", password="y", permissions=publishes("g.>")))
        settings = {"users": users, "no_auth_user": "g"}
        authenticator = Authenticator(AuthSettings(**settings))
        assert (authenticator.required, authenticator.has_no_auth_user) == (True, True)
        principal = static(settings)
        assert (principal.user, principal.method) == ("g", Method.NO_AUTH_USER)
        assert static(settings, unverified_user="a", unverified_password="x").user == "a"
        silent = authenticator.no_auth_principal(ConnectionType.STANDARD)
        assert silent is not None
        assert silent.user == "g"
        with pytest.raises(AuthError):
            static(settings, unverified_user="a", unverified_password="bad")

    def test_an_nkey_as_no_auth_user_needs_connect(self) -> None:
        settings = {"nkeys": (NkeyEntry(public_key=USER.public),), "no_auth_user": USER.public}
        assert static(settings).user == USER.public
        assert Authenticator(AuthSettings(**settings)).no_auth_principal(ConnectionType.STANDARD) is None

    def test_no_auth_user_keeps_its_connection_types(self) -> None:
        users = (UserEntry(name="g", connection_types=frozenset({"WEBSOCKET"})),)
        authenticator = Authenticator(AuthSettings(users=users, no_auth_user="g"))
        assert authenticator.no_auth_principal(ConnectionType.STANDARD) is None
        assert authenticator.no_auth_principal(ConnectionType.WEBSOCKET) is not None

    def test_only_a_system_account_leaves_the_others_in_the_global_account(self) -> None:
        accounts = {"$SYS": Account("$SYS", is_system=True)}
        settings: dict[str, Any] = {
            "accounts": accounts,
            "users": (UserEntry(name="sys", password="x", account="$SYS"),),
        }
        authenticator = Authenticator(AuthSettings(**settings))
        assert (authenticator.required, authenticator.has_no_auth_user) == (True, False)
        hidden = static(settings)
        assert hidden.account.name == "$G"
        assert hidden.user.startswith("nats-")
        assert len(hidden.user) == 13
        assert static(settings, unverified_user="sys", unverified_password="x").account.is_system
        for more in ({"accounts": accounts | {"B": Account("B")}}, {"authorization_block": True}):
            with pytest.raises(AuthError):
                static(settings | more)

    def test_certificates(self) -> None:
        settings = {
            "users": (UserEntry(name="m@nats.test"), UserEntry(name="p", password="x")),
            "certificate_mapping": True,
        }
        principal = static(settings, certificate=CertificateFacts(emails=("m@nats.test",)), unverified_user="p")
        assert (principal.user, principal.method) == ("m@nats.test", Method.CERTIFICATE)
        facts = CertificateFacts(dns_names=("p",))
        assert static(settings, certificate=facts, unverified_password="x").user == "p"

    def test_what_takes_long(self) -> None:
        hashed = bcrypt.hashpw(b"y", bcrypt.gensalt(4)).decode()
        users = (UserEntry(name="a", password="x"), UserEntry(name="b", password=hashed))
        authenticator = Authenticator(AuthSettings(users=users))
        assert not authenticator.is_slow(Evidence(unverified_user="a"))
        assert authenticator.is_slow(Evidence(unverified_user="b"))
        assert authenticator.is_slow(Evidence(unverified_user="nobody"))
        assert not Realm().authenticator().is_slow(Evidence())


class TestProxies:
    def test_a_trusted_proxy_is_named(self) -> None:
        settings = {"trusted_proxies": (OPERATOR.public, PROXY.public)}
        realm = Realm()
        realm.user.nats.proxy_required = True
        assert realm.connect(settings=settings, unverified_proxy_signature=sign_nonce(PROXY)).proxy_key == PROXY.public
        users = {"users": (UserEntry(name="a", proxy_required=True),), **settings}
        assert Authenticator(AuthSettings(**users)).nonce_required
        assert (
            static(users, unverified_user="a", unverified_proxy_signature=sign_nonce(PROXY)).proxy_key == PROXY.public
        )

    def test_signatures_are_ignored_where_no_proxy_is_trusted(self) -> None:
        assert Realm().connect(unverified_proxy_signature="rubbish").proxy_key is None


class TestPrincipal:
    def test_nobody_else_makes_one(self) -> None:
        principal = Realm().connect()
        with pytest.raises(TypeError, match="only the verifier"):
            Principal(seal=object(), account=principal.account, user="x", method=Method.JWT, policy=principal.policy)
        with pytest.raises((TypeError, ValueError)):
            dataclasses.replace(principal, user="admin")
        with pytest.raises(RuntimeError, match="has been claimed"):
            claim_minter()

    def test_it_does_not_change(self) -> None:
        principal = Realm().connect()
        for name in (field.name for field in dataclasses.fields(principal)):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(principal, name, "admin")
        assert copy.copy(principal).user == principal.user


class TestEvidence:
    def test_secrets_stay_out_of_representations(self) -> None:
        evidence = Evidence(
            nonce="n0nce",
            unverified_jwt="eyJsecret",
            unverified_signature="s1gnature",
            unverified_password="hunter2",
            unverified_token="t0ken",
            unverified_proxy_signature="pr0xy",
        )
        for secret in ("n0nce", "eyJsecret", "s1gnature", "hunter2", "t0ken", "pr0xy"):
            assert secret not in repr(evidence)

    def test_nonces(self) -> None:
        nonces = {challenge.new_nonce() for _ in range(100)}
        assert len(nonces) == 100
        assert {len(nonce) for nonce in nonces} == {15}
