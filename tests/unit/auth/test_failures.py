"""One case for each way to fail: its own reason inside, the documented text outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from accounts.account import Account
from auth import jwt
from auth.authenticate import Authenticator, ConnectionType, Evidence
from auth.claims import TimeRange, UserScope
from auth.errors import AuthError, AuthFailure
from auth.evidence import CertificateFacts, LocalPeer
from auth.login import Admission, Login
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings, NkeyEntry, UserEntry
from tests.unit.auth import test_callout as callout
from tests.unit.auth.realm import (
    ACCOUNT,
    ACCOUNT_SIGNING,
    NONCE,
    NOW,
    OPERATOR,
    OPERATOR_SIGNING,
    OTHER_ACCOUNT,
    OTHER_USER,
    PROXY,
    STRANGER,
    SYSTEM,
    USER,
    Realm,
    seal,
    sign_nonce,
)

Case = Callable[[], Any]
CASES: dict[AuthFailure, list[Case]] = {}


def fails_with(failure: AuthFailure) -> Callable[[Case], Case]:
    """Register a case under the reason that it must fail with."""

    def register(case: Case) -> Case:
        CASES.setdefault(failure, []).append(case)
        return case

    return register


def static(evidence: dict[str, Any], **settings: Any) -> Any:
    fields: dict[str, Any] = {"nonce": NONCE, "remote_ip": "127.0.0.1"}
    return Authenticator(AuthSettings(**settings)).authenticate(Evidence(**(fields | evidence)), NOW)


ALICE = UserEntry(name="alice", password="secret")


@fails_with(AuthFailure.PROXY_NOT_TRUSTED)
def proxy_of_somebody_else() -> Any:
    settings = {"trusted_proxies": (PROXY.public,)}
    return Realm().connect(settings=settings, unverified_proxy_signature=sign_nonce(OTHER_USER))


@fails_with(AuthFailure.PROXY_REQUIRED)
def user_jwt_demands_a_proxy() -> Any:
    realm = Realm()
    realm.user.nats.proxy_required = True
    return realm.connect()


@fails_with(AuthFailure.PROXY_REQUIRED)
def scope_demands_a_proxy() -> Any:
    realm = Realm()
    realm.use_scope().template.proxy_required = True
    return realm.connect()


@fails_with(AuthFailure.PROXY_REQUIRED)
def configured_user_demands_a_proxy() -> Any:
    entry = UserEntry(name="alice", password="secret", proxy_required=True)
    return static({"unverified_user": "alice", "unverified_password": "secret"}, users=(entry,))


@fails_with(AuthFailure.PROXY_REQUIRED)
def single_user_demands_a_proxy() -> Any:
    return static({"unverified_token": "t"}, token="t", proxy_required=True)


@fails_with(AuthFailure.USER_JWT_MISSING)
def no_token() -> Any:
    return Realm().connect(unverified_jwt=None)


@fails_with(AuthFailure.USER_JWT_MISSING)
def an_nkey_instead_of_a_token() -> Any:
    return Realm().connect(unverified_jwt=None, unverified_nkey=USER.public)


@fails_with(AuthFailure.USER_JWT_MISSING)
def a_token_in_the_wrong_field() -> Any:
    realm = Realm()
    return realm.connect(unverified_jwt="", unverified_token=realm.token())


@fails_with(AuthFailure.USER_JWT_UNREADABLE)
def garbage() -> Any:
    return Realm().connect(unverified_jwt="garbage")


@fails_with(AuthFailure.USER_JWT_UNREADABLE)
def an_account_token() -> Any:
    realm = Realm()
    return realm.connect(unverified_jwt=realm.preload()[ACCOUNT.public])


@fails_with(AuthFailure.USER_JWT_UNREADABLE)
def lone_surrogates() -> Any:
    return Realm().connect(unverified_jwt="\ud800.\ud800.\ud800")


def odd_user(**changes: Any) -> str:
    nats = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2}
    return seal({"iat": NOW, "iss": ACCOUNT.public, "sub": USER.public, "nats": nats} | changes, ACCOUNT)


@fails_with(AuthFailure.USER_KEY_NOT_VALID)
def an_account_key_as_user() -> Any:
    return Realm().connect(unverified_jwt=odd_user(sub=ACCOUNT.public), unverified_signature=sign_nonce(ACCOUNT))


@fails_with(AuthFailure.USER_KEY_NOT_VALID)
def no_subject() -> Any:
    return Realm().connect(unverified_jwt=odd_user(sub=None))


@fails_with(AuthFailure.USER_KEY_NOT_VALID)
def a_newline_in_the_subject() -> Any:
    return Realm().connect(unverified_jwt=odd_user(sub=USER.public[:9] + "\n" + USER.public[9:]))


@fails_with(AuthFailure.USER_JWT_EXPIRED)
def expired_user() -> Any:
    realm = Realm()
    realm.user.expires_at = NOW
    return realm.connect()


@fails_with(AuthFailure.USER_JWT_NEVER_VALID)
def expiry_before_1970() -> Any:
    return Realm().connect(unverified_jwt=odd_user(exp=-1))


@fails_with(AuthFailure.USER_JWT_NOT_YET_VALID)
def early_user() -> Any:
    realm = Realm()
    realm.user.not_before = NOW + 1
    return realm.connect()


@fails_with(AuthFailure.USER_JWT_HAS_ISSUES)
def a_subject_that_is_none() -> Any:
    realm = Realm()
    realm.user.nats.publish.allow = ["a..b"]
    return realm.connect()


@fails_with(AuthFailure.USER_JWT_HAS_ISSUES)
def a_network_that_is_none() -> Any:
    realm = Realm()
    realm.user.nats.source_networks = ["127.0.0.1"]
    return realm.connect()


@fails_with(AuthFailure.USER_REVOKED)
def revoked_in_the_second_of_issue() -> Any:
    realm = Realm()
    realm.account.revoke(USER.public, realm.issued_at)
    return realm.connect()


@fails_with(AuthFailure.USER_REVOKED)
def all_revoked() -> Any:
    realm = Realm()
    realm.account.nats.revocations = {"*": realm.issued_at, USER.public: 1}
    return realm.connect()


@fails_with(AuthFailure.USER_REVOKED)
def all_revoked_and_no_time_of_issue() -> Any:
    realm = Realm()
    realm.account.nats.revocations = {"*": 1}
    return realm.connect(unverified_jwt=odd_user(iat=None))


@fails_with(AuthFailure.USER_REVOKED)
def bearer_revoked() -> Any:
    realm = Realm()
    realm.user.nats.bearer_token = True
    realm.account.revoke(USER.public, NOW)
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_NOT_PINNED)
def another_account_is_pinned() -> Any:
    return Realm().connect(settings={"pinned_accounts": frozenset({OTHER_ACCOUNT.public})})


@fails_with(AuthFailure.ACCOUNT_UNKNOWN)
def account_is_not_in_the_resolver() -> Any:
    realm = Realm()
    return realm.connect(settings={"resolver": MemoryResolver({})})


@fails_with(AuthFailure.ACCOUNT_UNKNOWN)
def signing_key_without_issuer_account() -> Any:
    realm = Realm()
    realm.user_signer = ACCOUNT_SIGNING
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_JWT_UNREADABLE)
def garbage_in_the_resolver() -> Any:
    return Realm().connect(settings={"resolver": MemoryResolver({ACCOUNT.public: "x"})})


@fails_with(AuthFailure.ACCOUNT_JWT_MISPLACED)
def another_account_in_the_resolver() -> Any:
    realm = Realm()
    return realm.connect(settings={"resolver": MemoryResolver({ACCOUNT.public: realm.preload()[SYSTEM.public]})})


@fails_with(AuthFailure.ACCOUNT_HAS_ISSUES)
def account_with_a_scope_for_a_user_key() -> Any:
    realm = Realm()
    realm.account.nats.signing_keys.append(UserScope.new(USER.public))
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_NOT_TRUSTED)
def account_of_a_stranger() -> Any:
    realm = Realm()
    realm.account_signer = STRANGER
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_NOT_TRUSTED)
def account_that_signed_itself() -> Any:
    realm = Realm()
    token = jwt.encode(realm.account, ACCOUNT, issued_at=NOW)
    return realm.connect(settings={"resolver": MemoryResolver({ACCOUNT.public: token})})


@fails_with(AuthFailure.ACCOUNT_NOT_TRUSTED)
def account_of_the_operator_itself_where_signing_keys_are_demanded() -> Any:
    realm = Realm()
    realm.operator.nats.strict_signing_key_usage = True
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_EXPIRED)
def expired_account() -> Any:
    realm = Realm()
    realm.account.expires_at = NOW
    return realm.connect()


@fails_with(AuthFailure.ACCOUNT_NOT_YET_VALID)
def early_account() -> Any:
    realm = Realm()
    realm.account.not_before = NOW + 1
    return realm.connect()


@fails_with(AuthFailure.OPERATOR_EXPIRED)
def expired_operator() -> Any:
    realm = Realm()
    realm.operator.expires_at = NOW
    return realm.connect()


@fails_with(AuthFailure.OPERATOR_NOT_YET_VALID)
def early_operator() -> Any:
    realm = Realm()
    realm.operator.not_before = NOW + 1
    return realm.connect()


@fails_with(AuthFailure.USER_ISSUER_UNKNOWN)
def a_key_that_the_account_does_not_list() -> Any:
    realm = Realm()
    realm.user_signer, realm.user.nats.issuer_account = OTHER_ACCOUNT, ACCOUNT.public
    return realm.connect()


@fails_with(AuthFailure.USER_ISSUER_UNKNOWN)
def the_account_itself_where_signing_keys_are_demanded() -> Any:
    realm = Realm()
    realm.operator.nats.strict_signing_key_usage = True
    realm.account_signer = OPERATOR_SIGNING
    return realm.connect()


@fails_with(AuthFailure.SCOPED_USER_NOT_EMPTY)
def scoped_user_with_permissions() -> Any:
    realm = Realm()
    realm.use_scope()
    realm.user.nats.publish.allow = ["x"]
    return realm.connect()


@fails_with(AuthFailure.SCOPED_USER_NOT_EMPTY)
def scoped_user_with_unlimited_limits() -> Any:
    realm = Realm()
    realm.use_scope()
    realm.user.nats.subscriptions = -1
    return realm.connect()


@fails_with(AuthFailure.PERMISSIONS_NOT_VALID)
def unknown_template_function() -> Any:
    realm = Realm()
    realm.use_scope().template.publish.allow = ["{{foo()}}"]
    return realm.connect()


@fails_with(AuthFailure.PERMISSIONS_NOT_VALID)
def a_wildcard_in_the_middle() -> Any:
    realm = Realm()
    realm.user.nats.publish.deny = ["a.>.b"]
    return realm.connect()


@fails_with(AuthFailure.BEARER_NOT_ALLOWED)
def bearer_where_the_account_forbids_it() -> Any:
    realm = Realm()
    realm.user.nats.bearer_token = True
    realm.account.nats.limits.disallow_bearer = True
    return realm.connect()


@fails_with(AuthFailure.CONNECTION_TYPE_NOT_ALLOWED)
def only_websocket() -> Any:
    realm = Realm()
    realm.user.nats.allowed_connection_types = ["WEBSOCKET"]
    return realm.connect()


@fails_with(AuthFailure.CONNECTION_TYPE_NOT_ALLOWED)
def only_types_that_nobody_knows() -> Any:
    realm = Realm()
    realm.user.nats.allowed_connection_types = ["FOO"]
    return realm.connect()


@fails_with(AuthFailure.CONNECTION_TYPE_NOT_ALLOWED)
def configured_user_on_another_type() -> Any:
    entry = UserEntry(name="alice", password="secret", connection_types=frozenset({"MQTT"}))
    return static({"unverified_user": "alice", "unverified_password": "secret"}, users=(entry,))


@fails_with(AuthFailure.SOURCE_NOT_ALLOWED)
def elsewhere() -> Any:
    realm = Realm()
    realm.user.nats.source_networks = ["10.0.0.0/8"]
    return realm.connect()


@fails_with(AuthFailure.SOURCE_NOT_ALLOWED)
def nowhere() -> Any:
    realm = Realm()
    realm.user.nats.source_networks = ["0.0.0.0/0", "::/0"]
    return realm.connect(remote_ip="", connection_type=ConnectionType.IN_PROCESS)


@fails_with(AuthFailure.SOURCE_NOT_ALLOWED)
def a_scope_with_no_network() -> Any:
    realm = Realm()
    realm.use_scope().template.source_networks = ["foo"]
    return realm.connect()


@fails_with(AuthFailure.OUTSIDE_CONNECT_TIMES)
def outside_the_window() -> Any:
    realm = Realm()
    realm.user.nats.times, realm.user.nats.times_location = [TimeRange("01:00:00", "02:00:00")], "UTC"
    return realm.connect()


@fails_with(AuthFailure.OUTSIDE_CONNECT_TIMES)
def a_scope_with_an_open_window() -> Any:
    realm = Realm()
    realm.use_scope().template.times = [TimeRange("00:00:00", "")]
    return realm.connect()


@fails_with(AuthFailure.OUTSIDE_CONNECT_TIMES)
def a_scope_with_an_unknown_zone() -> Any:
    realm = Realm()
    template = realm.use_scope().template
    template.times, template.times_location = [TimeRange("00:00:00", "23:59:59")], "No/Where"
    return realm.connect()


@fails_with(AuthFailure.SIGNATURE_MISSING)
def no_signature() -> Any:
    return Realm().connect(unverified_signature=None)


@fails_with(AuthFailure.SIGNATURE_MISSING)
def an_empty_signature() -> Any:
    return Realm().connect(unverified_signature="")


RAW_SIGNATURE = USER.sign(NONCE.encode())


@fails_with(AuthFailure.SIGNATURE_NOT_BASE64)
def a_newline_in_the_signature() -> Any:
    text = sign_nonce()
    return Realm().connect(unverified_signature=text[:40] + "\n" + text[40:])


@fails_with(AuthFailure.SIGNATURE_NOT_BASE64)
def a_signature_of_five_digits() -> Any:
    return Realm().connect(unverified_signature="AAAAA")


@fails_with(AuthFailure.SIGNATURE_NOT_BASE64)
def spare_bits_of_the_signature() -> Any:
    text = sign_nonce()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return Realm().connect(unverified_signature=text[:-1] + alphabet[alphabet.index(text[-1]) | 5])


@fails_with(AuthFailure.SIGNATURE_NOT_VERIFIED)
def signed_by_somebody_else() -> Any:
    return Realm().connect(unverified_signature=sign_nonce(OTHER_USER))


@fails_with(AuthFailure.SIGNATURE_NOT_VERIFIED)
def a_signature_over_an_earlier_nonce() -> Any:
    return Realm().connect(unverified_signature=sign_nonce(nonce="AAAAAAAAAAAAAAA"))


@fails_with(AuthFailure.SIGNATURE_NOT_VERIFIED)
def a_signature_over_nothing() -> Any:
    return Realm().connect(nonce="", unverified_signature=sign_nonce(nonce=""))


@fails_with(AuthFailure.SIGNATURE_NOT_VERIFIED)
def a_signature_in_hex() -> Any:
    return Realm().connect(unverified_signature=RAW_SIGNATURE.hex())


@fails_with(AuthFailure.SIGNATURE_NOT_VERIFIED)
def an_nkey_of_the_configuration_signed_by_another() -> Any:
    evidence = {"unverified_nkey": USER.public, "unverified_signature": sign_nonce(OTHER_USER)}
    return static(evidence, nkeys=(NkeyEntry(public_key=USER.public),))


@fails_with(AuthFailure.NKEY_UNKNOWN)
def unknown_nkey_with_a_right_password() -> Any:
    evidence = {"unverified_nkey": OTHER_USER.public, "unverified_user": "alice", "unverified_password": "secret"}
    return static(evidence, nkeys=(NkeyEntry(public_key=USER.public),), users=(ALICE,))


@fails_with(AuthFailure.USER_UNKNOWN)
def unknown_user() -> Any:
    return static({"unverified_user": "bob", "unverified_password": "secret"}, users=(ALICE,))


@fails_with(AuthFailure.USER_UNKNOWN)
def unknown_single_user() -> Any:
    return static({"unverified_user": "bob", "unverified_password": "secret"}, user="alice", password="secret")


@fails_with(AuthFailure.PASSWORD_WRONG)
def wrong_password() -> Any:
    return static({"unverified_user": "alice", "unverified_password": "x"}, users=(ALICE,))


@fails_with(AuthFailure.PASSWORD_WRONG)
def wrong_single_password() -> Any:
    return static({"unverified_user": "alice"}, user="alice", password="secret")


@fails_with(AuthFailure.PASSWORD_WRONG)
def certificate_without_the_password() -> Any:
    certificate = CertificateFacts(emails=("alice",))
    return static({"certificate": certificate}, users=(ALICE,))


@fails_with(AuthFailure.TOKEN_WRONG)
def wrong_token() -> Any:
    return static({"unverified_token": "x"}, token="t")


@fails_with(AuthFailure.CREDENTIALS_MISSING)
def nothing_for_users() -> Any:
    return static({}, users=(ALICE,))


@fails_with(AuthFailure.CREDENTIALS_MISSING)
def nothing_for_nkeys() -> Any:
    return static({"unverified_user": "alice"}, nkeys=(NkeyEntry(public_key=USER.public),))


@fails_with(AuthFailure.CREDENTIALS_MISSING)
def nothing_for_a_token() -> Any:
    return static({"unverified_user": "t"}, token="t")


@fails_with(AuthFailure.CERTIFICATE_NOT_MAPPED)
def a_certificate_of_nobody() -> Any:
    evidence = {"certificate": CertificateFacts(emails=("bob",)), "unverified_user": "alice"}
    return static(evidence | {"unverified_password": "secret"}, users=(ALICE,))


@fails_with(AuthFailure.CERTIFICATE_NOT_MAPPED)
def a_name_that_only_a_certificate_proves() -> Any:
    return static({"unverified_user": "bob"}, users=(UserEntry(name="bob"),), certificate_mapping=True)


@fails_with(AuthFailure.PEER_NOT_MAPPED)
def a_process_of_nobody() -> Any:
    """Neither its name nor a password counts beside whose process it is."""
    users = (UserEntry(name="unix:uid=1"), ALICE)
    evidence = {"peer": LocalPeer(uid=2, gid=1, pid=1), "unverified_user": "alice", "unverified_password": "secret"}
    return static(evidence, users=users, peer_mapping=True)


@fails_with(AuthFailure.PEER_NOT_MAPPED)
def a_name_that_only_a_process_proves() -> Any:
    return static({"unverified_user": "unix:uid=0"}, users=(UserEntry(name="unix:uid=0"),))


@fails_with(AuthFailure.PASSWORD_WRONG)
def a_process_without_the_password() -> Any:
    users = (UserEntry(name="unix:uid=1", password="secret"),)
    return static({"peer": LocalPeer(uid=1, gid=1, pid=1)}, users=users, peer_mapping=True)


def live(change: Callable[[Realm], object]) -> Any:
    """Connect, replace the account's claims, look again."""
    realm = Realm()
    realm.user.nats.bearer_token = change is forbid_bearer
    realm.user_signer, realm.user.nats.issuer_account = ACCOUNT_SIGNING, ACCOUNT.public
    resolver = MemoryResolver(realm.preload())
    authenticator = realm.authenticator(resolver=resolver)
    principal = authenticator.authenticate(realm.evidence(), NOW)
    change(realm)
    resolver.store(ACCOUNT.public, jwt.encode(realm.account, OPERATOR, issued_at=NOW))
    return authenticator.recheck(principal, NOW)


def forbid_bearer(realm: Realm) -> None:
    realm.account.nats.limits.disallow_bearer = True


@fails_with(AuthFailure.BEARER_NOT_ALLOWED)
def bearer_forbidden_later() -> Any:
    return live(forbid_bearer)


@fails_with(AuthFailure.USER_REVOKED_LIVE)
def revoked_later() -> Any:
    return live(lambda realm: realm.account.revoke(USER.public, NOW))


@fails_with(AuthFailure.ACCOUNT_EXPIRED_LIVE)
def account_expired_later() -> Any:
    return live(lambda realm: setattr(realm.account, "expires_at", NOW))


@fails_with(AuthFailure.SIGNING_KEY_CHANGED_LIVE)
def signing_key_removed_later() -> Any:
    return live(lambda realm: realm.account.remove_signing_key(ACCOUNT_SIGNING.public))


@fails_with(AuthFailure.SIGNING_KEY_CHANGED_LIVE)
def signing_key_scoped_later() -> Any:
    return live(lambda realm: realm.account.set_signing_key(UserScope.new(ACCOUNT_SIGNING.public)))


def readmitted(before: AuthSettings, after: AuthSettings, **evidence: Any) -> Any:
    """Connect under some settings, look again under others."""
    earlier, shown = Authenticator(before), Evidence(nonce=NONCE, remote_ip="127.0.0.1", **evidence)
    return Authenticator(after).readmit(earlier.authenticate(shown, NOW), shown, NOW, earlier)


@fails_with(AuthFailure.USER_GONE_LIVE)
def user_removed_later() -> Any:
    return readmitted(
        AuthSettings(users=(UserEntry(name="bob", password="pw"), UserEntry(name="al", password="pw"))),
        AuthSettings(users=(UserEntry(name="al", password="pw"),)),
        unverified_user="bob",
        unverified_password="pw",
    )


@fails_with(AuthFailure.USER_GONE_LIVE)
def single_password_changed_later() -> Any:
    return readmitted(
        AuthSettings(user="bob", password="pw"),
        AuthSettings(user="bob", password="other"),
        unverified_user="bob",
        unverified_password="pw",
    )


@fails_with(AuthFailure.USER_MOVED_LIVE)
def user_moved_later() -> Any:
    user = UserEntry(name="bob", password="pw", account="A")
    accounts = {"A": Account("A"), "B": Account("B")}
    return readmitted(
        AuthSettings(accounts=accounts, users=(user,)),
        AuthSettings(accounts=accounts, users=(dataclasses.replace(user, account="B"),)),
        unverified_user="bob",
        unverified_password="pw",
    )


@fails_with(AuthFailure.PERMISSIONS_NOT_VALID)
def broken_defaults_later() -> Any:
    return live(lambda realm: realm.account.nats.default_permissions.publish.allow.append("a.>.b"))


@fails_with(AuthFailure.CALLOUT_NOT_ASKED)
def nobody_was_asked() -> Any:
    return Authenticator(callout.SETTINGS).authenticate(Evidence(unverified_user="bob"), NOW)


@fails_with(AuthFailure.CALLOUT_DENIED)
def the_callout_said_no() -> Any:
    return callout.outcome(callout.Reply(error="no", has_user=False).payload())


@fails_with(AuthFailure.CALLOUT_ANSWER_NOT_VALID)
def the_callout_answered_another() -> Any:
    return callout.outcome(callout.Reply(subject=OTHER_USER.public).payload())


@fails_with(AuthFailure.CALLOUT_USER_NOT_VALID)
def the_callout_made_another() -> Any:
    return callout.outcome(callout.Reply(user_subject=OTHER_USER.public).payload())


@fails_with(AuthFailure.CALLOUT_ACCOUNT_NOT_ALLOWED)
def the_callout_meant_the_system() -> Any:
    return callout.outcome(callout.Reply(user_account="SYS").payload())


@fails_with(AuthFailure.AUTHENTICATOR_DENIED)
def the_function_was_late() -> Any:
    return decided(Admission(expires_at=NOW))


@fails_with(AuthFailure.AUTHENTICATOR_FAILED)
def the_function_named_no_account() -> Any:
    return decided(Admission(account="NONE"))


async def nobody(shown: Login) -> Admission | None:
    return None


def decided(admission: Admission) -> Any:
    by = Authenticator(AuthSettings(authenticate=nobody))
    return by.admit_as(callout.delegated(by), admission, Evidence(), NOW)


@fails_with(AuthFailure.CALLOUT_CHANGED_LIVE)
def the_callout_went_later() -> Any:
    before = Authenticator(callout.settings(xkey=callout.SERVICE_CURVE.public))
    principal = callout.outcome(callout.Reply().payload())
    after = Authenticator(AuthSettings(accounts={"APP": Account("APP")}, users=(ALICE,)))
    return after.readmit(principal, Evidence(unverified_user="bob"), NOW, before)


@fails_with(AuthFailure.CALLOUT_CHANGED_LIVE)
def the_function_went_later() -> Any:
    before = Authenticator(AuthSettings(authenticate=nobody))
    principal = before.admit_as(callout.delegated(before), Admission(), Evidence(), NOW)
    return Authenticator(AuthSettings(users=(ALICE,))).readmit(principal, Evidence(), NOW, before)


ALL = [(failure, case) for failure, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(("failure", "case"), ALL, ids=[case.__name__ for _, case in ALL])
def test_each_case_fails_for_its_own_reason(failure: AuthFailure, case: Case) -> None:
    with pytest.raises(AuthError) as caught:
        case()
    assert caught.value.failure is failure
    assert caught.value.client_text == failure.value.client
    assert failure.value.log in caught.value.log_text
    for secret in (USER.seed, "secret", sign_nonce(), "eyJ"):
        assert secret not in caught.value.log_text


def test_every_failure_has_a_case() -> None:
    # The end of a connection that expires is announced by its principal, not raised; that a callout is not there, or
    # says nothing, is found out where it is asked.
    elsewhere = {AuthFailure.USER_EXPIRED_LIVE, AuthFailure.CALLOUT_ABSENT, AuthFailure.CALLOUT_SILENT}
    assert set(AuthFailure) - set(CASES) == elsewhere


def test_codes_are_unique() -> None:
    codes = [failure.code for failure in AuthFailure]
    assert len(set(codes)) == len(codes)


def test_clients_learn_one_text_before_they_are_admitted() -> None:
    texts = {failure.value.client for failure in AuthFailure if not failure.code.endswith("-live")}
    assert texts == {"Authorization Violation", "User Authentication Expired"}
