"""What a session makes of each verb in each state, without any I/O."""

from __future__ import annotations

import pytest

from auth.errors import AuthError, AuthFailure
from broker.session.backend import LimitError
from broker.session.states import State
from broker.wire.errors import CloseReason
from tests.support.sessions import ANYBODY, INFO, LATER_INFO, Conversation, NotedBackend

QUIET = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
PROTOCOL_1 = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n'
VIOLATION = b"-ERR 'Authorization Violation'\r\n"
EXPIRED = b"-ERR 'User Authentication Expired'\r\n"

OTHER_VERBS = [
    b"PING\r\n",
    b"PONG\r\n",
    b"SUB a 1\r\n",
    b"UNSUB 1\r\n",
    b"PUB a 1\r\nx\r\n",
    b"HPUB a 0 1\r\nx\r\n",
    b"INFO {}\r\n",
    b"+OK\r\n",
    b"-ERR x\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\r\n",
    b"\x16\x03\x01",
    b"\0",
]


# Before CONNECT


def test_the_greeting_is_info() -> None:
    conversation = Conversation()
    conversation.session.greet()
    assert conversation.said() == INFO
    assert conversation.session.state is State.GREETED


@pytest.mark.parametrize("verb", OTHER_VERBS)
def test_a_verb_before_connect_ends_it_where_credentials_are_needed(verb: bytes) -> None:
    conversation = Conversation(NotedBackend(required=True))
    assert conversation.feed(verb + QUIET) == VIOLATION
    assert conversation.close_reason is CloseReason.AUTHENTICATION_FAILURE
    assert conversation.backend.noted("authenticate") == []
    assert conversation.backend.noted("bind") == []


def test_every_verb_works_without_connect_where_nobody_is_asked() -> None:
    conversation = Conversation()
    assert conversation.feed(b"SUB a 1\r\nPUB a 1\r\nx\r\nPUB a.* 0\r\n\r\nUNSUB 1\r\nPING\r\n") == (
        b"+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n-ERR 'Invalid Publish Subject'\r\n+OK\r\n+OK\r\nPONG\r\n"
    )
    assert conversation.session.principal is ANYBODY
    assert conversation.transport.authentications == 1


def test_headers_need_connect() -> None:
    conversation = Conversation()
    assert conversation.feed(b"PING\r\n", b"HPUB a 0 1\r\nx\r\n") == b"PONG\r\n"
    assert conversation.close_reason is CloseReason.PROTOCOL_VIOLATION


def test_a_limit_holds_also_for_those_that_send_no_connect() -> None:
    backend = NotedBackend()
    backend.limit = LimitError("full", CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS)
    conversation = Conversation(backend)
    assert conversation.feed(b"PUB a 1\r\nx\r\nPING\r\n") == b"-ERR 'full'\r\n"
    assert conversation.close_reason is CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS


# CONNECT


def test_connect_opens_and_is_acknowledged_unless_told_otherwise() -> None:
    assert Conversation().feed(b"CONNECT {}\r\n") == b"+OK\r\n"
    conversation = Conversation()
    assert conversation.feed(QUIET) == b""
    assert conversation.session.state is State.ACTIVE
    assert conversation.transport.authentications == 1
    assert conversation.transport.expiry == [None]


@pytest.mark.parametrize("argument", [b"", b"{", b"[]", b"nul", b'{"verbose":1}', b'{"protocol":true}', b'{"jwt":7}'])
def test_connect_that_cannot_be_read_ends_it_without_a_word(argument: bytes) -> None:
    conversation = Conversation()
    assert conversation.feed(b"CONNECT %b\r\nPING\r\n" % argument) == b""
    assert conversation.close_reason is CloseReason.PROTOCOL_VIOLATION
    assert conversation.backend.noted("authenticate") == []


def test_connect_null_names_nothing() -> None:
    assert Conversation().feed(b"CONNECT null\r\nPING\r\n") == b"+OK\r\nPONG\r\n"


@pytest.mark.parametrize("argument", [b'{"account":"A"}', b'{"new_account":true}'])
def test_nobody_chooses_an_account_by_name(argument: bytes) -> None:
    conversation = Conversation()
    assert conversation.feed(b"CONNECT %b\r\nPING\r\n" % argument) == VIOLATION
    assert conversation.close_reason is CloseReason.AUTHENTICATION_FAILURE
    assert conversation.backend.noted("authenticate") == []


@pytest.mark.parametrize("protocol", [-1, 2, 100])
def test_unknown_protocols_are_refused(protocol: int) -> None:
    conversation = Conversation()
    assert conversation.feed(b'CONNECT {"protocol":%d}\r\nPING\r\n' % protocol) == b"-ERR 'invalid client protocol'\r\n"
    assert conversation.close_reason is CloseReason.BAD_PROTOCOL_VERSION
    assert conversation.backend.noted("bind") == []


def test_no_responders_need_headers() -> None:
    conversation = Conversation()
    answer = conversation.feed(b'CONNECT {"no_responders":true}\r\nPING\r\n')
    assert answer == b"-ERR 'no responders requires headers support'\r\n"
    assert conversation.close_reason is CloseReason.NO_RESPONDERS_REQUIRES_HEADERS


def test_headers_stay_off_where_the_server_has_none() -> None:
    conversation = Conversation(headers=False)
    assert conversation.feed(b'CONNECT {"verbose":false,"headers":true}\r\n', b"HPUB a 0 1\r\nx\r\n") == b""
    assert conversation.close_reason is CloseReason.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("failure", "text", "reason"),
    [
        (AuthFailure.PASSWORD_WRONG, VIOLATION, CloseReason.AUTHENTICATION_FAILURE),
        (AuthFailure.PROXY_REQUIRED, VIOLATION, CloseReason.PROXY_REQUIRED),
        (AuthFailure.PROXY_NOT_TRUSTED, VIOLATION, CloseReason.PROXY_NOT_TRUSTED),
        (AuthFailure.USER_JWT_NEVER_VALID, EXPIRED, CloseReason.AUTHENTICATION_EXPIRED),
    ],
)
def test_a_refusal_says_what_the_client_may_know(failure: AuthFailure, text: bytes, reason: CloseReason) -> None:
    backend = NotedBackend(required=True)
    backend.refusal = AuthError(failure, "for the log only")
    conversation = Conversation(backend)
    assert conversation.feed(QUIET + b"SUB a 1\r\nPING\r\n") == text
    assert conversation.close_reason is reason
    assert backend.noted("bind") == backend.noted("subscribe") == []


@pytest.mark.parametrize("failure", AuthFailure)
def test_every_failure_has_a_reason_to_close(failure: AuthFailure) -> None:
    assert CloseReason(AuthError(failure).closed_reason)


# A second CONNECT


def test_a_second_connect_begins_anew_and_keeps_what_it_does_not_name() -> None:
    conversation = Conversation()
    conversation.feed(b'CONNECT {"verbose":false,"echo":false,"name":"n"}\r\n', b"SUB a 1\r\n")
    assert conversation.feed(b'CONNECT {"verbose":true}\r\n') == b"+OK\r\n"
    assert len(conversation.backend.namespace) == 0
    assert conversation.session.subscriptions == {}
    assert conversation.session.connect.name == "n"
    assert not conversation.client.echo
    assert conversation.backend.noted("bind") == [(), ()]
    assert conversation.backend.noted("unbind") == [()]


def test_a_second_connect_that_fails_leaves_nothing() -> None:
    conversation = Conversation()
    conversation.feed(QUIET, b"SUB a 1\r\n")
    conversation.backend.refusal = AuthError(AuthFailure.PASSWORD_WRONG)
    assert conversation.feed(QUIET + b"PUB a 1\r\nx\r\n") == VIOLATION
    assert conversation.close_reason is CloseReason.AUTHENTICATION_FAILURE
    assert len(conversation.backend.namespace) == 0
    assert not conversation.client.bound


@pytest.mark.parametrize("argument", [b"{", b'{"account":"B"}'])
def test_a_second_connect_of_bad_form_leaves_nothing(argument: bytes) -> None:
    conversation = Conversation()
    conversation.feed(QUIET, b"SUB a 1\r\n", b"CONNECT %b\r\nPUB a 1\r\nx\r\n" % argument)
    assert conversation.close_reason is not None
    assert len(conversation.backend.namespace) == 0


# CONNECT whose password is compared in a thread


def test_nothing_is_parsed_while_a_password_is_compared() -> None:
    backend = NotedBackend(required=True)
    backend.slow = True
    conversation = Conversation(backend)
    assert conversation.feed(QUIET + b"SUB a 1\r\nPUB a 1\r\nx\r\nPI") == b""
    assert conversation.session.state is State.VERIFYING
    assert conversation.transport.set_aside == [conversation.session.connect]
    assert backend.noted("subscribe") == []
    conversation.session.verified(ANYBODY)
    assert conversation.said() == b"MSG a 1 1\r\nx\r\n"
    assert conversation.feed(b"NG\r\n") == b"PONG\r\n"


def test_a_password_that_was_wrong_after_all() -> None:
    backend = NotedBackend(required=True)
    backend.slow = True
    conversation = Conversation(backend)
    conversation.feed(QUIET + b"SUB a 1\r\n")
    conversation.session.verified(AuthError(AuthFailure.PASSWORD_WRONG))
    assert conversation.said() == VIOLATION
    assert conversation.close_reason is CloseReason.AUTHENTICATION_FAILURE
    assert backend.noted("subscribe") == backend.noted("bind") == []


def test_a_result_that_comes_too_late_changes_nothing() -> None:
    backend = NotedBackend(required=True)
    backend.slow = True
    conversation = Conversation(backend)
    conversation.feed(QUIET + b"SUB a 1\r\n")
    conversation.session.connect_overdue()
    assert conversation.close_reason is CloseReason.AUTHENTICATION_TIMEOUT
    conversation.session.verified(ANYBODY)
    assert conversation.said() == b"-ERR 'Authentication Timeout'\r\n"
    assert backend.noted("bind") == backend.noted("subscribe") == []


# PING and INFO


def test_the_first_ping_brings_info_to_protocol_1() -> None:
    conversation = Conversation()
    answer = conversation.feed(PROTOCOL_1 + b"PING\r\nPING\r\n", b"ping\r\n")
    assert answer == b"PONG\r\n" + LATER_INFO + b"PONG\r\nPONG\r\n"


def test_protocol_0_never_gets_another_info() -> None:
    conversation = Conversation()
    assert conversation.feed(QUIET + b"PING\r\nPING\r\n") == b"PONG\r\nPONG\r\n"
    conversation.session.lame_duck()
    assert conversation.said() == b""


def test_lame_duck_is_told_to_those_that_have_sent_a_ping() -> None:
    conversation = Conversation()
    conversation.feed(PROTOCOL_1)
    conversation.session.lame_duck()
    assert conversation.said() == b""
    conversation.feed(b"PING\r\n")
    conversation.session.lame_duck()
    assert conversation.said() == LATER_INFO


def test_info_of_a_client_is_read_and_ignored() -> None:
    conversation = Conversation()
    assert conversation.feed(QUIET + b'INFO {"a":[1,{}]}\r\nINFO{}\r\nINFO null\r\nPING\r\n') == b"PONG\r\n"


@pytest.mark.parametrize("argument", [b"", b"{", b"[]", b"1", b"\xff", b"{" * 100])
def test_info_of_bad_form_ends_it(argument: bytes) -> None:
    conversation = Conversation()
    assert conversation.feed(QUIET + b"INFO %b\r\nPING\r\n" % argument) == b""
    assert conversation.close_reason is CloseReason.PROTOCOL_VIOLATION


def test_an_error_of_a_client_ends_it() -> None:
    conversation = Conversation()
    assert conversation.feed(QUIET + b"-ERR 'no'\r\nPING\r\n") == b""
    assert conversation.close_reason is CloseReason.PARSE_ERROR


# Verbs


def test_subscribing() -> None:
    conversation = Conversation()
    assert conversation.feed(b"CONNECT {}\r\n", b"SUB a 1\r\nsub a q 2\r\n") == b"+OK\r\n" * 3
    assert conversation.backend.noted("subscribe") == [(b"a", None, b"1"), (b"a", b"q", b"2")]
    conversation.backend.subscribe_answer = "no"
    assert conversation.feed(b"SUB b 3\r\nPING\r\n") == b"-ERR 'no'\r\nPONG\r\n"


@pytest.mark.parametrize(
    ("argument", "maximum"),
    [
        (b"1", 0),
        (b"1 5", 5),
        (b"1 0", 0),
        (b"1 -1", 0),
        (b"1 x", 0),
        (b"1 +1", 0),
        (b"1 999999999", 999999999),
        (b"1 99999999999999999999", 0),
        (b"1 \xc2\xb2", 0),
    ],
)
def test_unsubscribing(argument: bytes, maximum: int) -> None:
    conversation = Conversation()
    assert conversation.feed(b"CONNECT {}\r\n", b"UNSUB %b\r\n" % argument) == b"+OK\r\n" * 2
    assert conversation.backend.noted("unsubscribe") == [(b"1", maximum)]


@pytest.mark.parametrize("line", [b"SUB a", b"SUB a b c d", b"SUB ", b"UNSUB ", b"UNSUB 1 2 3", b"PUB a", b"PUB a x"])
def test_bad_arguments_end_it_without_a_word(line: bytes) -> None:
    conversation = Conversation()
    assert conversation.feed(b"CONNECT {}\r\n", line + b"\r\nPING\r\n") == b"+OK\r\n"
    assert conversation.close_reason is CloseReason.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("data", "text", "reason"),
    [
        (b"XYZ\r\n", b"Unknown Protocol Operation", CloseReason.PROTOCOL_VIOLATION),
        (b"MSG a 1 0\r\n\r\n", b"Unknown Protocol Operation", CloseReason.PROTOCOL_VIOLATION),
        (b"SUB " + b"a" * 257, b"maximum control line exceeded", CloseReason.MAXIMUM_CONTROL_LINE),
        (b"PUB a 101\r\n", b"Maximum Payload Violation", CloseReason.MAXIMUM_PAYLOAD),
        (b"PUB a 1\r\nxyz", b"Unknown Protocol Operation", CloseReason.PROTOCOL_VIOLATION),
    ],
)
def test_fatal_errors(data: bytes, text: bytes, reason: CloseReason) -> None:
    conversation = Conversation()
    assert conversation.feed(QUIET, data + b"\r\nPING\r\n") == b"-ERR '%b'\r\n" % text
    assert conversation.close_reason is reason


def test_refused_messages_are_told_and_kept_on_the_trail() -> None:
    conversation = Conversation()
    conversation.feed(b"CONNECT {}\r\n")
    answer = conversation.feed(b"PUB no.x 1\r\nx\r\nPUB a _R_.y 1\r\nx\r\nPUB no.\xff 1\r\nx\r\nPING\r\n")
    assert answer == (
        b"-ERR 'Permissions Violation for Publish to \"no.x\"'\r\n"
        b"-ERR 'Permissions Violation for Publish with Reply of \"_R_.y\"'\r\n"
        b"-ERR 'Permissions Violation for Publish to \"no.\xff\"'\r\n"
        b"PONG\r\n"
    )
    assert conversation.backend.noted("publish refused") == [("no.x",), ("no.\udcff",)]
    assert conversation.backend.noted("reply refused") == [("_R_.y",)]
    assert conversation.close_reason is None


def test_pedantic_tells_of_odd_subjects_and_publishes_all_the_same() -> None:
    conversation = Conversation()
    conversation.feed(b'CONNECT {"verbose":false}\r\n', b"SUB > 1\r\n")
    assert conversation.feed(b"PUB a.* 1\r\nx\r\nPUB a r..s 1\r\ny\r\n") == (
        b"-ERR 'Invalid Publish Subject'\r\nMSG a.* 1 1\r\nx\r\nMSG a 1 r..s 1\r\ny\r\n"
    )


def test_data_over_the_ceiling_ends_it() -> None:
    conversation = Conversation()
    conversation.feed(QUIET)
    conversation.session.data_ceiling = 10
    assert conversation.feed(b"PUB a 10\r\n0123456789\r\n") == b""
    assert conversation.feed(b"PUB a 1\r\n0\r\n") == b"-ERR 'maximum account data exceeded'\r\n"
    assert conversation.close_reason is CloseReason.MAXIMUM_DATA


# The end


def test_a_closed_session_does_nothing_more() -> None:
    conversation = Conversation()
    conversation.feed(PROTOCOL_1, b"SUB a 1\r\nPING\r\n")
    session = conversation.session
    session.close(CloseReason.KICKED)
    assert [subscription.sid for subscription in session.last_subscriptions] == [b"1"]
    assert conversation.backend.noted("unbind") == [()]
    session.close(CloseReason.CLIENT_CLOSED)
    session.fail("again", CloseReason.REVOKED)
    session.expired()
    session.connect_overdue()
    session.ping_due()
    session.lame_duck()
    assert session.close_reason is CloseReason.KICKED
    assert conversation.transport.ended == [CloseReason.KICKED]
    assert conversation.backend.noted("unbind") == [()]
    assert conversation.said() == b""


def test_connect_overdue_ends_only_those_that_have_not_sent_it() -> None:
    conversation = Conversation()
    conversation.feed(QUIET)
    conversation.session.connect_overdue()
    assert conversation.close_reason is None
    silent = Conversation(NotedBackend(required=True))
    silent.session.connect_overdue()
    assert silent.said() == b"-ERR 'Authentication Timeout'\r\n"
    assert silent.close_reason is CloseReason.AUTHENTICATION_TIMEOUT


def test_only_what_was_verified_opens_the_lane() -> None:
    conversation = Conversation(NotedBackend(required=True))
    assert not conversation.lane.open
    assert not conversation.client.bound
    conversation.feed(QUIET)
    assert conversation.lane.open
    conversation.session.close(CloseReason.KICKED)
    assert not conversation.lane.open
    assert not conversation.client.bound
