"""The demo's CA and its server certificate, for this machine only, as ``nsk pki`` makes and renews them.

The CA is constrained to localhost and the loopback addresses (RFC 5280 section 4.2.1.10), so trusting it for the demo
lets nobody pose as another host, even with its key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from tools.nsk.errors import NskError
from tools.nsk.pki.folder import AUTHORITY, Folder, is_issued_by
from tools.nsk.pki.issue import Pair, Request, Role, issue
from tools.nsk.pki.manage import add, renew
from tools.nsk.pki.names import common_name, dns_name, ip_address, network

SERVER: Final = "server"
AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397
RENEW_DAYS: Final = 30
"""A certificate is made anew when fewer days than these are left."""

_ORGANIZATION: Final = "natskeep demo"
_AUTHORITY: Final = Request(
    Role.AUTHORITY,
    common_name("natskeep demo CA", _ORGANIZATION),
    timedelta(days=AUTHORITY_DAYS),
    path_length=0,
    permitted=(dns_name("localhost"), network("127.0.0.0/8"), network("::1/128")),
)
_SERVER: Final = Request(
    Role.SERVER,
    common_name("localhost", _ORGANIZATION),
    timedelta(days=SERVER_DAYS),
    names=(dns_name("localhost"), ip_address("127.0.0.1"), ip_address("::1")),
)


class Outcome(Enum):
    """What became of a thing that the demo needs."""

    MADE = "made"
    REUSED = "reused"
    RENEWED = "renewed"


def ensure_certificates(folder: Folder, now: datetime | None = None) -> tuple[Outcome, Outcome]:
    """Makes what is missing, unusable or about to expire; tells what became of the CA and of the server certificate.

    A new CA brings a new server certificate with it, and clients then need the new CA file. Raises OSError.
    """
    now = now or datetime.now(UTC)
    with folder.files.transaction(folder.directory):
        authority = _pair(folder, AUTHORITY)
        made = Outcome.REUSED
        if authority is None or not _lasts(authority, now):
            made = _outcome(folder, AUTHORITY)
            authority = issue(_AUTHORITY, None, now=now)
            folder.write(AUTHORITY, authority)
        return made, _ensure_server(folder, authority, now)


def _ensure_server(folder: Folder, authority: Pair, now: datetime) -> Outcome:
    server, made = _pair(folder, SERVER), _outcome(folder, SERVER)
    if server is None or not is_issued_by(server.certificate, [authority.certificate]):
        add(folder, SERVER, _SERVER, replaces=True, now=now)
    elif not _lasts(server, now):
        renew(folder, SERVER, now=now)
    else:
        return Outcome.REUSED
    return made


def _outcome(folder: Folder, name: str) -> Outcome:
    found = any(folder.files.is_file(path) for path in (folder.certificate_path(name), folder.key_path(name)))
    return Outcome.RENEWED if found else Outcome.MADE


def _pair(folder: Folder, name: str) -> Pair | None:
    """A certificate and its key, or None when one is missing, damaged, or not the other's."""
    try:
        return folder.pair(name)
    except NskError:
        return None


def _lasts(pair: Pair, now: datetime) -> bool:
    begins, ends = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
    return begins <= now and now + timedelta(days=RENEW_DAYS) < ends
