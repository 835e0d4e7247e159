"""Who is isolated from whom, and what an example looks like where somebody is not."""

from __future__ import annotations

import pytest

from accounts.account import Account
from accounts.activation import Activation
from accounts.exports import ServiceExport, StreamExport
from accounts.flow import MAXIMUM_STATES, TooManyWaysError, World, anything, follow, spread
from accounts.imports import ServiceImport, StreamImport
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.prove import Proof, Reach, isolated


def mapping(source: str, *destinations: tuple[str, int] | str) -> SubjectMapping:
    made = [WeightedDestination(*((one, 100) if isinstance(one, str) else one)) for one in destinations]
    return SubjectMapping(source, tuple(made))


def reach(source: str, target: str, *accounts: Account) -> Reach | None:
    return Proof(World(accounts, 0.0)).reach(source, target)


def script(found: Reach | None) -> list[str]:
    assert found is not None
    return [" ".join(filter(None, (one.account, one.verb, one.subject, one.reply))) for one in found.script]


STREAMS = Account("E", exports=(StreamExport(subject="s.>"),))
SERVICE = Account("E", exports=(ServiceExport(subject="q.*"),))


def test_accounts_without_imports_are_isolated() -> None:
    found = isolated(World([STREAMS, Account("I")], 0.0), "E", "I")
    assert found.is_isolated
    assert (found.there, found.back, found.ends_at) == (None, None, None)


def test_a_stream_import_lets_messages_in_and_nothing_out() -> None:
    importer = Account("I", imports=(StreamImport(account="E", subject="s.*.x", to="in.$1"),))
    found = isolated(World([STREAMS, importer], 0.0), "E", "I")
    assert not found.is_isolated
    assert script(found.there) == ["I listen in.any1", "E publish s.any1.x"]
    assert found.back is None


def test_a_service_lets_requests_there_and_answers_back() -> None:
    importer = Account("I", imports=(ServiceImport(account="E", subject="q.*", to="ask.$1"),))
    assert script(reach("I", "E", SERVICE, importer)) == ["E listen q.any1", "I publish ask.any1"]
    back = reach("E", "I", SERVICE, importer)
    assert script(back) == ["I listen any1", "E listen q.any1", "I publish ask.any1 any1", "E answer"]
    assert back is not None
    assert back.conversation is not None


def test_an_answer_is_no_part_of_the_askers_own_exports() -> None:
    asker = Account(
        "I", imports=(ServiceImport(account="E", subject="q.*"),), exports=(StreamExport(subject="news.>"),)
    )
    third = Account("T", imports=(StreamImport(account="I", subject="news.>", to="n.>"),))
    assert reach("E", "T", SERVICE, asker, third) is None
    assert reach("T", "E", SERVICE, asker, third) is None


def test_a_request_is_no_part_of_the_exporters_streams() -> None:
    exporter = Account("E", exports=(ServiceExport(subject="q"), StreamExport(subject=">")))
    asker = Account("I", imports=(ServiceImport(account="E", subject="q"),))
    third = Account("T", imports=(StreamImport(account="E", subject=">"),))
    assert reach("I", "T", exporter, asker, third) is None
    assert script(reach("E", "T", exporter, asker, third)) == ["T listen any1", "E publish any1"]


def test_two_who_ask_the_same_service_stay_apart() -> None:
    first = Account("A", imports=(ServiceImport(account="E", subject="q.*"),))
    second = Account("B", imports=(ServiceImport(account="E", subject="q.*"),))
    assert isolated(World([SERVICE, first, second], 0.0), "A", "B").is_isolated


def test_two_services_of_one_asker_do_not() -> None:
    other = Account("F", exports=(ServiceExport(subject="z"),))
    asker = Account("I", imports=(ServiceImport(account="E", subject="q.*"), ServiceImport(account="F", subject="z")))
    assert script(reach("E", "F", SERVICE, other, asker)) == [
        "F listen z",
        "E listen q.any1",
        "I publish q.any1 z",
        "E answer",
    ]


def test_answers_can_be_led_astray_by_an_account_that_they_pass() -> None:
    middle = Account(
        "M",
        imports=(ServiceImport(account="E", subject="q.*", to="m.$1"), ServiceImport(account="W", subject="w.>")),
        exports=(ServiceExport(subject="m.*"),),
        mappings=(mapping("_R_.>", "w.>"), mapping("w.>", "gone.>")),
    )
    asker = Account("I", imports=(ServiceImport(account="M", subject="m.*"),))
    aside = Account("W", exports=(ServiceExport(subject="w.>"),))
    found = reach("E", "W", SERVICE, middle, asker, aside)
    assert script(found) == ["W listen w.*.*", "E listen q.any1", "I publish m.any1 any1", "E answer"]
    assert reach("E", "I", SERVICE, middle, asker, aside) is None


def test_answers_that_pass_an_account_are_no_part_of_its_streams() -> None:
    middle = Account(
        "M",
        imports=(ServiceImport(account="E", subject="q.*", to="m.$1"),),
        exports=(ServiceExport(subject="m.*"), StreamExport(subject=">")),
    )
    asker = Account("I", imports=(ServiceImport(account="M", subject="m.*"),))
    watcher = Account("W", imports=(StreamImport(account="M", subject=">", to="w.>"),))
    assert reach("E", "W", SERVICE, middle, asker, watcher) is None
    assert reach("M", "W", SERVICE, middle, asker, watcher) is not None


def test_an_account_that_maps_everything_away_answers_nobody() -> None:
    exporter = Account("E", exports=SERVICE.exports, mappings=(mapping("_R_.>", "gone.>"),))
    importer = Account("I", imports=(ServiceImport(account="E", subject="q.*"),))
    assert reach("I", "E", exporter, importer) is not None
    assert reach("E", "I", exporter, importer) is None
    partly = Account("E", exports=SERVICE.exports, mappings=(mapping("_R_.>", ("gone.>", 50)),))
    assert reach("E", "I", partly, importer) is not None


def test_what_came_through_a_stream_import_goes_no_further() -> None:
    middle = Account("M", imports=(StreamImport(account="E", subject="s.a"),), exports=(StreamExport(subject=">"),))
    last = Account("L", imports=(StreamImport(account="M", subject="s.a"),))
    assert reach("M", "L", STREAMS, middle, last) is not None
    assert reach("E", "L", STREAMS, middle, last) is None


def test_mappings_decide_what_can_be_published_at_all() -> None:
    taker = Account("I", imports=(StreamImport(account="E", subject="s.a"),))
    diverted = Account("E", exports=STREAMS.exports, mappings=(mapping("s.*", "t.$1"),))
    assert reach("E", "I", diverted, taker) is None
    excepted = Account("E", exports=STREAMS.exports, mappings=(mapping("s.*", "t.$1"), mapping("s.a", ("s.b", 90))))
    assert reach("E", "I", excepted, taker) is not None
    dropped = Account("E", exports=STREAMS.exports, mappings=(mapping("s.a", ("s.a", 0)),))
    assert reach("E", "I", dropped, taker) is None
    elsewhere = Account("E", exports=STREAMS.exports, mappings=(mapping("s.>", "t.>"), mapping("in.*", "s.$1")))
    assert script(reach("E", "I", elsewhere, taker)) == ["I listen s.a", "E publish in.a"]


@pytest.mark.parametrize(
    ("source", "destination", "wanted"),
    [
        ("p.*.*", "s.{{partition(10,1,2)}}", "s.7"),
        ("p.*", "s.{{partition(7)}}", "s.6"),
        ("p.*", "s.{{split(1,-)}}", "s.a.b.c"),
        ("p.*", "s.{{slicefromleft(1,2)}}", "s.ab.cd.e"),
        ("p.*", "s.{{slicefromright(1,2)}}", "s.a.bc.de"),
        ("p.*", "s.{{splitfromleft(1,3)}}", "s.abc.*"),
        ("p.*", "s.{{splitfromright(1,3)}}", "s.*.abc"),
        ("p.*", "s.{{random(9)}}", "s.8"),
        ("p.*", "s.$1.{{partition(3,1)}}", "s.foo.*"),
    ],
)
def test_functions_are_met_by_real_subjects(source: str, destination: str, wanted: str) -> None:
    exporter = Account("E", exports=STREAMS.exports, mappings=(mapping("s.>", "t.>"), mapping(source, destination)))
    taker = Account("I", imports=(StreamImport(account="E", subject=wanted),))
    found = reach("E", "I", exporter, taker)
    assert found is not None
    assert found.passage is not None
    assert found.passage.arrived in set(follow(found.passage.path, found.passage.starts))


@pytest.mark.parametrize(
    ("source", "destination", "wanted"),
    [
        ("p.*", "s.{{partition(10,1)}}", "s.10"),
        ("p.*", "s.{{partition(10,1)}}", "s.x"),
        ("p.foo", "s.{{partition(10)}}", "s.99"),
        ("p.*", "s.{{random(3)}}", "s.3"),
        ("p.*", "s.{{split(1,-)}}", "s.a-b"),
        ("p.*", "s.{{slicefromleft(1,2)}}", "s.abc.d"),
        ("p.*", "s.{{splitfromleft(1,2)}}", "s.a.b.c"),
        ("p.*.*", "s.$1.$2", "s.a"),
    ],
)
def test_what_functions_never_make_is_excluded(source: str, destination: str, wanted: str) -> None:
    exporter = Account("E", exports=STREAMS.exports, mappings=(mapping("s.>", "t.>"), mapping(source, destination)))
    taker = Account("I", imports=(StreamImport(account="E", subject=wanted),))
    assert reach("E", "I", exporter, taker) is None


def test_what_is_possible_for_all_that_is_known_is_not_excluded() -> None:
    exporter = Account(
        "E",
        exports=STREAMS.exports,
        mappings=(mapping("s.>", "t.>"), mapping("p.*", "s.{{partition(100000,1)}}.{{partition(99999,1)}}")),
    )
    taker = Account("I", imports=(StreamImport(account="E", subject="s.99999.99998"),))
    found = reach("E", "I", exporter, taker)
    assert found is not None
    assert not found.is_shown
    assert found.script == ()


def test_time_alone_may_change_the_answer() -> None:
    export = StreamExport(subject="s", token_required=True)
    taker = Account(
        "I",
        imports=(
            StreamImport(account="E", subject="s", activation=Activation("stream", "s", "I", "E", expires_at=100)),
        ),
    )
    accounts = (Account("E", exports=(export,)), taker)
    before = isolated(World(accounts, 99.0), "E", "I")
    assert not before.is_isolated
    assert before.ends_at == 100.0
    assert isolated(World(accounts, 100.0), "E", "I").is_isolated


def test_every_account_asks_the_system_account_and_none_gets_further_by_it() -> None:
    accounts = (Account("S", is_system=True), Account("A"), Account("B"))
    proof = Proof(World(accounts, 0.0, system="S"))
    asked = ["S listen $SYS.REQ.ACCOUNT.A.CONNZ", "A publish $SYS.REQ.ACCOUNT.PING.CONNZ"]
    assert script(proof.reach("A", "S")) == asked
    assert script(proof.reach("S", "A"))[-1] == "S answer"
    assert proof.isolated("A", "B").is_isolated
    assert Proof(World(accounts, 0.0)).isolated("A", "S").is_isolated


def test_names_must_be_those_of_accounts() -> None:
    with pytest.raises(KeyError):
        isolated(World([STREAMS], 0.0), "E", "I")


def test_there_is_an_end_to_what_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAXIMUM_STATES > 1000
    monkeypatch.setattr("accounts.flow.MAXIMUM_STATES", 1)
    with pytest.raises(TooManyWaysError):
        list(spread(World([STREAMS], 0.0), "E", anything()))


def test_a_request_goes_through_each_export_once() -> None:
    first = Account(
        "A", exports=(ServiceExport(subject="x"),), imports=(ServiceImport(account="B", subject="z"),),
        mappings=(mapping("x", "z"),),
    )  # fmt: skip
    second = Account(
        "B", exports=(ServiceExport(subject="z"),), imports=(ServiceImport(account="A", subject="x"),),
        mappings=(mapping("z", "x"),),
    )  # fmt: skip
    states = list(spread(World([first, second], 0.0), "A", anything()))
    assert len(states) < 10
    assert {state.account for state in states} == {"A", "B"}
