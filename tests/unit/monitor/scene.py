"""A server's live parts without sockets, filled with connections that are long gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from auth.authenticate import Authenticator
from broker.config.options import Options
from broker.control.control import Control
from broker.core.outbox import Hub
from broker.identity import Identity
from broker.monitor.watched import Watched
from broker.net.certificates import NOTHING_SERVED
from broker.net.service import Service
from broker.session.record import ConnectionRecord
from broker.settings import auth_settings
from broker.wire.info import ServerInfo
from tls.served import Served

STARTED = 1_700_000_000.0


@contextmanager
def watched(
    options: Options | None = None, *, is_serving: bool = True, served: Mapping[str, Served] = NOTHING_SERVED
) -> Iterator[Watched]:
    """What monitoring looks at in a server that never listened."""
    options = options or Options(host="127.0.0.1")
    identity = Identity(name="S1")
    authenticator = Authenticator(auth_settings(options))
    info = ServerInfo(
        server_id=identity.server_id,
        server_name=identity.server_name,
        host=options.host,
        port=4222,
        headers=True,
        auth_required=authenticator.required,
        tls_required=False,
        tls_verify=False,
        tls_available=False,
        max_payload=options.max_payload,
        runtime="python",
    )
    loop = asyncio.new_event_loop()
    try:
        yield Watched(
            identity=identity,
            started_at=STARTED,
            service=Service(loop, options, Control(options, authenticator, Hub(), info), served),
            is_serving=lambda: is_serving,
            http_host="127.0.0.1",
            http_port=8222,
        )
    finally:
        loop.close()


def gone(cid: int, **changes: Any) -> ConnectionRecord:
    """The record of a connection that ended well."""
    facts: dict[str, Any] = {
        "cid": cid,
        "type": "nats",
        "ip": "127.0.0.1",
        "port": 40000 + cid,
        "started": STARTED + cid,
        "ended": STARTED + cid + 10,
        "active": STARTED + cid + 4,
        "reason": "Client Closed",
        "round_trip": 0.001,
        "pending": 0,
        "in_messages": 0,
        "in_bytes": 0,
        "out_messages": 0,
        "out_bytes": 0,
        "stalls": 0,
        "subscription_count": 0,
        "subscriptions": (),
        "name": "",
        "language": "",
        "version": "",
        "tls": None,
        "tls_first": False,
        "user": "",
        "account": "$G",
        "account_label": "$G",
        "issuer_key": "",
        "tags": (),
        "token": "",
        "proxy_key": "",
    }
    return ConnectionRecord(**(facts | changes))
