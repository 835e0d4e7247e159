"""The system account of one server: opened with it, told of it, asked about it, and closed before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.monitor.loading import load
from broker.system.announcer import Announcer
from broker.system.envelope import Voice
from broker.system.subjects import CLAIMS_PACK, PACK_RESPONDERS, claims_services, services

if TYPE_CHECKING:
    from broker.control.custody import Custody
    from broker.control.internal import Internal, Received
    from broker.monitor.watched import Watched
    from broker.net.certificates import Told
    from broker.resolver.keeper import Keeper
    from broker.system.services import Services

_SERVICES: Final = "broker.system.services"

MOST_EARLY: Final = 1024
"""Requests that wait until the services are loaded; what comes beyond is not answered."""


class SystemAccount:
    """What is said and answered in the system account.

    The services are loaded when the first request comes, in a thread; what comes meanwhile is answered then.
    """

    def __init__(
        self,
        watched: Watched,
        internal: Internal,
        reload: Callable[[], Awaitable[str]],
        keeper: Keeper | None = None,
        custody: Callable[[], Custody | None] = lambda: None,
    ) -> None:
        """``reload`` reads the configuration again, and returns why it could not, nothing where it could; ``keeper``
        changes the directory of account JWTs where there is one; ``custody`` has the keys of what accounts keep."""
        self._custody = custody
        self._keeper = keeper
        self._watched = watched
        self._internal = internal
        self._reload = reload
        self._voice = Voice(watched)
        self._announcer = Announcer(watched, internal, self._voice)
        self._early: list[tuple[str, Received]] = []
        self._loading: asyncio.Task[None] | None = None
        self._services: Services | None = None

    def open(self) -> None:
        """Begins to listen and to tell."""
        asked = services(self._watched.identity.server_id)
        if self._keeper is not None:
            asked |= claims_services(keeps_all=self._keeper.resolver.keeps_all)
        for name, subjects in asked.items():
            for subject in subjects:
                queue = PACK_RESPONDERS if subject == CLAIMS_PACK else None
                self._internal.subscribe(subject, partial(self._take, name), queue)
        self._announcer.open()

    def lame_duck(self) -> None:
        """Tells that the server is about to end."""
        self._announcer.lame_duck()

    def audit(self, problem: str) -> None:
        """Tells that the audit ledger cannot be written, and why; or that it can be again."""
        self._announcer.audit(problem)

    def certificate(self, told: Told) -> None:
        """Tells what became of a listener's certificate."""
        self._announcer.certificate(told)

    def close(self) -> None:
        """Tells that the server ends, and answers nothing more."""
        self._announcer.close()
        if self._loading is not None:
            self._loading.cancel()
        if self._services is not None:
            self._services.close()
        self._internal.close()

    def _take(self, name: str, received: Received) -> None:
        if self._services is not None:
            self._services.take(name, received)
        elif len(self._early) < MOST_EARLY:
            self._early.append((name, received))
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        module = await load(_SERVICES)
        self._services = module.Services(
            self._watched,
            self._internal,
            self._voice,
            broadcast=self._announcer.broadcast,
            reload=self._reload,
            keeper=self._keeper,
            custody=self._custody,
        )
        early, self._early = self._early, []
        for name, received in early:
            self._services.take(name, received)
        self._watched.service.flush_dirty()
