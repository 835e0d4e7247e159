"""The demo's directory: an operator with two accounts, certificates and a configuration, made once and then reused.

    server.conf      the configuration, written once: the owner may change it
    operator.conf    the operator and its accounts for the server, written anew from the store at each start
    tls/             the development CA and the server certificate
    nsk/             the account tool's store, seeds and creds files: ``nsk -H natskeep-demo/nsk`` works on it

Whenever a run is interrupted, the next one completes what is missing: files and the store appear whole or not at all.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tools.nsk.files import DIRECTORY_MODE, locked, make_directory, sync_directory, write_file
from tools.nsk.keystore import KeyStore
from tools.nsk.pki.folder import AUTHORITY, Folder
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.resolver_config import memory_resolver
from tools.nsk.store import Store
from tools.quickstart.certificates import SERVER, Outcome, ensure_certificates

OPERATOR: Final = "demo"
ACCOUNTS: Final = ("ACME", "GLOBEX")
USER: Final = "app"
HOST: Final = "127.0.0.1"

_UNFINISHED: Final = ".nsk.*.unfinished"
_TEMPORARY: Final = ".*.tmp"


class DemoError(Exception):
    """The directory cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that the demo needs, and what became of it in this run."""

    outcome: Outcome
    what: str
    path: Path


class Demo:
    """The paths below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.configuration = directory / "server.conf"
        self.operator_configuration = directory / "operator.conf"
        self.certificates = Folder(directory / "tls")
        self.home = directory / "nsk"

    def creds(self, account: str) -> Path:
        """The creds file of an account's user."""
        return KeyStore(self.home).creds_path(OPERATOR, account, USER)

    def ensure(self, port: int, http_port: int) -> list[Made]:
        """Makes what is missing; the ports go into a new configuration only. Tells what was made or reused.

        Raises DemoError, tools.nsk.errors.StoreError for a store that is damaged, and OSError.
        """
        self._take_directory()
        with locked(self.directory):
            self._remove_leftovers()
            return [*self._ensure_store(), *self._ensure_certificates(), self._ensure_configuration(port, http_port)]

    def _take_directory(self) -> None:
        """Creates the directory. One that holds something else is left alone."""
        directory = self.directory
        if directory.exists() and not directory.is_dir():
            raise DemoError(f"{directory} is no directory; choose another with --directory")
        make_directory(directory)
        names = {entry.name for entry in directory.iterdir()}
        if names & {self.configuration.name, self.home.name, self.certificates.directory.name}:
            return
        if not all(fnmatch(name, _UNFINISHED) for name in names):
            raise DemoError(f"{directory} holds other files and no demo; choose another with --directory")
        directory.chmod(DIRECTORY_MODE)

    def _remove_leftovers(self) -> None:
        """What a run left behind that was killed; nothing refers to it."""
        for unfinished in self.directory.glob(_UNFINISHED):
            shutil.rmtree(unfinished)
        for directory in (self.directory, self.certificates.directory):
            for temporary in directory.glob(_TEMPORARY):
                temporary.unlink()

    # The operator, its accounts and their users.

    def _ensure_store(self) -> Iterator[Made]:
        outcome = Outcome.REUSED if self.home.exists() else Outcome.MADE
        if outcome is Outcome.MADE:
            self._make_operator()
        if not Store.exists(self.home, OPERATOR):
            raise DemoError(f"{self.home} holds no operator named {OPERATOR}; move it away and run this again")
        store = Store.open(self.home, OPERATOR, KeyStore(self.home))
        yield Made(outcome, f"operator {OPERATOR}", store.operator_path)
        for account in ACCOUNTS:
            yield self._ensure_account(store, account)

    def _make_operator(self) -> None:
        """Builds the store beside its place and moves it there in one step."""
        unfinished = self.directory / _UNFINISHED.replace("*", secrets.token_hex(8))
        make_directory(unfinished)
        store = create_operator(unfinished, OPERATOR, KeyStore(unfinished))
        add_system_account(store)
        for account in ACCOUNTS:
            create_account(store, account)
            create_user(store, account, USER)
        unfinished.rename(self.home)
        sync_directory(self.directory)

    def _ensure_account(self, store: Store, account: str) -> Made:
        outcome = Outcome.REUSED
        if not store.has_account(account):
            if account in store.accounts():
                # Its users can prove nothing without its claims, and a new key signs none of them.
                store.delete_account(account)
            create_account(store, account)
        if not store.has_user(account, USER):
            create_user(store, account, USER)
        path, text = store.creds_path(account, USER), store.creds(account, USER)
        if not path.is_file():
            outcome = Outcome.MADE
        elif path.read_text("utf-8") != text:
            outcome = Outcome.RENEWED
        if outcome is not Outcome.REUSED:
            store.write_creds(account, USER)
        return Made(outcome, f"account {account}, user {USER}", path)

    # Certificates and configuration.

    def _ensure_certificates(self) -> list[Made]:
        authority, server = ensure_certificates(self.certificates)
        return [
            Made(authority, "development CA", self.certificates.certificate_path(AUTHORITY)),
            Made(server, "server certificate", self.certificates.certificate_path(SERVER)),
        ]

    def _ensure_configuration(self, port: int, http_port: int) -> Made:
        store = Store.open(self.home, OPERATOR, KeyStore(self.home))
        write_file(self.operator_configuration, memory_resolver(store))
        if self.configuration.exists():
            return Made(Outcome.REUSED, "configuration", self.configuration)
        write_file(self.configuration, self._configuration_text(port, http_port))
        return Made(Outcome.MADE, "configuration", self.configuration)

    def _configuration_text(self, port: int, http_port: int) -> str:
        certificates = self.certificates
        return f"""\
# The server of the natskeep demo. This file is yours to change: it is written once and then left alone.

server_name: natskeep-demo
listen: "{HOST}:{port}"
http: "{HOST}:{http_port}"

tls {{
  cert_file: {_quoted(certificates.certificate_path(SERVER))}
  key_file: {_quoted(certificates.key_path(SERVER))}
}}

# Whom the server trusts. Written anew from the store in nsk/ whenever the quickstart starts.
include "{self.operator_configuration.name}"
"""


def _quoted(path: Path) -> str:
    """A path as a string of the configuration language."""
    text = str(path)
    if not text.isprintable():
        raise DemoError(f"{text!r} cannot stand in a configuration file; choose another with --directory")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
