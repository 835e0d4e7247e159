"""One line of the ledger: a JSON object that names the hash of the line before it.

A seal is a line that is signed by the server's nkey: since it names the hash of the line before, it vouches for all of
them. The head is a signed line in a file of its own that says how far the ledger went at least.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final

from auth.nkey import KeyPair, NKeyError, verify

SEGMENT_PREFIX: Final = "audit-"
SEGMENT_SUFFIX: Final = ".jsonl"
HEAD: Final = "head.json"
BEGINNING: Final = "0" * 64
"""What the first line of a ledger names as the hash of the line before it."""

OPENED, SEALED, REKEYED, RETIRED, LOST, RECOVERED = "opened", "sealed", "rekeyed", "retired", "lost", "recovered"
"""What a ledger says about itself: a segment began, a seal, another key, a segment that is kept no longer, events that
could not be written, and the rest of a line that a crash left."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))

_SIGNATURE: Final = b',"signature":"'


class LineError(ValueError):
    """A line that no server has written."""


def segment_name(number: int) -> str:
    """The file of a segment; numbers begin with 1."""
    return f"{SEGMENT_PREFIX}{number:08d}{SEGMENT_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number of a segment's file, or None for another file."""
    digits = name.removeprefix(SEGMENT_PREFIX).removesuffix(SEGMENT_SUFFIX)
    return int(digits) if digits.isdecimal() and segment_name(int(digits)) == name else None


def moment(seconds: float) -> str:
    """A Unix time as it stands in a line (RFC 3339, in UTC, with microseconds)."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{microseconds:06d}Z"


@lru_cache(4)
def _second(whole: int) -> str:
    # Many events have their second in common.
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


def line_hash(line: bytes) -> str:
    """What the next line names: the SHA-256 of the line without its newline."""
    return hashlib.sha256(line).hexdigest()


def encode(sequence: int, previous: str, time: float, event: str, members: dict[str, object]) -> bytes:
    """A line without its newline. Members that are empty are left out."""
    parts = [f'{{"seq":{sequence},"time":"{moment(time)}","event":{encode_basestring_ascii(event)}']
    for name, value in members.items():
        # Most members are text, and there is a line for every login.
        if isinstance(value, str):
            if value:
                parts.append(f'"{name}":{encode_basestring_ascii(value)}')
        elif value is not None and value not in ([], {}):
            parts.append(f'"{name}":{_ENCODER.encode(value)}')
    parts.append(f'"prev":"{previous}"}}')
    return ",".join(parts).encode("ascii")


def signed(line: bytes, key: KeyPair) -> bytes:
    """The line with the key's signature over all of it as the last member."""
    signature = base64.urlsafe_b64encode(key.sign(line)).rstrip(b"=")
    return line[:-1] + _SIGNATURE + signature + b'"}'


def check_signature(line: bytes, public: str) -> None:
    """Raises LineError for a line that the key has not signed."""
    body, mark, rest = line.rpartition(_SIGNATURE)
    if not mark or not rest.endswith(b'"}'):
        raise LineError("it has no signature")
    try:
        text = rest[:-2]
        signature = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        # Two spellings of one signature would be a change that nobody sees.
        if base64.urlsafe_b64encode(signature).rstrip(b"=") != text:
            raise LineError("its signature is not written the usual way")
        verify(public, body + b"}", signature)
    except (binascii.Error, ValueError, NKeyError):
        raise LineError(f"its signature is not one of {public}") from None


def decode(line: bytes) -> dict[str, object]:
    """The members of a line. Raises LineError."""
    try:
        value = json.loads(line)
    except ValueError:
        raise LineError("it is no JSON") from None
    if not isinstance(value, dict):
        raise LineError("it is no JSON object")
    if not isinstance(value.get("seq"), int) or isinstance(value.get("seq"), bool):
        raise LineError("it has no number")
    if not all(isinstance(value.get(name), str) for name in ("time", "event", "prev")):
        raise LineError("time, event or hash are missing")
    return value
