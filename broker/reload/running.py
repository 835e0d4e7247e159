"""The sessions of a running server, as its monitoring port tells them to whoever may ask there.

Users, accounts and subscriptions are shown there and secrets are not, so nothing else has to leave the server for a
preview.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

import msgspec

from accounts.account import GLOBAL_ACCOUNT
from broker.config.options import ANY_ADDRESS, Options
from broker.reload.preview import SessionSnapshot

TIMEOUT: Final = 10.0
"""Seconds that the server may take for an answer."""
PAGE: Final = 1024
"""Connections that are asked for at a time."""


class RunningError(Exception):
    """The sessions of the server cannot be told; the text says why."""


class _Subscription(msgspec.Struct):
    subject: str
    qgroup: str = ""


class _Connection(msgspec.Struct):
    cid: int
    authorized_user: str = ""
    account: str = ""
    subscriptions_list_detail: list[_Subscription] = msgspec.field(default_factory=list)


class _Page(msgspec.Struct):
    total: int
    connections: list[_Connection] | None = None


class _Server(msgspec.Struct):
    config_digest: str = ""


def running_sessions(options: Options) -> list[SessionSnapshot]:
    """The sessions of the server that runs with these options.

    Raises RunningError where it has no monitoring port that is known, does not answer there, or runs with another
    configuration.
    """
    monitor = options.monitor
    port = monitor.https_port or monitor.port
    if port <= 0:
        raise RunningError("the configuration names no monitoring port to ask")
    host = monitor.host or options.host
    if host in {ANY_ADDRESS, "::", ""}:
        host = "127.0.0.1"
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    if monitor.https_port:
        connection = HTTPSConnection(host, port, timeout=TIMEOUT, context=_context(options))
    base = monitor.base_path.rstrip("/")
    try:
        running = msgspec.json.decode(_answer(connection, f"{base}/varz"), type=_Server)
        if running.config_digest != options.config_digest:
            raise RunningError(f"what runs at {host}:{port} has another configuration than {options.config_file}")
        return list(_sessions(connection, base))
    except (OSError, HTTPException, msgspec.MsgspecError) as error:
        raise RunningError(f"the monitoring port at {host}:{port} does not answer: {error}") from error
    finally:
        connection.close()


def _context(options: Options) -> ssl.SSLContext:
    """Trusts the certificate that the configuration names, and no other, under whatever host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if options.tls is not None:
        context.load_verify_locations(options.tls.cert_file)
    return context


def _answer(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise HTTPException(f"status {response.status} for {path}")
    return body


def _sessions(connection: HTTPConnection, base: str) -> Iterator[SessionSnapshot]:
    offset, total = 0, 1
    while offset < total:
        path = f"{base}/connz?auth=1&subs=detail&limit={PAGE}&offset={offset}"
        page = msgspec.json.decode(_answer(connection, path), type=_Page)
        for one in page.connections or ():
            subscriptions = tuple((found.subject, found.qgroup or None) for found in one.subscriptions_list_detail)
            yield SessionSnapshot(one.cid, one.account or GLOBAL_ACCOUNT, one.authorized_user, subscriptions)
        offset, total = offset + PAGE, page.total
