"""The twin of what crosses walls, against cases that were seen at nats-server 2.14.5 (accounts, services, streams)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.oracle.exchange import (
    CHUNKED,
    NATS_SERVER,
    SERVICE,
    STREAM,
    Account,
    Bus,
    Client,
    Delivery,
    Export,
    Import,
    Info,
    Manner,
    Response,
    Rewriting,
    Rules,
    Token,
    User,
    World,
)
from tests.oracle.names import collide, covers, fits, inverted, renamed

FREE = Rules()


def account(name: str, *parts: Export | Import | Rewriting, rules: Rules = FREE) -> Account:
    """An account with one user, who is called like it in small letters."""
    return Account(
        name,
        (User(name.lower(), rules),),
        tuple(part for part in parts if isinstance(part, Export)),
        tuple(part for part in parts if isinstance(part, Import)),
        tuple(part for part in parts if isinstance(part, Rewriting)),
    )


def listening(bus: Bus, client: Client, *subjects: str) -> None:
    """Subscribes with the words of SUB but for the sid, which is the subject, and the queue behind it."""
    for text in subjects:
        subject, _, queue = text.partition(" ")
        assert bus.subscribe(client, subject, queue or None, text)


def only(worlds: list[World]) -> World:
    """The one course that things may take."""
    (world,) = worlds
    return world


def told(bus: Bus, client: Client, subject: str, reply: str | None = None, *, empty: bool = False) -> list[str]:
    """Publishes what leaves no choice; returns who gets it, on which subscription and subject."""
    world = only(bus.publish(client, subject, reply, empty=empty))
    assert not world.choices
    assert world.refused is None
    names = [d.reply for d in world.certain if isinstance(d.reply, Response)]
    bus.settle(client, world, world.certain, {d.seen: [f"_R_.{id(d.reply)}"] for d in world.certain if d.reply})
    assert all(response.name for response in names)
    return sorted(f"{d.client} {d.sid}: {d.subject}" for d in world.certain)


# Streams (appendix A.3 of what was seen).


def test_a_stream_is_heard_under_the_local_name_once_for_each_import() -> None:
    importer = account(
        "I", Import(STREAM, "E", "pub.>", prefix="P"), Import(STREAM, "E", "pub.a.*", to="q.$1"),
    )  # fmt: skip
    bus = Bus([account("E", Export(STREAM, "pub.>")), importer])
    exporter, client = bus.connect("e"), bus.connect("i")
    listening(bus, client, "P.>", "q.*", "P.pub.a.*", "*.pub.b.c", ">")
    assert told(bus, exporter, "pub.a.z") == [
        "i >: P.pub.a.z", "i >: q.z", "i P.>: P.pub.a.z", "i P.pub.a.*: P.pub.a.z", "i q.*: q.z",
    ]  # fmt: skip
    assert told(bus, exporter, "pub.b.c") == ["i *.pub.b.c: P.pub.b.c", "i >: P.pub.b.c", "i P.>: P.pub.b.c"]
    assert told(bus, client, "P.pub.a.z") == ["i >: P.pub.a.z", "i P.>: P.pub.a.z", "i P.pub.a.*: P.pub.a.z"]


def test_a_wildcard_moves_to_another_place() -> None:
    bus = Bus([account("E", Export(STREAM, "st.*")), account("I", Import(STREAM, "E", "st.*", to="a.$1.b"))])
    exporter, client = bus.connect("e"), bus.connect("i")
    listening(bus, client, "a.*.b", "a.q.b", "q.>")
    assert told(bus, exporter, "st.q") == ["i a.*.b: a.q.b", "i a.q.b: a.q.b"]
    assert told(bus, exporter, "st.z") == ["i a.*.b: a.z.b"]


def test_an_imported_stream_goes_no_further() -> None:
    middle = account("B", Import(STREAM, "A", "s.>"), Export(STREAM, "s.>"))
    last = account("C", Import(STREAM, "B", "s.>", prefix="p"))
    bus = Bus([account("A", Export(STREAM, "s.>")), middle, last])
    first, second, third = bus.connect("a"), bus.connect("b"), bus.connect("c")
    for client in (second, third):
        listening(bus, client, ">")
    assert told(bus, first, "s.1") == ["b >: s.1"]
    assert told(bus, second, "s.1") == ["b >: s.1", "c >: p.s.1"]


def test_queue_members_of_all_accounts_are_one_group() -> None:
    importer = account("I", Import(STREAM, "E", "s.*", prefix="P"), Import(STREAM, "E", "s.1", to="q.one"))
    bus = Bus([account("E", Export(STREAM, "s.*")), importer])
    exporter, client = bus.connect("e"), bus.connect("i")
    listening(bus, exporter, "s.1 g")
    listening(bus, client, "P.s.1 g", "q.one g", "> g")
    (choice,) = only(bus.publish(exporter, "s.1")).choices
    assert sorted(f"{d.sid}: {d.subject}" for d in choice) == [
        "> g: P.s.1", "> g: q.one", "P.s.1 g: P.s.1", "q.one g: q.one", "s.1 g: s.1",
    ]  # fmt: skip


@pytest.mark.parametrize(("manner", "heard"), [(Manner(), []), (NATS_SERVER, ["i P.> g"])])
def test_a_deny_is_about_the_local_name(manner: Manner, heard: list[str]) -> None:
    importer = account("I", Import(STREAM, "E", "s.*", prefix="P"), rules=Rules(subscribe_deny=("P.s.2",)))
    bus = Bus([account("E", Export(STREAM, "s.*")), importer], manner)
    exporter, client = bus.connect("e"), bus.connect("i")
    listening(bus, client, "P.>", "P.> g")
    world = only(bus.publish(exporter, "s.2"))
    assert world.certain == ()
    assert [f"{d.client} {d.sid}" for choice in world.choices for d in choice] == heard


def test_an_account_may_import_its_own_stream() -> None:
    bus = Bus([account("A", Export(STREAM, "s.*"), Import(STREAM, "A", "s.*", prefix="self"))])
    client = bus.connect("a")
    listening(bus, client, "self.s.*")
    assert told(bus, client, "s.1") == ["a self.s.*: self.s.1"]


# Services.


def service(response: str = "singleton", *, share: bool = False) -> tuple[Bus, Client, Client]:
    exporter = account("E", Export(SERVICE, "svc.>", response=response))
    bus = Bus([exporter, account("I", Import(SERVICE, "E", "svc.>", to="x.>", share=share))])
    return bus, bus.connect("e"), bus.connect("i")


def asked(bus: Bus, client: Client, subject: str, reply: str | None = "r") -> Delivery:
    """A request that one subscription gets; the way back has a name afterwards."""
    world = only(bus.publish(client, subject, reply))
    (delivery,) = world.certain
    bus.settle(client, world, world.certain, {delivery.seen: ["_R_.a.b"]} if reply else {})
    return delivery


def test_a_request_says_who_asks_and_is_answered_once() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>")
    listening(bus, importer, "r")
    request = asked(bus, importer, "x.a")
    assert (request.subject, request.info) == ("svc.a", Info("I"))
    assert told(bus, exporter, "_R_.a.b") == ["i r: r"]
    assert told(bus, exporter, "_R_.a.b") == []


def test_a_request_without_reply_is_forwarded() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.noreply")
    assert asked(bus, importer, "x.noreply", None).reply is None


@pytest.mark.parametrize("response", ["stream", CHUNKED])
def test_an_empty_message_is_the_last_answer(response: str) -> None:
    bus, exporter, importer = service(response)
    listening(bus, exporter, "svc.>")
    listening(bus, importer, "r")
    asked(bus, importer, "x.a")
    for _ in range(2):
        assert told(bus, exporter, "_R_.a.b") == ["i r: r"]
    assert told(bus, exporter, "_R_.a.b", empty=True) == ["i r: r"]
    assert told(bus, exporter, "_R_.a.b") == []


def test_shared_information() -> None:
    bus, exporter, importer = service(share=True)
    listening(bus, exporter, "svc.>")
    assert asked(bus, importer, "x.a").info == Info("I", None, True)


def test_without_a_responder_the_requester_is_told() -> None:
    bus, _, importer = service()
    listening(bus, importer, "r", "> q")
    assert only(bus.publish(importer, "x.a", "r")).choices[-1][0].sid == "> q"
    bus.unsubscribe(importer, "> q")
    ((status,),) = only(bus.publish(importer, "x.a", "r")).choices
    assert (status.sid, status.status) == ("r", True)


def test_local_listeners_get_a_request_as_it_was_sent() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>")
    listening(bus, importer, "x.a")
    world = only(bus.publish(importer, "x.a", "r"))
    assert {(d.client, d.reply == "r", d.info) for d in world.certain} == {("i", True, None), ("e", False, Info("I"))}


def test_a_chain_of_services_names_the_account_between() -> None:
    middle = account("B", Import(SERVICE, "A", "v", to="bv"), Export(SERVICE, "bv"))
    bus = Bus([account("A", Export(SERVICE, "v")), middle, account("C", Import(SERVICE, "B", "bv", to="cv"))])
    first, last = bus.connect("a"), bus.connect("c")
    listening(bus, first, "v")
    listening(bus, last, "r")
    assert asked(bus, last, "cv").info == Info("C", "B")
    assert told(bus, first, "_R_.a.b") == ["c r: r"]
    assert told(bus, first, "_R_.a.b") == []


def test_an_answer_is_for_the_exporter_alone() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>", "_R_.>")
    listening(bus, importer, "r")
    asked(bus, importer, "x.a")
    assert told(bus, importer, "_R_.a.b") == []
    assert told(bus, exporter, "_R_.a.b") == ["e _R_.>: _R_.a.b", "i r: r"]


def test_the_way_back_is_uncertain_once_nobody_listens() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>")
    listening(bus, importer, "r")
    asked(bus, importer, "x.a")
    bus.unsubscribe(importer, "r")
    listening(bus, importer, "r")
    assert {len(world.certain) for world in bus.publish(exporter, "_R_.a.b")} == {0, 1}


def test_services_of_several_accounts_under_one_name_are_all_asked() -> None:
    both = [Import(SERVICE, "A", "v", to="w"), Import(SERVICE, "B", "v", to="w")]
    bus = Bus([account("A", Export(SERVICE, "v")), account("B", Export(SERVICE, "v")), account("C", *both)])
    for name in ("a", "b"):
        listening(bus, bus.connect(name), "v")
    assert told(bus, bus.connect("c"), "w", "r") == ["a v: v", "b v: v"]


def test_wildcards_of_a_service_change_places() -> None:
    taken = Import(SERVICE, "E", "svc.w.*.*", to="lw.$2.$1")
    bus = Bus([account("E", Export(SERVICE, "svc.w.*.*")), account("I", taken)])
    listening(bus, bus.connect("e"), ">")
    assert told(bus, bus.connect("i"), "lw.a.b") == ["e >: svc.w.b.a"]


def test_a_request_is_no_part_of_a_stream() -> None:
    exporter = account("E", Export(SERVICE, "s"), Export(STREAM, "s"))
    bus = Bus([exporter, account("I", Import(SERVICE, "E", "s")), account("L", Import(STREAM, "E", "s"))])
    importer, listener = bus.connect("i"), bus.connect("l")
    listening(bus, listener, "s")
    assert told(bus, importer, "s") == []
    assert told(bus, bus.connect("e"), "s") == ["l s: s"]


def test_without_echo_the_own_service_is_not_heard() -> None:
    bus = Bus([account("A", Export(SERVICE, "v"), Import(SERVICE, "A", "v", to="own.v"))])
    client = bus.connect("a", echo=False)
    listening(bus, client, "v")
    assert told(bus, client, "own.v") == []


# Private exports.


@pytest.mark.parametrize(("importer", "subject", "permitted"), [("I", "p.I.x", True), ("I", "p.J.x", False)])
def test_the_position_holds_the_importers_name(importer: str, subject: str, permitted: bool) -> None:
    export = Export(SERVICE, "p.*.x", position=2)
    assert export.permits(importer, Import(SERVICE, "E", subject), 0.0) == permitted


def test_only_named_accounts_may_import() -> None:
    export = Export(STREAM, "s", accounts=frozenset({"I"}))
    assert [name for name in ("I", "J") if export.permits(name, Import(STREAM, "E", "s"), 0.0)] == ["I"]


TOKEN = Token("E", "I", STREAM, "priv.*", issued_at=100, expires_at=200.0)
PRIVATE = Export(STREAM, "priv.*", token_required=True)


@pytest.mark.parametrize(
    ("export", "token", "now", "permitted"),
    [
        (PRIVATE, TOKEN, 150.0, True),
        (PRIVATE, None, 150.0, False),
        (PRIVATE, TOKEN, 200.0, False),
        (PRIVATE, replace(TOKEN, expires_at=None), 1e9, True),
        (PRIVATE, replace(TOKEN, importer="J"), 150.0, False),
        (PRIVATE, replace(TOKEN, exporter="F"), 150.0, False),
        (PRIVATE, replace(TOKEN, kind=SERVICE), 150.0, False),
        (PRIVATE, replace(TOKEN, subject="priv.b"), 150.0, False),
        (PRIVATE, replace(TOKEN, subject="priv.a"), 150.0, True),
        (replace(PRIVATE, revoked={"I": 99}), TOKEN, 150.0, True),
        (replace(PRIVATE, revoked={"I": 100}), TOKEN, 150.0, False),
        (replace(PRIVATE, revoked={"*": 100}), TOKEN, 150.0, False),
        (replace(PRIVATE, revoked={"J": 100}), TOKEN, 150.0, True),
    ],
)
def test_activation(export: Export, token: Token | None, now: float, permitted: bool) -> None:
    taken = Import(STREAM, "E", "priv.a", token=token)
    bus = Bus([account("E", export), account("I", taken)], now=now)
    exporter, client = bus.connect("e"), bus.connect("i")
    listening(bus, client, "priv.a")
    assert told(bus, exporter, "priv.a") == (["i priv.a: priv.a"] if permitted else [])


# Mappings.


@pytest.mark.parametrize(
    ("mapping", "subject", "outcomes"),
    [
        (Rewriting("w.*.*", (("r.$2.$1", 100),)), "w.a.b", {"r.b.a"}),
        (Rewriting("fan.>", (("nf.>", 100),)), "fan.a.b", {"nf.a.b"}),
        (Rewriting("m.*.*.>", (("mm.$2.$1.>", 100),)), "m.a.b.c.d", {"mm.b.a.c.d"}),
        (Rewriting("first.*", (("A.$1", 100),)), "first.*", {"A.*"}),
        (Rewriting("drop", (("drop2", 50), ("drop", 0))), "drop", {"drop2", None}),
        (Rewriting("s", (("t", 30), ("u", 20))), "s", {"t", "u", "s"}),
        (Rewriting("s", (("t", 50), ("u", 50))), "s", {"t", "u"}),
    ],
)
def test_mapped_subjects(mapping: Rewriting, subject: str, outcomes: set[str | None]) -> None:
    assert mapping.outcomes(subject) == outcomes


def test_mappings_are_not_chained_and_the_most_specific_counts() -> None:
    pairs = [("one", "two"), ("two", "three"), (">", "z.>")]
    bus = Bus([account("A", *(Rewriting(source, ((to, 100),)) for source, to in pairs))])
    client = bus.connect("a")
    listening(bus, client, ">")
    assert told(bus, client, "one") == ["a >: two"]
    assert told(bus, client, "two") == ["a >: three"]
    assert told(bus, client, "four") == ["a >: z.four"]


def test_the_mapped_subject_is_what_permissions_are_about() -> None:
    rewriting = Rewriting("s", (("t", 50), ("u", 50)))
    bus = Bus([account("A", rewriting, rules=Rules(publish_allow=("s", "t")))])
    assert {world.refused for world in bus.publish(bus.connect("a"), "s")} == {None, "u"}


def test_the_exporters_mapping_applies_to_requests() -> None:
    exporter = account("E", Export(SERVICE, "m.*"), Rewriting("m.x", (("m.y", 100),)))
    bus = Bus([exporter, account("I", Import(SERVICE, "E", "m.*"))])
    listening(bus, bus.connect("e"), "m.*")
    assert told(bus, bus.connect("i"), "m.x") == ["e m.*: m.y"]


# Permissions.


@pytest.mark.parametrize(
    ("rules", "text", "natskeep", "reference"),
    [
        (Rules(subscribe_allow=("foo",)), "foo", True, True),
        (Rules(subscribe_allow=("foo",)), "foo q", True, True),
        (Rules(subscribe_allow=("foo q",)), "foo", False, False),
        (Rules(subscribe_allow=("foo q",)), "foo q", True, True),
        (Rules(subscribe_allow=("foo q",)), "foo w", False, False),
        (Rules(subscribe_allow=("foo", "foo q")), "foo w", False, False),
        (Rules(subscribe_allow=("foo *.dev",)), "foo a.dev", True, True),
        (Rules(subscribe_deny=("foo",)), "foo q", False, False),
        (Rules(subscribe_deny=("foo q",)), "foo", True, True),
        (Rules(subscribe_deny=("foo q",)), "foo q", False, False),
        (Rules(subscribe_deny=("w.*",)), "w.>", False, False),
        (Rules(subscribe_allow=("foo.*",)), "foo.>", False, True),
        (Rules(subscribe_allow=("*",)), ">", False, True),
    ],
)
def test_who_may_subscribe(rules: Rules, text: str, natskeep: bool, reference: bool) -> None:
    subject, _, queue = text.partition(" ")
    for manner, wanted in ((Manner(), natskeep), (NATS_SERVER, reference)):
        bus = Bus([account("A", rules=rules)], manner)
        assert bus.subscribe(bus.connect("a"), subject, queue or None, "1") == wanted


def test_a_request_permits_so_many_answers() -> None:
    exporter = account("E", Export(SERVICE, "v", response="stream"), rules=Rules(responses=2))
    bus = Bus([exporter, account("I", Import(SERVICE, "E", "v"))])
    responder, importer = bus.connect("e"), bus.connect("i")
    listening(bus, responder, "v")
    listening(bus, importer, "r")
    assert only(bus.publish(responder, "v")).refused == "v"
    asked(bus, importer, "v")
    for _ in range(2):
        assert told(bus, responder, "_R_.a.b") == ["i r: r"]
    assert only(bus.publish(responder, "_R_.a.b")).refused == "_R_.a.b"


@pytest.mark.parametrize("reply", ["_R_.a", "$JS.ACK.x", "_GR_.a"])
def test_reserved_replies_are_refused(reply: str) -> None:
    bus = Bus([account("A")])
    assert only(bus.publish(bus.connect("a"), "s", reply)).refused == reply


# Names.


@pytest.mark.parametrize(
    ("pattern", "other", "matched", "covered", "meet"),
    [
        ("a.*", "a.b", True, True, True),
        ("a.*", "a.>", True, False, True),
        ("a.>", "a", False, False, False),
        ("a.>", "a.b.c", True, True, True),
        (">", "a.*", True, True, True),
        ("*.b", "a.*", False, False, True),
        ("*", ">", True, False, True),
        ("a", "b", False, False, False),
        ("a", "a.b", False, False, False),
    ],
)
def test_patterns(pattern: str, other: str, matched: bool, covered: bool, meet: bool) -> None:
    assert (fits(pattern, other), covers(pattern, other), collide(pattern, other)) == (matched, covered, meet)
    assert collide(other, pattern) == meet


@pytest.mark.parametrize(
    ("there", "here", "subject", "name"),
    [
        ("w.*", "z.*.x", "w.q", "z.q.x"),
        ("s.*.*", "x.$2.y.$1", "s.a.b", "x.b.y.a"),
        ("s.*.>", "x.$1.>", "s.a.b.c", "x.a.b.c"),
        ("s", "t", "s", "t"),
    ],
)
def test_renaming_and_its_way_back(there: str, here: str, subject: str, name: str) -> None:
    assert renamed(there, here, subject) == name
    source, destination = inverted(there, here)
    assert fits(source, name)
    assert renamed(source, destination, name) == subject


def test_what_was_seen_must_be_all_and_no_more() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>", "svc.a q", "> q")
    world = only(bus.publish(importer, "x.a"))
    (certain,), (choice,) = world.certain, world.choices
    members = [member.seen for member in choice]
    assert all(world.matching(Counter([certain.seen, member])) is not None for member in members)
    for wrong in ([certain.seen], members[:1], [certain.seen, *members], [certain.seen, certain.seen]):
        assert world.matching(Counter(wrong)) is None


def test_one_subject_for_two_requests_is_noticed() -> None:
    bus, exporter, importer = service()
    listening(bus, exporter, "svc.>")
    asked(bus, importer, "x.a")
    with pytest.raises(ValueError, match="several requests"):
        asked(bus, importer, "x.a")
