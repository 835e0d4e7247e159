"""The trail of refusals: who, what and why, bounded, and never a line that a client has forged."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, cast

import pytest

from auth.authenticate import Authenticator
from auth.errors import AuthError, AuthFailure
from auth.evidence import Evidence
from auth.nkey import KeyKind, KeyPair
from auth.settings import AuthSettings, UserEntry
from broker.control.audit import LOGINS, LOGINS_OF_ADDRESS, RECORDED_A_SECOND, Trail
from broker.control.tally import KNOWN, NAMED, WINDOW, Tally
from broker.log.text import REDACTED
from broker.session import journal
from broker.wire.connect import ConnectOptions
from tests.support.sessions import ANYBODY, Conversation

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.audit.recorder import Recorder


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
        r'127\.0\.0\.1:1 - cid:7 - Publish Violation - Subject "\$NRG\.x" - denial [0-9a-f]{8}: .*built-in.*',
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
    Trail(conversation.hub).authentication_failed(conversation.session, AuthError(AuthFailure.PASSWORD_WRONG, "bob"))
    assert "Password does not match" in log.messages[-1]


@pytest.mark.parametrize(
    ("connect", "claimed"),
    [
        ({"unverified_user": "b\nob", "unverified_password": "hush"}, r' - User "b\nob"'),
        ({"unverified_nkey": "UABC", "unverified_signature": "hush"}, ' - Nkey "UABC"'),
        ({"unverified_token": "hush"}, ' - Token "[REDACTED]"'),
        ({"unverified_jwt": "hush"}, ""),
    ],
)
def test_failed_authentication_says_who_it_was_said_to_be(
    log: pytest.LogCaptureFixture, connect: dict[str, str], claimed: str
) -> None:
    conversation = Conversation()
    conversation.session.connect = ConnectOptions(**connect)
    Trail(conversation.hub).authentication_failed(conversation.session, AuthError(AuthFailure.USER_UNKNOWN))
    assert f"cid:7 - authentication error{claimed} - denial " in log.messages[-1]
    assert "hush" not in log.messages[-1]


def test_each_kind_of_refusal_has_its_own_words(log: pytest.LogCaptureFixture) -> None:
    conversation = Conversation()
    trail = Trail(conversation.hub)
    for what, where in (("Publish", ""), ("Reply", ""), ("Subscription", ', Queue: "q", SID \x1b')):
        trail.refused(conversation.session, what, "a\nb", lambda: None, where=where)
    assert [line.split(" - ")[2:4] for line in log.messages] == [
        ["Publish Violation", r'Subject "a\nb"'],
        ["Publish Violation", r'Reply "a\nb"'],
        ["Subscription Violation", r'Subject "a\nb", Queue: "q", SID \x1b'],
    ]


def test_names_are_shown_escaped() -> None:
    conversation = Conversation()
    users = (UserEntry(name="eve\r\n\x1b[2J", password="p"),)
    evidence = Evidence(unverified_user=users[0].name, unverified_password="p")
    conversation.session.principal = Authenticator(AuthSettings(users=users)).authenticate(evidence, 0.0)
    assert journal.label(conversation.session) == '127.0.0.1:1 - cid:7 - "$G/user:eve\\r\\n\\x1b[2J"'


class Kept:
    """A ledger that keeps what it is told."""

    refuses, problem = False, ""

    def __init__(self) -> None:
        self.members: list[dict[str, object]] = []

    def record(self, name: str, members: dict[str, object]) -> None:
        self.members.append(members)


def test_no_seed_and_no_token_reaches_the_ledger_or_the_dashboard() -> None:
    seed, token = KeyPair.generate(KeyKind.USER).seed, "eyJ0eXAiOiJKV1Qi.eyJqdGkiOiJBQkNE.c2lnbmF0dXJl"
    conversation, kept = Conversation(), Kept()
    conversation.session.connect = ConnectOptions(unverified_user=seed, name=token)
    trail = Trail(conversation.hub)
    trail.recorder = cast("Recorder", kept)
    trail.authentication_failed(conversation.session, AuthError(AuthFailure.USER_UNKNOWN, f"no {token}"))
    trail.refused(conversation.session, "Publish", f"a.{seed}", lambda: None)
    assert kept.members[0]["claimed"] == kept.members[0]["program"] == REDACTED
    assert kept.members[1]["target"] == f"a.{REDACTED}"
    told = f"{kept.members}{list(trail.recent)}"
    assert seed not in told
    assert token not in told


# Floods


class Clock:
    """Calls back when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, callback: Callable[[], None]) -> Clock:
        self.waiting.append((seconds, callback))
        return self

    def cancel(self) -> None:
        self.waiting.clear()

    def pass_by(self) -> None:
        (seconds, callback), self.waiting = self.waiting[0], self.waiting[1:]
        assert seconds == WINDOW
        callback()


def fail(trail: Trail, count: int, address: str = "192.0.2.1") -> None:
    conversation = Conversation()
    conversation.session.remote_ip = address
    for _ in range(count):
        trail.login_failed(conversation.session, AuthError(AuthFailure.PASSWORD_WRONG))


def test_of_many_failed_logins_the_first_of_an_address_are_recorded(log: pytest.LogCaptureFixture) -> None:
    trail, kept, clock = Trail(Conversation().hub), Kept(), Clock()
    trail.recorder, trail.later = cast("Recorder", kept), clock.later
    fail(trail, LOGINS_OF_ADDRESS + 500)
    fail(trail, 1, "192.0.2.2")
    assert len(kept.members) == len(log.messages) == len(trail.recent) == LOGINS_OF_ADDRESS + 1
    assert trail.counted() == [(("", "connect"), LOGINS_OF_ADDRESS + 501)]
    clock.pass_by()
    assert kept.members[-1] == {"action": "more", "address": "192.0.2.1", "count": 500}
    assert log.messages[-1] == "500 more failed logins from 192.0.2.1 were not recorded one by one"
    fail(trail, 1)
    assert kept.members[-1]["action"] == "connect"
    clock.pass_by()
    assert not clock.waiting
    assert kept.members[-1]["action"] == "connect"


def test_many_addresses_cannot_fill_the_disk() -> None:
    """However many logins fail from however many addresses, a window leaves a bounded number of entries."""
    trail, kept, clock = Trail(Conversation().hub), Kept(), Clock()
    trail.recorder, trail.later = cast("Recorder", kept), clock.later
    for number in range(3 * KNOWN):
        fail(trail, 3, f"2001:db8::{number:x}")
    assert len(kept.members) == LOGINS
    clock.pass_by()
    assert len(kept.members) == LOGINS + NAMED + 1
    told = sum(int(str(entry.get("count", 1))) for entry in kept.members)
    assert told == 9 * KNOWN
    assert kept.members[-1]["address"] == ""


def test_what_was_counted_is_said_when_the_server_ends(log: pytest.LogCaptureFixture) -> None:
    trail, clock = Trail(Conversation().hub), Clock()
    trail.later = clock.later
    fail(trail, LOGINS_OF_ADDRESS + 7)
    trail.close()
    assert log.messages[-1].startswith("7 more failed logins")
    assert not clock.waiting
    trail.close()
    assert log.messages[-1].startswith("7 more failed logins")


def test_addresses_that_are_turned_away_and_limits_are_recorded_once_and_counted() -> None:
    trail, kept, clock = Trail(Conversation().hub), Kept(), Clock()
    trail.recorder, trail.later = cast("Recorder", kept), clock.later
    for _ in range(10):
        trail.backed_off("192.0.2.1", 2.0)
        trail.crowded("dropped", "max_unauthenticated")
    assert [entry.get("count") for entry in kept.members] == [None, 1, None, None]
    clock.pass_by()
    clock.pass_by()
    assert kept.members[-2:] == [
        {"address": "192.0.2.1", "count": 7},
        {"outcome": "dropped", "limit": "max_unauthenticated", "count": 9},
    ]


def test_a_tally_goes_on_while_there_is_something_to_count() -> None:
    said: list[tuple[str, int]] = []
    tally = Tally(lambda key, count: said.append((key, count)), each=1, together=2)
    assert [tally.admits(key) for key in "aabbc"] == [True, False, True, False, False]
    tally.end()
    assert sorted(said) == [("a", 1), ("b", 1), ("c", 1)]
    assert tally.is_open
    assert tally.admits("c")
    tally.end()
    assert not tally.is_open
    assert len(said) == 3
