"""Tokens from files and from the web."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from tools.nsk.errors import NskError
from tools.nsk.session import Session
from tools.nsk.web import LIMIT, exchange

_TIMEOUT = 10.0
_STATUSES = frozenset(HTTPStatus)


def read_source(session: Session, source: str) -> str:
    """The text of a file, or of what an http or https URL answers; at most a mebibyte. Raises NskError or OSError."""
    if urlsplit(source).scheme.lower() in ("http", "https"):
        return read_url(source)
    with session.environment.absolute(source.removeprefix("file://")).open("rb") as stream:
        return _text(source, stream.read(LIMIT + 1))


def read_url(url: str) -> str:
    """The text that an http or https URL answers, at most a mebibyte. Raises NskError."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise NskError(f'error loading "{url}": Get "{url}": unsupported protocol scheme "{scheme}"')
    return _text(url, _fetch(url))


def _fetch(url: str) -> bytes:
    try:
        reply = exchange(url, timeout=_TIMEOUT)
    except NskError as error:
        raise NskError(f'error loading "{url}": Get "{url}": {error.text}') from None
    if not reply.is_done:
        reason = HTTPStatus(reply.status).phrase if reply.status in _STATUSES else ""
        raise NskError(f'error reading response from "{url}": {reply.status} {reason}'.rstrip())
    return reply.body


def _text(source: str, body: bytes) -> str:
    if len(body) > LIMIT:
        raise NskError(f"`{source}` is larger than {LIMIT} bytes, which no JWT is")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise NskError(f"`{source}` does not hold a JWT") from None
