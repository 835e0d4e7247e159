"""What the quickstart tells the person in front of it: what it made, and commands that work when pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.app import Server
from tools.nsk.pki.folder import AUTHORITY
from tools.quickstart.demo import ACCOUNTS, Demo, Made


def made_text(made: Sequence[Made], directory: Path) -> str:
    """What was made or reused, a line each, with paths as a person in the directory types them."""
    width = max(len(entry.what) for entry in made)
    return "\n".join(
        f"  {entry.outcome.value:8} {entry.what:{width}}  {displayed(entry.path, directory)}" for entry in made
    )


def displayed(path: Path, directory: Path) -> str:
    """A path relative to the directory when it lies below it, else the whole path."""
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)


def command(name: str, directory: Path) -> str:
    """How a person in the directory starts a command of this installation: ``nsk`` or ``natskeep``.

    The bare name when the shell finds this very one, else the path beside the running command.
    """
    beside = Path(sys.argv[0]).absolute().with_name(name)
    if not beside.is_file():
        beside = Path(sys.executable).absolute().with_name(name)
    if not beside.is_file():
        module = "tools.nsk" if name == "nsk" else "tools.command"
        return f"{shlex.quote(displayed(Path(sys.executable), directory))} -m {module}"
    found = shutil.which(name)
    if found is not None and Path(found).absolute() == beside:
        return name
    return shlex.quote(displayed(beside, directory))


@dataclass(frozen=True, slots=True)
class Guide:
    """Commands against a running demo."""

    demo: Demo
    server: Server
    directory: Path
    """The working directory, which the commands are typed in."""

    def text(self) -> str:
        """The whole guide."""
        acme, globex = ACCOUNTS
        return f"""
natskeep serves the accounts {acme} and {globex} on {self.server.url}{self._monitoring()}.

In a second terminal, listen as {acme}:

  cd {shlex.quote(str(self.directory))}
  {self._tool("sub", acme, "hello.>")}

In a third one, publish as {acme}, and the listener prints the message; publish the same as {globex}, and it
does not: the accounts cannot see each other.

  cd {shlex.quote(str(self.directory))}
  {self._tool("pub", acme, "hello.world", f"from {acme}")}
  {self._tool("pub", globex, "hello.world", f"from {globex}")}

Answer requests as {acme} in one terminal, and ask from another:

  {self._tool("reply", acme, "help", "here it is")}
  {self._tool("req", acme, "help", "please")}

Ctrl-C stops the broker; the same command starts it again with what is there. To begin anew, remove
{displayed(self.demo.directory, self.directory)}.
"""

    def _monitoring(self) -> str:
        if not self.server.monitor_port:
            return ""
        scheme = "https" if self.server.options.monitor.https_port else "http"
        host = self.server.options.monitor.host or self.server.options.host
        return f"; monitoring is on {scheme}://{host}:{self.server.monitor_port}/varz"

    def _tool(self, verb: str, account: str, *words: str) -> str:
        """One client command, quoted for the shell."""
        options = ["--nats", self.server.url]
        if self.server.options.tls is not None:
            options += ["--ca", displayed(self.demo.certificates.certificate_path(AUTHORITY), self.directory)]
        options += ["--creds", displayed(self.demo.creds(account), self.directory)]
        return f"{command('nsk', self.directory)} tool {verb} {shlex.join([*options, *words])}"
