"""Answers of an auth callout without a callout: what is accepted, and that nothing else is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.account import Account
from accounts.callout import EVERY_ACCOUNT, Callout
from accounts.compile import compile_policy
from accounts.permissions import Permissions
from auth import jwt
from auth.authenticate import Authenticator
from auth.callout import Delegation, Question, read_answer
from auth.claims import AuthorizationRequestClaims, AuthorizationResponseClaims, UserClaims
from auth.claims.authorization import AuthorizationRequestData, ClientFacts, ConnectFacts, ServerFacts
from auth.envelope import JwtError
from auth.errors import AuthError, AuthFailure
from auth.evidence import Evidence
from auth.login import Admission, Login
from auth.nkey import KeyKind, KeyPair
from auth.principal import Method, Principal
from auth.settings import AuthSettings, NkeyEntry, SettingsError, UserEntry
from tests.unit.auth.realm import NOW, key

ISSUER = key(KeyKind.ACCOUNT, 51)
OTHER = key(KeyKind.ACCOUNT, 52)
USER_KEY = key(KeyKind.USER, 53).public
OTHER_USER = key(KeyKind.USER, 54).public
SERVER = key(KeyKind.SERVER, 55)
OTHER_SERVER = key(KeyKind.SERVER, 56)
SERVER_CURVE = key(KeyKind.CURVE, 57)
SERVICE_CURVE = key(KeyKind.CURVE, 58)
STRANGE_CURVE = key(KeyKind.CURVE, 59)
NKEY = key(KeyKind.USER, 60)

CALLOUT = Callout(issuer=ISSUER.public, users=frozenset({"auth"}), allowed_accounts=frozenset({EVERY_ACCOUNT}))
USERS = (
    UserEntry(name="auth", password="pw", account="AUTH"),
    UserEntry(name="fixed", password="pw", account="APP"),
    UserEntry(name="bare", account="APP"),
)
ACCOUNTS = {
    "AUTH": Account("AUTH", callout=CALLOUT),
    "APP": Account("APP"),
    "SYS": Account("SYS", is_system=True),
}
SETTINGS = AuthSettings(
    accounts=ACCOUNTS,
    users=USERS,
    nkeys=(NkeyEntry(public_key=NKEY.public, account="APP"),),
    system_account="SYS",
    callout_account="AUTH",
    break_glass=frozenset({"fixed"}),
    authorization_block=True,
)


def settings(**callout: Any) -> AuthSettings:
    """The settings with another callout."""
    service = Account("AUTH", callout=replace(CALLOUT, **callout))
    return replace(SETTINGS, accounts={**ACCOUNTS, "AUTH": service})


def delegated(by: Authenticator, evidence: Evidence | None = None) -> Delegation:
    """What becomes of a login that names nobody of the configuration."""
    verdict = by.judge(evidence or Evidence(unverified_user="bob", unverified_password="x"), NOW)
    assert isinstance(verdict, Delegation)
    return verdict


# Answers, and a plain twin that says which of them count.


@dataclass(frozen=True)
class Reply:
    """An answer by what is right and wrong about it."""

    encryption: str = "right"
    signer: KeyPair = ISSUER
    subject: str = USER_KEY
    audience: str = SERVER.public
    issuer_account: str = ""
    error: str = ""
    has_user: bool = True
    expires_in: int = 0
    user_signer: KeyPair = ISSUER
    user_subject: str = USER_KEY
    user_account: str = "APP"
    user_issuer_account: str = ""
    user_expires_in: int = 0
    user_begins_in: int = 0
    connection_types: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    proxy_required: bool = False
    spoiled: bool = False

    def payload(self) -> bytes:
        """The bytes that the service sends."""
        claims = AuthorizationResponseClaims.new(self.subject)
        claims.audience, claims.nats.issuer_account = self.audience, self.issuer_account
        claims.nats.error = self.error
        claims.expires_at = NOW + self.expires_in if self.expires_in else 0
        if self.has_user:
            user = UserClaims.new(self.user_subject)
            user.name, user.audience = "bob", self.user_account
            user.nats.issuer_account = self.user_issuer_account
            user.expires_at = NOW + self.user_expires_in if self.user_expires_in else 0
            user.not_before = NOW + self.user_begins_in if self.user_begins_in else 0
            user.nats.allowed_connection_types = list(self.connection_types)
            user.nats.source_networks = list(self.networks)
            user.nats.proxy_required = self.proxy_required
            claims.nats.jwt = jwt.encode(user, self.user_signer, issued_at=NOW - 10)
        token = jwt.encode(claims, self.signer, issued_at=NOW - 10).encode()
        if self.spoiled:
            token = token[:-1] + (b"A" if token[-1:] != b"A" else b"Q")
        if self.encryption == "none":
            return token
        sender = SERVICE_CURVE if self.encryption == "right" else STRANGE_CURVE
        return sender.seal(token, SERVER_CURVE.public)

    def is_right(self) -> bool:
        """Whether each single thing about it is as it has to be."""
        return (
            self.encryption == "right"
            and not self.spoiled
            and self.signer is ISSUER
            and self.subject == USER_KEY
            and self.audience == SERVER.public
            and self.issuer_account in {"", ISSUER.public}
            and not self.error
            and self.has_user
            and self.expires_in >= 0
            and self.user_signer is ISSUER
            and self.user_subject == USER_KEY
            and self.user_account in {"APP", "AUTH"}
            and not self.user_issuer_account
            and self.user_expires_in >= 0
            and self.user_begins_in <= 0
            and self.connection_types in {(), ("STANDARD",)}
            and self.networks in {(), ("127.0.0.0/8",)}
            and not self.proxy_required
        )


REPLIES = st.builds(
    Reply,
    encryption=st.sampled_from(["right"] * 12 + ["none", "strange"]),
    signer=st.sampled_from([ISSUER] * 12 + [OTHER]),
    subject=st.sampled_from([USER_KEY] * 12 + [OTHER_USER]),
    audience=st.sampled_from([SERVER.public] * 12 + [OTHER_SERVER.public, "", "SERVER"]),
    issuer_account=st.sampled_from(["", ISSUER.public] * 6 + [OTHER.public]),
    error=st.sampled_from([""] * 12 + ["no"]),
    has_user=st.sampled_from([True] * 12 + [False]),
    expires_in=st.sampled_from([0, 1, 60] * 4 + [-1]),
    user_signer=st.sampled_from([ISSUER] * 12 + [OTHER]),
    user_subject=st.sampled_from([USER_KEY] * 12 + [OTHER_USER]),
    user_account=st.sampled_from(["APP", "AUTH"] * 6 + ["SYS", "NONE", ""]),
    user_issuer_account=st.sampled_from([""] * 12 + [ISSUER.public]),
    user_expires_in=st.sampled_from([0, 60] * 6 + [-1]),
    user_begins_in=st.sampled_from([0, -60] * 6 + [60]),
    connection_types=st.sampled_from([(), ("STANDARD",)] * 6 + [("WEBSOCKET",), ("NEW",)]),
    networks=st.sampled_from([(), ("127.0.0.0/8",)] * 6 + [("10.0.0.0/8",)]),
    proxy_required=st.sampled_from([False] * 12 + [True]),
    spoiled=st.sampled_from([False] * 12 + [True]),
)


def outcome(payload: bytes) -> Principal:
    """Who an answer admits. Raises AuthError."""
    by = Authenticator(settings(xkey=SERVICE_CURVE.public))
    evidence = Evidence(unverified_user="bob", unverified_password="x", remote_ip="127.0.0.1")
    delegation = delegated(by, evidence)
    assert delegation.callout is not None
    question = Question(
        callout=delegation.callout, server_id=SERVER.public, curve=SERVER_CURVE, user_key=USER_KEY
    )
    user = read_answer(payload, question, partial(by.check_signer, delegation), NOW)
    return by.admit(delegation, user, evidence, NOW)


@given(reply=REPLIES)
def test_an_answer_counts_exactly_where_everything_about_it_is_right(reply: Reply) -> None:
    payload = reply.payload()
    if reply.is_right():
        principal = outcome(payload)
        assert (principal.account.name, principal.method) == (reply.user_account, Method.CALLOUT)
        assert principal.expires_at == (NOW + reply.user_expires_in if reply.user_expires_in else None)
        return
    with pytest.raises(AuthError) as caught:
        outcome(payload)
    assert caught.value.failure.code.startswith("callout-")
    assert caught.value.client_text == "Authorization Violation"


@given(payload=st.binary(max_size=200))
def test_any_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(AuthError):
        outcome(payload)
    with pytest.raises(AuthError):
        outcome(SERVICE_CURVE.seal(payload, SERVER_CURVE.public))


def test_what_a_service_says_is_cut_to_a_line_of_the_log() -> None:
    with pytest.raises(AuthError) as caught:
        outcome(Reply(error="x" * 100_000, has_user=False).payload())
    assert caught.value.failure is AuthFailure.CALLOUT_DENIED
    assert len(caught.value.detail) == 512


# Whom the callout is asked about.


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(),
        Evidence(unverified_user="bob", unverified_password="x"),
        Evidence(unverified_token="x"),
        Evidence(unverified_nkey=key(KeyKind.USER, 70).public, unverified_signature="x"),
        Evidence(unverified_jwt="x"),
    ],
)
def test_strangers_are_asked_about(evidence: Evidence) -> None:
    by = Authenticator(SETTINGS)
    assert delegated(by, evidence).callout == CALLOUT
    assert not by.is_slow(evidence)
    with pytest.raises(AuthError) as caught:
        by.authenticate(evidence, NOW)
    assert caught.value.failure is AuthFailure.CALLOUT_NOT_ASKED


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(unverified_user="fixed", unverified_password="x"),
        Evidence(unverified_user="auth"),
        Evidence(unverified_nkey=NKEY.public, unverified_signature="x", nonce="n"),
        # The nkey is nobody's, but the name is.
        Evidence(unverified_user="fixed", unverified_nkey=key(KeyKind.USER, 70).public),
    ],
)
def test_whoever_names_a_user_of_the_configuration_is_not(evidence: Evidence) -> None:
    with pytest.raises(AuthError) as caught:
        Authenticator(SETTINGS).judge(evidence, NOW)
    assert not caught.value.failure.code.startswith("callout-")


def test_a_single_user_and_a_token_come_first() -> None:
    alone = Account("$G", callout=CALLOUT)
    single = AuthSettings(accounts={"$G": alone}, user="auth", password="pw", callout_account="$G")
    by = Authenticator(single)
    principal = by.authenticate(Evidence(unverified_user="auth", unverified_password="pw"), NOW)
    assert principal.policy.decide_subscribe("$SYS.REQ.USER.AUTH").allowed
    with pytest.raises(AuthError, match="Password does not match"):
        by.judge(Evidence(unverified_user="auth", unverified_password="x"), NOW)
    delegated(by)
    with pytest.raises(SettingsError, match='auth_callout user "auth" is not a user of the configuration'):
        Authenticator(AuthSettings(accounts={"$G": alone}, token="t", callout_account="$G"))


def test_a_break_glass_user_is_one_that_proved_itself() -> None:
    by = Authenticator(SETTINGS)
    assert by.is_break_glass(by.authenticate(Evidence(unverified_user="fixed", unverified_password="pw"), NOW))
    assert not by.is_break_glass(by.authenticate(Evidence(unverified_user="auth", unverified_password="pw"), NOW))
    principal = outcome(Reply().payload())
    assert not by.is_break_glass(principal)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(SETTINGS, callout_account="NONE"), 'auth_callout account "NONE" is not defined'),
        (settings(users=frozenset({"auth", "who"})), 'auth_callout user "who" is not a user of the configuration'),
        (
            replace(SETTINGS, break_glass=frozenset({"who"})),
            'break_glass user "who" is not a user of the configuration with a secret',
        ),
        (
            replace(SETTINGS, break_glass=frozenset({"bare"})),
            'break_glass user "bare" is not a user of the configuration with a secret',
        ),
        (
            settings(allowed_accounts=frozenset({"APP", "B"})),
            'auth_callout allowed account "B" not found in configured accounts',
        ),
    ],
)
def test_a_callout_that_could_not_work_is_refused(changed: AuthSettings, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Authenticator(changed)
    assert str(caught.value) == message


def test_walls_around_the_service() -> None:
    account = ACCOUNTS["AUTH"]
    service, other = compile_policy(None, account, "auth"), compile_policy(Permissions(), account, "other")
    assert service.decide_subscribe("$SYS.REQ.USER.AUTH").allowed
    assert not other.decide_subscribe("$SYS.REQ.USER.AUTH").allowed
    assert other.delivery_denied("$SYS.REQ.USER.AUTH") is not None
    for policy in (service, other):
        assert not policy.decide_publish("$SYS.REQ.USER.AUTH").allowed
        assert policy.delivery_denied("$SYS._INBOX.a.b") is not None
        assert policy.decide_publish("$SYS._INBOX.a.b").allowed
    assert compile_policy(None, ACCOUNTS["APP"], "x").decide_subscribe("$SYS.REQ.USER.AUTH").allowed


# Claims.


def request(**changes: Any) -> AuthorizationRequestClaims:
    data = AuthorizationRequestData(
        server_id=ServerFacts(name="n", host="h", id=SERVER.public),
        user_nkey=USER_KEY,
        client_info=ClientFacts(),
        connect_opts=ConnectFacts(protocol=1, password="secret"),
    )
    for name, value in changes.items():
        setattr(data, name, value)
    return AuthorizationRequestClaims(subject=ISSUER.public, nats=data)


def test_requests_are_signed_by_servers_alone() -> None:
    token = jwt.encode(request(), SERVER)
    assert jwt.decode(token) == AuthorizationRequestClaims.from_token(token)
    with pytest.raises(JwtError, match="unable to validate expected prefixes"):
        jwt.encode(request(), ISSUER)
    with pytest.raises(JwtError, match="not an authorization response claim"):
        AuthorizationResponseClaims.from_token(token)
    assert [str(issue) for issue in request(user_nkey="").validate(NOW)] == ["User nkey is required"]
    assert [str(issue) for issue in request(user_nkey="U").validate(NOW)] == [
        'User nkey "U" is not a valid user public key'
    ]
    assert "secret" not in repr(request())


def test_responses_are_signed_by_accounts_alone() -> None:
    claims = AuthorizationResponseClaims.new(USER_KEY)
    with pytest.raises(JwtError, match="unable to validate expected prefixes"):
        jwt.encode(claims, SERVER)
    claims = AuthorizationResponseClaims(subject="x", audience="y")
    claims.nats.issuer_account = "z"
    assert [str(issue) for issue in claims.validate(NOW)] == [
        "Subject must be a user public key",
        "Audience must be a server public key",
        "Error or Jwt is required",
        "issuer_account is not an account public key",
    ]
    claims.nats.jwt = claims.nats.error = "secret"
    claims.nats.error = "why"
    assert "Only Error or Jwt can be set" in [str(issue) for issue in claims.validate(NOW)]
    assert "secret" not in repr(claims)


# A function of the program.


def test_a_login_shows_no_secret() -> None:
    shown = Login(user="bob", password="s1", token="s2", jwt="s3", signature="s4", nonce="s5", certificate=b"s6")
    assert "bob" in repr(shown)
    assert not any(f"s{number}" in repr(shown) for number in range(1, 7))
    assert not shown.holds_nkey()


async def _nobody(shown: Login) -> Admission | None:
    return None


def test_a_function_decides_about_strangers_alone() -> None:
    by = Authenticator(AuthSettings(accounts=ACCOUNTS, users=USERS, system_account="SYS", authenticate=_nobody))
    assert by.required
    assert by.nonce_required
    delegation = delegated(by)
    assert delegation.callout is None
    with pytest.raises(AuthError, match="Password does not match"):
        by.judge(Evidence(unverified_user="fixed"), NOW)
    bob = by.admit_as(delegation, Admission(account="APP"), Evidence(unverified_user="bob"), NOW)
    assert (bob.user, bob.account.name, bob.expires_at) == ("bob", "APP", None)
