"""The INFO line: what the server says of itself and of one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

PROVIDED_RELEASE: Final = "2.14.5"
"""The nats-server release whose behaviour is provided; clients switch features on by it."""

PROTOCOL: Final = 1
API_LEVEL: Final = 4
"""JetStream API level that the reference shows also without JetStream."""

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The part of INFO that is the same for all connections of one listener."""

    server_id: str
    server_name: str
    host: str
    port: int
    headers: bool
    auth_required: bool
    tls_required: bool
    tls_verify: bool
    tls_available: bool
    max_payload: int
    git_commit: str = ""
    runtime: str = ""
    xkey: str = ""
    jetstream: bool = False
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the INFO after CONNECT adds: the account that the connection was bound to."""

    account: str
    is_system: bool


def render_info(
    server: ServerInfo,
    *,
    client_id: int,
    client_ip: str,
    nonce: str = "",
    max_payload: int | None = None,
    binding: Binding | None = None,
    lame_duck: bool = False,
    hide_auth_required: bool = False,
) -> bytes:
    """The line `INFO {json} ` with its line end; a space stands before it, since older clients count on that.

    `max_payload` is the connection's own where it differs; `hide_auth_required` leaves the field out, as the first
    INFO does where a user is set for clients without credentials.
    """
    info: dict[str, Any] = {
        "server_id": server.server_id,
        "server_name": server.server_name,
        "version": PROVIDED_RELEASE,
        "proto": PROTOCOL,
    }
    if server.git_commit:
        info["git_commit"] = server.git_commit
    info["go"] = server.runtime
    info["host"] = server.host
    info["port"] = server.port
    info["headers"] = server.headers
    if server.auth_required and not hide_auth_required:
        info["auth_required"] = True
    if server.tls_required:
        info["tls_required"] = True
    if server.tls_verify:
        info["tls_verify"] = True
    if server.tls_available:
        info["tls_available"] = True
    info["max_payload"] = server.max_payload if max_payload is None else max_payload
    if server.jetstream:
        info["jetstream"] = True
    info["client_id"] = client_id
    if client_ip:
        info["client_ip"] = client_ip
    if nonce:
        info["nonce"] = nonce
    if lame_duck:
        info["ldm"] = True
    if server.domain:
        info["domain"] = server.domain
    if binding is not None:
        info["connect_info"] = True
        info["remote_account"] = binding.account
        if binding.is_system:
            info["acc_is_sys"] = True
    info["api_lvl"] = API_LEVEL
    if server.xkey:
        info["xkey"] = server.xkey
    return b"INFO " + _ENCODER.encode(info) + b" \r\n"
