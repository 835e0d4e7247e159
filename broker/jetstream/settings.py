"""What all streams of a server share: its options, its name, and how much they may take together."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from broker.config.options import JetStreamOptions
from broker.core.log import Usage
from broker.jetstream.config.words import Storage
from broker.jetstream.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accounts.limits import JetStreamLimits
    from broker.config.options import JetStreamCeilings
    from broker.control.audit import Trail
    from broker.jetstream.account import AccountJetStream

_SHARE: Final = (3, 4)
"""The part of what the machine has that streams may take where nothing is said."""
_WHERE_NOTHING_IS_SAID: Final = "nats"
DIRECTORY: Final = "jetstream"


def directory_of(options: JetStreamOptions) -> Path:
    """Where streams are kept."""
    return Path(options.store_dir or Path(tempfile.gettempdir()) / _WHERE_NOTHING_IS_SAID) / DIRECTORY


def directory_name(account: str) -> str:
    """The name of the directory of an account, whatever characters its own name has."""
    name = quote(account, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def account_name(directory: str) -> str:
    """The account whose directory has a name."""
    return unquote(directory)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


@dataclass(slots=True)
class Settings:
    """The server around all streams."""

    options: JetStreamOptions
    trail: Trail
    """Where refusals are recorded."""
    server: str = ""
    """The server's name."""
    accounts: dict[str, AccountJetStream] = field(default_factory=dict)
    """The accounts that have streams."""
    batches: int = 0
    """Atomic batches that wait for their commit."""
    max_payload: int = 1 << 20
    """Bytes of the largest message that the server takes."""
    staged: int = 0
    """Bytes of their messages."""
    fast_batches: int = 0
    """Fast batches that are not committed yet."""
    usages: dict[Storage, Usage] = field(init=False)
    """Bytes that all streams hold."""
    max_memory: int = field(init=False)
    """Bytes that streams in memory may take together; -1 takes as much as the machine gives."""
    max_store: int = field(init=False)

    def __post_init__(self) -> None:
        self.usages = {storage: Usage() for storage in Storage}
        self.adopt(self.options)

    def adopt(self, options: JetStreamOptions) -> None:
        """Keeps to other options from now on."""
        part, whole = _SHARE
        self.options = options
        self.max_memory = options.max_memory
        if options.max_memory < 0:
            self.max_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * part // whole
        self.max_store = options.max_store
        if options.max_store < 0:
            self.max_store = shutil.disk_usage(_existing(directory_of(options))).free * part // whole

    def check_promises(self, limits: Mapping[str, JetStreamLimits]) -> None:
        """Checks that another account may have these limits, besides what is promised to others.

        Raises JetStreamError.
        """
        every = [limits, *(account.limits for account in self.accounts.values())]
        for name, most, error in (
            ("memory", self.max_memory, ApiError.MEMORY_RESOURCES_EXCEEDED),
            ("disk", self.max_store, ApiError.STORAGE_RESOURCES_EXCEEDED),
        ):
            if sum(max(getattr(tier, name), 0) for one in every for tier in one.values()) > most:
                raise error.error()

    @property
    def ceilings(self) -> JetStreamCeilings:
        """What every stream and consumer keeps to."""
        return self.options.ceilings

    @property
    def domain(self) -> str:
        """The server's JetStream domain; empty for none."""
        return self.options.domain

    def reserved(self, storage: Storage) -> int:
        """Bytes that all streams may hold, as far as they say."""
        return sum(account.reserved(storage) for account in self.accounts.values())

    def used(self, storage: Storage) -> int:
        """Bytes that all streams hold."""
        return self.usages[storage].bytes
