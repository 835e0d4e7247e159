"""Exports, imports, and whether the two meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accounts.account import Account
from accounts.exchange import import_problems
from accounts.exports import Export, ServiceExport, StreamExport
from accounts.imports import Import, ServiceImport, StreamImport, prefixed
from accounts.transform import InvalidTransformError


class TestExports:
    @pytest.mark.parametrize(
        ("export", "importer", "subject", "allowed"),
        [
            (StreamExport(subject="a.>"), "I", "a.b", True),
            (StreamExport(subject="a.>"), "I", "a.>", True),
            (StreamExport(subject="a.*"), "I", "a.>", False),
            (StreamExport(subject="a.>", accounts=frozenset({"I"})), "I", "a.b", True),
            (StreamExport(subject="a.>", accounts=frozenset({"I"})), "J", "a.b", False),
            (ServiceExport(subject="a.*.b", account_token_position=2), "I", "a.I.b", True),
            (ServiceExport(subject="a.*.b", account_token_position=2), "I", "a.J.b", False),
            (ServiceExport(subject="a.*.b", account_token_position=2), "I", "a.*.b", False),
        ],
    )
    def test_who_may_import_what(self, export: Export, importer: str, subject: str, allowed: bool) -> None:
        assert export.permits(importer, subject) is allowed

    @pytest.mark.parametrize("position", [-1, 1, 3, 4])
    def test_a_position_must_be_that_of_a_wildcard(self, position: int) -> None:
        with pytest.raises(ValueError, match="is not the place of a"):
            StreamExport(subject="a.*.b", account_token_position=position)

    def test_a_subject_must_be_one(self) -> None:
        with pytest.raises(ValueError, match="invalid subject"):
            ServiceExport(subject="a..b")


class TestImports:
    def test_the_local_subject_is_that_of_the_exporter_unless_said_otherwise(self) -> None:
        assert StreamImport(account="E", subject="a.*").local_subject == "a.*"
        assert StreamImport(account="E", subject="a.*.*", to="b.$2.$1").local_subject == "b.*.*"

    def test_a_request_finds_its_way_to_the_exporter(self) -> None:
        found = ServiceImport(account="E", subject="svc.w.*.*", to="lw.$2.$1")
        assert found.local_subject == "lw.*.*"
        assert found.inward.apply("lw.a.b", lambda count: 0) == "svc.w.b.a"

    @pytest.mark.parametrize(("prefix", "to"), [("", ""), ("P", "P.a.*"), ("P.Q", "P.Q.a.*")])
    def test_a_prefix(self, prefix: str, to: str) -> None:
        assert prefixed(prefix, "a.*") == to

    @pytest.mark.parametrize(
        ("prefix", "message"),
        [
            ("P.*", "stream import prefix can not contain wildcard tokens"),
            (">", "stream import prefix can not contain wildcard tokens"),
            ("P..Q", "invalid subject"),
        ],
    )
    def test_a_prefix_that_cannot_be(self, prefix: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            prefixed(prefix, "a")

    def test_subjects_that_do_not_fit_together(self) -> None:
        with pytest.raises(ValueError, match="invalid subject"):
            StreamImport(account="E", subject="a..b")
        with pytest.raises(ValueError, match="invalid subject"):
            StreamImport(account="E", subject="a", to="b..c")
        with pytest.raises(InvalidTransformError) as stream:
            StreamImport(account="E", subject="w.*.*", to="p.$1")
        assert str(stream.value) == (
            'failed to create mapping transform for stream import subject from "w.*.*" to "p.$1": '
            "invalid mapping destination: not using all of the token wildcard(s) in p.$1"
        )
        with pytest.raises(InvalidTransformError) as service:
            ServiceImport(account="E", subject="sw.*.*", to="p.*")
        assert str(service.value) == (
            'failed to create mapping transform for service import subject from "p.*" to "sw.*.*": '
            "invalid mapping destination: not using all of the token wildcard(s) in p.$1"
        )
        with pytest.raises(ValueError, match="a wildcard stands twice"):
            ServiceImport(account="E", subject="w.*", to="$1.$1")


def problems(*accounts: Account) -> list[str]:
    return [problem.text for problem in import_problems(accounts)]


def services(*pairs: tuple[str, str] | tuple[str, str, str]) -> tuple[Import, ...]:
    return tuple(ServiceImport(account=pair[0], subject=pair[1], to="".join(pair[2:])) for pair in pairs)


def streams(*pairs: tuple[str, str] | tuple[str, str, str]) -> tuple[Import, ...]:
    return tuple(StreamImport(account=pair[0], subject=pair[1], to="".join(pair[2:])) for pair in pairs)


class TestTogether:
    offers = (ServiceExport(subject="s.>"), StreamExport(subject="e.>"))
    exporter = Account("E", exports=offers)

    def test_what_is_exported_may_be_imported(self) -> None:
        imports = (*services(("E", "s.a"), ("E", "s.a", "x")), *streams(("E", "e.a"), ("E", "e.*")))
        assert problems(self.exporter, Account("I", imports=imports)) == []

    @pytest.mark.parametrize(
        ("imports", "message"),
        [
            (services(("E", "z")), 'Error adding service import "z": service import not authorized'),
            (services(("E", "e.a")), 'Error adding service import "e.a": service import not authorized'),
            (services(("E", ">")), 'Error adding service import ">": service import not authorized'),
            (streams(("E", "s.a")), 'Error adding stream import "s.a": stream import not authorized'),
            (services(("Z", "z")), '"Z" account not defined for service import'),
            (streams(("Z", "z")), '"Z" account not defined for stream import'),
            (
                streams(("E", "e.a", "c"), ("E", "e.a", "b")),
                'Error adding stream import "e.a": stream import already exists',
            ),
        ],
    )
    def test_what_cannot_be(self, imports: tuple[Import, ...], message: str) -> None:
        assert problems(self.exporter, Account("I", imports=imports)) == [message]

    @pytest.mark.parametrize("make", [services, streams])
    def test_two_accounts_that_import_from_each_other(self, make: type) -> None:
        offers = (ServiceExport(subject="x.>"), StreamExport(subject="x.>"))
        kind = "service" if make is services else "stream"
        message = f'Error adding {kind} import "x.a": import forms a cycle'
        first = Account("A", exports=offers, imports=make(("B", "x.a")))
        second = Account("B", exports=offers, imports=make(("A", "x.a")))
        assert problems(first, second) == [message, message]
        apart = Account("B", exports=offers, imports=make(("A", "x.b")))
        assert problems(first, apart) == []

    def test_a_circle_of_three(self) -> None:
        offers = (ServiceExport(subject=">"),)
        circle = [
            Account("A", exports=offers, imports=services(("B", "b", "a"))),
            Account("B", exports=offers, imports=services(("C", "c", "b"))),
            Account("C", exports=offers, imports=services(("A", "a", "c"))),
        ]
        assert len(problems(*circle)) == 3
        assert problems(*circle[:2], Account("C", exports=offers, imports=services(("A", "other", "c")))) == []

    def test_a_chain_is_no_circle(self) -> None:
        offers = (StreamExport(subject=">"),)
        assert (
            problems(
                Account("A", exports=offers),
                Account("B", exports=offers, imports=streams(("A", "x"))),
                Account("C", imports=streams(("B", "x"))),
            )
            == []
        )

    def test_a_private_export_is_asked_by_each_importer(self) -> None:
        """What an open export says holds for everybody, what a restricted one says does not."""
        offers = (ServiceExport(subject="q.>"), ServiceExport(subject="q.a", accounts=frozenset({"A", "B"})))
        imports = services(("E", "q.a"), ("E", "q.b"))
        found = problems(
            Account("E", exports=offers), *(Account(name, imports=imports) for name in ("A", "C", "B", "D"))
        )
        assert found == ['Error adding service import "q.a": service import not authorized'] * 2

    def test_an_import_from_the_own_account_is_a_second_name(self) -> None:
        own = Account("A", exports=(ServiceExport(subject="z"),), imports=services(("A", "z", "y")))
        assert problems(own) == []


@pytest.mark.parametrize(
    "one",
    [
        StreamImport(account="E", subject="s.*.>", to="t.*.>", allow_trace=True, origin="here"),
        ServiceImport(account="E", subject="s.*.*", to="t.$2.$1", share=True, origin="here"),
    ],
)
def test_an_import_declared_elsewhere(one: Import) -> None:
    other = one.declared_at("there")
    assert other == replace(one, origin="there")
    assert other.local_subject == one.local_subject
    assert other.outward is one.outward
    assert (one.origin, other.origin) == ("here", "there")
    if isinstance(other, ServiceImport):
        assert other.inward == one.outward.inverse()


def test_an_account_carries_them() -> None:
    found = Account("A", exports=TestTogether.offers, imports=services(("E", "s.a")))
    assert found.exports[0].subject == "s.>"
    assert found.imports[0].account == "E"
