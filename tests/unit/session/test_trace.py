"""What a traced session shows: every line and message, in order, both ways, and no secret."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from auth.authenticate import Authenticator
from auth.evidence import Evidence
from auth.settings import AuthSettings, UserEntry
from broker.log import TRACE, TRACES
from broker.session.trace import Tracer
from tests.support.sessions import Conversation

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"name":"me","lang":"go","version":"1.2"}\r\n'
LABEL = '127.0.0.1:1 - cid:7 - "v1.2:go:me" - '


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(TRACE, TRACES)
    yield caplog
    logging.getLogger(TRACES).setLevel(logging.NOTSET)


def traced(conversation: Conversation, *, maximum: int = 0, headers_only: bool = False) -> Conversation:
    conversation.session.trace(Tracer(conversation.session, maximum=maximum, headers_only=headers_only))
    return conversation


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    """The traced lines since the last call, without who they are about."""
    taken = [record.getMessage().removeprefix(LABEL) for record in log.records if record.name == TRACES]
    log.clear()
    return taken


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_conversation(log: pytest.LogCaptureFixture, size: int) -> None:
    conversation = traced(Conversation())
    stream = (
        CONNECT + b"PING\r\nSUB foo 1\r\nSUB  bar\tq 2\r\nPUB foo 5\r\nhello\r\nPUB foo rep 2\r\n\r\n\r\n"
        b"HPUB foo 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPUB none 0\r\n\r\nUNSUB 1\r\nPING\r\nPONG\r\nPUB no.x 1\r\nx\r\n"
        b"PUB a b c d\r\n"
    )
    conversation.feed(*(stream[at : at + size] for at in range(0, len(stream), size)))
    assert lines(log) == [
        f"127.0.0.1:1 - cid:7 - <<- [{CONNECT.decode().strip()}]",
        "<<- [PING]",
        "->> [PONG]",
        "<<- [SUB foo 1]",
        "<<- [SUB bar q 2]",
        "<<- [PUB foo 5]",
        '<<- MSG_PAYLOAD: ["hello"]',
        "->> [MSG foo 1 5]",
        '->> MSG_PAYLOAD: ["hello"]',
        "<<- [PUB foo rep 2]",
        r'<<- MSG_PAYLOAD: ["\r\n"]',
        "->> [MSG foo 1 rep 2]",
        r'->> MSG_PAYLOAD: ["\r\n"]',
        "<<- [HPUB foo 12 14]",
        r'<<- MSG_PAYLOAD: ["NATS/1.0\r\n\r\nhi"]',
        "->> [HMSG foo 1 12 14]",
        r'->> MSG_PAYLOAD: ["NATS/1.0\r\n\r\nhi"]',
        "<<- [PUB none 0]",
        "<<- [UNSUB 1]",
        "<<- [PING]",
        "->> [PONG]",
        "<<- [PONG]",
        "<<- [PUB no.x 1]",
        '<<- MSG_PAYLOAD: ["x"]',
        '->> [-ERR Permissions Violation for Publish to "no.x"]',
        "<<- [PUB a b c d]",
    ]


def test_verbose_and_pedantic(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation())
    conversation.feed(b"CONNECT {}\r\nPUB a.* 1\r\nx\r\nSUB a..b 1\r\nPUB no.x 0\r\n\r\nPUB a 101\r\n")
    assert [line.removeprefix("127.0.0.1:1 - cid:7 - ") for line in lines(log)] == [
        "<<- [CONNECT {}]",
        "->> [OK]",
        "<<- [PUB a.* 1]",
        '<<- MSG_PAYLOAD: ["x"]',
        "->> [-ERR Invalid Publish Subject]",
        "->> [OK]",
        "<<- [SUB a..b 1]",
        "->> [OK]",
        "<<- [PUB no.x 0]",
        '->> [-ERR Permissions Violation for Publish to "no.x"]',
        "<<- [PUB a 101]",
        "->> [-ERR Maximum Payload Violation]",
    ]


def test_a_receiver_without_headers_is_shown_what_it_gets(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation())
    conversation.feed(CONNECT + b"SUB a 1\r\n")
    conversation.client.headers = False
    lines(log)
    conversation.feed(b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
    assert lines(log)[2:] == ["->> [MSG a 1 2]", '->> MSG_PAYLOAD: ["hi"]']


def test_no_responders(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation())
    conversation.feed(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB r 1\r\nPUB x r 0\r\n\r\n')
    assert "->> [HMSG r 1 33 33]" in lines(log)[-2]


def test_long_payloads_are_cut(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation(), maximum=4)
    conversation.feed(CONNECT)
    lines(log)
    conversation.feed(b'PUB a 4\r\n1234\r\nPUB a 5\r\n123"5\r\n')
    assert lines(log)[1::2] == ['<<- MSG_PAYLOAD: ["1234"]', r'<<- MSG_PAYLOAD: ["123\"..."]']


def test_headers_only(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation(), headers_only=True)
    conversation.feed(CONNECT)
    lines(log)
    conversation.feed(b"PUB a 1\r\nx\r\nHPUB a 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n")
    assert lines(log) == ["<<- [PUB a 1]", "<<- [HPUB a 18 20]", r'<<- MSG_PAYLOAD: ["NATS/1.0\r\nA: b"]']


def test_tracing_ends_and_begins(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation())
    conversation.session.trace(None)
    conversation.feed(CONNECT + b"SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\nPING\r\n")
    assert lines(log) == []
    traced(conversation)
    conversation.feed(b"PUB a 1\r\nx\r\nPING\r\n")
    assert len(lines(log)) == 6


def test_who_it_is_about(log: pytest.LogCaptureFixture) -> None:
    conversation = traced(Conversation())
    users = (UserEntry(name="eve", password="p"),)
    evidence = Evidence(unverified_user="eve", unverified_password="p")
    conversation.backend.principal = Authenticator(AuthSettings(users=users)).authenticate(evidence, 0.0)
    conversation.feed(b'CONNECT {"verbose":false,"name":"a\\"b\\n","user":"eve","pass":"p"}\r\nPONG\r\n')
    first, second = (record for record in log.records if record.name == TRACES)
    assert first.getMessage() == (
        '127.0.0.1:1 - cid:7 - <<- [CONNECT {"verbose":false,"name":"a\\"b\\n","user":"eve","pass":"[REDACTED]"}]'
    )
    assert second.getMessage() == r'127.0.0.1:1 - cid:7 - "a\"b\n" - "$G/user:eve" - <<- [PONG]'
    about = second.__dict__["about"]
    assert (about.cid, about.address, about.account, about.user) == (7, "127.0.0.1:1", "$G", "user:eve")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"CONECT {\"pass\":\"hush\"}\r\n", r"""Client parser ERROR, state=0, i=\d+: proto='"CONECT"...'"""),
        (b"CONNECT {\"pass\":\"hush\"\r\n", "CONNECT is not a JSON object"),
        (b"SUB a b c hush\r\n", 'processSub Parse Error: "a b c hush"'),
        (b"UNSUB 1 2 3\r\n", 'processUnsub Parse Error: "1 2 3"'),
        (b"PUB a x\r\n", 'processPub Bad or Missing Size: "a x"'),
        (b"HPUB a 1 1\r\n", "message headers not supported"),
        (b"PUB a 101\r\n", "maximum payload exceeded: 101 vs 100"),
        (b"PUB " + b"a" * 300 + b" 1\r\n", "maximum control line exceeded"),
        (b"-ERR 'it'\r\n", "Client Error 'it'"),
        # A CONNECT under a wrong verb.
        (b'SUB {"user":"u","pass":"hush"}\r\n', 'processSub Parse Error: "{unreadable}"'),
        (b'PUB {"pass":"hush"}\r\n', 'processPub Parse Error: "{unreadable}"'),
        (b'-ERR {"pass":"hush"}\r\n', "Client Error {unreadable}"),
        (b'{"pass":"hush"}\r\n', r"""Client parser ERROR, state=0, i=\d+: proto='"{unreadable}"...'"""),
        (b"INFO {x\r\n", "INFO is not a JSON object"),
    ],
)
def test_errors_are_reported_at_their_level(sent: bytes, said: str) -> None:
    conversation = Conversation(headers=not sent.startswith(b"HPUB"))
    conversation.feed(b'CONNECT {"verbose":false}\r\n', sent)
    (text, level), (end, end_level) = conversation.backend.noted("report")[-2:]
    assert level == logging.ERROR
    assert isinstance(text, str)
    assert said == text or re.fullmatch(said, text)
    assert str(end).startswith("Client connection closed: ")
    assert end_level == logging.DEBUG
