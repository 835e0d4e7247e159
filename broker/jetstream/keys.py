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

    from auth.nkey import KeyPair
    from broker.config.options import JetStreamOptions
    from broker.control.audit import Trail
    from broker.jetstream.store.sealing import Sealed
    from broker.jetstream.store.shredding import Shredded, Shredder
    from broker.jetstream.store.vault import Vault
    from broker.jetstream.store.wrapping import Wrapper
    from broker.session.session import Session

LOGGER: Final = logging.getLogger("natskeep.jetstream")

KEY_DIRECTORY: Final = "keys"


class Keys:
    """The data keys of accounts, and what wraps them."""

    def __init__(self, trail: Trail, options: JetStreamOptions, signer: KeyPair) -> None:
        """``signer`` signs receipts."""
        self._trail = trail
        self._options = options
        self._signer = signer
        self._vault = _made(options)
        self.codecs: dict[str, Sealed] = {}
        """How the values of each account stand on disk that was opened."""

    @property
    def is_open(self) -> bool:
        """Whether anything is encrypted."""
        return self._vault is not None

    def codec(self, directory: Path, account: str) -> Checked | Sealed:
        """How the values of an account stand on disk. Raises StoreError."""
        if self._vault is None:
            if is_sealed(directory, key_directory(self._options)):
                raise StoreError(
                    f"{directory} is encrypted; give its 'key', 'key_file' or 'key_command' in the jetstream block"
                )
            return Checked()
        codec = self.codecs[account] = self._vault.codec(directory, account)
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
        self._trail.custody("data_key_destroyed", None, target=account, removed=before, key=codec.current.id)

    async def renew(self, name: str, account: str, codec: Sealed) -> None:
        """Seals the values of an account by another key from now on. Raises StoreError."""
        assert self._vault is not None
        key = codec.next_key()
        await asyncio.to_thread(self._vault.write, name, account, (*codec.keys, key))
        codec.begin(key)

    # The end of an account

    def has(self, name: str) -> bool:
        """Whether there is anything that the key of an account seals."""
        return is_sealed(directory_of(self._options) / name, key_directory(self._options))

    def shred(self, name: str, account: str, by: str) -> Shredded:
        """Destroys all that an account has, which nobody may have open. Raises StoreError."""
        assert self._vault is not None
        ids = self._vault.ids(name, account)
        self.codecs.pop(account, None)
        return self._shredder().shred(name, account, {"keys": ids, "by": by})

    def tell(self, shredded: Shredded, by: Session | None) -> None:
        """Tells what was destroyed."""
        account = str(shredded.members["account"])
        path = shredded.path
        LOGGER.warning("All that account %s had on disk is destroyed; the receipt is %s", quoted(account), path)
        self._trail.custody("shredded", by, target=account, keys=shredded.members["keys"], receipt=str(path))

    def _shredder(self) -> Shredder:
        assert self._vault is not None
        # Hardly ever used.
        module = import_module("broker.jetstream.store.shredding")
        directory = directory_of(self._options)
        found: Shredder = module.Shredder(
            directory, key_directory(self._options), directory.parent / module.RECEIPTS, self._signer,
            self._vault.destroy,
        )
        return found

    # The key of the server

    def check(self, options: JetStreamOptions) -> None:
        """Looks whether all keys can be opened and wrapped with other options. Raises SettingsError."""
        wrapper = _wrapper(options)
        if wrapper == _wrapper(self._options):
            return
        if self._vault is None or wrapper is None:
            raise SettingsError("a reload does not switch the encryption of streams on or off; restart the server")
        try:
            self._vault.check(wrapper, _previous(options))
        except StoreError as error:
            raise SettingsError(f"jetstream: {error}") from None

    def open(self) -> None:
        """Does to its end what was begun, and has what was wrapped by the key before wrapped by the one of now.

        Raises StoreError.
        """
        if self._vault is not None and any(key_directory(self._options).glob("*.shredding")):
            for shredded in self._shredder().resume():
                self.tell(shredded, None)
        if self._vault is not None and self._options.previous_key:
            self._tell(*self._vault.rewrap())

    async def adopt(self, options: JetStreamOptions) -> None:
        """Wraps all keys with what the options say."""
        self._options = options
        wrapper = _wrapper(options)
        if self._vault is None or wrapper is None:
            return
        if not await asyncio.to_thread(self._vault.adopt, wrapper, _previous(options)):
            return
        self._tell(*await asyncio.to_thread(self._vault.rewrap))

    def _tell(self, changed: int, problems: Sequence[StoreError]) -> None:
        for problem in problems:
            LOGGER.error("%s", problem)
        if not changed and not problems:
            return
        LOGGER.info("The data keys of %d accounts were wrapped by another key of the server", changed)
        self._trail.custody("server_key_rotated", None, count=changed, problem="; ".join(map(str, problems)))


def _made(options: JetStreamOptions) -> Vault | None:
    """The key files of a server with such options; None where nothing is encrypted."""
    wrapper = _wrapper(options)
    if wrapper is None:
        return None
    module = import_module("broker.jetstream.store.vault")
    found: Vault = module.Vault(key_directory(options), wrapper, _previous(options), options.cipher)
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
