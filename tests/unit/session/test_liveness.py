"""The ping clock: when a client is asked, when it counts as stale, how round trips are measured."""

from __future__ import annotations

import pytest

from broker.session.liveness import FIRST_PING, ROUND_TRIP_AGE, Liveness
from broker.wire.errors import CloseReason
from tests.support.sessions import Conversation

CONNECT = b'CONNECT {"verbose":false}\r\n'


def heard(conversation: Conversation, data: bytes) -> None:
    """Bytes of the client, at the hub's time."""
    conversation.session.liveness.last_heard = conversation.hub.now
    conversation.send([data])


def tick(conversation: Conversation, seconds: float = 10.0) -> bytes:
    """The clock after some seconds: what it made the session say."""
    conversation.hub.now += seconds
    conversation.session.ping_due()
    return conversation.said()


@pytest.fixture
def conversation() -> Conversation:
    begun = Conversation(interval=10.0, maximum=2)
    heard(begun, CONNECT)
    return begun


@pytest.mark.parametrize("interval", [0.01, 1.0, 2.0, 120.0])
def test_the_first_ping_is_early_and_jittered(interval: float) -> None:
    delays = {Liveness(interval, 2, 0.0).first_delay() for _ in range(50)}
    earliest = min(interval, FIRST_PING)
    assert all(earliest <= delay <= earliest * 1.2 for delay in delays)
    assert len(delays) > 10


def test_unanswered_pings_end_the_connection(conversation: Conversation) -> None:
    assert tick(conversation) == b"PING\r\n"
    assert tick(conversation) == b"PING\r\n"
    assert tick(conversation) == b"-ERR 'Stale Connection'\r\n"
    assert conversation.close_reason is CloseReason.STALE_CONNECTION


def test_an_answer_counts_for_all_pings_before(conversation: Conversation) -> None:
    for _ in range(5):
        assert tick(conversation) == b"PING\r\n"
        assert tick(conversation) == b"PING\r\n"
        heard(conversation, b"PONG\r\n")
    assert conversation.close_reason is None


def test_pings_of_the_client_are_no_answer(conversation: Conversation) -> None:
    for _ in range(2):
        tick(conversation)
        conversation.hub.now += 1.0
        heard(conversation, b"PING\r\n")
        conversation.said()
    assert tick(conversation, 9.0) == b"-ERR 'Stale Connection'\r\n"


def test_who_was_heard_and_measured_is_not_asked(conversation: Conversation) -> None:
    tick(conversation)
    heard(conversation, b"PONG\r\n")
    conversation.hub.now += 5.0
    heard(conversation, b"PUB a 0\r\n\r\n")
    assert tick(conversation, 5.0) == b""
    assert tick(conversation) == b"PING\r\n"


def test_who_was_never_measured_is_asked_though_heard(conversation: Conversation) -> None:
    conversation.hub.now += 9.0
    heard(conversation, b"PUB a 0\r\n\r\n")
    assert tick(conversation, 1.0) == b"PING\r\n"


def test_who_is_heard_is_alive_whatever_pings_are_open(conversation: Conversation) -> None:
    """As in the reference: nobody is asked, so nobody is found to be silent."""
    tick(conversation)
    heard(conversation, b"PONG\r\n")
    tick(conversation)
    tick(conversation)
    for _ in range(5):
        conversation.hub.now += 5.0
        heard(conversation, b"PUB a 0\r\n\r\n")
        assert tick(conversation, 4.0) == b""
    assert tick(conversation) == b"-ERR 'Stale Connection'\r\n"


def test_round_trips(conversation: Conversation) -> None:
    liveness = conversation.session.liveness
    assert liveness.round_trip == 0.0
    heard(conversation, b"PONG\r\n")
    assert liveness.round_trip == 0.0
    tick(conversation)
    conversation.hub.now += 0.25
    heard(conversation, b"PONG\r\n")
    assert liveness.round_trip == pytest.approx(0.25)
    conversation.hub.now += 3.0
    heard(conversation, b"PONG\r\n")
    assert liveness.round_trip == pytest.approx(0.25)


def test_an_instant_answer_is_a_measured_one(conversation: Conversation) -> None:
    tick(conversation)
    heard(conversation, b"PONG\r\n")
    assert conversation.session.liveness.round_trip > 0.0
    assert tick(conversation, 1.0) == b""


def test_an_old_round_trip_is_measured_again(conversation: Conversation) -> None:
    tick(conversation)
    heard(conversation, b"PONG\r\n")
    conversation.hub.now += ROUND_TRIP_AGE
    heard(conversation, b"PUB a 0\r\n\r\n")
    assert tick(conversation, 1.0) == b"PING\r\n"


def test_no_ping_may_stay_open_where_the_maximum_is_0() -> None:
    conversation = Conversation(maximum=0)
    heard(conversation, CONNECT)
    assert tick(conversation) == b"-ERR 'Stale Connection'\r\n"
