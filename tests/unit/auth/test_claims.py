"""Findings about claims, in the words of the NATS tools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auth import jwt
from auth.claims import (
    AccountClaims,
    ActivationClaims,
    Claims,
    Export,
    Import,
    IssueLevel,
    JetStreamLimits,
    MessageTrace,
    OperatorClaims,
    ServiceLatency,
    TimeRange,
    UserClaims,
    UserScope,
    WeightedMapping,
    add_tags,
    blocking,
    remove_tags,
)
from auth.envelope import JwtError
from tests.unit.auth.realm import ACCOUNT, NOW, OPERATOR, OTHER_ACCOUNT, SCOPED, USER


def texts(claims: Claims) -> list[str]:
    return [issue.description for issue in claims.validate(NOW)]


def user(change: Callable[[UserClaims], object]) -> UserClaims:
    claims = UserClaims.new(USER.public)
    change(claims)
    return claims


def account(change: Callable[[AccountClaims], object]) -> AccountClaims:
    claims = AccountClaims.new(ACCOUNT.public)
    change(claims)
    return claims


def operator(change: Callable[[OperatorClaims], object]) -> OperatorClaims:
    claims = OperatorClaims.new(OPERATOR.public)
    change(claims)
    return claims


@pytest.mark.parametrize("claims", [UserClaims.new(USER.public), AccountClaims.new(ACCOUNT.public)])
def test_fresh_claims_are_valid(claims: Claims) -> None:
    assert texts(claims) == []


def test_times_block_only_whoever_asks() -> None:
    expired = user(lambda c: setattr(c, "expires_at", NOW - 1))
    early = user(lambda c: setattr(c, "not_before", NOW + 1))
    assert texts(expired) == ["claim is expired"]
    assert texts(early) == ["claim is not yet valid"]
    assert texts(user(lambda c: setattr(c, "expires_at", NOW))) == []
    issues = expired.validate(NOW)
    assert issues[0].level is IssueLevel.TIME
    assert blocking(issues) == []
    assert blocking(issues, include_times=True) == issues


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.nats.publish.allow.append("a..b"), ['subject "a..b" cannot contain consecutive `.`']),
        (lambda c: c.nats.publish.deny.append(".a"), ['subject ".a" cannot start or end with a `.`']),
        (lambda c: c.nats.publish.allow.append(""), ["subject cannot be empty"]),
        (lambda c: c.nats.publish.allow.append("a b"), ['Permission Subject "a b" is not allowed to contain queue']),
        (lambda c: c.nats.subscribe.allow.append("a b c"), ['Permission Subject "a b c" contains too many spaces']),
        (lambda c: c.nats.subscribe.allow.append("a q"), []),
        (lambda c: c.nats.source_networks.append("127.0.0.1/33"), ['invalid cidr "127.0.0.1/33" in user src limits']),
        (lambda c: c.nats.source_networks.append("127.0.0.1"), ['invalid cidr "127.0.0.1" in user src limits']),
        (lambda c: c.nats.source_networks.append("10.1.2.3/8"), []),
        (lambda c: c.nats.times.append(TimeRange("25:00", "01:00:00")), ['start in time range is invalid "25:00"']),
        (
            lambda c: c.nats.times.append(TimeRange("", "24:00:00")),
            ["time ranges start must contain a start", 'end in time range is invalid "24:00:00"'],
        ),
        (lambda c: c.nats.times.append(TimeRange("8:00:00")), ["time ranges end must contain an end"]),
        (
            lambda c: setattr(c.nats, "times_location", "No/Where"),
            ["could not parse iana time zone by name: unknown time zone No/Where"],
        ),
        (lambda c: setattr(c.nats, "times_location", "Europe/Berlin"), []),
        (
            lambda c: setattr(c.nats, "times_location", "../../etc/passwd"),
            ["could not parse iana time zone by name: unknown time zone ../../etc/passwd"],
        ),
        (lambda c: setattr(c.nats, "issuer_account", USER.public), ["account_id is not an account public key"]),
    ],
)
def test_findings_about_users(change: Callable[[UserClaims], object], expected: list[str]) -> None:
    assert texts(user(change)) == expected


def set_limits(**limits: object) -> Callable[[AccountClaims], object]:
    def change(claims: AccountClaims) -> None:
        for name, value in limits.items():
            setattr(claims.nats.limits, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.nats.signing_keys.append(USER.public), [f'"{USER.public}" is not a valid account signing key']),
        (
            lambda c: c.nats.signing_keys.append(UserScope.new(USER.public)),
            [f"{USER.public} is not an account public key"],
        ),
        (
            lambda c: c.nats.mappings.update({"a": [WeightedMapping("b", 101)]}),
            [
                'Mapping "a" has a weight 101 that exceeds 100',
                'Mapping "a" exceeds 100% among all of it\'s weighted to mappings',
            ],
        ),
        (
            lambda c: c.nats.mappings.update({"a": [WeightedMapping("b", 60, "eu"), WeightedMapping("c", 60, "eu")]}),
            ['Mapping "a" in cluster "eu" exceeds 100% among all of it\'s weighted to mappings'],
        ),
        (lambda c: c.nats.mappings.update({"a": [WeightedMapping("b")]}), []),
        (
            lambda c: c.nats.authorization.allowed_accounts.append("*"),
            ["External authorization cannot have accounts without users specified"],
        ),
        (
            lambda c: (
                c.nats.authorization.auth_users.append("x"),
                c.nats.authorization.allowed_accounts.extend(["*", "y"]),
                setattr(c.nats.authorization, "xkey", "z"),
            ),
            [
                'AuthUser "x" is not a valid user public key',
                'AllowedAccounts can only be a list of accounts or "*"',
                'Account "y" is not a valid account public key',
                'XKey "z" is not a valid public xkey',
            ],
        ),
        (
            lambda c: setattr(c.nats, "trace", MessageTrace(destination="a.*", sampling=101)),
            [
                'the account Trace.Destination subject "a.*" is not a valid publish subject',
                "the account Trace.Sampling value '101' is not valid, should be in the range [1..100]",
            ],
        ),
        (
            lambda c: setattr(c.nats, "trace", MessageTrace()),
            ["the account Trace.Destination subject cannot be empty"],
        ),
        (lambda c: setattr(c.nats, "cluster_traffic", "x"), ['unknown cluster traffic option: "x"']),
        (lambda c: setattr(c.nats, "description", "x" * 8193), ["Description is too long"]),
        (lambda c: setattr(c.nats, "info_url", "example.com"), ["error parsing info url: no hostname or scheme"]),
        (lambda c: setattr(c.nats, "info_url", "https://example.com/a"), []),
        (
            set_limits(memory_storage=1, tiered_limits={"": JetStreamLimits()}),
            [
                "JetStream Limits and tiered JetStream Limits are mutually exclusive",
                'Tiered JetStream Limits can not contain a blank "" tier name',
            ],
        ),
        (lambda c: c.nats.exports.append(None), ["null export is not allowed"]),
        (lambda c: c.nats.imports.append(None), ["null import is not allowed"]),
        (
            lambda c: setattr(c, "issuer", ACCOUNT.public),
            ["self-signed account JWTs shouldn't contain operator limits"],
        ),
    ],
)
def test_findings_about_accounts(change: Callable[[AccountClaims], object], expected: list[str]) -> None:
    assert texts(account(change)) == expected


def test_a_warning_never_blocks() -> None:
    claims = account(lambda c: setattr(c, "issuer", ACCOUNT.public))
    assert blocking(claims.validate(NOW), include_times=True) == []


def test_limits_on_exchange() -> None:
    claims = account(set_limits(imports=0, exports=0, wildcard_exports=False))
    claims.nats.exports.append(Export(subject="a.*", type="stream"))
    claims.nats.imports.append(Import(subject="b", account=OTHER_ACCOUNT.public, type="stream"))
    assert texts(claims) == [
        "the account contains more imports than allowed by the operator",
        "the account contains more exports than allowed by the operator",
        "the account contains wildcard exports that are not allowed by the operator",
    ]


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        (Export(subject="a", type="queue"), ['invalid export type: "queue"']),
        (Export(subject="a", type="service", response_type="x"), ['invalid response type for service: "x"']),
        (
            Export(subject="a", type="stream", response_type="Singleton", allow_trace=True),
            ['invalid response type for stream: "Singleton"', "AllowTrace only valid for service export"],
        ),
        (
            Export(subject="a", type="stream", service_latency=ServiceLatency(101, "r.*"), response_threshold=1),
            [
                "latency tracking only permitted for services",
                "sampling percentage needs to be between 1-100",
                "results subject can not contain wildcards",
                "response threshold only valid for services",
            ],
        ),
        (Export(subject="a", type="service", response_threshold=-1), ["negative response threshold is invalid"]),
        (Export(subject="a", type="service", service_latency=ServiceLatency("headers", "r")), []),
        (
            Export(subject="a", type="stream", account_token_position=1),
            ["Account Token Position can only be used with wildcard subjects: a"],
        ),
        (
            Export(subject="a.*", type="stream", account_token_position=3),
            ["Account Token Position 3 exceeds length of subject 'a.*'"],
        ),
        (
            Export(subject="a.*", type="stream", account_token_position=1),
            ["Account Token Position 1 matches 'a' but must match a * in: a.*"],
        ),
    ],
)
def test_findings_about_exports(export: Export, expected: list[str]) -> None:
    assert texts(account(lambda c: c.nats.exports.append(export))) == expected


def test_exports_of_one_kind_do_not_overlap() -> None:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.nats.exports = [
        Export(subject="a.*", type="stream"),
        Export(subject="a.b", type="stream"),
        Export(subject="a.b", type="service"),
    ]
    assert texts(claims) == ['stream export subject "a.*" already exports "a.b"']
    claims.nats.exports.reverse()
    assert texts(claims) == ['stream export subject "a.*" already exports "a.b"']


def taken(subject: str, **fields: object) -> Import:
    defaults: dict[str, object] = {"type": "stream", "account": OTHER_ACCOUNT.public}
    return Import(subject=subject, **(defaults | fields))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (taken("a", type="x"), ['invalid import type: "x"']),
        (taken("a", type="service", allow_trace=True), ["AllowTrace only valid for stream import"]),
        (taken("a", account=""), ["account to import from is not specified"]),
        (taken("a", to="b"), ["the field to has been deprecated (use LocalSubject instead)"]),
        (
            taken("a", to="b", local_subject="c"),
            ["the field to has been deprecated (use LocalSubject instead)", "Local Subject replaces To"],
        ),
        (
            taken("a", share=True),
            ['sharing information (for latency tracking) is only valid for services: "a"'],
        ),
        (taken("a.*.*", local_subject="b.$2.$1"), []),
        (
            taken("a.*", local_subject="b.$2"),
            [
                'Reference $2 in "b.$2" reference * in "a.*" that do not exist',
                "subject does not contain enough * or reference wildcards $[0-9]",
            ],
        ),
        (
            taken("a.>", local_subject="b"),
            ["both, renaming subject and subject, need to end or not end in >"],
        ),
        (taken("a", token="x"), ['import "a" contains an invalid activation token']),
    ],
)
def test_findings_about_imports(item: Import, expected: list[str]) -> None:
    assert texts(account(lambda c: c.nats.imports.append(item))) == expected


def test_services_taken_from_one_account_do_not_overlap() -> None:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.nats.imports = [
        taken("a.b", type="service"),
        taken("x", type="service", local_subject="a.b"),
        taken("a.b", type="service", account=ACCOUNT.public),
    ]
    other = OTHER_ACCOUNT.public
    assert texts(claims) == [
        f'overlapping subject namespace for "a.b" and "a.b" in same account "{other}"',
        f'overlapping subject namespace for "a.b" in account "{other}"',
    ]


def activation(**fields: str) -> ActivationClaims:
    claims = ActivationClaims.new(fields.pop("importer", ACCOUNT.public))
    claims.nats.import_subject, claims.nats.kind = fields.get("subject", "a.*"), fields.get("kind", "stream")
    return claims


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (activation(), []),
        (
            activation(importer=OTHER_ACCOUNT.public),
            ['activation token doesn\'t match account it is being included in, "a.b"'],
        ),
        (
            activation(kind="service"),
            ["mismatch between token import type service and type of import stream"],
        ),
        (activation(subject="b"), ['activation token import subject "b" doesn\'t match import "a.b"']),
    ],
)
def test_findings_about_activations(claims: ActivationClaims, expected: list[str]) -> None:
    token = jwt.encode(claims, OTHER_ACCOUNT, issued_at=NOW)
    assert texts(account(lambda c: c.nats.imports.append(taken("a.b", token=token)))) == expected
    assert token not in repr(taken("a.b", token=token))


def test_activation_of_another_exporter() -> None:
    token = jwt.encode(activation(), SCOPED, issued_at=NOW)
    claims = account(lambda c: c.nats.imports.append(taken("a.b", token=token)))
    assert texts(claims) == ['activation token doesn\'t match account for import "a.b"']


def test_activation_hash() -> None:
    from auth.nkey import KeyKind, KeyPair

    fixed = KeyPair(KeyKind.ACCOUNT, bytes(range(32)))
    claims = ActivationClaims.new(fixed.public)
    with pytest.raises(JwtError, match="not enough data"):
        claims.hash_id()
    claims.issuer, claims.nats.import_subject = fixed.public, "foo.*"
    assert claims.hash_id() == "M63H6MXB3BJZUTIZW55WPAEFU2OOIV6YKI7NNLLNQCPHP4Y2YSGQ===="
    assert ActivationClaims.new(USER.public).validate(NOW)[0].description == 'invalid import type: "unknown"'


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: setattr(c.nats, "account_server_url", "x"), ['account server url "x" requires a protocol']),
        (
            lambda c: c.nats.operator_service_urls.extend(["nats://u@h", "nats://h/p", "http://h", "tls://h:4222"]),
            [
                'operator service url "nats://u@h" - credentials are not supported',
                'operator service url "nats://h/p" - paths are not supported',
                "operator service url \"http://h\" - protocol not supported (only 'nats', 'tls', 'ws', 'wss' only)",
            ],
        ),
        (lambda c: c.nats.signing_keys.append(USER.public), [f"{USER.public} is not an operator public key"]),
        (lambda c: setattr(c.nats, "system_account", "x"), ["x is not an account public key"]),
        (
            lambda c: setattr(c.nats, "assert_server_version", "2.x.0"),
            ["assert server version error: asserted server version cant parse x to int"],
        ),
        (
            lambda c: setattr(c.nats, "assert_server_version", "2.1"),
            ["assert server version error: asserted server version must be of the form <major>.<minor>.<update>"],
        ),
        (
            lambda c: setattr(c.nats, "assert_server_version", "2.-1.0"),
            ["assert server version error: asserted server version can't contain negative values: -1"],
        ),
        (lambda c: setattr(c.nats, "assert_server_version", "2.14.5"), []),
    ],
)
def test_findings_about_operators(change: Callable[[OperatorClaims], object], expected: list[str]) -> None:
    assert texts(operator(change)) == expected


def test_who_signs_for_an_operator() -> None:
    claims = OperatorClaims.new(OPERATOR.public)
    signed = AccountClaims.new(ACCOUNT.public)
    signed.issuer = OPERATOR.public
    assert claims.did_sign(signed)
    claims.nats.strict_signing_key_usage = True
    claims.nats.signing_keys = [SCOPED.public]
    assert not claims.did_sign(signed)
    assert claims.did_sign(claims)
    assert claims.trusted_keys() == (SCOPED.public,)


def test_revoking() -> None:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.revoke(USER.public, 10)
    claims.revoke(USER.public, 5)
    assert claims.nats.revocations == {USER.public: 10}
    claims.revoke("*", 10)
    assert claims.compact_revocations() == [USER.public]
    assert claims.nats.revocations == {"*": 10}


def test_signing_keys_are_replaced_by_name() -> None:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.set_signing_key(SCOPED.public)
    claims.set_signing_key(UserScope.new(SCOPED.public))
    assert isinstance(claims.signing_key(SCOPED.public), UserScope)
    assert len(claims.nats.signing_keys) == 1
    assert claims.remove_signing_key(SCOPED.public)
    assert not claims.remove_signing_key(SCOPED.public)


def test_tags_are_lower_case_and_unique() -> None:
    tags = ["a"]
    add_tags(tags, [" A ", "B", ""])
    assert tags == ["a", "b"]
    remove_tags(tags, ["A"])
    assert tags == ["b"]
