"""Answers in the encoding that was asked for."""

from __future__ import annotations

import gzip

import pytest

from broker.system.encoding import accepted, encoded


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        (None, ""),
        (b"NATS/1.0\r\nOther: gzip\r\n\r\n", ""),
        (b"NATS/1.0\r\nAccept-Encoding: GZIP, x\r\n\r\n", "gzip, x"),
        (b"NATS/1.0\r\naccept-encoding:br\r\n\r\n", "br"),
    ],
)
def test_what_is_accepted(header: bytes | None, accepts: str) -> None:
    assert accepted(header) == accepts


def test_gzip() -> None:
    header, body = encoded(b"x" * 1000, "snappy, gzip")
    assert header == b"NATS/1.0\r\nContent-Encoding: gzip\r\n\r\n"
    assert gzip.decompress(body) == b"x" * 1000
    assert len(body) < 100


@pytest.mark.parametrize("accepts", ["snappy", "br"])
def test_anything_else_is_answered_as_it_is_and_says_so(accepts: str) -> None:
    assert encoded(b"x", accepts) == (b"NATS/1.0\r\nContent-Encoding: identity\r\n\r\n", b"x")


def test_who_asks_for_nothing_gets_no_header() -> None:
    assert encoded(b"x", "") == (None, b"x")
