"""The OCSP answers that listeners show with their certificates, kept current as long as the server runs.

Nothing of this is loaded where no certificate is to have one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.identity import VERSION
from broker.log.text import printable
from broker.net.certificates import CLIENT, WHOSE
from broker.net.failures import Contained
from tls.revocation.settings import StapleMode

if TYPE_CHECKING:
    from broker.config.options import Options
    from tls.engine import ServerCertificate
    from tls.revocation.responders import Responders
    from tls.revocation.stapler import Stapler
    from tls.served import Served

LOGGER: Final = logging.getLogger("natskeep.tls")

Key = tuple[bytes, object, str]
"""What makes one stapler do in place of another: the certificate in DER, the settings, and where answers are stored."""


@dataclass(slots=True)
class Stock:
    """What is shown with the certificates of some listeners."""

    staplers: dict[Key, Stapler] = field(default_factory=dict)
    shown: list[tuple[ServerCertificate, Stapler]] = field(default_factory=list)
    """Each certificate of each listener that has one."""
    by_listener: dict[str, list[Stapler]] = field(default_factory=dict)

    def show(self) -> None:
        """Hands the answers of now to the handshakes."""
        for certificate, stapler in self.shown:
            certificate.staple = stapler.staple() or b""


def wants_staples(served: Iterable[Served], options: Options) -> bool:
    """Whether any of the certificates is to have an answer with it."""
    mode = options.ocsp.mode
    if mode is StapleMode.NEVER:
        return False
    return any(
        chain.promises_staple or mode is StapleMode.ALWAYS for one in served for chain in one.chains
    )


class Staples:
    """The answers about the certificates of one server."""

    def __init__(self) -> None:
        self.on_problem: Callable[[str], None] = LOGGER.critical
        """Is told why the server must not go on."""
        self._stock = Stock()
        self._keepers: dict[Key, asyncio.Task[None]] = {}
        self._responders: Responders | None = None

    @property
    def are_empty(self) -> bool:
        """Whether none is kept."""
        return not self._stock.staplers

    async def prepare(self, served: Mapping[str, Served], options: Options) -> Stock:
        """Has answers at hand for what listeners are to show, by their names; nothing is changed yet.

        Raises tls.revocation.settings.StapleError for a certificate that must not be shown.
        """
        if options.ocsp.mode is StapleMode.NEVER:
            _warn(served)
        stock = Stock()
        if not wants_staples(served.values(), options):
            return stock
        if self._responders is None:
            self._responders = import_module("tls.revocation.responders").Responders(f"natskeep/{VERSION}")
        for listener, one in served.items():
            made = await asyncio.to_thread(_staplers, one, options, self._responders)
            for key, certificate, stapler in made:
                kept = stock.staplers.get(key) or self._stock.staplers.get(key)
                if kept is None:
                    kept = stapler
                    await stapler.open()
                stock.staplers[key] = kept
                stock.shown.append((certificate, kept))
                stock.by_listener.setdefault(listener, []).append(kept)
        stock.show()
        return stock

    def put(self, stock: Stock) -> None:
        """Keeps these answers current from now on, and lets go of all others."""
        for key, keeper in list(self._keepers.items()):
            if key not in stock.staplers:
                keeper.cancel()
                del self._keepers[key]
        for listener in stock.by_listener.keys() - self._stock.by_listener.keys():
            LOGGER.info("OCSP Stapling enabled for %s", WHOSE[listener])
        self._stock = stock
        for key, stapler in stock.staplers.items():
            if key not in self._keepers:
                self._keepers[key] = asyncio.get_running_loop().create_task(self._keep(stapler))

    def problem(self, listener: str) -> str:
        """Why a listener must not show its certificates now; empty where it may."""
        for stapler in self._stock.by_listener.get(listener, ()):
            if stapler.staple() is None:
                return f"no OCSP answer about the certificate in {stapler.file} is in force"
        return ""

    async def _keep(self, stapler: Stapler) -> None:
        with Contained():
            await stapler.keep(self._show)
            self.on_problem(stapler.problem)

    def _show(self) -> None:
        self._stock.show()

    async def close(self) -> None:
        """Fetches nothing more."""
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self._keepers.clear()
        if self._responders is not None:
            await self._responders.close()


def _staplers(
    served: Served, options: Options, responders: Responders
) -> list[tuple[Key, ServerCertificate, Stapler]]:
    """One for each certificate of a listener that is to have one. Raises StapleError."""
    settings, certificates = served.settings, served.context.certificates
    store = options.store_dir or ("" if options.jetstream is None else options.jetstream.store_dir)
    made: list[Stapler | None] = import_module("tls.revocation.stapler").staplers(
        files=[pair.cert_file for pair in settings.certificates] or [settings.cert_file],
        chains=[certificate.chain for certificate in certificates],
        authorities=Path(settings.ca_file).read_bytes() if settings.ca_file else b"",
        settings=options.ocsp,
        asks=responders,
        store=store,
    )
    return [
        ((certificate.chain[0], options.ocsp, store), certificate, stapler)
        for certificate, stapler in zip(certificates, made, strict=True)
        if stapler is not None
    ]


def _warn(served: Mapping[str, Served]) -> None:
    for chain in served[CLIENT].chains if CLIENT in served else ():
        if chain.promises_staple:
            LOGGER.warning("Certificate at '%s' has MustStaple but OCSP is disabled", printable(chain.file))
