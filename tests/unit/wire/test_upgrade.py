"""The request that becomes a WebSocket: what is refused with which status, and what is agreed on."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from broker.wire.upgrade import (
    LARGEST_REQUEST,
    Origin,
    RequestReader,
    Terms,
    Upgrade,
    UpgradeError,
    accept_key,
    negotiate,
    parse_request,
    refusal,
)
from tests.support.websocket import ACCEPTED, KEY, request

PLAIN = Terms(secured=False)
COMPRESSING = Terms(secured=False, compression=True)
SAME = Terms(secured=True, same_origin=True)
LISTED = Terms(secured=True, allowed_origins=frozenset({Origin.parse("https://app.example:8443")}))


def upgrade(data: bytes, terms: Terms = PLAIN) -> Upgrade:
    found = RequestReader().feed(data)
    assert found is not None
    return negotiate(found, terms)


def refused(data: bytes, terms: Terms = PLAIN) -> tuple[HTTPStatus, str]:
    with pytest.raises(UpgradeError) as caught:
        upgrade(data, terms)
    return caught.value.status, str(caught.value)


def test_the_key_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_answer() -> None:
    assert upgrade(request()).answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % ACCEPTED.encode()
    )


def test_a_request_may_come_in_pieces() -> None:
    data = request(headers={"X-Long": "x" * 3000})
    reader = RequestReader()
    pieces = [reader.feed(data[place : place + 1]) for place in range(len(data))]
    assert pieces[:-1] == [None] * (len(data) - 1)
    assert pieces[-1] == RequestReader().feed(data)


def test_a_request_has_an_end() -> None:
    at_most = b"GET / HTTP/1.1\r\nA: " + b"x" * (LARGEST_REQUEST - 19)
    assert RequestReader().feed(at_most + b"\r\n\r\n") is not None
    for data in (at_most + b"x\r\n\r\n", b"x" * (LARGEST_REQUEST + 1)):
        with pytest.raises(UpgradeError) as caught:
            RequestReader().feed(data)
        assert caught.value.status == 431


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /",
        b"GET / HTTP/1.0",
        b"GET / HTTP/2",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET * HTTP/1.1",
        b"GET nats HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET / HTTP/1.1\nHost: a",
        b"GET / HTTP/1.1\r\nHost : a",
        b"GET / HTTP/1.1\r\n Host: a",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded",
        b"GET / HTTP/1.1\r\nHost: a\nB: c",
        b"GET / HTTP/1.1\r\nHost: a\x00",
        b"GET / HTTP/1.1\r\nHost",
        b"GET / HTTP/1.1\r\n: a",
    ],
)
def test_what_two_readers_could_understand_differently(head: bytes) -> None:
    with pytest.raises(UpgradeError, match="malformed") as caught:
        parse_request(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": None}, "'Host' missing in request"),
        ({"host": "other"}, "more than one 'Host' in request"),
        ({"Content-Length": "3"}, "request has a body"),
        ({"Transfer-Encoding": "chunked"}, "request has a body"),
        ({"Upgrade": None}, "invalid value for header 'Upgrade'"),
        ({"Upgrade": "h2c"}, "invalid value for header 'Upgrade'"),
        ({"Connection": "keep-alive"}, "invalid value for header 'Connection'"),
        ({"Sec-WebSocket-Key": None}, "key missing"),
        ({"Sec-WebSocket-Key": "x"}, "invalid websocket key"),
        ({"Sec-WebSocket-Key": "AAAA"}, "invalid websocket key"),
        ({"Sec-WebSocket-Key": KEY + "!"}, "invalid websocket key"),
        ({"Sec-WebSocket-Version": "8"}, "invalid version"),
        ({"Sec-WebSocket-Version": None}, "invalid version"),
    ],
)
def test_what_is_no_upgrade(headers: dict[str, str | None], reason: str) -> None:
    assert refused(request(headers=headers)) == (HTTPStatus.BAD_REQUEST, reason)


def test_words_of_a_list_in_any_case() -> None:
    upgrade(request(headers={"Connection": "keep-alive, upgrade", "Upgrade": "h2c ,\tWebSocket"}))


@pytest.mark.parametrize("path", ["/mqtt", "/a/mqtt?x", "/leafnode"])
def test_paths_of_what_is_not_here(path: str) -> None:
    status, reason = refused(request(path))
    assert status == HTTPStatus.NOT_FOUND
    assert "websocket endpoint not enabled" in reason


@pytest.mark.parametrize("path", ["/", "/nats", "/mqtt/x", "/?/mqtt"])
def test_any_other_path_is_for_clients(path: str) -> None:
    upgrade(request(path))


def test_another_method() -> None:
    data = request().replace(b"GET", b"POST", 1)
    assert refused(data) == (HTTPStatus.METHOD_NOT_ALLOWED, "request method must be GET")
    assert refusal(HTTPStatus.METHOD_NOT_ALLOWED).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert refusal(HTTPStatus.METHOD_NOT_ALLOWED).endswith(b"Content-Length: 19\r\n\r\nMethod Not Allowed\n")


def test_who_ends_lines_otherwise_is_told_at_once() -> None:
    data = request()
    for at in (0, 5, 30, len(data)):
        with pytest.raises(UpgradeError, match="malformed HTTP request"):
            RequestReader().feed(data[:at].replace(b"\r\n\r\n", b"") + b"X: y\n")
    assert RequestReader().feed(data[:-1]) is None


def test_nothing_may_follow_before_the_answer() -> None:
    assert refused(request() + b"\x82")[1] == "client sent data before handshake is complete"


def test_compression_where_both_want_it() -> None:
    agreed = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
    for offer in ("permessage-deflate", "x-other, Permessage-Deflate; client_max_window_bits"):
        asking = request(headers={"Sec-WebSocket-Extensions": offer})
        assert upgrade(asking, COMPRESSING).compressed
        assert agreed in upgrade(asking, COMPRESSING).answer
        assert not upgrade(asking).compressed
        assert agreed not in upgrade(asking).answer
    assert not upgrade(request(), COMPRESSING).compressed


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate; server_max_window_bits=15", True),
        ('permessage-deflate;server_no_context_takeover ; client_max_window_bits="10"', True),
        ("permessage-deflate; server_max_window_bits=9", False),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits", False),
        ("permessage-deflate; client_max_window_bits=x", False),
        ("permessage-deflate; other", False),
        ("permessage-deflated", False),
        ("x; permessage-deflate", False),
    ],
)
def test_an_offer_is_agreed_to_where_all_of_it_can_be_kept(offer: str, agreed: bool) -> None:
    assert upgrade(request(headers={"Sec-WebSocket-Extensions": offer}), COMPRESSING).compressed is agreed


def test_masking_is_left_out_where_the_client_asks() -> None:
    unmasked = upgrade(request(headers={"Nats-No-Masking": "true"}))
    assert not unmasked.masked
    assert b"Nats-No-Masking: true\r\n" in unmasked.answer
    assert upgrade(request(headers={"Nats-No-Masking": "yes"})).masked


def test_headers_of_the_configuration() -> None:
    terms = Terms(secured=False, headers={"X-Frame-Options": "DENY"})
    assert b"X-Frame-Options: DENY\r\n" in upgrade(request(), terms).answer


@pytest.mark.parametrize(
    ("agent", "browser", "whole"),
    [
        ("", False, False),
        ("curl/8", False, False),
        ("Mozilla/5.0 (X11) Chrome/120 Safari/537.36", True, False),
        ("Mozilla/5.0 (Macintosh) Version/17 Safari/605", True, True),
    ],
)
def test_browsers(agent: str, browser: bool, whole: bool) -> None:
    found = upgrade(request(headers={"User-Agent": agent}))
    assert (found.browser, found.whole_messages) == (browser, whole)


@pytest.mark.parametrize(
    ("value", "address"),
    [("1.2.3.4", "1.2.3.4"), ("2001:db8::1", "2001:db8::1"), ("1.2.3.4, 5.6.7.8", ""), ("x\x1b[0m", ""), ("", "")],
)
def test_an_address_that_a_proxy_names(value: str, address: str) -> None:
    if "\x1b" in value:
        assert refused(request(headers={"X-Forwarded-For": value}))[1] == "malformed HTTP header"
    else:
        assert upgrade(request(headers={"X-Forwarded-For": value})).forwarded_for == address


def test_cookies() -> None:
    text = 'a=1; b="two"; empty=; =none; c; d=x=y;a=3; bad name=1; bad="x'
    assert upgrade(request(headers={"Cookie": text})).cookies == {"a": "3", "b": "two", "empty": "", "d": "x=y"}
    secret = upgrade(request(headers={"Cookie": "jwt=eyJsecret"}))
    assert "eyJsecret" not in repr(secret)
    assert "eyJsecret" not in repr(RequestReader().feed(request(headers={"Cookie": "jwt=eyJsecret"})))


@pytest.mark.parametrize(
    ("terms", "host", "origin", "allowed"),
    [
        (PLAIN, "localhost", "https://evil.example", True),
        (SAME, "app.example", None, True),
        (SAME, "app.example", "", True),
        (SAME, "app.example", "https://app.example", True),
        (SAME, "APP.example", "https://app.EXAMPLE:443", True),
        (SAME, "app.example:443", "https://app.example", True),
        (SAME, "app.example:8443", "https://app.example", False),
        (SAME, "app.example", "http://app.example", False),
        (SAME, "app.example", "https://app.example.evil", False),
        (SAME, "app.example", "https://evil@app.example", False),
        (SAME, "[::1]:8443", "https://[::1]:8443", True),
        (SAME, "app.example", "null", False),
        (SAME, "app.example", "https://", False),
        (SAME, "app.example", "https://app.example:x", False),
        (Terms(secured=False, same_origin=True), "app.example", "http://app.example", True),
        (Terms(secured=False, same_origin=True), "app.example", "https://app.example", False),
        (LISTED, "localhost", "https://app.example:8443", True),
        (LISTED, "localhost", "https://app.example", False),
        (LISTED, "localhost", "http://app.example:8443", False),
        (LISTED, "localhost", None, True),
    ],
)
def test_origins(terms: Terms, host: str, origin: str | None, allowed: bool) -> None:
    data = request(headers={"Host": host, "Origin": origin})
    if allowed:
        upgrade(data, terms)
    else:
        status, reason = refused(data, terms)
        assert status == HTTPStatus.FORBIDDEN
        assert reason.startswith("origin not allowed: ")


def test_origins_must_pass_both_checks() -> None:
    both = Terms(secured=True, same_origin=True, allowed_origins=frozenset({Origin.parse("https://b.example")}))
    for origin, reason in (("https://a.example", "not in the allowed list"), ("https://b.example", "not same origin")):
        assert reason in refused(request(headers={"Host": "a.example", "Origin": origin}), both)[1]


def test_two_origins_are_none() -> None:
    data = request(headers={"Host": "a.example", "Origin": "https://a.example", "origin": "https://evil.example"})
    assert "more than one origin" in refused(data, SAME)[1]
