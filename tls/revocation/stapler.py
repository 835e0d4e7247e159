"""Keeps an OCSP answer about a certificate of the server at hand, for its handshakes (RFC 6066 section 8).

An answer is fetched anew when half of the time is over that it holds, and when that fails, again and again at growing
intervals. It is written to the disk, so that a server that starts anew needs no responder as long as it holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tls.authorities import bundles_of_the_system, called
from tls.identity import CertificateFormatError
from tls.revocation.answers import (
    Answer,
    AnswerError,
    CertificateStatus,
    OutOfDateError,
    UnreachableError,
    clock_time,
    promises_staple,
    question,
    read_answer,
    read_chain,
    responders,
)
from tls.revocation.cache import write_whole
from tls.revocation.settings import StapleError, StapleMode, StapleSettings
from tls.revocation.signatures import SignatureError, check_issued

if TYPE_CHECKING:
    from tls.revocation.responders import Responders

LOGGER: Final = logging.getLogger("natskeep.tls")

DIRECTORY: Final = "ocsp"
"""Where answers lie below the directory of the server's data, as nats-server has it."""

PATIENCE: Final = 30.0
"""Seconds that one responder may take."""

UNSAID: Final = 24 * 3600.0
"""Seconds after which an answer is fetched anew that does not say how long it holds."""

SHORTEST: Final = 1.0
"""Seconds between two fetches, at least."""

FIRST_RETRY: Final = 5.0
"""Seconds after which a fetch that failed is tried again; each time it is twice as long."""

LONGEST_RETRY: Final = 120.0

LONGEST_SLEEP: Final = 3600.0
"""Seconds between two looks at the clock."""


def wants_staple(certificate: x509.Certificate, settings: StapleSettings) -> bool:
    """Whether an answer is stapled for a certificate."""
    match settings.mode:
        case StapleMode.NEVER:
            return False
        case StapleMode.ALWAYS:
            return True
        case StapleMode.AUTO | StapleMode.MUST:
            return promises_staple(certificate)


def find_issuer(file: str, links: Sequence[x509.Certificate], authorities: bytes) -> x509.Certificate:
    """The authority of the first certificate of a chain: the second one, or one of ``authorities``, in PEM.

    Without authorities they are those of the system. Raises StapleError.
    """
    own = links[0]
    bundles = [authorities] if authorities else bundles_of_the_system()
    known = (candidate for bundle in bundles for candidate in called(own.issuer, bundle))
    for candidate in chain(links[1:2], known):
        try:
            check_issued(own, candidate)
        except SignatureError:
            continue
        return candidate
    raise StapleError(
        f"OCSP stapling for {file} needs the certificate of its issuer, {own.issuer.rfc4514_string()}; append it to "
        "the file, or name it in ca_file"
    )


def staplers(
    *,
    files: Sequence[str],
    chains: Sequence[Sequence[bytes]],
    authorities: bytes,
    settings: StapleSettings,
    asks: Responders,
    store: str,
) -> list[Stapler | None]:
    """One for each of the chains, in DER, that stand in the files; None for one that has no answer with it.

    Raises StapleError.
    """
    made: list[Stapler | None] = []
    for file, der in zip(files, chains, strict=True):
        try:
            links = read_chain(der)
        except CertificateFormatError as error:
            raise StapleError(f"OCSP stapling for {file} cannot begin: {error}; issue the certificate anew") from None
        wanted = wants_staple(links[0], settings)
        made.append(
            Stapler(
                file=file,
                certificate=links[0],
                issuer=find_issuer(file, links, authorities),
                settings=settings,
                asks=asks,
                store=store,
            )
            if wanted
            else None
        )
    return made


class Stapler:
    """The answers about one certificate."""

    def __init__(
        self,
        *,
        file: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        settings: StapleSettings,
        asks: Responders,
        store: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``file`` is where the certificate stands, ``store`` the directory of the server's data, empty for none."""
        self.file = file
        self.certificate = certificate
        self._issuer = issuer
        self._settings = settings
        self._asks = asks
        self._path = Path(store) / DIRECTORY / _name_of(certificate) if store else None
        self._clock = clock
        self._answer: Answer | None = None
        self._failures = 0

    @property
    def is_strict(self) -> bool:
        """Whether the server does not run with the certificate when it is not good."""
        return self._settings.mode in {StapleMode.ALWAYS, StapleMode.MUST}

    @property
    def answer(self) -> Answer | None:
        """The latest answer, be it of today or not."""
        return self._answer

    def staple(self) -> bytes | None:
        """What is shown to clients now; None where no answer holds, and the certificate must not be shown."""
        answer = self._answer
        return None if answer is None or self._has_ended(answer) else answer.der

    @property
    def problem(self) -> str:
        """Why the server must not run with the certificate, nothing where it may."""
        answer = self._answer
        if not self.is_strict or answer is None or answer.status is CertificateStatus.GOOD:
            return ""
        return f"found OCSP status for certificate at '{self.file}': {answer.status.value}; replace the certificate"

    async def open(self) -> None:
        """Has an answer at hand: from the disk where one holds, else from a responder. Raises StapleError."""
        self._answer = await asyncio.to_thread(self._stored)
        if self._answer is None:
            try:
                await self._fetch()
            except (AnswerError, UnreachableError) as error:
                raise StapleError(
                    f"bad OCSP status update for certificate at '{self.file}': {error}; see that its responder can be "
                    "reached, or turn stapling off with ocsp: false"
                ) from None
        if self.problem:
            raise StapleError(self.problem)
        self._tell("Found")

    async def keep(self, on_answer: Callable[[], None]) -> None:
        """Fetches answers as long as it is not called off, or until one says that the server must not run.

        ``on_answer`` is called after each fetch, be it in vain or not.
        """
        due = self._clock() + self._delay()
        while not self.problem:
            left = due - self._clock()
            if left > 0:
                # The clock that answers go by can be set, and stands for nobody while a machine sleeps.
                await asyncio.sleep(min(left, LONGEST_SLEEP))
                continue
            await self.refresh()
            on_answer()
            due = self._clock() + self._delay()

    async def refresh(self) -> None:
        """Fetches an answer now; the log tells when there is none."""
        try:
            await self._fetch()
        except (AnswerError, UnreachableError) as error:
            self._failures += 1
            LOGGER.error("Bad OCSP status update for certificate '%s': %s, trying again in %.0fs",
                         self.file, error, self._delay())
        else:
            self._failures = 0
            self._tell("Received")

    def _delay(self) -> float:
        """Seconds until the next fetch."""
        if self._failures:
            return min(FIRST_RETRY * 2.0 ** (self._failures - 1), LONGEST_RETRY)
        answer = self._answer
        if answer is None or answer.until is None:
            return UNSAID
        return max((answer.until - self._clock()) / 2, SHORTEST)

    def _tell(self, how: str) -> None:
        answer = self._answer
        if answer is None:
            return
        if answer.status is CertificateStatus.GOOD:
            until = "unknown" if answer.until is None else clock_time(answer.until)
            LOGGER.info("%s OCSP status for Client certificate at '%s': good, next update %s, checking again in %.0fs",
                        how, self.file, until, self._delay())
        else:
            LOGGER.error("%s OCSP status for Client certificate at '%s': %s", how, self.file, answer.status.value)

    async def _fetch(self) -> None:
        """Raises AnswerError and UnreachableError; then the answer before stays."""
        urls = self._settings.urls or responders(self.certificate)
        asked = question(self.certificate, self._issuer)
        self._answer = await self._asks.ask(urls, asked, self._read, PATIENCE)
        await asyncio.to_thread(self._write, self._answer.der)

    def _read(self, der: bytes) -> Answer:
        now = self._clock()
        answer = read_answer(der, self.certificate, self._issuer, now)
        problem = answer.problem_at(now) or self._has_ended(answer)
        if problem:
            raise OutOfDateError(problem)
        return answer

    def _has_ended(self, answer: Answer) -> str:
        """Why it is not to be shown any more: clients have clocks of their own, so its end is given no tolerance."""
        return answer.problem_at(max(self._clock(), answer.since), 0.0)

    def _stored(self) -> Answer | None:
        if self._path is None:
            return None
        try:
            return self._read(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, AnswerError) as error:
            LOGGER.debug("the stored OCSP answer %s is of no use: %s", self._path, error)
            return None

    def _write(self, der: bytes) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_whole(self._path, der)
        except OSError as error:
            LOGGER.error("the OCSP answer for the certificate in %s cannot be stored in %s: %s",
                         self.file, self._path, error)


def _name_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
