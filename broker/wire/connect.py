"""The CONNECT object: what a client says of itself. Nothing in it is verified here, and the field names say so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec


class ConnectError(ValueError):
    """CONNECT that is no JSON object, or has a field of the wrong type. The text never quotes values."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What CONNECT said, or was left at its default. Secrets stay out of the repr."""

    verbose: bool = True
    pedantic: bool = True
    echo: bool = True
    tls_required: bool = False
    protocol: int = 0
    headers: bool = False
    no_responders: bool = False
    name: str = ""
    lang: str = ""
    version: str = ""
    account: str = ""
    new_account: bool = False
    unverified_jwt: str = field(default="", repr=False)
    unverified_nkey: str = ""
    unverified_signature: str = field(default="", repr=False)
    unverified_user: str = ""
    unverified_password: str = field(default="", repr=False)
    unverified_token: str = field(default="", repr=False)
    unverified_proxy_signature: str = field(default="", repr=False)


_NOTHING: Final = ConnectOptions()
_FIELDS: Final[dict[str, tuple[str, type]]] = {
    "verbose": ("verbose", bool),
    "pedantic": ("pedantic", bool),
    "echo": ("echo", bool),
    "tls_required": ("tls_required", bool),
    "protocol": ("protocol", int),
    "headers": ("headers", bool),
    "no_responders": ("no_responders", bool),
    "name": ("name", str),
    "lang": ("lang", str),
    "version": ("version", str),
    "account": ("account", str),
    "new_account": ("new_account", bool),
    "jwt": ("unverified_jwt", str),
    "nkey": ("unverified_nkey", str),
    "sig": ("unverified_signature", str),
    "user": ("unverified_user", str),
    "pass": ("unverified_password", str),
    "auth_token": ("unverified_token", str),
    "proxy_sig": ("unverified_proxy_signature", str),
}
_DECODER: Final = msgspec.json.Decoder(dict[str, Any] | None)


def parse_connect(argument: bytes, earlier: ConnectOptions) -> ConnectOptions:
    """Reads CONNECT's argument; what it does not name stays as it was in `earlier`.

    Names match without regard to case, unknown ones are ignored, `null` leaves a field as it was, and the last of
    several equal names holds; `null` as a whole names nothing. Raises ConnectError otherwise.
    """
    try:
        decoded = _DECODER.decode(argument)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConnectError("CONNECT is not a JSON object") from error
    except RecursionError as error:
        raise ConnectError("CONNECT is nested too deeply") from error
    changes: dict[str, Any] = {}
    for name, value in (decoded or {}).items():
        known = _FIELDS.get(name) or _FIELDS.get(name.lower())
        if known is None or value is None:
            continue
        target, kind = known
        # A bool is an int to Python, but not to JSON.
        if type(value) is not kind:
            raise ConnectError(f"CONNECT field {target} must be of type {kind.__name__}")
        changes[target] = value
    # The first CONNECT, which is nearly always the only one, is quicker made than copied.
    return ConnectOptions(**changes) if earlier == _NOTHING else replace(earlier, **changes)
