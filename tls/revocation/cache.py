"""Answers about clients that are kept: in memory, and in a file that outlives the server.

The file is not trusted. An answer out of it counts when it is verified like one that has just come.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tls.revocation.answers import Answer, CertificateStatus, clock_time
from tls.revocation.settings import CacheKind, CacheSettings

LOGGER: Final = logging.getLogger("natskeep.tls")

FILE: Final = "cache.json"

MOST_KEPT: Final = 65536
"""Answers; when there are more, the oldest goes."""

_LARGEST_FILE: Final = 512 * 1024 * 1024
"""Bytes; a larger file is none of ours."""


@dataclass(slots=True)
class Kept:
    """One answer about a certificate."""

    der: bytes
    status: CertificateStatus
    subject: str
    """The certificate's, for people."""
    kept_at: str
    expires: str
    answer: Answer | None = None
    """It as it was verified; None as long as it only stands in the file."""
    issuer: str = ""
    """Fingerprint of the authority for which it was."""


@dataclass(slots=True)
class CacheStatistics:
    """What monitoring shows of a cache."""

    kind: str
    hits: int = 0
    misses: int = 0
    answers: int = 0
    revoked: int = 0
    good: int = 0
    unknown: int = 0


class AnswerCache:
    """The answers of one server, by the fingerprints of the certificates."""

    def __init__(self, settings: CacheSettings) -> None:
        self.settings = settings
        self._kept: dict[str, Kept] = {}
        self._hits = 0
        self._misses = 0
        self.is_changed = False
        """Whether it is other than the file."""

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.settings.kind is CacheKind.LOCAL

    def find(self, fingerprint: str) -> Kept | None:
        """What is kept about a certificate."""
        if not self.is_on:
            return None
        kept = self._kept.get(fingerprint)
        if kept is None:
            self._misses += 1
        else:
            self._hits += 1
        return kept

    def known(self, fingerprint: str, issuer: str) -> Answer | None:
        """The answer about a certificate that was verified for that authority; whoever looks does not count."""
        kept = self._kept.get(fingerprint)
        return kept.answer if kept is not None and kept.issuer == issuer else None

    def keep(self, fingerprint: str, answer: Answer, issuer: str, subject: str, moment: float) -> None:
        """Keeps an answer in place of the one before; ``issuer`` is the fingerprint of the authority it is from."""
        if not self.is_on:
            return
        # The newest stands last, so that the first is the oldest.
        self._kept.pop(fingerprint, None)
        while len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        expires = "0001-01-01T00:00:00Z" if answer.until is None else clock_time(answer.until)
        self._kept[fingerprint] = Kept(answer.der, answer.status, subject, clock_time(moment), expires, answer, issuer)
        self.is_changed = True

    def reject(self, fingerprint: str, *, forged: bool = False) -> None:
        """What was found is of no use: it is out of date, or ``forged``, and counts as not found.

        One that is out of date and says that the certificate is revoked may be kept, as the settings have it.
        """
        self._hits -= 1
        self._misses += 1
        kept = self._kept.get(fingerprint)
        preserved = self.settings.preserve_revoked and kept is not None and kept.status is CertificateStatus.REVOKED
        if kept is not None and (forged or not preserved):
            del self._kept[fingerprint]
            self.is_changed = True

    def statistics(self) -> CacheStatistics:
        """What it holds and what it was good for."""
        statuses = [kept.status for kept in self._kept.values()]
        return CacheStatistics(
            self.settings.kind.value,
            hits=self._hits,
            misses=self._misses,
            answers=len(statuses),
            revoked=statuses.count(CertificateStatus.REVOKED),
            good=statuses.count(CertificateStatus.GOOD),
            unknown=statuses.count(CertificateStatus.UNKNOWN),
        )

    # The file

    @property
    def file(self) -> Path:
        """Where it is saved."""
        return Path(self.settings.directory) / FILE

    def load(self) -> None:
        """Reads the file where there is one; may run in a thread before anybody uses the cache. Tells what is wrong."""
        if not self.is_on:
            return
        LOGGER.debug("Loading OCSP peer cache [%s]", self.file.absolute())
        try:
            if self.file.stat().st_size > _LARGEST_FILE:
                raise ValueError("the file is too large")
            entries = json.loads(self.file.read_bytes())
            if not isinstance(entries, dict):
                raise ValueError("the file holds no map")
        except FileNotFoundError:
            LOGGER.debug("No OCSP peer cache found, starting with empty cache")
            return
        except (OSError, ValueError) as error:
            LOGGER.warning("Unable to load OCSP peer cache: %s", error)
            return
        unreadable = 0
        for fingerprint, entry in entries.items():
            try:
                self._kept[fingerprint] = _read(entry)
            except (KeyError, TypeError, ValueError, binascii.Error):
                unreadable += 1
        if unreadable:
            LOGGER.warning("%d entries of the OCSP peer cache cannot be read and are left out", unreadable)

    def entries(self) -> dict[str, Any]:
        """What the file is to hold, as it is now; from here on it counts as saved."""
        self.is_changed = False
        return {
            fingerprint: {
                "subject": kept.subject,
                "cached_at": kept.kept_at,
                "resp_status": kept.status.value,
                "resp_expires": kept.expires,
                "resp": kept.der,
            }
            for fingerprint, kept in self._kept.items()
        }

    def save(self, entries: Mapping[str, Any]) -> bool:
        """Writes the file as a whole or not at all; may run in a thread. Tells what is wrong, and whether it worked."""
        try:
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(self.file, json.dumps(entries, indent=1, default=_encoded).encode())
        except OSError as error:
            LOGGER.error("Unable to save OCSP peer cache: %s", error)
            return False
        LOGGER.debug("Saved OCSP peer cache successfully")
        return True


def write_whole(file: Path, content: bytes) -> None:
    """Puts a file in place of another in one step, on the disk when it returns. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with open(descriptor, "wb") as temporary:
            temporary.write(content)
            temporary.flush()
            os.fsync(temporary.fileno())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _encoded(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"not to be saved: {type(value).__name__}")
    return base64.b64encode(value).decode()


def _read(entry: Mapping[str, Any]) -> Kept:
    der = base64.b64decode(entry["resp"], validate=True)
    if der[:1] != b"\x30":
        raise ValueError("it is compressed")
    return Kept(
        der=der,
        status=CertificateStatus(entry["resp_status"]),
        subject=str(entry["subject"]),
        kept_at=str(entry["cached_at"]),
        expires=str(entry["resp_expires"]),
    )
