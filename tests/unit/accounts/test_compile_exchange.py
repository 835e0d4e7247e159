"""What crosses the wall of an account at one moment: permits, activations, circles, and when to look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from accounts.account import Account, SigningKeyScope
from accounts.activation import Activation
from accounts.exchange import Exchange, compile_exchange
from accounts.exports import Export, ResponseType, ServiceExport, StreamExport, deciding_exports
from accounts.graph import MAXIMUM_CHAIN
from accounts.imports import Import, ServiceImport, StreamImport
from accounts.mapping import SubjectMapping, WeightedDestination

NOW = 1_000.0


def compiled(account: Account, *others: Account, now: float = NOW) -> Exchange:
    return compile_exchange(account, {other.name: other for other in others}.get, now)


def importer(*imports: Import, name: str = "I") -> Account:
    return Account(name, imports=imports)


def refusals(exchange: Exchange) -> list[str]:
    return [str(problem) for problem in exchange.refused]


def test_imports_in_force_stand_with_the_exports_that_permit_them() -> None:
    stream, service = StreamImport(account="E", subject="s.a"), ServiceImport(account="E", subject="q", to="r")
    exporter = Account(
        "E", exports=(StreamExport(subject="s.>"), ServiceExport(subject="q", response_type=ResponseType.STREAM))
    )
    found = compiled(importer(stream, service), exporter)
    assert [(link.importer, link.imported, link.export, link.ends_at) for link in found.streams] == [
        ("I", stream, exporter.exports[0], None)
    ]
    assert [(link.importer, link.imported, link.export, link.ends_at) for link in found.services] == [
        ("I", service, exporter.exports[1], None)
    ]
    assert found.refused == ()
    assert found.ends_at is None
    assert found.consulted == {"E"}


def test_an_account_without_imports_asks_nobody() -> None:
    mapping = SubjectMapping("a", (WeightedDestination("b"),))
    found = compile_exchange(Account("I", mappings=(mapping,)), pytest.fail, NOW)
    assert found.mappings == (mapping,)
    assert found.consulted == frozenset()


def test_one_bad_import_leaves_the_others_in_force() -> None:
    found = compiled(
        importer(StreamImport(account="Z", subject="z"), StreamImport(account="E", subject="s")),
        Account("E", exports=(StreamExport(subject="s"),)),
    )
    assert [link.imported.subject for link in found.streams] == ["s"]
    assert refusals(found) == ['"Z" account not defined for stream import (there is no account Z that can be used)']
    assert found.consulted == {"E", "Z"}


class TestMappings:
    def test_the_most_specific_source_stands_first(self) -> None:
        sources = [">", "*.b", "a.>", "a.*", "a.b", "*.*", "b.c"]
        account = Account("I", mappings=tuple(SubjectMapping(s, ()) for s in sources))
        wanted = ["a.b", "b.c", "a.*", "a.>", "*.b", "*.*", ">"]
        assert [mapping.source for mapping in account.mappings] == wanted
        assert compiled(account).mappings == account.mappings


class TestWhichExportDecides:
    open_to_all = ServiceExport(subject="a.>")

    @pytest.mark.parametrize("subject", ["a.b", "a.*", "a.>"])
    def test_the_most_specific(self, subject: str) -> None:
        exports = (self.open_to_all, ServiceExport(subject="a.*"), ServiceExport(subject="a.b"))
        assert [export.subject for export in deciding_exports(exports, "service", subject)] == [subject]

    def test_so_a_restriction_of_a_part_holds_beside_an_open_whole(self) -> None:
        part = ServiceExport(subject="a.b", accounts=frozenset({"J"}))
        for exports in ((self.open_to_all, part), (part, self.open_to_all)):
            exporter = Account("E", exports=exports)
            took = ServiceImport(account="E", subject="a.b")
            assert refusals(compiled(importer(took), exporter)) == [
                'Error adding service import "a.b": service import not authorized '
                "(service export a.b of E is for other accounts)"
            ]
            assert compiled(importer(took, name="J"), exporter).services[0].export is part
            assert compiled(importer(ServiceImport(account="E", subject="a.c")), exporter).refused == ()

    def test_of_one_subject_exported_twice_the_restricted_ones(self) -> None:
        to_j, to_k = (ServiceExport(subject="a", accounts=frozenset({name})) for name in "JK")
        exporter = Account("E", exports=(ServiceExport(subject="a"), to_j, to_k))
        took = ServiceImport(account="E", subject="a")
        assert compiled(importer(took), exporter).services == ()
        assert compiled(importer(took, name="J"), exporter).services[0].export is to_j
        assert compiled(importer(took, name="K"), exporter).services[0].export is to_k

    def test_a_stream_is_no_service(self) -> None:
        assert deciding_exports((StreamExport(subject="a"),), "service", "a") == ()

    def test_a_position_must_hold_the_importers_own_name(self) -> None:
        exporter = Account("E", exports=(StreamExport(subject="a.*.b", account_token_position=2),))
        assert compiled(importer(StreamImport(account="E", subject="a.I.b")), exporter).refused == ()
        for subject in ("a.J.b", "a.*.b"):
            assert refusals(compiled(importer(StreamImport(account="E", subject=subject)), exporter)) == [
                f'Error adding stream import "{subject}": stream import not authorized '
                "(stream export a.*.b of E demands the importer's own name as token 2)"
            ]


class TestActivations:
    sound = Activation("stream", "s.>", "I", "KEY", issuer_account="E", issued_at=500)
    exporter = Account(
        "E",
        exports=(StreamExport(subject="s.*", token_required=True),),
        signing_keys={"KEY": None, "SCOPED": SigningKeyScope()},
    )

    def made(self, activation: Activation | None, exporter: Account | None = None, now: float = NOW) -> Exchange:
        took = StreamImport(account="E", subject="s.a", activation=activation)
        return compiled(importer(took), exporter or self.exporter, now=now)

    @pytest.mark.parametrize(
        "activation",
        [
            sound,
            replace(sound, subject="s.a"),
            replace(sound, issuer="E"),
            replace(sound, issuer="E", issuer_account=""),
        ],
    )
    def test_a_sound_one(self, activation: Activation) -> None:
        found = self.made(activation)
        assert found.refused == ()
        assert found.ends_at is None

    @pytest.mark.parametrize(
        ("activation", "detail"),
        [
            (None, " demands an activation"),
            (replace(sound, issuer="OTHER"), ": its activation is signed by OTHER, which is no key of E"),
            (replace(sound, issuer="SCOPED"), ": its activation is signed by SCOPED, a scoped signing key of E"),
            (
                replace(sound, issuer_account=""),
                ": its activation is signed by KEY and does not say for which account",
            ),
            (replace(sound, issuer_account="F"), ": its activation speaks for another account, F"),
            (replace(sound, issuer="E", issuer_account="F"), ": its activation speaks for another account, F"),
            (replace(sound, importer="J"), ": its activation was made for another account, J"),
            (replace(sound, kind="service"), ": its activation is for a service"),
            (replace(sound, subject="s.b"), ": its activation covers s.b"),
            (replace(sound, subject="*.b"), ": its activation covers *.b"),
            (replace(sound, expires_at=1_000), ": its activation has expired"),
            (replace(sound, expires_at=-1), ": its activation has expired"),
            (replace(sound, not_before=1_001), ": its activation is not yet valid"),
        ],
    )
    def test_an_unsound_one(self, activation: Activation | None, detail: str) -> None:
        assert refusals(self.made(activation)) == [
            f'Error adding stream import "s.a": stream import not authorized (stream export s.* of E{detail})'
        ]

    @pytest.mark.parametrize("key", ["I", "*"])
    @pytest.mark.parametrize(("moment", "refused"), [(499, False), (500, True), (501, True)])
    def test_a_revocation_covers_what_was_issued_until_then(self, key: str, moment: int, refused: bool) -> None:
        export = StreamExport(subject="s.*", token_required=True, revocations={key: moment})
        found = self.made(self.sound, replace(self.exporter, exports=(export,)))
        assert [problem.detail for problem in found.refused] == (
            ["stream export s.* of E: its activation is revoked"] if refused else []
        )

    def test_another_accounts_revocation_is_nothing_to_it(self) -> None:
        export = StreamExport(subject="s.*", token_required=True, revocations={"J": 900})
        assert self.made(self.sound, replace(self.exporter, exports=(export,))).refused == ()

    def test_it_ends_to_the_second_even_when_it_covers_more(self) -> None:
        activation = replace(self.sound, expires_at=1_005, not_before=1_000)
        found = self.made(activation)
        assert (found.streams[0].ends_at, found.ends_at) == (1_005.0, 1_005.0)
        assert self.made(activation, now=1_004.9).streams
        assert not self.made(activation, now=1_005.0).streams
        assert self.made(activation, now=1_005.0).ends_at is None

    def test_one_that_is_to_come_is_waited_for(self) -> None:
        activation = replace(self.sound, not_before=1_010, expires_at=1_020)
        assert self.made(activation).ends_at == 1_010.0
        assert self.made(activation, now=1_010.0).streams[0].ends_at == 1_020.0

    def test_an_open_export_asks_for_none(self) -> None:
        exporter = replace(self.exporter, exports=(StreamExport(subject="s.*"),))
        found = self.made(replace(self.sound, expires_at=1), exporter)
        assert found.refused == ()
        assert found.ends_at is None

    def test_the_first_end_counts(self) -> None:
        account = importer(
            *(
                StreamImport(account="E", subject=f"s.{end}", activation=replace(self.sound, expires_at=end))
                for end in (1_300, 1_200, 1_100)
            )
        )
        found = compiled(account, self.exporter)
        assert [link.ends_at for link in found.streams] == [1_300, 1_200, 1_100]
        assert found.ends_at == 1_100


class TestTheExportersTime:
    took = importer(ServiceImport(account="E", subject="q"))
    exporter = Account("E", exports=(ServiceExport(subject="q"),))

    def test_nothing_comes_from_an_account_that_has_expired(self) -> None:
        exporter = replace(self.exporter, expires_at=1_100)
        assert compiled(self.took, exporter).services[0].ends_at == 1_100.0
        assert refusals(compiled(self.took, exporter, now=1_100.0)) == [
            'Error adding service import "q": service import not authorized (account E has expired)'
        ]

    def test_nor_from_one_that_is_to_come(self) -> None:
        exporter = replace(self.exporter, not_before=1_100)
        found = compiled(self.took, exporter)
        assert refusals(found) == [
            'Error adding service import "q": service import not authorized (account E is not yet valid)'
        ]
        assert found.ends_at == 1_100.0
        assert compiled(self.took, exporter, now=1_100.0).services

    def test_the_earlier_of_two_ends_counts(self) -> None:
        export = ServiceExport(subject="q", token_required=True)
        for account_end, activation_end in ((1_100, 1_200), (1_200, 1_100)):
            activation = Activation("service", "q", "I", "E", expires_at=activation_end)
            took = importer(ServiceImport(account="E", subject="q", activation=activation))
            found = compiled(took, Account("E", exports=(export,), expires_at=account_end))
            assert found.services[0].ends_at == 1_100.0


class TestDuplicates:
    exporter = Account("E", exports=(StreamExport(subject="s"), ServiceExport(subject="q.*")))

    def test_the_first_import_of_a_stream_counts(self) -> None:
        took = importer(*(StreamImport(account="E", subject="s", to=to) for to in ("a", "b")))
        found = compiled(took, self.exporter)
        assert [link.imported.to for link in found.streams] == ["a"]
        assert refusals(found) == ['Error adding stream import "s": stream import already exists']

    def test_a_service_may_have_many_names_but_each_name_once(self) -> None:
        took = importer(*(ServiceImport(account="E", subject=s, to=to) for s, to in (("q.a", "x"), ("q.a", "y"))))
        assert compiled(took, self.exporter).refused == ()
        took = importer(*(ServiceImport(account="E", subject=s, to="x") for s in ("q.a", "q.b")))
        assert refusals(compiled(took, self.exporter)) == [
            'Error adding service import "q.b": service import already exists'
        ]

    def test_one_that_is_refused_stands_in_nobodys_way(self) -> None:
        exporter = Account("E", exports=(StreamExport(subject="s", token_required=True),))
        activation = Activation("stream", "s", "I", "E")
        took = importer(
            *(
                StreamImport(account="E", subject="s", to=to, activation=given)
                for to, given in (("a", replace(activation, expires_at=1)), ("b", activation))
            )
        )
        assert [link.imported.to for link in compiled(took, exporter).streams] == ["b"]


@pytest.mark.parametrize(("kind", "offer"), [(StreamImport, StreamExport), (ServiceImport, ServiceExport)])
class TestCircles:
    def ring(
        self, kind: Callable[..., Import], offer: Callable[..., Export], *subjects: tuple[str, str]
    ) -> list[Account]:
        """Accounts in which each imports from the next one, and the last from the first: what, as what."""
        names = [chr(ord("A") + number) for number in range(len(subjects))]
        return [
            Account(name, exports=(offer(subject=">"),), imports=(kind(account=after, subject=what, to=local),))
            for name, after, (what, local) in zip(names, [*names[1:], names[0]], subjects, strict=True)
        ]

    def test_each_import_of_a_circle_is_refused(
        self, kind: Callable[..., Import], offer: Callable[..., Export]
    ) -> None:
        ring = self.ring(kind, offer, ("b", "a"), ("c.1", "b"), ("a", "c.1"))
        for account in ring:
            found = compiled(account, *ring)
            assert [problem.reason for problem in found.refused] == ["import forms a cycle"]
            assert found.consulted == {"A", "B", "C"} - {account.name}

    def test_subjects_that_miss_each_other_are_none(
        self, kind: Callable[..., Import], offer: Callable[..., Export]
    ) -> None:
        ring = self.ring(kind, offer, ("b", "a"), ("c", "b"), ("z", "c"))
        assert all(compiled(account, *ring).refused == () for account in ring)

    def test_an_import_that_nobody_permits_closes_no_circle(
        self, kind: Callable[..., Import], offer: Callable[..., Export]
    ) -> None:
        ring = self.ring(kind, offer, ("b", "a"), ("c", "b"), ("a", "c"))
        ring[0] = replace(ring[0], exports=(offer(subject="a", accounts=frozenset({"Z"})),))
        assert [len(compiled(account, *ring).refused) for account in ring] == [0, 0, 1]

    def test_nor_one_whose_time_is_over_but_then_it_is_looked_at_again(
        self, kind: Callable[..., Import], offer: Callable[..., Export]
    ) -> None:
        ring = self.ring(kind, offer, ("b", "a"), ("c", "b"), ("a", "c"))
        activation = Activation(kind(account="A", subject="a").kind, "a", "C", "A", expires_at=1_100)
        ring[0] = replace(ring[0], exports=(offer(subject="a", token_required=True),))
        ring[2] = importer(kind(account="A", subject="a", to="c", activation=activation), name="C")
        ring[2] = replace(ring[2], exports=(offer(subject=">"),))
        found = compiled(ring[1], *ring)
        assert [problem.reason for problem in found.refused] == ["import forms a cycle"]
        assert found.ends_at == 1_100.0
        assert compiled(ring[1], *ring, now=1_100.0).refused == ()

    def test_one_beside_a_circle_is_in_force(self, kind: Callable[..., Import], offer: Callable[..., Export]) -> None:
        ring = self.ring(kind, offer, ("x", "x"), ("x", "x"))
        beside = importer(kind(account="A", subject="x"))
        assert compiled(beside, *ring).refused == ()

    def test_an_import_from_the_own_account_that_meets_itself(
        self, kind: Callable[..., Import], offer: Callable[..., Export]
    ) -> None:
        own = Account("A", exports=(offer(subject=">"),), imports=(kind(account="A", subject="z", to="y"),))
        assert compiled(own).refused == ()
        assert compiled(own).consulted == frozenset()
        back = replace(own, imports=(*own.imports, kind(account="A", subject="y", to="z")))
        assert [problem.reason for problem in compiled(back).refused] == ["import forms a cycle"] * 2

    def test_the_search_has_an_end(self, kind: Callable[..., Import], offer: Callable[..., Export]) -> None:
        asked: list[str] = []

        def endless(name: str) -> Account:
            asked.append(name)
            return Account(
                name, exports=(offer(subject="x"),), imports=(kind(account=str(int(name) + 1), subject="x"),)
            )

        found = compile_exchange(importer(kind(account="0", subject="x")), endless, NOW)
        assert [problem.reason for problem in found.refused] == ["search cycle depth exhausted"]
        assert len(asked) <= MAXIMUM_CHAIN + 1
