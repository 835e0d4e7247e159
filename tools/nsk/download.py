"""Tokens from files and from the web."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from tools.nsk.errors import NskError
from tools.nsk.session import Session

_TIMEOUT = 10.0
_LIMIT = 1024 * 1024


def read_source(session: Session, source: str) -> str:
    """The text of a file, or of what an http or https URL answers; at most a mebibyte. Raises NskError or OSError."""
    if urlsplit(source).scheme.lower() in ("http", "https"):
        return _text(source, _fetch(source))
    with session.environment.absolute(source.removeprefix("file://")).open("rb") as stream:
        return _text(source, stream.read(_LIMIT + 1))


def _fetch(url: str) -> bytes:
    # The HTTP client is slow to import and seldom needed.
    request: Any = import_module("urllib.request")
    opener = request.OpenerDirector()
    for name in (
        "HTTPHandler",
        "HTTPSHandler",
        "HTTPRedirectHandler",
        "HTTPErrorProcessor",
        "HTTPDefaultErrorHandler",
    ):
        opener.add_handler(getattr(request, name)())
    try:
        with opener.open(url, timeout=_TIMEOUT) as response:
            return bytes(response.read(_LIMIT + 1))
    except OSError as error:
        raise NskError(f'error loading "{url}": {error}') from None


def _text(source: str, body: bytes) -> str:
    if len(body) > _LIMIT:
        raise NskError(f"`{source}` is larger than {_LIMIT} bytes, which no JWT is")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise NskError(f"`{source}` does not hold a JWT") from None
