"""Tokens: written byte for byte as the NATS tools write them, read strictly, version 1 still understood."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from auth import envelope, jwt
from auth.claims import (
    AccountClaims,
    ActivationClaims,
    Export,
    GenericClaims,
    Import,
    OperatorClaims,
    ServiceLatency,
    UserClaims,
    UserScope,
)
from auth.jwt import JwtError
from auth.nkey import KeyKind, KeyPair
from tests.unit.auth.realm import ACCOUNT, ACCOUNT_SIGNING, NOW, OPERATOR, SCOPED, USER, seal

RAW = bytes(range(32))
FIXED_OPERATOR, FIXED_ACCOUNT = KeyPair(KeyKind.OPERATOR, RAW), KeyPair(KeyKind.ACCOUNT, RAW)


def section(token: str) -> str:
    """The ``nats`` section as it stands in the token."""
    payload = base64.urlsafe_b64decode(token.split(".")[1] + "==").decode()
    return payload[payload.index('"nats":') + len('"nats":') : -1]


def test_token_id_is_that_of_the_nats_tools() -> None:
    claims = AccountClaims.new(FIXED_ACCOUNT.public)
    claims.name = "A <x>&"
    token = jwt.encode(claims, FIXED_OPERATOR, issued_at=1795419275)
    assert claims.token_id == "DY33PJYZ5UUGG6JVVWNR5NT2A3KNZ6TQAH2CWGZT5FMDNFEGY5SA"
    assert token.startswith("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.")


def test_registered_fields_come_in_order_and_escaped() -> None:
    claims = UserClaims.new(USER.public)
    claims.audience, claims.expires_at, claims.not_before, claims.name = "a&b", NOW + 9, NOW, "<é\u2028>"
    token = jwt.encode(claims, ACCOUNT, issued_at=NOW)
    payload = base64.urlsafe_b64decode(token.split(".")[1] + "==").decode()
    assert list(json.loads(payload)) == ["aud", "exp", "jti", "iat", "iss", "name", "nbf", "sub", "nats"]
    assert '"aud":"a\\u0026b"' in payload
    assert '"name":"\\u003cé\\u2028\\u003e"' in payload


@pytest.mark.parametrize(
    ("claims", "signer", "expected"),
    [
        (OperatorClaims.new(OPERATOR.public), OPERATOR, '{"type":"operator","version":2}'),
        (
            AccountClaims.new(ACCOUNT.public),
            OPERATOR,
            '{"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1},'
            '"default_permissions":{"pub":{},"sub":{}},"authorization":{},"type":"account","version":2}',
        ),
        (
            UserClaims.new(USER.public),
            ACCOUNT,
            '{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}',
        ),
        (UserClaims.new(USER.public, scoped=True), ACCOUNT, '{"pub":{},"sub":{},"type":"user","version":2}'),
        (ActivationClaims.new(ACCOUNT.public), ACCOUNT, '{"type":"activation","version":2}'),
        (GenericClaims.new("any"), USER, '{"version":2}'),
    ],
)
def test_fresh_claims(claims: Any, signer: KeyPair, expected: str) -> None:
    token = jwt.encode(claims, signer, issued_at=NOW)
    assert section(token) == expected
    assert jwt.decode(token) == claims


def test_a_full_account_is_sorted_and_complete() -> None:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.nats.exports = [
        Export(subject="z", type="stream"),
        Export(subject="a.*", type="service", service_latency=ServiceLatency(0, "lat"), account_token_position=2),
    ]
    claims.nats.imports = [
        Import(subject="y", account=OPERATOR.public, type="stream"),
        Import(subject="b", account=ACCOUNT.public, type="service", share=True, local_subject="c"),
    ]
    scope = UserScope.new(SCOPED.public)
    scope.template.publish.allow = ["u.{{name()}}.>"]
    claims.nats.signing_keys = [scope, ACCOUNT_SIGNING.public]
    claims.nats.revocations = {"U2": 2, "*": 1}
    claims.nats.tags = ["b", "a"]
    keys = sorted([ACCOUNT_SIGNING.public, SCOPED.public])
    text = section(jwt.encode(claims, OPERATOR, issued_at=NOW))
    assert text.startswith(
        f'{{"imports":[{{"subject":"b","account":"{ACCOUNT.public}","local_subject":"c","type":"service"'
    )
    assert (
        '"exports":[{"subject":"a.*","type":"service","service_latency":{"sampling":"headers","results":"lat"},'
        '"account_token_position":2},{"subject":"z","type":"stream"}]' in text
    )
    written = json.loads(text)["signing_keys"]
    assert [item if isinstance(item, str) else item["key"] for item in written] == keys
    assert (
        f'{{"kind":"user_scope","key":"{SCOPED.public}","role":"","template":{{"pub":{{"allow":["u.{{{{name()}}}}.\\u003e"]}},'
        '"sub":{},"subs":-1,"data":-1,"payload":-1},"description":""}' in text
    )
    assert '"revocations":{"*":1,"U2":2},"default_permissions"' in text
    assert text.endswith('"authorization":{},"tags":["b","a"],"type":"account","version":2}')


@pytest.mark.parametrize(
    ("claims", "signer", "text"),
    [
        (UserClaims.new(""), ACCOUNT, "subject is not set"),
        (UserClaims.new(ACCOUNT.public), ACCOUNT, "expected subject to be user public key"),
        (AccountClaims.new(USER.public), OPERATOR, "expected subject to be account public key"),
        (OperatorClaims.new(USER.public), OPERATOR, "expected subject to be an operator public key"),
        (ActivationClaims.new(USER.public), ACCOUNT, "expected subject to be an account"),
        (UserClaims.new(USER.public), OPERATOR, r"unable to validate expected prefixes - \[account\]"),
        (AccountClaims.new(ACCOUNT.public), USER, r"unable to validate expected prefixes - \[account operator\]"),
    ],
)
def test_what_may_not_be_signed(claims: Any, signer: KeyPair, text: str) -> None:
    with pytest.raises(JwtError, match=f"^{text}$"):
        jwt.encode(claims, signer)


def test_an_operator_needs_a_usable_account_server() -> None:
    claims = OperatorClaims.new(OPERATOR.public)
    claims.nats.account_server_url = "example.com"
    with pytest.raises(JwtError, match=r'^account server url "example.com" requires a protocol$'):
        jwt.encode(claims, OPERATOR)


def user_payload(**changes: Any) -> dict[str, Any]:
    nats = {"pub": {}, "sub": {}, "type": "user", "version": 2, **changes.pop("nats", {})}
    return {"iat": NOW, "iss": ACCOUNT.public, "name": "u", "sub": USER.public, "nats": nats, **changes}


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("a.b", "expected 3 chunks"),
        ("a.b.c.d", "expected 3 chunks"),
        ("x" * (1024 * 1024 + 1), "token size 1048577 exceeds maximum of 1048576 bytes: token too large"),
        ("é.b.c", "token is not a well-formed JWT"),
        (seal(user_payload(), ACCOUNT, header={"typ": "JOSE", "alg": "ed25519-nkey"}), 'not supported type "JOSE"'),
        (seal(user_payload(), ACCOUNT, header={"typ": "JWT", "alg": "HS256"}), 'unexpected "HS256" algorithm'),
        (seal(user_payload(), ACCOUNT, header={"typ": "JWT", "alg": "none"}), 'unexpected "none" algorithm'),
        (seal(user_payload(), ACCOUNT, header={"alg": "ed25519-nkey"}), 'not supported type ""'),
        (
            seal(user_payload(), ACCOUNT, header={"typ": "JWT", "alg": "ed25519-nkey", "crit": ["x"]}),
            "token is not a well-formed JWT",
        ),
        (seal(user_payload(), USER), "claim failed V2 signature verification"),
        (seal(user_payload(iss=USER.public), USER), r"unable to validate expected prefixes - \[account\]"),
        (seal(user_payload(iss="nobody"), ACCOUNT), "claim failed V2 signature verification"),
        (seal(user_payload(iss=None), ACCOUNT), "claim failed V2 signature verification"),
        (seal(user_payload(nats={"version": 3}), ACCOUNT), "JWT was generated by a newer version "),
        (seal(user_payload(nats={"version": 1}), ACCOUNT), "library supports version 2 or less - received 1"),
        (seal(user_payload(nats={"version": None}), ACCOUNT), "library supports version 2 or less - received 0"),
        (seal(user_payload(nats={"version": "2"}), ACCOUNT), "`nats.version` must be an integer"),
        (seal(user_payload(nats={"type": "account"}), ACCOUNT), "not user claim"),
        (seal(user_payload(exp=1.5), ACCOUNT), "user claim: Expected `int`, got `float`.*"),
        (seal(user_payload(exp="9"), ACCOUNT), "user claim: Expected `int`, got `str`.*"),
        (seal(user_payload(exp=2**63), ACCOUNT), "user claim: Expected `int` <= .*"),
        (seal(user_payload(nats={"subs": True}), ACCOUNT), "user claim: Expected `int`, got `bool`.*"),
        (seal(user_payload(Exp=1), ACCOUNT), 'claim field "Exp" must be written "exp"'),
        (seal(user_payload(nats={"BEARER_TOKEN": True}), ACCOUNT), 'claim field "BEARER_TOKEN" must be written .*'),
        (seal(user_payload(nats={"pub": {"Deny": ["x"]}}), ACCOUNT), 'claim field "Deny" must be written "deny"'),
        (seal(user_payload() | {"nats": 1}, ACCOUNT), "user claim: `nats` must be an object"),
    ],
)
def test_what_is_refused_as_a_user_token(token: str, text: str) -> None:
    with pytest.raises(JwtError, match=f"^{text}$") as caught:
        UserClaims.from_token(token)
    assert len(token) < 20 or token not in str(caught.value)


def sealed_text(payload: str | bytes) -> str:
    """A right signature over a payload that may be no JSON."""
    raw = payload if isinstance(payload, bytes) else payload.encode()
    signed = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ." + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return signed + "." + base64.urlsafe_b64encode(ACCOUNT.sign(signed.encode())).decode().rstrip("=")


GOOD = json.dumps(user_payload())


@pytest.mark.parametrize(
    "payload",
    [
        "null",
        "[]",
        "",
        GOOD + "x",
        "\ufeff" + GOOD,
        GOOD.replace('"name": "u"', '"name": "u", "name": "v"'),
        GOOD.replace('"u"', '"\\ud800"'),
        GOOD.replace('"u"', "NaN"),
        GOOD.replace('"u"', "[" * 100_000),
        GOOD.encode().replace(b'"u"', b'"\xff"'),
    ],
)
def test_payloads_that_are_no_object_of_json(payload: str | bytes) -> None:
    assert jwt.decode(sealed_text(GOOD)).name == "u"
    with pytest.raises(JwtError, match=r"^token is not"):
        jwt.decode(sealed_text(payload))


def test_spellings_of_one_token_are_refused_but_the_canonical() -> None:
    token = sealed_text(GOOD)
    head, body, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(signature[-1]) | 5]
    for spelling in (
        f"{head}.{body}.{signature[:-1]}{spare}",
        f"{head}.{body}\n.{signature}",
        f"{head}.{body}.{signature}\n",
        f" {token}",
        f"{head}.{body}.",
    ):
        assert spelling != token
        with pytest.raises(JwtError):
            jwt.decode(spelling)


def test_null_is_as_good_as_absent() -> None:
    claims = UserClaims.from_token(seal(user_payload(nats={"resp": {"max": None}, "tags": None, "src": None}), ACCOUNT))
    assert claims.nats.responses is not None
    assert claims.nats.responses.maximum == 0
    assert claims.nats.source_networks == []


def test_source_networks_may_be_one_text() -> None:
    claims = UserClaims.from_token(seal(user_payload(nats={"src": "10.0.0.0/8, ::1/128,"}), ACCOUNT))
    assert claims.nats.source_networks == ["10.0.0.0/8", "::1/128"]


def test_header_is_accepted_in_both_spellings() -> None:
    for header in ({"typ": "jwt", "alg": "ed25519-nkey"}, {"typ": "JWT", "alg": "ed25519", "more": 1}):
        assert UserClaims.from_token(seal(user_payload(), ACCOUNT, header=header)).name == "u"


class TestVersion1:
    """Shape and signature of the first generation; the shape decides, not the header."""

    def payload(self, **nats: Any) -> dict[str, Any]:
        return {"iat": 1, "iss": ACCOUNT.public, "sub": USER.public, "type": "user", "tags": ["t:1"], "nats": nats}

    def test_a_user_is_unlimited_where_it_is_silent(self) -> None:
        payload = self.payload(pub={"allow": ["a"]}, max=5, subs=7) | {"issuer_account": ACCOUNT.public}
        claims = UserClaims.from_token(seal(payload, ACCOUNT, v1=True))
        assert (claims.nats.subscriptions, claims.nats.data, claims.nats.payload) == (7, -1, -1)
        assert (claims.nats.tags, claims.nats.issuer_account, claims.nats.version) == (["t:1"], ACCOUNT.public, 1)

    def test_the_signature_covers_the_payload_alone(self) -> None:
        with pytest.raises(JwtError, match=r"^claim failed V1 signature verification$"):
            jwt.decode(seal(self.payload(), ACCOUNT, v1=False))
        with pytest.raises(JwtError, match=r"^claim failed V2 signature verification$"):
            jwt.decode(seal(user_payload(), ACCOUNT, v1=True))

    def test_an_account_has_no_jetstream(self) -> None:
        nats = {"limits": {"subs": -1, "mem_storage": 5}}
        payload = {"iss": OPERATOR.public, "sub": ACCOUNT.public, "type": "account", "nats": nats}
        claims = AccountClaims.from_token(seal(payload, OPERATOR, v1=True))
        assert (claims.nats.limits.subscriptions, claims.nats.limits.memory_storage) == (-1, 0)

    def test_an_activation_has_its_kind_in_type(self) -> None:
        nats = {"subject": "a", "type": "stream", "max": 4}
        payload = {"iss": ACCOUNT.public, "sub": ACCOUNT.public, "type": "activation", "nats": nats}
        claims = ActivationClaims.from_token(seal(payload, ACCOUNT, v1=True))
        assert (claims.nats.kind, claims.nats.import_subject) == ("stream", "a")

    def test_writing_makes_version_2(self) -> None:
        claims = UserClaims.from_token(seal(self.payload(), ACCOUNT, v1=True))
        assert section(jwt.encode(claims, ACCOUNT)).endswith('"tags":["t:1"],"type":"user","version":2}')


def test_each_type_says_what_it_is_not() -> None:
    token = seal(user_payload(), ACCOUNT)
    for claims, text in (
        (OperatorClaims, "not operator claim"),
        (AccountClaims, "not account claim"),
        (ActivationClaims, "not activation claim"),
    ):
        with pytest.raises(JwtError, match=f"^{text}$"):
            claims.from_token(token)
    assert isinstance(jwt.decode(token), UserClaims)


def test_generic_claims_keep_their_data() -> None:
    claims = GenericClaims.new(OPERATOR.public)
    claims.nats = {"accounts": ["A"], "b": 1.5}
    token = jwt.encode(claims, OPERATOR, issued_at=NOW)
    read = jwt.decode(token)
    assert isinstance(read, GenericClaims)
    assert read.nats == {"accounts": ["A"], "b": 1.5, "version": 2}
    assert read.is_self_signed
    for kind, text in (("cluster", "ClusterClaims are not supported"), ("server", "ServerClaims are not supported")):
        with pytest.raises(JwtError, match=f"^{text}$"):
            jwt.decode(seal({"iss": OPERATOR.public, "sub": "s", "nats": {"type": kind}}, OPERATOR))


def test_unverified_reading_is_named_so() -> None:
    token = seal(user_payload(), USER)
    assert jwt.decode_unverified(token).name == "u"
    assert envelope.open_unverified(token)["name"] == "u"
    with pytest.raises(JwtError):
        jwt.decode(token)


def test_unknown_scopes_are_refused() -> None:
    nats = {"type": "account", "version": 2, "signing_keys": [{"kind": "other_scope", "key": SCOPED.public}]}
    token = seal({"iss": OPERATOR.public, "sub": ACCOUNT.public, "nats": nats}, OPERATOR)
    with pytest.raises(JwtError, match=r'^unknown signing key scope "other_scope"$'):
        jwt.decode(token)


def test_a_scope_without_limits_is_unlimited_and_tiers_replace_flat_limits() -> None:
    nats = {
        "type": "account",
        "version": 2,
        "signing_keys": [{"kind": "user_scope", "key": SCOPED.public, "template": {"subs": 5, "src": "10.0.0.0/8"}}],
        "limits": {"mem_storage": 5, "conn": 3, "tiered_limits": {"R1": {"disk_storage": 9}}},
    }
    claims = AccountClaims.from_token(seal({"iss": OPERATOR.public, "sub": ACCOUNT.public, "nats": nats}, OPERATOR))
    scope = claims.signing_key(SCOPED.public)
    assert isinstance(scope, UserScope)
    assert (scope.template.subscriptions, scope.template.data) == (5, -1)
    assert scope.template.source_networks == ["10.0.0.0/8"]
    assert (claims.nats.limits.memory_storage, claims.nats.limits.connections) == (0, 3)
    assert claims.nats.limits.is_jetstream_enabled
