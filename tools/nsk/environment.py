"""Where the account tool keeps its things: the directories, and which operator and account are current.

The rules are nsc's. Each directory comes from a flag, else an environment variable, else the XDG base directories. The
current operator and account are remembered in ``nsc.json``; a working directory inside a store takes their place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.nsk.errors import StoreError
from tools.nsk.files import make_directory
from tools.nsk.transaction import Files, settle

TOOL = "nsc"
CONFIG_FILE = f"{TOOL}.json"
STORE_INFO = f".{TOOL}"
ACCOUNTS = "accounts"
_UPDATE_SOURCE = "nats-io/nsc"


@dataclass(frozen=True, slots=True)
class DirectoryFlags:
    """The directories that flags name, or None. ``all`` overrides the other three."""

    config: str | None = None
    data: str | None = None
    keystore: str | None = None
    all: str | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """The content of ``nsc.json``. Members that this tool does not know are kept."""

    store_root: str = ""
    operator: str = ""
    account: str = ""
    other: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> str:
        """The compact form that is written."""
        return json.dumps(
            {
                "store_root": self.store_root,
                "operator": self.operator,
                "account": self.account,
                "github_updates": _UPDATE_SOURCE,
                "last_update": int(time.time()),
                **self.other,
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Remembered:
        """Raises ValueError when the text is no object of strings."""
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        names = {name: value.pop(name, "") for name in ("store_root", "operator", "account")}
        if not all(isinstance(name, str) for name in names.values()):
            raise ValueError("store_root, operator and account are strings")
        return cls(**names, other=value)


class Environment:
    """The directories and the current operator and account of one invocation.

    Reading it writes nothing; ``prepare`` creates what is missing and ``remember`` changes what is current.
    """

    def __init__(
        self,
        flags: DirectoryFlags | None = None,
        variables: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        files: Files | None = None,
    ) -> None:
        flags = flags or DirectoryFlags()
        self.files = files or Files()
        self.variables = os.environ if variables is None else variables
        self.cwd = Path.cwd() if cwd is None else cwd
        self.home = Path(self.variables.get("HOME") or Path.home())
        self.cwd_only = "NSC_CWD_ONLY" in self.variables
        self.config_directory = self._directory(
            flags.all or flags.config or self.variables.get("NSC_HOME"),
            self._base("XDG_CONFIG_HOME", ".config") / "nats" / TOOL,
            self.home / ".nsc",
        )
        data = self._base("XDG_DATA_HOME", ".local/share") / "nats" / TOOL
        self.keystore_directory = self._directory(
            flags.all or flags.keystore or self.variables.get("NKEYS_PATH"), data / "keys", self.home / ".nkeys"
        )
        self.default_store_root = self._directory(None, data / "stores", self.home / ".nsc" / "nats")
        own = flags.all or flags.data
        self.pki_directory = (self.absolute(own) if own else data) / "pki"
        """Where certificates and the CA that issues them lie, beside the stores."""
        self.context_directory = self._base("XDG_CONFIG_HOME", ".config") / "nats" / "context"
        """Where the nats command line tool keeps its contexts."""
        self.data_flag = flags.all or flags.data
        self._look()

    def _look(self) -> None:
        self.remembered = self._read()
        self.from_cwd = False
        self._locate()

    def _base(self, variable: str, default: str) -> Path:
        return Path(self.variables.get(variable) or self.home / default)

    def _directory(self, named: str | None, default: Path, legacy: Path) -> Path:
        if named:
            return self.absolute(named)
        return legacy if legacy.is_dir() and not default.exists() else default

    def absolute(self, path: str) -> Path:
        """A path that a person typed, against the working directory; a leading ``~`` is the home directory."""
        if path == "~" or path.startswith("~/"):
            path = str(self.home) + path[1:]
        return Path(os.path.normpath(self.cwd / path))

    def abbreviated(self, path: Path) -> str:
        """A path for people, with the home directory shortened to ``~``."""
        return f"~/{path.relative_to(self.home)}" if path != self.home and path.is_relative_to(self.home) else str(path)

    @property
    def config_file(self) -> Path:
        """Where the current operator and account are remembered."""
        return self.config_directory / CONFIG_FILE

    def _read(self) -> Remembered:
        if self.cwd_only:
            return Remembered()
        try:
            return Remembered.from_json(self.config_file.read_text("utf-8"))
        except FileNotFoundError:
            return Remembered()
        except ValueError as error:
            raise StoreError(f"`{self.config_file}` cannot be read: {error}. Mend it, or remove it.") from None

    def _locate(self) -> None:
        remembered = self.remembered
        self.store_root: Path | None = None
        self.operator = self.account = ""
        if self.data_flag:
            self.store_root = self.absolute(self.data_flag)
            self._choose(remembered.operator, remembered.account)
            return
        if self._locate_by_cwd():
            return
        if remembered.store_root:
            self.store_root = Path(remembered.store_root)
        elif not self.cwd_only:
            self.store_root = self.default_store_root
        self._choose(remembered.operator, remembered.account, strict=False)

    def _locate_by_cwd(self) -> bool:
        for directory in (self.cwd, *self.cwd.parents):
            if (directory / STORE_INFO).is_file():
                self.store_root, self.operator = directory.parent, directory.name
                below = self.cwd.relative_to(directory).parts
                account = below[1] if len(below) > 1 and below[0] == ACCOUNTS else self.remembered.account
                self._choose(self.operator, account)
                self.from_cwd = True
                return True
        if operators_in(self.cwd):
            self.store_root = self.cwd
            self._choose(self.remembered.operator, self.remembered.account)
            self.from_cwd = True
        return self.from_cwd

    def _choose(self, operator: str, account: str, *, strict: bool = True) -> None:
        """Take what is remembered where it exists, else the only one there is.

        An operator that a remembered store lacks is kept when not strict: opening it gives the better error.
        """
        found = self.operators()
        known = operator in found or not strict
        self.operator = operator if operator and known else found[0] if len(found) == 1 else ""
        accounts = self.accounts()
        if self.operator in found:
            self.account = account if account in accounts else accounts[0] if len(accounts) == 1 else ""
        else:
            self.account = account if self.operator else ""

    def operators(self) -> list[str]:
        """The operators in the store root, sorted."""
        return operators_in(self.store_root) if self.store_root else []

    def accounts(self) -> list[str]:
        """The accounts of the current operator, sorted."""
        if not self.store_root or not self.operator:
            return []
        return _directories(self.store_root / self.operator / ACCOUNTS)

    @property
    def homes(self) -> tuple[Path, ...]:
        """Where the changes of a command belong: the stores (else the configuration), and the keystore."""
        root = self.store_root
        return (root if root and root.is_dir() else self.config_directory, self.keystore_directory)

    def prepare(self) -> None:
        """Finish what an interrupted command left, and create directories and ``nsc.json`` where they are missing."""
        if settle(self.homes):
            self._look()
        make_directory(self.config_directory)
        if self.cwd_only:
            return
        if not self.config_file.exists():
            if self.store_root and not self.remembered.store_root:
                self.remembered = replace(self.remembered, store_root=str(self.store_root))
            self._write()
        if self.store_root == self.default_store_root:
            make_directory(self.default_store_root)

    def enter(self, operator: str) -> None:
        """Make an operator the current one, with its only account or one of the name that is current now."""
        self.operator = operator
        accounts = self.accounts()
        current = self.account if self.account in accounts else ""
        self.remember(account=accounts[0] if len(accounts) == 1 else current)

    def remember(
        self, *, store_root: Path | None = None, operator: str | None = None, account: str | None = None
    ) -> None:
        """Make a store, an operator or an account the current one, for this and later commands."""
        if store_root is not None:
            self.store_root = store_root
        if operator is not None:
            self.operator = operator
        if account is not None:
            self.account = account
        if self.cwd_only:
            return
        self.remembered = replace(
            self.remembered, store_root=str(self.store_root or ""), operator=self.operator, account=self.account
        )
        self._write()

    def _write(self) -> None:
        self.files.write(self.config_file, self.remembered.to_json())


def _directories(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def operators_in(path: Path) -> list[str]:
    """The names of the operators in a directory of stores, sorted."""
    return [name for name in _directories(path) if (path / name / STORE_INFO).is_file()]
