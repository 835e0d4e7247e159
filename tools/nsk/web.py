"""One request over HTTP, and the reply to it. Nothing but http and https is opened: no file, no data."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from tools.nsk.errors import NskError

LIMIT: Final = 1024 * 1024
"""The largest reply that is read, in bytes: no JWT is larger."""

_HANDLERS: Final = (
    "HTTPHandler",
    "HTTPSHandler",
    "HTTPRedirectHandler",
    "HTTPErrorProcessor",
    "HTTPDefaultErrorHandler",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server replied, whatever its status."""

    status: int
    body: bytes

    @property
    def is_done(self) -> bool:
        """Whether the server did what was asked."""
        return self.status == HTTPStatus.OK

    @property
    def is_accepted(self) -> bool:
        """Whether the server will do what was asked."""
        return self.status in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED)

    @property
    def text(self) -> str:
        """The body; bytes that are no UTF-8 are shown as escapes."""
        return self.body.decode("utf-8", "backslashreplace")


def exchange(url: str, *, timeout: float, body: bytes | None = None, content_type: str = "") -> Reply:
    """GET a URL, or POST a body to it, within ``timeout`` seconds.

    Raises NskError with the reason where there is no reply, and where it is too large.
    """
    # The HTTP client is slow to import and seldom needed.
    client: Any = import_module("urllib.request")
    errors: Any = import_module("urllib.error")
    protocol: Any = import_module("http.client")
    opener = client.OpenerDirector()
    for name in _HANDLERS:
        opener.add_handler(getattr(client, name)())
    request = client.Request(url, data=body, headers={"Content-Type": content_type} if content_type else {})
    try:
        with opener.open(request, timeout=timeout) as response:
            return Reply(response.status, _read(response))
    except errors.HTTPError as error:
        with error:
            return Reply(error.code, _read(error))
    except (OSError, protocol.HTTPException) as error:
        raise NskError(_reason(url, error, timeout)) from None


def _read(response: Any) -> bytes:
    body = bytes(response.read(LIMIT + 1))
    if len(body) > LIMIT:
        raise NskError(f"the reply is larger than {LIMIT} bytes, which no JWT is")
    return body


def _reason(url: str, error: Exception, timeout: float) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no reply within {timeout:g} s"
    if isinstance(reason, ConnectionRefusedError):
        return f"dial tcp {urlsplit(url).netloc}: connect: connection refused"
    return str(reason) or type(reason).__name__
