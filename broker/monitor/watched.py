"""What monitoring looks at: the live parts of one server, and what only monitoring itself counts."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from accounts.account import GLOBAL_ACCOUNT, Account
from broker.identity import VERSION
from broker.net.certificates import CLIENT, WEBSOCKET

if TYPE_CHECKING:
    from broker.config.options import Options
    from broker.identity import Identity
    from broker.monitor.jetstream import Streams
    from broker.net.certificates import Finding
    from broker.net.service import Service

_STATM: Final = Path("/proc/self/statm")


class Usage:
    """The share of one processor that the process used lately."""

    SAMPLE_SECONDS: Final = 1.0
    """A shorter span is not measured: the last result stands."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._used = time.process_time()
        self._percent = 0.0

    @property
    def percent(self) -> float:
        """Percent of one processor since the last look, with one decimal."""
        wall, used = time.monotonic(), time.process_time()
        if wall - self._wall >= self.SAMPLE_SECONDS:
            self._percent = round(100 * (used - self._used) / (wall - self._wall), 1)
            self._wall, self._used = wall, used
        return self._percent


def resident_bytes() -> int:
    """Memory of the process that is in RAM; where the system does not tell, the most that it ever was."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True, kw_only=True)
class Watched:
    """The live parts of one server."""

    identity: Identity
    started_at: float
    """Unix seconds."""
    service: Service
    is_serving: Callable[[], bool]
    """Whether new clients are accepted."""
    audit_problem: Callable[[], str] = lambda: ""
    """Why the audit ledger cannot be written, empty where it can or where there is none."""
    jetstream: Callable[[], Streams | None] = lambda: None
    """The server's streams; None for a server without."""
    http_host: str
    http_port: int = 0
    https_port: int = 0
    websocket_port: int = 0
    """The port of clients over WebSocket; 0 when it is off."""
    version: str = VERSION
    """natskeep's own."""
    usage: Usage = field(default_factory=Usage)
    requests: dict[str, int] = field(default_factory=dict)
    """Requests by path."""

    @property
    def configured_at(self) -> float:
        """Unix time at which the configuration of now was put in place."""
        return self.started_at if self.service.reloaded_at is None else self.service.reloaded_at

    @property
    def certificates(self) -> list[Finding]:
        """What is wrong with certificates, or will be soon."""
        return list(self.service.certificates.findings(time.time()))

    @property
    def certificate_ends(self) -> float | None:
        """Unix time at which the server's certificate expires, where it has one."""
        return self.service.certificates.ends_at(CLIENT)

    @property
    def websocket_certificate_ends(self) -> float | None:
        """The same of the WebSocket port."""
        return self.service.certificates.ends_at(WEBSOCKET)

    @property
    def options(self) -> Options:
        """What the server was told."""
        return self.service.options

    @property
    def system_account(self) -> str:
        """Name of the system account, empty when there is none."""
        return self.service.control.system_account

    @property
    def account_names(self) -> list[str]:
        """Every account that the server knows of, in order."""
        control = self.service.control
        names = {GLOBAL_ACCOUNT, *control.tenants, *self.options.resolver_preload}
        if control.authenticator.trust is not None:
            names.update(control.authenticator.trust.resolver.loaded())
        names.update(entry.name for entry in self.options.accounts)
        if self.system_account:
            names.add(self.system_account)
        return sorted(names)

    def account_token(self, name: str) -> str:
        """The JWT of an account as it is now, empty where it has none."""
        trust = self.service.control.authenticator.trust
        return (trust.resolver.lookup(name) or "") if trust is not None else ""

    def account(self, name: str) -> Account | None:
        """The account of that name, None where there is none."""
        control = self.service.control
        tenant = control.tenants.get(name)
        if tenant is not None:
            return tenant.account
        found = control.authenticator.account(name)
        if found is not None or name not in self.account_names or name in self.options.resolver_preload:
            return found
        # The global account and the system account are there though nobody declares them.
        return Account(name, is_system=name == self.system_account)
