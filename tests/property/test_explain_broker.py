"""What is explained is what the running broker does, before the change that an explanation names and after it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.explain import Explanation, Who, explain_publish, explain_subscribe
from accounts.flow import World
from accounts.permissions import Grant, Permissions, SubjectRules
from accounts.policy import BUILT_IN, Action, Effect, PolicyTable
from broker.config.options import AccountOptions, UserOptions
from tests.fuzz.inputs import LONG
from tests.oracle.patterns import WORLD
from tests.property.test_explain import patterns, permissions
from tests.support.brokers import Broker
from tests.support.sessions import Conversation

QUESTIONS = 10_000 if LONG else 300


def connected(granted: Permissions) -> tuple[Conversation, Who]:
    """A client with these permissions on a running broker, and the same user as explanations see it."""
    user = UserOptions(user="u", password="p", permissions=granted)
    broker = Broker(accounts=(AccountOptions(name="A", users=(user,)),))
    conversation = broker.connect("u")
    principal = conversation.session.principal
    assert principal is not None
    return conversation, Who("u", principal.account, principal.policy, principal.limits)


def granting(table: PolicyTable) -> Permissions:
    """Permissions with the rules of a table that somebody wrote."""

    def grants(action: Action, effect: Effect) -> tuple[Grant, ...]:
        return tuple(
            Grant(rule.subject, rule.queue)
            for rule in table.rules
            if rule.action is action and rule.effect is effect and rule.origin != BUILT_IN
        )

    publish, subscribe = (
        SubjectRules(grants(action, Effect.ALLOW), grants(action, Effect.DENY))
        for action in (Action.PUBLISH, Action.SUBSCRIBE)
    )
    return Permissions(publish, subscribe, table.responses)


def may_publish(conversation: Conversation, subject: str) -> bool:
    return b"Permissions Violation" not in conversation.feed(f"PUB {subject} 0\r\n\r\n".encode())


def may_subscribe(conversation: Conversation, subject: str, queue: str | None) -> bool:
    words = subject if queue is None else f"{subject} {queue}"
    return b"Permissions Violation" not in conversation.feed(f"SUB {words} 1\r\n".encode())


def flipped(explanation: Explanation, who: Who) -> Permissions:
    assert explanation.change is not None
    return granting(explanation.change.apply(who).policy)


@settings(max_examples=QUESTIONS)
@given(permissions, st.sampled_from(WORLD))
def test_publishing(granted: Permissions, subject: str) -> None:
    conversation, who = connected(granted)
    explanation = explain_publish(World([who.account], 0.0), who, subject)
    assert may_publish(conversation, subject) is explanation.allowed
    assert may_publish(connected(flipped(explanation, who))[0], subject) is not explanation.allowed


@settings(max_examples=QUESTIONS)
@given(permissions, patterns, st.sampled_from((None, None, "q", "r", "q.a")))
def test_subscribing(granted: Permissions, subject: str, queue: str | None) -> None:
    conversation, who = connected(granted)
    explanation = explain_subscribe(World([who.account], 0.0), who, subject, queue)
    assert may_subscribe(conversation, subject, queue) is explanation.allowed
    assert may_subscribe(connected(flipped(explanation, who))[0], subject, queue) is not explanation.allowed


@pytest.mark.parametrize("subject", ["$NRG.a", "_GR_.a.b"])
def test_what_is_built_in_cannot_be_changed(subject: str) -> None:
    conversation, who = connected(Permissions())
    explanation = explain_publish(World([who.account], 0.0), who, subject)
    assert not explanation.allowed
    assert explanation.change is None
    assert not may_publish(conversation, subject)
