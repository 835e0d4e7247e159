"""Grants by name: how they are written, and that each expands to its own and to nothing of others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.grants import KINDS, SHARED_INBOX, InvalidGrantError, granting, parse_named_grant, permissions_of
from accounts.policy import PolicyTable
from accounts.subject import is_valid

names = st.sampled_from(("A", "B", "C-1"))
tokens = st.sampled_from(("x", "y", "*", "{{name()}}"))
filters = st.builds(
    lambda parts, rest: ".".join([*parts, ">"] if rest else parts),
    st.lists(tokens, min_size=1, max_size=2),
    st.booleans(),
)
options = st.sampled_from(("", " domain=hub", " prefix=JS.far"))


@st.composite
def grants(draw: st.DrawFn) -> str:
    """Any grant, on one of a few streams."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    if kind.startswith("jetstream:"):
        return kind + draw(options)
    words = [kind, "_INBOX_a" if kind == "inbox:private" else draw(names)]
    if kind == "consumer:use":
        words += [draw(names), *draw(st.lists(st.just("deliver"), max_size=1))]
    elif kind in ("stream:read", "kv:read", "kv:write", "stream:write"):
        words += draw(st.lists(filters, min_size=1, max_size=2))
        if kind == "stream:write":
            words[2:] = [f"own.{one}" for one in words[2:]]
        elif draw(st.booleans()):
            words[2:] = []
    return " ".join(words) + draw(options)


def table(*texts: str) -> PolicyTable:
    return compile_policy(permissions_of([parse_named_grant(text) for text in texts]), Account("A"))


@given(grants(), grants())
def test_a_grant_is_read_as_it_is_written_and_adds_up(text: str, other: str) -> None:
    grant = parse_named_grant(text)
    assert parse_named_grant(f"  {grant.text}  ") == grant
    assert grant.text.split() == text.split() or grant.text.endswith(text.rsplit(" ", 1)[1])
    together = permissions_of([grant, parse_named_grant(other)])
    alone = permissions_of([grant])
    together.validate()
    assert (together.publish.deny, together.subscribe.deny) == ((), ())
    assert {one.subject for one in together.publish.allow} >= {one.subject for one in alone.publish.allow}
    for one in (*alone.publish.allow, *alone.subscribe.allow):
        assert is_valid(one.subject)
        assert one.origin == f'grant "{grant.text}"'
    shared = [one for one in alone.subscribe.allow if one.subject == SHARED_INBOX]
    assert bool(shared) is not text.startswith("inbox:")


@given(grants())
@settings(max_examples=40)
def test_no_grant_reaches_another_stream(text: str) -> None:
    if text.startswith("jetstream:"):
        return
    policy = table(text)
    asked = [
        f"{api}.{verb}{name}{more}"
        for api in ("$JS.API", "$JS.hub.API", "JS.far")
        for name in ("OTHER", "KV_OTHER", "OBJ_OTHER")
        for verb, more in (
            ("STREAM.INFO.", ""), ("STREAM.CREATE.", ""), ("STREAM.DELETE.", ""), ("STREAM.PURGE.", ""),
            ("STREAM.MSG.GET.", ""), ("STREAM.SNAPSHOT.", ""), ("DIRECT.GET.", ""), ("DIRECT.GET.", ".x"),
            ("CONSUMER.CREATE.", ""), ("CONSUMER.CREATE.", ".c.x"), ("CONSUMER.MSG.NEXT.", ".c"),
            ("CONSUMER.DURABLE.CREATE.", ".c"), ("CONSUMER.DELETE.", ".c"),
        )
    ]  # fmt: skip
    asked += ["$JS.ACK.OTHER.c.1.1.1.1.0", "$KV.OTHER.x", "$O.OTHER.M.x", "other", "$JS.API.INFO", "$SYS.x"]
    if policy.publish_allow:
        assert [subject for subject in asked if policy.decide_publish(subject).allowed] == []
    assert not policy.decide_subscribe(">").allowed
    assert not policy.decide_subscribe("other").allowed


@pytest.mark.parametrize(
    ("text", "may", "may_not"),
    [
        ("stream:read S", ["CONSUMER.CREATE.S", "CONSUMER.MSG.NEXT.S.c", "DIRECT.GET.S.x"], ["STREAM.PURGE.S"]),
        ("stream:read S x.>", ["CONSUMER.CREATE.S.c.x.>", "DIRECT.GET.S.x.1"], ["DIRECT.GET.S.y"]),
        ("stream:read S x prefix=$JS.API", ["CONSUMER.CREATE.S.c.x"], ["CONSUMER.CREATE.S", "DIRECT.GET.S"]),
        ("consumer:use S c", ["CONSUMER.MSG.NEXT.S.c", "CONSUMER.INFO.S.c"], ["CONSUMER.MSG.NEXT.S.d"]),
        ("stream:manage S", ["STREAM.CREATE.S", "CONSUMER.PAUSE.S.c"], ["STREAM.CREATE.T", "STREAM.NAMES"]),
        ("kv:read B k.*", ["DIRECT.GET.KV_B.$KV.B.k.1"], ["DIRECT.GET.KV_B.$KV.B.j"]),
        ("object:write B", ["STREAM.PURGE.OBJ_B"], ["STREAM.DELETE.OBJ_B"]),
        ("jetstream:list", ["STREAM.NAMES", "INFO"], ["STREAM.INFO.S"]),
        ("jetstream:admin", ["STREAM.NAMES", "CONSUMER.CREATE.S"], []),
        ("stream:read *", ["STREAM.INFO.S", "CONSUMER.MSG.NEXT.S.c"], ["STREAM.DELETE.S"]),
    ],
)  # fmt: skip
def test_what_grants_give(text: str, may: list[str], may_not: list[str]) -> None:
    policy = table(text)
    for request in may:
        decision = policy.decide_publish(f"$JS.API.{request}")
        assert decision.allowed, request
        assert f'grant "{text}"' in decision.reason
    for request in may_not:
        assert not policy.decide_publish(f"$JS.API.{request}").allowed, request


def test_other_apis_and_inboxes() -> None:
    policy = table("kv:write B k domain=hub", "inbox:private _INBOX_me")
    for subject in ("$KV.B.k", "$JS.hub.API.$KV.B.k", "$JS.hub.API.STREAM.INFO.KV_B"):
        assert policy.decide_publish(subject).allowed
    assert not policy.decide_publish("$JS.API.STREAM.INFO.KV_B").allowed
    assert policy.decide_subscribe("_INBOX_me.x").allowed
    assert not policy.decide_subscribe("_INBOX.x").allowed
    policy = table("consumer:use S c deliver.x workers")
    assert policy.decide_subscribe("deliver.x", "workers").allowed
    assert not policy.decide_subscribe("deliver.x").allowed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'there is no grant ""; the grants are: stream:read, stream:write'),
        ("kv:rad B", 'there is no grant "kv:rad"'),
        ("kv:read", 'the grant "kv:read" is about nothing; write it as: kv:read BUCKET [KEY…]'),
        ("kv:read a.b", 'is about "a.b", which nothing can be called'),
        ("kv:read *", 'is about "*", which nothing can be called'),
        ("kv:read B a..b", 'has a subject that is none: "a..b"'),
        ("kv:manage B k", "has more words than it takes; write it as: kv:manage BUCKET"),
        ("stream:write ORDERS", "is not complete: name the subjects that may be published to"),
        ("stream:write S >", "would let requests be published"),
        ("stream:write S $JS.API.STREAM.DELETE.T", "would let requests be published"),
        ("consumer:use S", "is not complete: name the consumer"),
        ("consumer:use S a.b", 'is about "a.b"'),
        ("jetstream:admin x", "has more words than it takes"),
        ("kv:read B domain=a domain=b", "names domain twice"),
        ("kv:read B domain=a prefix=b", "names both a domain and a prefix"),
        ("kv:read B prefix=a..b", 'has a prefix that is none: "a..b"'),
        ("kv:read B domain=", 'has a domain that is none: ""'),
        ("inbox:private a.>", 'has a prefix that is none: "a.>"'),
    ],
)
def test_what_is_no_grant_says_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(InvalidGrantError) as caught:
        parse_named_grant(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("$JS.API.CONSUMER.MSG.NEXT.ORDERS.worker", "consumer:use ORDERS worker"),
        ("$JS.ACK.ORDERS.worker.1.1.1.1.0", "consumer:use ORDERS worker"),
        ("$JS.API.CONSUMER.CREATE.ORDERS", "stream:read ORDERS"),
        ("$JS.API.DIRECT.GET.KV_B.$KV.B.k", "kv:read B k"),
        ("$JS.API.STREAM.INFO.KV_B", "kv:read B"),
        ("$JS.API.STREAM.MSG.GET.OBJ_B", "object:read B"),
        ("$JS.API.STREAM.PURGE.OBJ_B", "object:write B"),
        ("$KV.B.k.1", "kv:write B k.1"),
        ("$JS.API.STREAM.CREATE.ORDERS", "stream:manage ORDERS"),
        ("$JS.API.STREAM.LIST", "jetstream:list"),
        ("$JS.API.STREAM.CREATE.KV_B", "kv:manage B"),
        ("$JS.API.META.LEADER.STEPDOWN", "jetstream:admin"),
        ("orders.new", ""),
        ("$JS.API.STREAM.CREATE.*", ""),
    ],
)
def test_which_grant_would_give_a_subject(subject: str, text: str) -> None:
    assert granting(subject) == text
    decision = table("stream:read NOTHING inside").decide_publish(subject)
    assert (f'as the grant "{text}" would' in decision.reason) is bool(text)
    if text:
        assert table(text).decide_publish(subject).allowed
