"""Exports, imports and mappings of account JWTs become those that the compiler reads."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.account import Account
from accounts.activation import Activation
from accounts.exchange import compile_exchange
from accounts.exports import SAMPLE_BY_HEADERS, ResponseType, ServiceExport, ServiceLatency, StreamExport
from accounts.imports import ServiceImport, StreamImport
from accounts.mapping import WeightedDestination
from auth import jwt
from auth.claims import ActivationClaims, Export, Import, UserScope, WeightedMapping
from auth.claims import ServiceLatency as ClaimedLatency
from auth.errors import AuthError
from auth.nkey import KeyPair
from tests.unit.auth.realm import ACCOUNT, ACCOUNT_SIGNING, NOW, OPERATOR, OTHER_ACCOUNT, SCOPED, Realm


def account_of(realm: Realm) -> Account:
    trust = realm.authenticator().trust
    assert trust is not None
    return trust.account(ACCOUNT.public)


def activation(signer: KeyPair = OTHER_ACCOUNT, *, issued_at: int = NOW - 10, **changes: Any) -> str:
    claims = ActivationClaims.new(changes.pop("importer", ACCOUNT.public))
    claims.expires_at, claims.not_before = changes.pop("expires_at", 0), changes.pop("not_before", 0)
    claims.nats.import_subject, claims.nats.kind = changes.pop("subject", "s.>"), changes.pop("kind", "stream")
    claims.nats.issuer_account = changes.pop("issuer_account", "")
    assert not changes
    return jwt.encode(claims, signer, issued_at=issued_at)


class TestExports:
    def exports(self, *exports: Export) -> Account:
        realm = Realm()
        realm.account.nats.exports = list(exports)
        return account_of(realm)

    def test_all_fields_of_a_stream(self) -> None:
        (found,) = self.exports(
            Export(subject="s.*", type="stream", token_required=True, revocations={"*": 5}, account_token_position=2)
        ).exports
        assert isinstance(found, StreamExport)
        assert (found.subject, found.account_token_position, found.token_required) == ("s.*", 2, True)
        assert (dict(found.revocations), found.accounts) == ({"*": 5}, None)
        assert found.origin.endswith(" exports[0]")

    def test_all_fields_of_a_service(self) -> None:
        latency = ClaimedLatency(sampling=40, results="lat")
        account = self.exports(
            Export(subject="a", type="service", service_latency=latency, allow_trace=True, response_threshold=10**9),
            Export(subject="b", type="service", response_type="Chunked"),
            Export(subject="c", type="service", service_latency=ClaimedLatency(results="lat")),
        )
        first, second, third = (found for found in account.exports if isinstance(found, ServiceExport))
        assert (first.latency, first.allow_trace, first.response_threshold) == (ServiceLatency("lat", 40), True, 1.0)
        assert (second.response_type, second.response_threshold) == (ResponseType.CHUNKED, 120.0)
        assert third.latency == ServiceLatency("lat", SAMPLE_BY_HEADERS)
        assert account.findings == ()

    def test_a_service_that_cannot_be_measured_is_offered_without_that(self) -> None:
        latency = ClaimedLatency(sampling=40, results="lat")
        account = self.exports(Export(subject="a", type="service", response_type="Stream", service_latency=latency))
        (found,) = account.exports
        assert isinstance(found, ServiceExport)
        assert found.latency is None
        assert account.findings == ('latency of service export "a" is not measured: bad service response type',)

    def test_what_nothing_can_match_is_passed_over(self) -> None:
        account = self.exports(Export(subject="a.>.b", type="stream"), Export(subject="b", type="stream"))
        assert [found.subject for found in account.exports] == ["b"]
        assert account.findings == ('stream export "a.>.b" is passed over: invalid subject',)


class TestImports:
    def imports(self, *imports: Import) -> Account:
        realm = Realm()
        realm.account.nats.imports = list(imports)
        return account_of(realm)

    @pytest.mark.parametrize(
        ("fields", "there", "here"),
        [
            ({"subject": "s.*"}, "s.*", "s.*"),
            ({"subject": "s.*.*", "local_subject": "x.$2.$1"}, "s.*.*", "x.*.*"),
            ({"subject": "s.*", "to": "P"}, "s.*", "P.s.*"),
            ({"subject": "s.*", "to": "P.Q."}, "s.*", "P.Q.s.*"),
        ],
    )
    def test_where_a_stream_comes_to(self, fields: dict[str, str], there: str, here: str) -> None:
        (found,) = self.imports(Import(account=OTHER_ACCOUNT.public, type="stream", allow_trace=True, **fields)).imports
        assert isinstance(found, StreamImport)
        assert (found.subject, found.local_subject, found.allow_trace) == (there, here, True)
        assert found.origin.endswith(" imports[0]")

    @pytest.mark.parametrize(
        ("fields", "asked", "answered"),
        [
            ({"subject": "q.*"}, "q.a", "q.a"),
            ({"subject": "q.*.*", "local_subject": "x.$2.$1"}, "x.a.b", "q.b.a"),
            ({"subject": "here.*", "to": "there.*"}, "here.a", "there.a"),
        ],
    )
    def test_where_a_request_goes(self, fields: dict[str, str], asked: str, answered: str) -> None:
        (found,) = self.imports(Import(account=OTHER_ACCOUNT.public, type="service", share=True, **fields)).imports
        assert isinstance(found, ServiceImport)
        assert found.inward.apply(asked, lambda count: 0) == answered
        assert found.share

    @pytest.mark.parametrize(
        ("fields", "finding"),
        [
            (
                {"type": "stream", "subject": "s", "to": "P.*"},
                'stream import "s" is passed over: stream import prefix can not contain wildcard tokens',
            ),
            (
                {"type": "service", "subject": "q.*.*", "local_subject": "x.$1.$1"},
                'service import "q.*.*" is passed over: failed to create mapping transform for service import subject '
                'from "x.$1.$1" to "q.*.*": invalid mapping destination: not using all of the token wildcard(s) '
                "in x.$1.$1",
            ),
            ({"type": "stream", "subject": "a.>.b"}, 'stream import "a.>.b" is passed over: invalid subject'),
        ],
    )
    def test_what_cannot_be_is_passed_over_alone(self, fields: dict[str, str], finding: str) -> None:
        account = self.imports(
            Import(account=OTHER_ACCOUNT.public, **fields),
            Import(account=OTHER_ACCOUNT.public, type="stream", subject="other"),
        )
        assert [found.subject for found in account.imports] == ["other"]
        assert account.findings == (finding,)

    def test_the_facts_of_an_activation(self) -> None:
        token = activation(ACCOUNT_SIGNING, issuer_account=OTHER_ACCOUNT.public, expires_at=NOW + 5, not_before=NOW)
        (found,) = self.imports(Import(account=OTHER_ACCOUNT.public, type="stream", subject="s.a", token=token)).imports
        facts = found.activation
        assert facts is not None
        assert facts == Activation(
            "stream", "s.>", ACCOUNT.public, ACCOUNT_SIGNING.public, OTHER_ACCOUNT.public,
            NOW - 10, NOW + 5, NOW, facts.token_id,
        )  # fmt: skip
        assert facts.token_id

    def test_the_token_of_an_older_service_is_about_the_exporters_subject(self) -> None:
        token = activation(kind="service", subject="there")
        (found,) = self.imports(
            Import(account=OTHER_ACCOUNT.public, type="service", subject="here", to="there", token=token)
        ).imports
        assert (found.subject, found.local_subject) == ("there", "here")

    def test_a_token_is_opened_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        item = Import(account=OTHER_ACCOUNT.public, type="stream", subject="s.a", token=activation())
        assert not list(item.issues(ACCOUNT.public))
        opened = item.activation()
        assert item.activation() is opened
        item.token = activation(subject="s.b")
        assert item.activation() is not opened

    @pytest.mark.parametrize(
        "token",
        [
            activation(importer=SCOPED.public),
            activation(ACCOUNT_SIGNING),
            activation(kind="service"),
            activation(subject="z"),
            activation()[:-4] + "AAAA",
        ],
    )
    def test_a_token_for_something_else_ends_the_whole_account(self, token: str) -> None:
        with pytest.raises(AuthError):
            self.imports(Import(account=OTHER_ACCOUNT.public, type="stream", subject="s.a", token=token))


class TestMappings:
    def test_a_weight_of_nought_is_all(self) -> None:
        realm = Realm()
        realm.account.nats.mappings = {
            "a.>": [WeightedMapping("b.>", 0)],
            "a.b": [WeightedMapping("c", 30), WeightedMapping("d", 0, "X")],
        }
        first, second = account_of(realm).mappings
        assert (first.source, first.destinations) == (
            "a.b", (WeightedDestination("c", 30), WeightedDestination("d", 100, "X"))
        )  # fmt: skip
        assert (second.source, second.destinations) == ("a.>", (WeightedDestination("b.>", 100),))

    def test_one_that_cannot_be_is_passed_over(self) -> None:
        realm = Realm()
        realm.account.nats.mappings = {"a": [WeightedMapping("b.$1")], "c": [WeightedMapping("d")]}
        account = account_of(realm)
        assert [mapping.source for mapping in account.mappings] == ["c"]
        assert account.findings == (
            'mapping of "a" is passed over: invalid mapping destination: wildcard index out of range in $1',
        )


@pytest.mark.parametrize(
    ("signer", "issuer_account", "detail"),
    [
        (OTHER_ACCOUNT, "", None),
        (OTHER_ACCOUNT, OTHER_ACCOUNT.public, None),
        (ACCOUNT_SIGNING, OTHER_ACCOUNT.public, None),
        (SCOPED, OTHER_ACCOUNT.public, "a scoped signing key of"),
    ],
)
def test_accounts_of_tokens_cross_walls_through_the_same_compiler(
    signer: KeyPair, issuer_account: str, detail: str | None
) -> None:
    exporting = Realm()
    exporting.account.subject, exporting.account.name = OTHER_ACCOUNT.public, "EXPORTER"
    exporting.account.nats.signing_keys = [ACCOUNT_SIGNING.public, UserScope.new(SCOPED.public)]
    exporting.account.nats.exports = [Export(subject="s.*", type="stream", token_required=True)]
    importing = Realm()
    token = activation(signer, issuer_account=issuer_account)
    importing.account.nats.imports = [
        Import(account=OTHER_ACCOUNT.public, type="stream", subject="s.a", token=token)
    ]
    preload = {
        OTHER_ACCOUNT.public: jwt.encode(exporting.account, OPERATOR, issued_at=NOW),
        ACCOUNT.public: jwt.encode(importing.account, OPERATOR, issued_at=NOW),
    }
    authenticator = importing.authenticator(preload={**importing.preload(), **preload})
    account = authenticator.account(ACCOUNT.public)
    assert account is not None
    found = compile_exchange(account, authenticator.account, NOW)
    if detail is None:
        assert [link.export.subject for link in found.streams] == ["s.*"]
    else:
        assert [detail in problem.detail for problem in found.refused] == [True]
