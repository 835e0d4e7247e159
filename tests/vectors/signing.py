"""How a vector's client proves who it is: claims signed at run time, and nonces signed rightly or wrongly."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import nkeys

_STRANGER = bytes(nkeys.encode_seed(hashlib.sha256(b"a key that no vector trusts").digest(), nkeys.PREFIX_BYTE_USER))
NEEDED_CHARACTERS = {"std_nopad": "+/"}
"""Ways whose outcome means something only when the signature holds one of these characters."""


def sign_nonce(seed: str, way: str, nonce: str, earlier_nonce: str | None) -> str:
    """CONNECT's ``sig`` for ``nonce``; ``url`` is the right way, every other name says what is wrong with it."""
    keypair = nkeys.from_seed(seed.encode())
    messages: dict[str, Callable[[], bytes]] = {
        "wrong_text": lambda: b"not the nonce",
        "decoded_nonce": lambda: base64.urlsafe_b64decode(nonce + "=="),
        "reuse": (earlier_nonce or "").encode,
    }
    message = messages.get(way, nonce.encode)()
    raw: bytes = (nkeys.from_seed(_STRANGER) if way == "other_key" else keypair).sign(message)
    url = _unpadded(raw)
    spellings: dict[str, Callable[[], str]] = {
        "std_nopad": lambda: base64.b64encode(raw).decode().rstrip("="),
        "hex": raw.hex,
        "empty": lambda: "",
        "truncated": lambda: _unpadded(raw[:-1]),
        "extra_byte": lambda: _unpadded(raw + b"\0"),
        "newline": lambda: url[:40] + "\n" + url[40:],
        "flipped": lambda: _unpadded(bytes([raw[0] ^ 1]) + raw[1:]),
    }
    if way in spellings:
        return spellings[way]()
    if way not in {"url", "other_key", *messages}:
        raise ValueError(f"no way to sign a nonce is called {way!r}")
    return url


def forge(dynamic: dict[str, Any]) -> str:
    """A JWT over the vector's claims, whose times count from now."""
    header = _unpadded(b'{"typ":"JWT","alg":"ed25519-nkey"}')
    claims = _unpadded(json.dumps(_with_times(dynamic["claims"]), separators=(",", ":")).encode())
    signature = nkeys.from_seed(dynamic["issuer_seed"].encode()).sign(f"{header}.{claims}".encode())
    return f"{header}.{claims}.{_unpadded(signature)}"


def _with_times(value: Any) -> Any:
    """``@T+n@``: Unix seconds in n seconds; ``@HMS+n/Zone@``: what the clock shows then in a time zone."""
    if isinstance(value, dict):
        return {key: _with_times(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_with_times(element) for element in value]
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"@T([+-]\d+)@", value):
        return int(time.time()) + int(match[1])
    if match := re.fullmatch(r"@HMS([+-]\d+)/([\w/+-]+)@", value):
        moment = datetime.datetime.now(ZoneInfo(match[2])) + datetime.timedelta(seconds=int(match[1]))
        return moment.strftime("%H:%M:%S")
    return value


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
