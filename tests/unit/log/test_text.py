"""What a log shows of any text: one line, no control characters, no secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.text import printable, quoted, without_secrets

SEED = "SUADKO5UTCMXWNNU3LKUHJSNPABLHQGSO4LP6OMXJE4FVHOICIXZA5V3PE"
TOKEN = "eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJBQkMifQ.c2lnbmF0dXJlIG9mIGl0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\r\nb\t\0", r"a\r\nb\t\x00"),
        ("\x1b[31m\x7f\x9b", r"\x1b[31m\x7f\u009b"),
        ("\u2028\u202e\U000e0001", r"\u2028\u202e\U000e0001"),
        (b"caf\xc3\xa9 \xff".decode("utf-8", "surrogateescape"), r"café \xff"),
        (r"\n", r"\n"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"hi", '"hi"'),
        (b'a"b\\c', r'"a\"b\\c"'),
        (b"\x00\x01\r\n\xff\"", r'"\x00\x01\r\n\xff\""'),
        ("é", '"é"'),
        (b"", '""'),
    ],
)
def test_quoted_as_go_does(data: str | bytes, shown: str) -> None:
    assert quoted(data) == shown


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_no_text_leaves_its_line(text: str) -> None:
    for shown in (printable(text), quoted(text)):
        assert shown.isprintable()
        shown.encode()


@given(st.binary())
def test_quoted_ends_where_it_ends(data: bytes) -> None:
    inner = quoted(data)[1:-1]
    assert '"' not in inner.replace(r"\\", "").replace(r"\"", "")


SHORTEST_TOKEN = "eyJ" + ".".join(["a" * 8] * 3)


@pytest.mark.parametrize("secret", [SEED, TOKEN, SHORTEST_TOKEN, "SX" + "A" * 56, "SO" + "B" * 56])
def test_secrets_are_blanked_anywhere(secret: str) -> None:
    assert without_secrets(secret) == "[REDACTED]"
    assert secret not in without_secrets(f"x={secret}, {secret}")
    assert without_secrets(f"<{secret}>") == "<[REDACTED]>"


@pytest.mark.parametrize(
    "text", ["U" + SEED[1:], SEED[:-1], SEED + "A", "A" + SEED, SHORTEST_TOKEN[:-1], "eyJ.a.b", "SUBSCRIBE"]
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert without_secrets(text) == text
