"""The parser's twin against what was observed on the wire, each case whole and byte by byte."""

from __future__ import annotations

import pytest

from tests.oracle.cases import BAD, CASES, MAXIMUM_CONTROL_LINE, MAXIMUM_PAYLOAD, UNKNOWN
from tests.oracle.parser import Event, Parser, Publish, is_publishable, parse


def parser() -> Parser:
    return Parser(maximum_control_line=MAXIMUM_CONTROL_LINE, maximum_payload=MAXIMUM_PAYLOAD)


@pytest.mark.parametrize(("stream", "expected"), CASES, ids=[repr(stream[:30]) for stream, _ in CASES])
def test_observed(stream: bytes, expected: list[Event | Publish]) -> None:
    assert parse(stream, parser=parser()) == expected
    single = [stream[index : index + 1] for index in range(len(stream))]
    assert parse(*single, parser=parser()) == expected
    for place in range(1, min(len(stream), 40)):
        assert parse(stream[:place], stream[place:], parser=parser()) == expected


def test_headers_that_the_server_does_not_take() -> None:
    assert parse(b"HPUB a 0 1\r\nx\r\n", parser=Parser(accept_headers=False)) == [BAD]


@pytest.mark.parametrize("stream", [b"PING\r\n", b"P", b"S", b"+OK\r\n", b"-ERR x\r\n", b"\r\n", b"foo"])
def test_only_connect_opens(stream: bytes) -> None:
    assert parse(stream, parser=Parser(open=False)) == [Event("NOT_OPEN")]


@pytest.mark.parametrize(("stream", "expected"), [(b"c", []), (b"CX", [UNKNOWN]), (b"CONNECX", [UNKNOWN])])
def test_what_may_become_connect(stream: bytes, expected: list[Event]) -> None:
    assert parse(stream, parser=Parser(open=False)) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [(b"a.b", True), (b"f*", True), (b"a.", False), (b"", False), (b"a.*", False), (b">", False), (b"a.>.b", False)],
)
def test_publishable(subject: bytes, expected: bool) -> None:
    assert is_publishable(subject) is expected
