"""Binding sessions to accounts: ceilings, and nothing left of a session that is gone."""

from __future__ import annotations

import json

import pytest

from accounts.limits import AccountLimits
from accounts.permissions import Grant, Permissions, SubjectRules
from broker.config.options import AccountOptions, UserOptions
from broker.wire.errors import CloseReason
from tests.support.brokers import Broker


def accounts(limits: AccountLimits | None = None, permissions: Permissions | None = None) -> tuple[AccountOptions, ...]:
    return tuple(
        AccountOptions(
            name=name,
            users=(UserOptions(user=name.lower(), password="p", permissions=permissions),),
            limits=limits,
        )
        for name in ("A", "B")
    )


def test_sessions_of_one_account_meet_and_those_of_others_do_not() -> None:
    broker = Broker(accounts=accounts())
    one, other, stranger = broker.connect("a"), broker.connect("a"), broker.connect("b")
    for conversation in (one, other, stranger):
        conversation.feed(b"SUB > 1\r\n")
    one.feed(b"PUB x 1\r\ny\r\n")
    assert other.said() == b"MSG x 1 1\r\ny\r\n"
    assert stranger.said() == b""


def test_nothing_is_left_of_sessions_that_are_gone() -> None:
    broker = Broker(accounts=accounts())
    conversations = [broker.connect(user) for user in ("a", "a", "b")]
    for conversation in conversations:
        conversation.feed(b"SUB a 1\r\nSUB a.* q 2\r\nSUB > 3\r\nUNSUB 3 1\r\nPUB a 0\r\n\r\n")
    assert broker.control.tenants["A"].subscriptions == 6
    for conversation in conversations:
        conversation.session.close(CloseReason.KICKED)
    broker.assert_idle()


def test_a_subscription_that_has_had_its_last_message_is_removed() -> None:
    broker = Broker()
    conversation = broker.connect()
    conversation.feed(b"SUB a 1\r\nUNSUB 1 2\r\nPUB a 0\r\n\r\nPUB a 0\r\n\r\nPUB a 0\r\n\r\n")
    broker.control.finish(broker.control.hub.take_finished())
    assert conversation.session.subscriptions == {}
    assert broker.control.tenants["$G"].subscriptions == 0


def test_what_has_finished_may_be_gone_already() -> None:
    broker = Broker()
    conversation = broker.connect()
    conversation.feed(b"SUB a 1\r\nUNSUB 1 1\r\nPUB a 0\r\n\r\n")
    finished = broker.control.hub.take_finished()
    conversation.session.close(CloseReason.KICKED)
    broker.control.finish(finished)
    broker.assert_idle()


def test_a_sid_is_free_again_after_the_last_message_even_in_the_same_batch() -> None:
    broker = Broker()
    conversation = broker.connect()
    answer = conversation.feed(b"SUB a 1\r\nUNSUB 1 1\r\nPUB a 0\r\n\r\nSUB b 1\r\nPUB a 0\r\n\r\nPUB b 0\r\n\r\n")
    assert answer == b"MSG a 1 0\r\n\r\nMSG b 1 0\r\n\r\n"
    broker.control.finish(broker.control.hub.take_finished())
    assert [one.subject for one in conversation.session.subscriptions.values()] == [b"b"]


def test_an_account_takes_so_many_connections() -> None:
    broker = Broker(accounts=accounts(AccountLimits(connections=2)))
    first, second, third = (broker.connect("a") for _ in range(3))
    assert third.close_reason is CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS
    assert broker.connect("b").close_reason is None
    first.session.close(CloseReason.CLIENT_CLOSED)
    assert broker.connect("a").close_reason is None
    assert second.close_reason is None
    assert len(broker.control.tenants["A"].sessions) == 2


def test_a_second_connect_takes_no_second_place() -> None:
    broker = Broker(accounts=accounts(AccountLimits(connections=1)))
    conversation = broker.connect("a")
    conversation.feed(b"CONNECT {}\r\nCONNECT {}\r\n")
    assert conversation.close_reason is None
    assert len(broker.control.tenants["A"].sessions) == 1


@pytest.mark.parametrize("ceiling", [0, -2])
def test_a_ceiling_that_nothing_fits(ceiling: int) -> None:
    broker = Broker(accounts=accounts(AccountLimits(connections=ceiling)))
    assert broker.connect("a").close_reason is CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS
    broker = Broker(accounts=accounts(AccountLimits(subscriptions=ceiling)))
    assert broker.connect("a").close_reason is CloseReason.MAXIMUM_SUBSCRIPTIONS
    broker.assert_idle()


def test_the_tightest_ceiling_of_subscriptions_holds() -> None:
    broker = Broker(accounts=accounts(AccountLimits(subscriptions=2)), max_subscriptions=3)
    conversation = broker.connect("a")
    refused = b"-ERR 'maximum subscriptions exceeded'\r\n"
    assert conversation.feed(b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n") == refused
    assert conversation.feed(b"UNSUB 1\r\nSUB c 3\r\nSUB c 3\r\n") == refused
    assert conversation.close_reason is None
    free = Broker(max_subscriptions=1).connect()
    assert free.feed(b"SUB a 1\r\nSUB b 2\r\n") == refused


def test_ceilings_of_payload_are_told_in_info_and_enforced() -> None:
    broker = Broker(accounts=accounts(AccountLimits(payload=10)), max_payload=100)
    conversation = broker.connect("a", protocol=1)
    told = conversation.feed(b"PING\r\n").split(b"\r\n")
    assert json.loads(told[1][5:])["max_payload"] == 10
    assert conversation.feed(b"PUB a 10\r\n0123456789\r\nPUB a 11\r\n") == b"-ERR 'Maximum Payload Violation'\r\n"
    assert conversation.close_reason is CloseReason.MAXIMUM_PAYLOAD


def test_a_data_ceiling_counts_both_ways() -> None:
    broker = Broker(accounts=accounts(AccountLimits(data=10)))
    conversation = broker.connect("a")
    assert conversation.feed(b"PUB a 6\r\n012345\r\n") == b""
    assert conversation.close_reason is None
    # Five bytes in and five bytes back make sixteen in all.
    conversation.feed(b"SUB a 1\r\nPUB a 5\r\n01234\r\n")
    assert conversation.close_reason is CloseReason.MAXIMUM_DATA


def test_no_data_ceiling_is_none() -> None:
    broker = Broker(accounts=accounts(AccountLimits(data=0)))
    conversation = broker.connect("a")
    conversation.feed(b"PUB a 6\r\n012345\r\n" * 100)
    assert conversation.close_reason is None


def test_tokens_of_a_subscription_are_counted() -> None:
    conversation = Broker(max_subscription_tokens=3).connect()
    assert conversation.feed(b"SUB a.b.c 1\r\nSUB a.*.> 2\r\nSUB a.b.c.d 3\r\nSUB ... 4\r\n") == (
        b"-ERR 'Permissions Violation for Subscription to \"a.b.c.d\", too many tokens'\r\n"
        b"-ERR 'Permissions Violation for Subscription to \"...\", too many tokens'\r\n"
    )
    assert sorted(conversation.session.subscriptions) == [b"1", b"2"]


def test_what_is_denied_inside_a_wider_subscription_is_not_delivered() -> None:
    permissions = Permissions(subscribe=SubjectRules(deny=(Grant("a.no"), Grant("a.secret.>"))))
    broker = Broker(accounts=accounts(permissions=permissions))
    conversation = broker.connect("a")
    assert conversation.feed(b"SUB a.no 1\r\n") == b"-ERR 'Permissions Violation for Subscription to \"a.no\"'\r\n"
    conversation.feed(b"SUB a.> 2\r\n")
    for subject in (b"a.no", b"a.yes", b"a.secret.x", b"a.secret"):
        conversation.feed(b"PUB %b 0\r\n\r\n" % subject)
    assert conversation.session.subscriptions[b"2"].delivered == 2


def test_a_second_connect_changes_the_account_and_takes_nothing_along() -> None:
    broker = Broker(accounts=accounts())
    conversation, stranger = broker.connect("a"), broker.connect("b")
    conversation.feed(b"SUB > 1\r\n")
    conversation.feed(b'CONNECT {"user":"b","pass":"p"}\r\n')
    stranger.feed(b"PUB x 0\r\n\r\n")
    assert conversation.said() == b""
    assert broker.control.tenants["A"].subscriptions == 0
    assert len(broker.control.tenants["B"].sessions) == 2
    conversation.feed(b'CONNECT {"user":"b","pass":"wrong"}\r\n')
    assert conversation.close_reason is CloseReason.AUTHENTICATION_FAILURE
    assert len(broker.control.tenants["B"].sessions) == 1
