"""Asks whether the certificates of clients are revoked, before their connections go on.

The links of a verified chain are asked about that name a responder, the client's own first; the last certificate is
trusted as it stands. Whoever asks about a certificate while somebody else does waits for the same answer. The texts of
log and reasons are those of nats-server, since scripts look for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tls.revocation.answers import (
    Answer,
    AnswerError,
    CertificateStatus,
    DelegationError,
    Finding,
    OutOfDateError,
    UnreachableError,
    fingerprint,
    question,
    read_answer,
    responders,
    subject_of,
)

if TYPE_CHECKING:
    from cryptography import x509

    from tls.revocation.cache import AnswerCache
    from tls.revocation.responders import Responders
    from tls.revocation.settings import PeerSettings

LOGGER: Final = logging.getLogger("natskeep.tls")

MOST_ASKED: Final = 4096
"""Questions at one time; whoever needs one more is treated as where nobody answers."""


@dataclass(frozen=True, slots=True)
class _Link:
    """A certificate to be asked about."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    urls: tuple[str, ...]
    fingerprint: str
    issuer_fingerprint: str
    subject: str


Outcome = Answer | AnswerError | UnreachableError


class PeerChecker:
    """The questions of one server about its clients."""

    def __init__(
        self, responders: Responders, cache: AnswerCache, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock`` tells the Unix time."""
        self._responders = responders
        self._cache = cache
        self._clock = clock
        self._asking: dict[tuple[str, str, PeerSettings], asyncio.Task[Answer]] = {}

    def use(self, cache: AnswerCache) -> None:
        """Keeps answers there from now on."""
        self._cache = cache

    async def examine(
        self, chain: Sequence[x509.Certificate], settings: PeerSettings, within: float
    ) -> Finding | None:
        """Why the peer with a verified chain is refused; None where it is not.

        ``within`` are the seconds that it may wait; who has not answered by then is not reachable.
        """
        end = time.monotonic() + within
        # All are asked at the same time, and judged from the client's own upwards.
        begun = [(link, *self._begin(link, settings)) for link in _links(chain)]
        for link, found, was_revoked in begun:
            outcome = await self._outcome(found, end) if isinstance(found, asyncio.Task) else found
            reason = _judge(link, outcome, settings, was_revoked=was_revoked)
            if reason:
                return Finding(tuple(chain), link.certificate, reason, is_ocsp=True)
        return None

    def refused(self, chain: Sequence[x509.Certificate], settings: PeerSettings) -> Finding | None:
        """Why the peer is refused by what is kept; None where it is not, or where somebody must be asked first."""
        for link in _links(chain):
            answer = self._cache.known(link.fingerprint, link.issuer_fingerprint)
            if answer is None or answer.problem_at(self._clock(), settings.clock_skew, settings.default_validity):
                continue
            if answer.status is CertificateStatus.REVOKED and not settings.warn_only:
                self._cache.find(link.fingerprint)
                reason = _judge(link, answer, settings, was_revoked=True)
                return Finding(tuple(chain), link.certificate, reason, is_ocsp=True)
        return None

    def _begin(
        self, link: _Link, settings: PeerSettings
    ) -> tuple[Outcome | asyncio.Task[Answer], bool]:
        """What is known of a link, or the question that finds it out; and whether it was revoked when last asked."""
        answer, was_revoked = self._known(link, settings)
        if answer is not None:
            return answer, was_revoked
        key = (link.fingerprint, link.issuer_fingerprint, settings)
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= MOST_ASKED:
                return UnreachableError("too many questions are under way"), was_revoked
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(link, settings))
            task.add_done_callback(partial(self._asked, key))
        return task, was_revoked

    def _known(self, link: _Link, settings: PeerSettings) -> tuple[Answer | None, bool]:
        """An answer that holds, if one is kept; and whether one is kept by which the certificate is revoked."""
        kept = self._cache.find(link.fingerprint)
        if kept is None:
            return None, False
        now = self._clock()
        try:
            # Another authority of the same name may have signed it as well; then the answer is none of this one's.
            answer = kept.answer if kept.issuer == link.issuer_fingerprint else None
            if answer is None:
                answer = kept.answer = read_answer(kept.der, link.certificate, link.issuer, now)
                kept.issuer = link.issuer_fingerprint
        except AnswerError as error:
            LOGGER.debug("Invalid cached OCSP response for [%s] with fingerprint [%s]: %s",
                         link.subject, link.fingerprint, error)
            self._cache.reject(link.fingerprint, forged=True)
            return None, False
        was_revoked = answer.status is CertificateStatus.REVOKED
        if answer.problem_at(now, settings.clock_skew, settings.default_validity):
            LOGGER.debug("Cached OCSP response is expired, status [%s]", answer.status.value)
            self._cache.reject(link.fingerprint)
            return None, was_revoked
        return answer, was_revoked

    async def _ask(self, link: _Link, settings: PeerSettings) -> Answer:
        """Raises AnswerError and UnreachableError."""
        answer = await self._responders.ask(
            link.urls,
            question(link.certificate, link.issuer),
            partial(self._read, link, settings),
            settings.timeout,
        )
        self._cache.keep(link.fingerprint, answer, link.issuer_fingerprint, link.subject, self._clock())
        return answer

    def _read(self, link: _Link, settings: PeerSettings, der: bytes) -> Answer:
        now = self._clock()
        answer = read_answer(der, link.certificate, link.issuer, now)
        problem = answer.problem_at(now, settings.clock_skew, settings.default_validity)
        if problem:
            raise OutOfDateError(problem)
        return answer

    def _asked(self, key: tuple[str, str, PeerSettings], task: asyncio.Task[Answer]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            # Those who asked may all be gone, and nobody else would look at it.
            task.exception()

    async def _outcome(self, task: asyncio.Task[Answer], end: float) -> Outcome:
        """What came of a question that others may wait for as well; ``end`` is a monotonic time."""
        await asyncio.wait({task}, timeout=max(end - time.monotonic(), 0.0))
        if not task.done():
            return UnreachableError("nobody has answered while the client may wait")
        if task.cancelled():
            return UnreachableError("the question was called off")
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, AnswerError | UnreachableError):
            return error
        raise error

    async def close(self) -> None:
        """Calls off every question."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _links(chain: Sequence[x509.Certificate]) -> Iterator[_Link]:
    for certificate, issuer in pairwise(chain):
        urls = responders(certificate)
        if urls:
            yield _Link(
                certificate, issuer, urls, fingerprint(certificate), fingerprint(issuer), subject_of(certificate)
            )


def _judge(link: _Link, outcome: Outcome, settings: PeerSettings, *, was_revoked: bool) -> str:
    """Why a certificate is refused, nothing where it is not. The log tells either way."""
    reason = _reason(link, outcome, settings, was_revoked=was_revoked)
    if reason and settings.warn_only:
        LOGGER.warning("OCSP verify fail for [%s] but WarnOnly is true so allowing", link.subject)
        return ""
    LOGGER.debug("%s", reason or f"OCSP verify pass for [{link.subject}]")
    return reason


def _reason(link: _Link, outcome: Outcome, settings: PeerSettings, *, was_revoked: bool) -> str:
    subject = link.subject
    match outcome:
        case UnreachableError():
            LOGGER.warning("Attempt to obtain OCSP response from CA responder for [%s] failed: %s", subject, outcome)
            if not settings.allow_when_unreachable:
                return "Failed OCSP response fetch"
            tells = f"Failed to obtain OCSP CA response for [{subject}] but AllowWhenCAUnreachable set;"
            if was_revoked:
                LOGGER.warning("%s cached revocation exists so rejecting", tells)
                return "Failed OCSP response fetch"
            if not settings.warn_only:
                LOGGER.warning("%s no cached revocation so allowing", tells)
            return ""
        case DelegationError():
            LOGGER.warning("Invalid OCSP response delegation: %s: %s", subject, outcome)
            return f"Invalid OCSP response delegation: {subject}"
        case OutOfDateError():
            LOGGER.warning("New OCSP CA response obtained for [%s] but not current: %s", subject, outcome)
            return "OCSP response not in effectivity window"
        case AnswerError():
            LOGGER.error("Could not parse OCSP CA response for [%s]: %s", subject, outcome)
            return "Failed OCSP response parse"
        case Answer(status=CertificateStatus.GOOD):
            return ""
        case Answer(status=CertificateStatus.UNKNOWN) if settings.unknown_is_good:
            return ""
        case Answer(status=status):
            LOGGER.warning("OCSP verify fail for [%s] with CA status [%s]", subject, status.value)
            return f"Invalid OCSP response status: {status.value}"
