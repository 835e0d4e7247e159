"""The HTTP request that becomes a WebSocket, and the answer to it (RFC 6455, section 4.2).

Only such a request is spoken here, so of HTTP only what it may hold is read, and that strictly: a line that two readers
could understand differently is refused. Nothing is answered before the request is whole and within its bounds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

LARGEST_REQUEST: Final = 32 * 1024
"""Bytes of a request, at most. A user JWT may come in a cookie, and browsers send 4 KiB of one."""

LEAFNODE_PATH: Final = "/leafnode"
MQTT_PATH: Final = "/mqtt"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_END: Final = b"\r\n\r\n"
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(r"(" + _WORD + r") ((?:/|[A-Za-z]+://)[\x21-\x7e]*) HTTP/1\.1")
_BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n")
_FIELD: Final = re.compile(r"(" + _WORD + r"):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_COOKIE_VALUE: Final = re.compile(r"[\x20\x21\x23-\x3a\x3c-\x5b\x5d-\x7e]*")
_EXTENSION: Final = "permessage-deflate"
_AGREED: Final = f"{_EXTENSION}; server_no_context_takeover; client_no_context_takeover"
_DEFLATE_OFFER: Final = re.compile(
    _EXTENSION + r"(?:[ \t]*;[ \t]*(?:(?:server|client)_no_context_takeover|client_max_window_bits(?:=\"?\d+\"?)?"
    r"|server_max_window_bits=\"?15\"?))*",
    re.IGNORECASE,
)
"""What is agreed to: an offer that asks for nothing that is not done, as a smaller window (RFC 7692, section 5)."""

_NO_MASKING: Final = "Nats-No-Masking"
_PORTS: Final = {"http": "80", "https": "443"}


class UpgradeError(Exception):
    """A request that does not become a WebSocket: the status of the answer, and why, for the log."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host in lower case, and port, of a page or a server (RFC 6454, section 4)."""

    scheme: str
    host: str
    port: str

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin of a URL. Raises ValueError for what is none."""
        parts = urlsplit(text)
        if not parts.scheme or not parts.netloc or "@" in parts.netloc:
            raise ValueError(f"invalid origin {text!r}")
        return cls.at(parts.scheme.lower(), parts.netloc)

    @classmethod
    def at(cls, scheme: str, address: str) -> Origin:
        """The origin at ``host``, ``host:port`` or ``[address]:port``. Raises ValueError for what is no address."""
        parts = urlsplit(f"//{address}")
        if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in address:
            raise ValueError(f"invalid host {address!r}")
        port = _PORTS.get(scheme, "") if parts.port is None else str(parts.port)
        return cls(scheme, parts.hostname, port)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. Header names are in lower case, in the order in which they came."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...] = field(repr=False)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.fields if key == name]

    def first(self, name: str) -> str:
        """The first value of a header, empty where it is missing."""
        return next(iter(self.all(name)), "")

    def has(self, name: str, word: str) -> bool:
        """Whether a header that is a list holds a word, in any case."""
        return any(one.strip(" \t").lower() == word for value in self.all(name) for one in value.split(","))

    def cookies(self) -> dict[str, str]:
        """Cookies by name; of two with one name the later counts. What is no cookie is passed over (RFC 6265)."""
        found = {}
        for text in self.all("cookie"):
            for pair in text.split(";"):
                name, equals, value = pair.strip(" \t").partition("=")
                if len(value) > 1 and value[0] == value[-1] == '"':
                    value = value[1:-1]
                if equals and re.fullmatch(_WORD, name) and _COOKIE_VALUE.fullmatch(value):
                    found[name] = value
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a listener asks of a request and offers."""

    secured: bool
    """Whether requests come over TLS."""
    compression: bool = False
    same_origin: bool = False
    allowed_origins: frozenset[Origin] = frozenset()
    """The only origins whose pages may connect; empty is all."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """For the answer besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What was agreed on, and what the request says of its sender."""

    answer: bytes
    masked: bool
    """Whether the peer must mask its frames; one that asks not to need not."""
    compressed: bool
    browser: bool
    """Whether it says to be a browser, for which frames are small."""
    whole_messages: bool
    """Whether it takes compressed messages in one frame only, as Safari does."""
    forwarded_for: str
    """The address that a proxy names as its client's; unverified. Empty where none does."""
    cookies: Mapping[str, str] = field(repr=False)


class RequestReader:
    """Collects a request from what arrives."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes | memoryview) -> Request | None:
        """Takes what arrived; the request once it is whole. Raises UpgradeError."""
        searched = max(len(self._data) - len(_END) + 1, 0)
        self._data += data
        end = self._data.find(_END, searched)
        # Whoever ends lines otherwise would wait for an answer until the time is over.
        if _BARE_NEWLINE.search(self._data, searched, end if end >= 0 else len(self._data)):
            raise UpgradeError(HTTPStatus.BAD_REQUEST, "malformed HTTP request")
        if end > LARGEST_REQUEST or (end < 0 and len(self._data) > LARGEST_REQUEST):
            raise UpgradeError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request is too large")
        if end < 0:
            return None
        if len(self._data) > end + len(_END):
            raise UpgradeError(HTTPStatus.BAD_REQUEST, "client sent data before handshake is complete")
        return parse_request(bytes(self._data[:end]))


def parse_request(head: bytes) -> Request:
    """A request without the empty line behind it. Raises UpgradeError."""
    line, *lines = head.decode("latin-1").split("\r\n")
    start = _REQUEST_LINE.fullmatch(line)
    if start is None:
        raise UpgradeError(HTTPStatus.BAD_REQUEST, "malformed HTTP request")
    fields = []
    for text in lines:
        found = _FIELD.fullmatch(text)
        if found is None:
            raise UpgradeError(HTTPStatus.BAD_REQUEST, "malformed HTTP header")
        fields.append((found[1].lower(), found[2]))
    return Request(start[1], start[2], tuple(fields))


def negotiate(request: Request, terms: Terms) -> Upgrade:
    """Checks a request and agrees on what both sides can. Raises UpgradeError."""
    path = request.target.partition("?")[0]
    if path.endswith(LEAFNODE_PATH):
        raise UpgradeError(HTTPStatus.NOT_FOUND, "leafnode websocket endpoint not enabled")
    if path.endswith(MQTT_PATH):
        raise UpgradeError(HTTPStatus.NOT_FOUND, "mqtt websocket endpoint not enabled")
    if request.method != "GET":
        raise UpgradeError(HTTPStatus.METHOD_NOT_ALLOWED, "request method must be GET")
    _check(len(request.all("host")) < 2, "more than one 'Host' in request")
    _check(bool(request.first("host")), "'Host' missing in request")
    _check(request.first("content-length") in {"", "0"}, "request has a body")
    _check(not request.all("transfer-encoding"), "request has a body")
    _check(request.has("upgrade", "websocket"), "invalid value for header 'Upgrade'")
    _check(request.has("connection", "upgrade"), "invalid value for header 'Connection'")
    key = request.first("sec-websocket-key")
    _check(bool(key), "key missing")
    _check(_is_key(key), "invalid websocket key")
    _check(request.has("sec-websocket-version", "13"), "invalid version")
    check_origin(request, terms)
    compressed = terms.compression and any(
        _DEFLATE_OFFER.fullmatch(one.strip(" \t"))
        for value in request.all("sec-websocket-extensions")
        for one in value.split(",")
    )
    unmasked = request.first(_NO_MASKING.lower()) == "true"
    agent = request.first("user-agent")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
        *((f"Sec-WebSocket-Extensions: {_AGREED}",) if compressed else ()),
        *((f"{_NO_MASKING}: true",) if unmasked else ()),
        *(f"{name}: {value}" for name, value in terms.headers.items()),
    ]
    return Upgrade(
        answer=_rendered(lines),
        masked=not unmasked,
        compressed=compressed,
        browser=agent.startswith("Mozilla/"),
        whole_messages="Version/" in agent and "Safari/" in agent,
        forwarded_for=_address(request.first("x-forwarded-for")),
        cookies=MappingProxyType(request.cookies()),
    )


def check_origin(request: Request, terms: Terms) -> None:
    """Refuses pages of origins that may not connect (RFC 6455, section 10.2).

    Programs that are no browsers name no origin, and could name any: it protects those who browse, not the server.
    Raises UpgradeError.
    """
    if not terms.same_origin and not terms.allowed_origins:
        return
    named = request.all("origin")
    if not any(named):
        named = request.all("sec-websocket-origin")
    if not any(named):
        return
    try:
        _require(len(named) == 1, "more than one origin")
        origin = Origin.parse(named[0])
        if terms.same_origin:
            own = Origin.at("https" if terms.secured else "http", request.first("host"))
            _require(origin == own, "not same origin")
        if terms.allowed_origins:
            _require(origin in terms.allowed_origins, "not in the allowed list")
    except ValueError as error:
        raise UpgradeError(HTTPStatus.FORBIDDEN, f"origin not allowed: {error}") from None


def refusal(status: HTTPStatus) -> bytes:
    """The answer to a request that does not become a WebSocket; the reason is for the log alone."""
    body = f"{status.phrase}\n"
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        "Sec-Websocket-Version: 13",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    return _rendered(lines) + body.encode()


def accept_key(key: str) -> str:
    """What proves to the client that its request was understood."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def _rendered(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("utf-8")


def _check(holds: bool, reason: str) -> None:
    if not holds:
        raise UpgradeError(HTTPStatus.BAD_REQUEST, reason)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
