"""Decisions of the policy table: the observed cases of the reference, and where natskeep is stricter on purpose."""

from __future__ import annotations

import pytest

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.permissions import (
    Grant,
    InvalidPermissionError,
    Permissions,
    ResponsePermission,
    SubjectRules,
    parse_grant,
)
from accounts.policy import BUILT_IN, Action, Effect, PolicyTable, Rule


def grants(*entries: str) -> tuple[Grant, ...]:
    return tuple(parse_grant(entry, f"entry {number}") for number, entry in enumerate(entries, 1))


def publish(allow: tuple[str, ...] = (), deny: tuple[str, ...] = (), *, responses: bool = False) -> PolicyTable:
    permission = ResponsePermission() if responses else None
    return compile_policy(Permissions(SubjectRules(grants(*allow), grants(*deny)), responses=permission), Account("A"))


def subscribe(allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> PolicyTable:
    return compile_policy(Permissions(subscribe=SubjectRules(grants(*allow), grants(*deny))), Account("A"))


P1 = publish(("a.*", "b.>"), ("b.no",))
S1 = subscribe(("foo.*", "bar"), ("foo.x",))
S2 = subscribe(("foo q1", "bar"))
S3 = subscribe(("foo", "foo q.*"))
S4 = subscribe((), ("foo q1", "baz", "w.*"))
S5 = subscribe((">",))
S6 = subscribe(("foo >", "bar *"))


@pytest.mark.parametrize(
    ("table", "subject", "allowed"),
    [
        (P1, "a.b", True),
        (P1, "a.b.c", False),
        (P1, "b.no", False),
        (P1, "b.no.x", True),
        (P1, "a.*", True),
        (P1, "a.>", True),
        (P1, "b.>", True),
        (P1, "a.", False),
        (P1, "b..x", False),
        (publish((), ("w.*",)), "w.>", False),
        (publish((), ("w.*",)), ">", True),
        (publish((), ("w.*",)), "w..a", True),
        (publish((), (">",)), "a", False),
        (publish(), "$SYS.x", True),
        (publish(), "_GR_.a", False),
        (publish(), "_GR_.*", False),
        (publish(), "$NRG.a", False),
        (publish(), "$NRG.>", False),
        (publish(), "$NRG", True),
        (publish(), "_R_.a", True),
        (publish(("_GR_.>",)), "_GR_.a", False),
        (publish(responses=True), "a", False),
        (publish(("out.>",), responses=True), "out.a", True),
        (publish(("out.>",), responses=True), "in", False),
    ],
)
def test_publish(table: PolicyTable, subject: str, allowed: bool) -> None:
    assert table.decide_publish(subject).allowed is allowed


@pytest.mark.parametrize(
    ("table", "subject", "queue", "allowed"),
    [
        (S1, "foo.a", None, True),
        (S1, "foo.*", None, True),
        (S1, "foo.a.b", None, False),
        (S1, "*", None, False),
        (S1, ">", None, False),
        (S1, "foo.x", None, False),
        (S1, "foo.x", "q", False),
        (S1, "bar", "q", True),
        (S1, "*.a", None, False),
        (S2, "foo", None, False),
        (S2, "foo", "q1", True),
        (S2, "foo", "q2", False),
        (S2, "bar", "any", True),
        (S3, "foo", None, True),
        (S3, "foo", "q.a", True),
        (S3, "foo", "q", False),
        (S3, "foo", "q.*", True),
        (S3, "foo", "q.a.b", False),
        (S4, "foo", None, True),
        (S4, "foo", "q1", False),
        (S4, "foo", "q2", True),
        (S4, "baz", "q1", False),
        (S4, "w.>", None, False),
        (S4, "w.*", None, False),
        (S4, "w.a", None, False),
        (S4, "*", None, True),
        (S4, "*", "q1", True),
        (S5, ">", None, True),
        (S5, "a..b", None, False),
        (S5, "a.>.b", None, True),
        (S6, "foo", None, False),
        (S6, "foo", "a.b.c", True),
        (S6, "foo", ".", True),
        (S6, "bar", "a", True),
        (S6, "bar", "a.b", False),
        (subscribe((">", "foo q")), "foo", "z", False),
        (subscribe((">", "foo q")), "foo", "q", True),
        (subscribe((">", "foo q")), "bar", "z", True),
        (subscribe((">", "foo q")), ">", "q", True),
        (subscribe(("foo.* q", "foo.a")), "foo.a", None, True),
        (subscribe(("foo.* q", "foo.a")), "foo.a", "z", False),
        (subscribe(("foo.* q", "foo.a")), "foo.b", None, False),
        (subscribe((), ("foo q.*",)), "foo", "q.a", False),
        (subscribe((), ("foo q.*",)), "foo", "q", True),
        (subscribe(), "a", "_sys_", False),
        (subscribe(("foo >",)), "foo", "_sys_", False),
        (subscribe((), (">",)), "a..b", None, True),
        (subscribe(), "_GR_.>", None, True),
    ],
)
def test_subscribe(table: PolicyTable, subject: str, queue: str | None, allowed: bool) -> None:
    assert table.decide_subscribe(subject, queue).allowed is allowed


@pytest.mark.parametrize(
    ("table", "subject", "queue"),
    [
        (S1, "foo.>", None),
        (subscribe(("*",)), ">", None),
        (subscribe(("foo.* q",)), "foo.>", "q"),
        (subscribe((">", "foo q")), ">", "z"),
        (subscribe((), ("foo q.*",)), "foo", "q.>"),
    ],
)
def test_stricter_than_the_reference(table: PolicyTable, subject: str, queue: str | None) -> None:
    assert not table.decide_subscribe(subject, queue).allowed


def test_queue_and_plain_rules_together_can_cover_a_wide_subscription() -> None:
    assert subscribe((">", "foo.* q")).decide_subscribe("foo.>", "q").allowed


@pytest.mark.parametrize(
    ("reply", "allowed"),
    [
        ("_R_.abc", False),
        ("_R_..x", False),
        ("_R_.a..b", False),
        ("_R_.>", False),
        ("_R_", True),
        ("_R_X.a", True),
        ("$JS.ACK.a", False),
        ("$JS.ACK..a", False),
        ("$JS.ACK.", True),
        ("$JS.ACKX", True),
        ("_GR_.abc", False),
        ("_GR_.", True),
        ("_INBOX.x", True),
        ("b..c", True),
        ("$GR.x", True),
    ],
)
@pytest.mark.parametrize("account", [Account("A"), Account("S", is_system=True)], ids=["tenant", "system"])
def test_reply(account: Account, reply: str, allowed: bool) -> None:
    assert compile_policy(None, account).decide_reply(reply).allowed is allowed


def test_only_consensus_subjects_are_open_to_the_system_account() -> None:
    table = compile_policy(None, Account("S", is_system=True))
    assert table.decide_publish("$NRG.a").allowed
    assert not table.decide_publish("_GR_.a").allowed


@pytest.mark.parametrize(
    ("subject", "queue", "denied"),
    [
        ("foo", "q1", True),
        ("foo", "q2", False),
        ("foo", None, False),
        ("baz", "q1", True),
        ("baz", None, True),
        ("w.>", None, True),
        ("w.a.b", None, False),
    ],
)
def test_delivery(subject: str, queue: str | None, denied: bool) -> None:
    rule = S4.delivery_denied(subject, queue)
    assert (rule is not None) is denied


@pytest.mark.parametrize(
    ("pattern", "queue", "expected"),
    [
        ("*", None, ["baz"]),
        ("*", "q1", ["foo", "baz"]),
        (">", None, ["baz", "w.*"]),
        ("w.x.>", None, []),
        ("quiet", None, []),
    ],
)
def test_denies_that_can_touch_a_subscription(pattern: str, queue: str | None, expected: list[str]) -> None:
    assert [rule.subject for rule in S4.delivery_denies_overlapping(pattern, queue)] == expected


def test_decision_names_rule_and_origin() -> None:
    decision = P1.decide_publish("b.no")
    assert decision.rule == Rule(Action.PUBLISH, Effect.DENY, "b.no", None, "entry 1")
    assert decision.reason == 'refused by publish deny "b.no" (entry 1)'
    granted = S3.decide_subscribe("foo", "q.a")
    assert granted.reason == 'granted by subscribe allow "foo q.*" (entry 2)'
    assert P1.decide_publish("x").rule is None


def test_a_response_may_turn_only_refusals_without_a_rule() -> None:
    table = publish((), ("r.>",), responses=True)
    assert table.publish_is_closed
    assert table.decide_publish("free").rule is None
    denied = table.decide_publish("r.9").rule
    assert denied is not None
    assert denied.effect is Effect.DENY


def test_defaults_hold_without_own_permissions_only() -> None:
    account = Account("A", default_permissions=Permissions(SubjectRules(deny=grants("x"))))
    assert not compile_policy(None, account).decide_publish("x").allowed
    assert compile_policy(Permissions(), account).decide_publish("x").allowed
    assert compile_policy(None, Account("A")).decide_publish("x").allowed


def test_built_in_rules_say_so() -> None:
    assert {rule.origin for rule in compile_policy(None, Account("A")).rules} == {BUILT_IN}


def test_fingerprint_is_of_what_is_decided_not_of_who_wrote_it() -> None:
    one = compile_policy(Permissions(SubjectRules((Grant("a", None, "x"), Grant("b", None, "y")))), Account("A"))
    two = compile_policy(Permissions(SubjectRules((Grant("b", None, "z"), Grant("a")))), Account("B"))
    assert one != two
    assert one.fingerprint == two.fingerprint
    others = [
        publish(("a",)),
        publish(("a",), ("b",)),
        publish(("b", "a"), responses=True),
        subscribe(("a", "b")),
        subscribe(("a b",)),
        compile_policy(Permissions(SubjectRules(grants("a", "b"))), Account("S", is_system=True)),
    ]
    assert len({one.fingerprint, *(table.fingerprint for table in others)}) == len(others) + 1


def test_rules_that_cannot_be_enforced_are_refused() -> None:
    with pytest.raises(InvalidPermissionError):
        compile_policy(Permissions(SubjectRules(deny=(Grant("{{name()}} x"),))), Account("A"))
    with pytest.raises(InvalidPermissionError):
        compile_policy(Permissions(SubjectRules(deny=(Grant("a", "q"),))), Account("A"))
    with pytest.raises(InvalidPermissionError):
        Rule(Action.PUBLISH, Effect.DENY, "a", "q")
    with pytest.raises(InvalidPermissionError, match="must deny"):
        Rule(Action.REPLY, Effect.ALLOW, "_R_.>")
    with pytest.raises(InvalidPermissionError, match="must deny"):
        Rule(Action.REPLY, Effect.DENY, "*.a.>")
