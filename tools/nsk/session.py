"""One invocation of the tool: its shared flags, its output, and the store that it works on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from auth.claims import AccountClaims, UserScope
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, NKeyError, is_public_key, public_key_kind
from tools.nsk.environment import DirectoryFlags, Environment
from tools.nsk.errors import NskError, StoreError
from tools.nsk.files import FILE_MODE, write_file
from tools.nsk.keystore import KeyStore
from tools.nsk.output import Output
from tools.nsk.remedies import one_of
from tools.nsk.report import Report
from tools.nsk.store import Store
from tools.nsk.transaction import Files


class Session:
    """What every command gets. Directories and store are looked at on first use."""

    def __init__(self, output: Output, directories: DirectoryFlags, private_key: str = "") -> None:
        self.output = output
        self.directories = directories
        self.files = Files()
        self.private_key = private_key
        """The value of ``-K``: a role, a public key, a seed or a file that holds one."""

    @cached_property
    def environment(self) -> Environment:
        """The directories, created where they are missing, and what is current. Raises StoreError."""
        environment = Environment(self.directories, files=self.files)
        environment.prepare()
        if KeyStore(environment.keystore_directory).needs_migration():
            program = self.output.program
            shown = environment.abbreviated(environment.keystore_directory)
            raise StoreError(
                f"the keystore `{shown}` needs migration - type `{program} keys migrate` to update", show_usage=False
            )
        return environment

    @cached_property
    def keystore(self) -> KeyStore:
        """Seeds and creds files."""
        ignore = "NSC_NO_GIT_IGNORE" not in self.environment.variables
        return KeyStore(self.environment.keystore_directory, write_ignore_file=ignore, files=self.files)

    @property
    def store_root(self) -> Path:
        """The directory of all operators. Raises StoreError when none is known."""
        root = self.environment.store_root
        if root is None and self.environment.cwd_only:
            return self.environment.cwd
        if root is None:
            raise StoreError(f"set a stores directory -- '{self.output.program} env --store directory'")
        return root

    @cached_property
    def store(self) -> Store:
        """The current operator. Raises StoreError when there is none or it is unusable."""
        store = self.current_store()
        self.check_generation(store)
        return store

    def current_store(self) -> Store:
        """The current operator, whatever its JWT is like. Raises StoreError when there is none."""
        if not self.environment.operator:
            raise StoreError(f"set an operator -- '{self.output.program} env -o operatorName'")
        return self.open_store(self.environment.operator)

    def transaction(self, *homes: Path) -> AbstractContextManager[None]:
        """Make all changes inside the block together, while other invocations wait; none of them when it raises.

        They belong to the store and the keystore, or else to the directories that are given.
        """
        return self.files.transaction(*(homes or self.environment.homes))

    def commit(self) -> None:
        """Write down what was changed so far, such as before a server is told of it, and show what was told of it."""
        try:
            self.files.commit()
        except (OSError, NskError):
            self.output.drop()
            raise
        self.output.release()

    def check_output(self, name: str) -> None:
        """Refuse, before anything is done, a file that the person named and that cannot be written. Raises NskError."""
        path = self.environment.absolute(name)
        place = path.parent
        if path.is_dir():
            raise NskError(f"`{path}` is a directory", remedy="name a file")
        if not place.is_dir():
            raise NskError(f"`{place}` is no directory", remedy=f"make it, or name a file elsewhere: mkdir -p {place}")
        if not os.access(place, os.W_OK | os.X_OK):
            raise NskError(f"nobody but its owner may write in `{place}`", remedy="name a file elsewhere")

    def write_output(self, name: str, text: str, *, mode: int = FILE_MODE) -> Path:
        """Write a file that the person named, at once and whatever becomes of the command. Raises OSError."""
        path = self.environment.absolute(name)
        write_file(path, text, mode=mode)
        return path

    def open_store(self, operator: str) -> Store:
        """An operator by its name. Raises StoreError."""
        return Store.open(self.store_root, operator, self.keystore)

    def check_generation(self, store: Store) -> None:
        """Refuse an operator whose JWT is of version 1. Raises StoreError."""
        if self.files.is_file(store.operator_path) and store.operator().nats.version < 2:
            program = self.output.program
            raise StoreError(_OLD_OPERATOR.format(program=program, operator=store.name))

    def account_name(self, given: str = "") -> str:
        """The account that a flag names, by name or public key, or else the current one. Raises StoreError."""
        store = self.store
        if given:
            return store.account_name(given)
        current = self.environment.account
        if not current:
            raise StoreError(
                'reading account "" failed: account  does not exist in the current operator',
                remedy=one_of(store.accounts(), "--account") or "add one: nsk add account <name>",
            )
        return current

    def working_account(self, given: str = "") -> str:
        """The account that a command works on: named by a flag, else current.

        Raises NskError, with the usage text when there is neither.
        """
        if not given and self.store and not self.environment.account:
            raise NskError("an account is required", show_usage=True)
        return self.account_name(given)

    def plain_account(self, given: str = "") -> str:
        """Like ``working_account``, with the shorter error that some commands have for an account that is not there."""
        try:
            return self.working_account(given)
        except StoreError:
            raise StoreError(f"account {given} does not exist in the current operator") from None

    def user_name(self, account: str, given: str = "") -> str:
        """The user of an account that was named, or the only one there is. Raises NskError."""
        if given:
            return given
        users = self.store.users(account)
        if not users:
            raise NskError(f"account {quote(account)} has no users - create one first")
        if len(users) > 1:
            raise NskError("user name is required", show_usage=True, remedy=one_of(users))
        return users[0]

    def account_key(self, given: str, flag: str, *, wildcard: bool = False) -> str:
        """The public key of an account that a flag names or gives, or ``*`` where that is allowed. Raises NskError."""
        if given and given != "*" and not is_public_key(given, KeyKind.ACCOUNT):
            given = self.store.account(given).subject
        if not given:
            raise NskError(f"{flag} cannot be empty")
        if given == "*" and not wildcard:
            raise NskError('* is not a valid "account" public key')
        return given

    def display(self, path: Path) -> str:
        """A path for reports: in backticks, with the home directory as ``~``."""
        return f"`{self.environment.abbreviated(path)}`"

    def finish(self, report: Report, *, summarise: bool = False, keep: bool = False) -> None:
        """Print a report. Raises NskError when something in it failed; ``keep`` keeps what was changed nevertheless."""
        self.output.report(report, summarise=summarise)
        if (failure := report.failure()) is not None:
            if keep:
                self.commit()
            raise NskError(failure)

    # Signing keys.

    def signer(self, *kinds: KeyKind, account: AccountClaims | None = None) -> KeyPair | None:
        """The key that ``-K`` names, or None without the flag. Raises NskError for a key that cannot be had."""
        if not self.private_key:
            return None
        pair = self._role_key(account) if account else None
        pair = pair or self.key_pair(self.private_key)
        if pair is None:
            role = f"no role with a stored key in account {quote(account.name)}, " if account else ""
            raise NskError(f"-K names {role}no public key, no seed and no file that holds a seed")
        if pair.kind not in kinds:
            raise NskError("unexpected resolved keytype type")
        return pair

    def lend_signer(self) -> None:
        """Let what ``-K`` names sign, beside the keys that are stored. Raises NskError for a key that cannot be had."""
        pair = self.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
        if pair is not None:
            self.keystore.lend(pair)

    def _role_key(self, account: AccountClaims) -> KeyPair | None:
        keys = [
            item.key
            for item in account.nats.signing_keys
            if isinstance(item, UserScope) and item.role == self.private_key
        ]
        stored = [key for key in keys if self.keystore.has_key(key)]
        if keys and not stored:
            raise NskError(f"the private key of role {quote(self.private_key)} is not in the keystore")
        if len(stored) > 1:
            raise NskError(f"role {quote(self.private_key)} has several keys, name one: {', '.join(stored)}")
        return self.keystore.key(stored[0]) if stored else None

    def key_pair(self, text: str) -> KeyPair | None:
        """The key pair of a stored public key, a seed, or a file with a seed; None when the text is none of them.

        Raises NskError for a public key whose seed is not stored.
        """
        if public_key_kind(text) is not None:
            pair = self.keystore.key(text)
            if pair is None:
                raise NskError("nkeys: can not sign, no private key available")
            return pair
        seed = self.seed_in(text)
        if seed is not None:
            return seed
        path = self.environment.absolute(text)
        try:
            content = path.read_text("utf-8") if path.is_file() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise NskError(f"`{path}` cannot be read: {error}") from None
        return self.seed_in(content)

    @staticmethod
    def seed_in(text: str) -> KeyPair | None:
        """The key pair when the text is a seed, else None."""
        try:
            return KeyPair.from_seed(text.strip())
        except NKeyError:
            return None

    def public_key(self, text: str) -> str | None:
        """The public key that a text stands for: itself, a seed, or a file with a seed; None otherwise."""
        if public_key_kind(text) is not None:
            return text
        pair = self.key_pair(text)
        return pair.public if pair else None


def start(given: Mapping[str, Any], *, structured: bool = False) -> Session:
    """The session that the shared flags of a command line describe, by the names of click's parameters.

    ``structured`` keeps all output back for one JSON document at the end.
    """
    flags = DirectoryFlags(
        config=given.get("config_dir"),
        data=given.get("data_dir"),
        keystore=given.get("keystore_dir"),
        all=given.get("all_dirs"),
    )
    output = Output(compatible=bool(given.get("nsc_compatible_output")), structured=structured)
    return Session(output, flags, given.get("private_key") or "")


_OLD_OPERATOR = """\
This version of {program} only supports jwtV2.\x20
If you are using a managed service, check your provider for\x20
instructions on how to update your project. In most cases\x20
all you need to do is:
"{program} add operator --force -u <url provided by your service>"

If your service is well known, such as Synadia's NGS:
"{program} add operator --force -u synadia"

If you are the operator, and you have your operator key, to\x20
upgrade the v1 store `{operator}` - type:
"{program} upgrade-jwt"
"""
