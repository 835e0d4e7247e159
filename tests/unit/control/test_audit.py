"""The trail of refusals: who, what and why, bounded, and never a line that a client has forged."""

from __future__ import annotations

import logging
import re

import pytest

from auth.authenticate import Authenticator
from auth.errors import AuthError, AuthFailure
from auth.evidence import Evidence
from auth.settings import AuthSettings, UserEntry
from broker.control import audit
from broker.control.audit import RECORDED_A_SECOND, Trail, printable
from tests.support.sessions import ANYBODY, Conversation


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "natskeep")
    return caplog


def refuse(trail: Trail, conversation: Conversation, count: int, asked: list[None] | None = None) -> None:
    for _ in range(count):
        trail.refused(conversation.session, "Publish", "a", lambda: None if asked is None else asked.append(None))


def test_a_refusal_names_connection_subject_and_reason(log: pytest.LogCaptureFixture) -> None:
    conversation = Conversation()
    conversation.feed(b"PING\r\n")
    policy = ANYBODY.policy
    trail = Trail(conversation.hub)
    trail.refused(conversation.session, "Publish", "$NRG.x", lambda: policy.decide_publish("$NRG.x"))
    assert re.fullmatch(
        r'127\.0\.0\.1:1 - cid:7 - "\$G/" - Publish Violation - Subject "\$NRG\.x" - denial [0-9a-f]{8}: .*built-in.*',
        log.messages[-1],
    )


def test_of_many_refusals_the_first_of_each_second_are_recorded(log: pytest.LogCaptureFixture) -> None:
    conversation = Conversation()
    trail = Trail(conversation.hub)
    asked: list[None] = []
    refuse(trail, conversation, 1000, asked)
    assert len(log.messages) == len(asked) == RECORDED_A_SECOND
    conversation.hub.now += 1.0
    refuse(trail, conversation, 1)
    assert f"{1000 - RECORDED_A_SECOND} more refusals" in log.messages[-2]
    assert len(log.messages) == RECORDED_A_SECOND + 2


def test_what_was_only_counted_is_said_at_the_end(log: pytest.LogCaptureFixture) -> None:
    conversation, quiet = Conversation(), Conversation()
    trail = Trail(conversation.hub)
    refuse(trail, conversation, RECORDED_A_SECOND + 5)
    trail.forget(conversation.session)
    assert log.messages[-1].endswith("5 more refusals were not recorded one by one")
    count = len(log.messages)
    trail.forget(conversation.session)
    trail.forget(quiet.session)
    assert len(log.messages) == count
    assert not trail._spent


def test_one_loud_connection_does_not_silence_another(log: pytest.LogCaptureFixture) -> None:
    loud, quiet = Conversation(), Conversation()
    quiet.session.cid = 8
    trail = Trail(loud.hub)
    refuse(trail, loud, 100)
    refuse(trail, quiet, 1)
    assert "cid:8" in log.messages[-1]


def test_failed_authentication_says_why_to_the_log_alone(log: pytest.LogCaptureFixture) -> None:
    conversation = Conversation()
    audit.authentication_failed(conversation.session, AuthError(AuthFailure.PASSWORD_WRONG, "bob"))
    assert "Password does not match" in log.messages[-1]


@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[2Ja", "\0", "é\u2028\u202e", "\udcff", "\\n"])
def test_nothing_from_the_wire_breaks_a_line_or_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown != text


def test_names_are_shown_escaped() -> None:
    conversation = Conversation()
    users = (UserEntry(name="eve\r\n\x1b[2J", password="p"),)
    evidence = Evidence(unverified_user=users[0].name, unverified_password="p")
    conversation.session.principal = Authenticator(AuthSettings(users=users)).authenticate(evidence, 0.0)
    assert audit.label(conversation.session) == '127.0.0.1:1 - cid:7 - "$G/eve\\r\\n\\x1b[2J"'
