"""Whether the certificates of clients are revoked: by lists that are at hand, and by responders that are asked.

Nothing of this is loaded where nobody asks. A client whose certificate is being asked about is neither read nor
answered meanwhile, and the time that its handshake may take goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from broker.identity import VERSION
from broker.net.failures import Contained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509

    from broker.config.options import Options, TLSOptions
    from tls.revocation.answers import Finding
    from tls.revocation.cache import AnswerCache, CacheStatistics
    from tls.revocation.lists import RevocationLists
    from tls.revocation.peers import PeerChecker
    from tls.revocation.responders import Responders

LOGGER: Final = logging.getLogger("natskeep.tls")

SHARE: Final = 0.9
"""The part of the time that a client has left which it waits for answers; the rest is for what comes of them."""


class Inspection:
    """The questions of one server about the certificates of its clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._responders: Responders | None = None
        self._checker: PeerChecker | None = None
        self._cache: AnswerCache | None = None
        self._saving: asyncio.Task[None] | None = None

    async def open(self, options: Options) -> None:
        """Makes ready for the questions that these options want, and for those of before.

        Answers that are kept are read from their file; what is wrong with that is told, and they are done without.
        """
        if not wants_answers(options):
            return
        if self._cache is not None and self._cache.settings == options.ocsp_cache:
            return
        await self._leave_cache()
        cache: AnswerCache = import_module("tls.revocation.cache").AnswerCache(options.ocsp_cache)
        await asyncio.to_thread(cache.load)
        self._cache = cache
        if self._checker is None:
            self._responders = import_module("tls.revocation.responders").Responders(f"natskeep/{VERSION}")
            self._checker = import_module("tls.revocation.peers").PeerChecker(self._responders, cache)
        else:
            self._checker.use(cache)
        if cache.is_on:
            self._saving = self._loop.create_task(self._save(cache))
        LOGGER.info("OCSP peer cache online, type [%s]", cache.settings.kind.value)

    def judge(
        self, tls: TLSOptions | None, lists: RevocationLists | None
    ) -> Callable[[Sequence[bytes]], object] | None:
        """What says in a handshake why its client is refused, as far as that is known; None where nobody asks."""
        if tls is None or (lists is None and not tls.ocsp_peer.verify):
            return None
        return partial(self._known, tls, lists)

    def _known(self, tls: TLSOptions, lists: RevocationLists | None, chain: Sequence[bytes]) -> Finding | None:
        """Raises CertificateFormatError."""
        read = _read(chain)
        if lists is not None:
            finding = lists.problem_in(read, time.time(), lenient=tls.allow_without_crl)
            if finding is not None:
                return finding
        if not tls.ocsp_peer.verify or self._checker is None:
            return None
        return self._checker.refused(read, tls.ocsp_peer)

    def revoked(self, chain: Sequence[bytes], lists: RevocationLists) -> Finding | None:
        """Why a client that was let in must go; a list that is lacking or has ended is no reason for that.

        Raises CertificateFormatError.
        """
        return lists.revoked_in(_read(chain))

    def ask(
        self, chain: Sequence[bytes], tls: TLSOptions, within: float
    ) -> asyncio.Task[Finding | None] | None:
        """What is to be waited for before the client goes on; None where nobody is asked.

        ``chain`` are the verified certificates in DER, its own first, ``within`` the seconds that it has left. Raises
        CertificateFormatError.
        """
        if not tls.ocsp_peer.verify:
            return None
        if self._checker is None:
            raise RuntimeError("nobody can be asked yet")
        work = self._checker.examine(_read(chain), tls.ocsp_peer, within * SHARE)
        return self._loop.create_task(work)

    @property
    def statistics(self) -> CacheStatistics | None:
        """Of the cache; None where there is none."""
        return None if self._cache is None or not self._cache.is_on else self._cache.statistics()

    async def _save(self, cache: AnswerCache) -> None:
        while True:
            await asyncio.sleep(cache.settings.save_interval)
            with Contained():
                await _save_now(cache)

    async def close(self) -> None:
        """Calls off what is being asked, and saves what is known."""
        checker, self._checker = self._checker, None
        if checker is not None:
            await checker.close()
        responders, self._responders = self._responders, None
        if responders is not None:
            await responders.close()
        await self._leave_cache()

    async def _leave_cache(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.cancel()
            await asyncio.wait([saving])
        cache, self._cache = self._cache, None
        if cache is not None and cache.is_on:
            await _save_now(cache)


def wants_answers(options: Options) -> bool:
    """Whether responders are asked about clients of any port."""
    return any(tls is not None and tls.ocsp_peer.verify for tls in (options.tls, options.websocket.tls))


async def _save_now(cache: AnswerCache) -> None:
    if cache.is_changed and not await asyncio.to_thread(cache.save, cache.entries()):
        cache.is_changed = True


def _read(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    read: tuple[x509.Certificate, ...] = import_module("tls.revocation.answers").read_chain(chain)
    return read
