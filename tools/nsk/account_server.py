"""Account servers over HTTP: an account is put to ``<url>/accounts/<public key>`` and fetched from there."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tools.nsk.errors import NskError
from tools.nsk.web import Reply, exchange

TIMEOUT_SECONDS: Final = 5.0
CONTENT_TYPE: Final = "application/jwt"


def account_url(server: str, public: str) -> str:
    """Where a server has an account."""
    return _below(server, f"accounts/{public}")


def operator_urls(server: str) -> tuple[str, ...]:
    """Where a server has the operator: an URL of version 1 may have its newer claims beside it."""
    url = _below(server, "operator")
    newer = url.replace("/jwt/v1/operator", "/jwt/v2/operator", 1)
    return tuple(dict.fromkeys((newer, url)))


def _below(server: str, path: str) -> str:
    parts = urlsplit(server)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def post_account(server: str, public: str, token: str) -> Reply:
    """Put an account to a server. Raises NskError when there is no reply."""
    return _post(account_url(server, public), token)


def fetch(url: str) -> Reply:
    """What a server has at an URL. Raises NskError when there is no reply, or one that is no success."""
    try:
        reply = exchange(url, timeout=TIMEOUT_SECONDS)
    except NskError as error:
        raise NskError(f'error pulling "{url}": Get "{url}": {error.text}') from None
    if reply.status > 299:
        raise NskError(f'error pulling "{url}": {reply.status}')
    return reply


def activation_url(server: str, name: str = "") -> str:
    """Where a server has the activation of that name, or takes activations."""
    return _below(server, f"activations/{name}".rstrip("/"))


def post_activation(server: str, token: str) -> Reply:
    """Put an activation to a server. Raises NskError when there is no reply."""
    return _post(activation_url(server), token)


def _post(url: str, token: str) -> Reply:
    try:
        return exchange(url, timeout=TIMEOUT_SECONDS, body=token.encode(), content_type=CONTENT_TYPE)
    except NskError as error:
        raise NskError(f'Post "{url}": {error.text}') from None
