"""Reading permission entries."""

from __future__ import annotations

import pytest

from accounts.permissions import (
    Grant,
    InvalidPermissionError,
    Permissions,
    ResponsePermission,
    SubjectRules,
    parse_grant,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "subject", "queue"),
    [
        ("foo", "foo", None),
        ("foo.>", "foo.>", None),
        ("foo q", "foo", "q"),
        ("foo  q", "foo", "q"),
        ("foo\tq", "foo", "q"),
        ("foo *.dev", "foo", "*.dev"),
        ("foo >", "foo", ">"),
    ],
)
def test_entry(text: str, subject: str, queue: str | None) -> None:
    assert parse_grant(text, "here") == Grant(subject, queue, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'subject "" is not a valid subject'),
        ("a..b", 'subject "a..b" is not a valid subject'),
        ("a..b q", 'subject "a..b" is not a valid subject'),
        ("a.>.b", 'subject "a.>.b" is not a valid subject'),
        ("foo q r", 'subject "foo q r" is not a valid subject'),
        (" foo", 'subject " foo" is not a valid subject'),
        ("foo ", 'subject "foo " is not a valid subject'),
        ("foo q\tz", 'subject "foo q\\tz" is not a valid subject'),
        ("foo a..b", 'queue "a..b" is not a valid queue'),
        ("foo .", 'queue "." is not a valid queue'),
        ("foo >.a", 'queue ">.a" is not a valid queue'),
    ],
)
def test_refused_entry(text: str, message: str) -> None:
    with pytest.raises(InvalidPermissionError) as caught:
        parse_grant(text, "server.conf:3")
    assert str(caught.value) == message
    assert caught.value.origin == "server.conf:3"


def test_no_queue_in_publish_entries() -> None:
    with pytest.raises(InvalidPermissionError, match=r'^subject "a q" is not a valid subject$'):
        parse_grant("a q", queue_allowed=False)
    with pytest.raises(InvalidPermissionError, match=r'^subject "a q" is not a valid subject$'):
        Permissions(publish=SubjectRules(deny=(Grant("a", "q"),))).validate()


@pytest.mark.parametrize(
    ("given", "messages", "expires"),
    [((), 1, 120.0), ((0, 0.0), 1, 120.0), ((2, 0.4), 2, 0.4), ((-1, -1.0), -1, -1.0), ((0, -5.0), 1, -5.0)],
)
def test_response_permission_defaults(given: tuple[int, float] | tuple[()], messages: int, expires: float) -> None:
    permission = ResponsePermission(*given)
    assert (permission.max_messages, permission.expires) == (messages, expires)


def test_empty() -> None:
    assert Permissions().is_empty
    assert not Permissions(responses=ResponsePermission()).is_empty
    assert not Permissions(subscribe=SubjectRules(deny=(Grant("a"),))).is_empty


def test_quoted_is_one_printable_line() -> None:
    assert quoted('a"\\\n\x00\x7f\udcff\u200bé') == '"a\\"\\\\\\n\\x00\\x7f\\xff\\u200bé"'
