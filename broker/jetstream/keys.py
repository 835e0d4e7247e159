"""The keys of a server's accounts while it runs: made, changed and destroyed, each with an entry in the audit trail."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auth.settings import SettingsError
from broker.jetstream.settings import directory_of
from broker.jetstream.store.marks import is_sealed
from broker.jetstream.store.tables import Checked, StoreError
from broker.log.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.config.options import JetStreamOptions
    from broker.control.audit import Trail
    from broker.jetstream.store.sealing import Sealed
    from broker.jetstream.store.vault import Vault
    from broker.jetstream.store.wrapping import Wrapper

LOGGER: Final = logging.getLogger("natskeep.jetstream")

KEY_DIRECTORY: Final = "keys"


class Keys:
    """The data keys of accounts, and what wraps them."""

    def __init__(self, trail: Trail, options: JetStreamOptions) -> None:
        self._trail = trail
        self._options = options
        self._vault = _made(options)

    def codec(self, directory: Path, account: str) -> Checked | Sealed:
        """How the values of an account stand on disk. Raises StoreError."""
        if self._vault is None:
            if is_sealed(directory, key_directory(self._options)):
                raise StoreError(
                    f"{directory} is encrypted; give its 'key', 'key_file' or 'key_command' in the jetstream block"
                )
            return Checked()
        codec = self._vault.codec(directory, account)
        if codec.is_turning:
            LOGGER.info("What account %s has on disk is being sealed anew", quoted(account))
        return codec

    @property
    def asks(self) -> bool:
        """Whether somebody else is asked for keys, which may take long."""
        return bool(self._options.key_command)

    async def settle(self, name: str, account: str, codec: Sealed) -> None:
        """All values are sealed by the current key: destroys those before it. Raises StoreError."""
        assert self._vault is not None
        before = [key.id or "none" for key in codec.keys[:-1]]
        await asyncio.to_thread(self._vault.write, name, account, codec.keys[-1:])
        codec.end()
        LOGGER.info("What account %s has on disk is sealed by data key %s; the one before it is destroyed",
                    quoted(account), codec.current.id)
        self._trail.server("data_key_destroyed", target=account, removed=before, key=codec.current.id)

    # The key of the server

    def check(self, options: JetStreamOptions) -> None:
        """Looks whether all keys can be opened and wrapped with other options. Raises SettingsError."""
        if _wrapper(options) == _wrapper(self._options):
            return
        made = _made(options, self._options)
        if self._vault is None or made is None:
            raise SettingsError("a reload does not switch the encryption of streams on or off; restart the server")
        try:
            made.check()
        except StoreError as error:
            raise SettingsError(f"jetstream: {error}") from None

    def open(self) -> None:
        """Has what was wrapped by the key before wrapped by the one that there is now."""
        if self._vault is not None and self._options.previous_key:
            self._tell(*self._vault.rewrap())

    async def adopt(self, options: JetStreamOptions) -> None:
        """Wraps all keys with what the options say."""
        self._options = options
        wrapper = _wrapper(options)
        if self._vault is None or wrapper is None or not self._vault.adopt(wrapper, _previous(options)):
            return
        self._tell(*await asyncio.to_thread(self._vault.rewrap))

    def _tell(self, changed: int, problems: Sequence[StoreError]) -> None:
        for problem in problems:
            LOGGER.error("%s", problem)
        if not changed and not problems:
            return
        LOGGER.info("The data keys of %d accounts were wrapped by another key of the server", changed)
        self._trail.server("server_key_rotated", count=changed, problem="; ".join(map(str, problems)))


def _made(options: JetStreamOptions, before: JetStreamOptions | None = None) -> Vault | None:
    """The key files of a server with such options, which had others before; None where nothing is encrypted."""
    wrapper = _wrapper(options)
    if wrapper is None:
        return None
    module = import_module("broker.jetstream.store.vault")
    running = None if before is None else _wrapper(before)
    earlier = [*_previous(options), *([] if running is None else [running])]
    found: Vault = module.Vault(key_directory(options), wrapper, earlier, options.cipher)
    return found


def _wrapper(options: JetStreamOptions) -> Wrapper | None:
    if not options.key and not options.key_command:
        return None
    # Most servers encrypt nothing.
    module = import_module("broker.jetstream.store.wrapping")
    if options.key_command:
        asking: Wrapper = module.ByCommand(options.key_command, options.key_timeout)
        return asking
    having: Wrapper = module.ByKey(options.key)
    return having


def _previous(options: JetStreamOptions) -> list[Wrapper]:
    if not options.previous_key:
        return []
    return [import_module("broker.jetstream.store.wrapping").ByKey(options.previous_key)]


def key_directory(options: JetStreamOptions) -> Path:
    """Where the key files of accounts are."""
    return Path(options.key_dir).expanduser() if options.key_dir else directory_of(options).parent / KEY_DIRECTORY
