"""CONNECT in a log: everything as it was sent, but no secret, whatever the spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.redact import BLANK, SECRET_NAMES, UNREADABLE, redacted_connect


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"verbose":false,"pass":"s3"}', '{"verbose":false,"pass":"[REDACTED]"}'),
        ('{ "PASS" :\t"s3" , "user":"u" }', '{ "PASS" :\t"[REDACTED]" , "user":"u" }'),
        (r'{"p\u0061ss":"s3","sig":"s3\"s3"}', r'{"p\u0061ss":"[REDACTED]","sig":"[REDACTED]"}'),
        ('{"jwt":{"a":["s3",{"b":"s3"}]},"x":1}', '{"jwt":"[REDACTED]","x":1}'),
        ('{"auth_token":12345,"nkey":null}', '{"auth_token":"[REDACTED]","nkey":"[REDACTED]"}'),
        ('{"x":{"pass":"s3"},"y":["pass","z"]}', '{"x":{"pass":"[REDACTED]"},"y":["pass","z"]}'),
        ('{"password":"s3","passphrase":"s3"}', '{"password":"[REDACTED]","passphrase":"[REDACTED]"}'),
        ('{"name":"pass","lang":"sig"}', '{"name":"pass","lang":"sig"}'),
        ('{"name":"\\"pass\\":\\"x"}', '{"name":"\\"pass\\":\\"x"}'),
        ("{}", "{}"),
        ('{"pass":"s3","pass":"s3"}', '{"pass":"[REDACTED]","pass":"[REDACTED]"}'),
        ('{"pa\u017f\u017f":"s3"}', '{"pa\u017f\u017f":"[REDACTED]"}'),
    ],
)
def test_secrets_are_blanked_and_nothing_else(sent: str, shown: str) -> None:
    assert redacted_connect(sent.encode()) == shown
    assert "s3" not in redacted_connect(sent.encode())


@pytest.mark.parametrize(
    "sent",
    [b'{"pass":"s3"', b'"pass":"s3"', b'["s3"]', b'{"pass":"s3"} x', b'{"pass":"s3\xff"}', b"", b"null", b"{" * 9999],
)
def test_what_is_no_object_is_not_shown(sent: bytes) -> None:
    assert redacted_connect(sent) == UNREADABLE


_NAMES = st.sampled_from([*sorted(SECRET_NAMES), "pass", "Pass", "user", "name"]) | st.text()
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
)


def blanked(value: Any) -> Any:
    if isinstance(value, list):
        return [blanked(one) for one in value]
    if isinstance(value, dict):
        return {
            name: json.loads(BLANK)
            if name.casefold() in SECRET_NAMES or name.casefold().startswith("pass")
            else blanked(one)
            for name, one in value.items()
        }
    return value


@given(st.dictionaries(_NAMES, _VALUES), st.booleans())
def test_it_stays_the_same_object(sent: dict[str, Any], compact: bool) -> None:
    text = json.dumps(sent, separators=(",", ":") if compact else (" , ", " : "), ensure_ascii=compact)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    shown = redacted_connect(data)
    if shown != UNREADABLE:
        assert json.loads(shown) == blanked(sent)
