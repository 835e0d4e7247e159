"""The manual of the account tool, played: every console block of a page is run, and its output put into the page.

``python -m tests.support.manual`` writes the pages anew. A page is played from its top, in a home of its own. Besides
the blocks, these comments do something, in their place:

- ``<!-- nsk`` and command lines: they are run and not shown;
- ``<!-- file NAME -->`` before a block: the block is the file's content;
- ``<!-- server`` and further lines of configuration: natskeep serves the operator on port 4222 from here on, and has
  the accounts;
- ``<!-- stop -->``: it ends.

Keys and tokens are shown by their beginnings, except in tables. What differs from run to run - keys, ids, times,
ports - stays as the page has it as long as all else is the same.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ROOT, ServerProcess
from tools.nsk.__main__ import main

MANUAL = ROOT / "docs" / "nsk"
_PORT = "4222"
_HOME = "/home/you"
_PART = re.compile(
    r"^<!-- (?P<deed>nsk|server|stop|file)\b ?(?P<given>.*?) ?-->\n|"
    r"^```(?P<language>\w*)\n(?P<block>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TABLE = re.compile(r"^[|+].*$", re.MULTILINE)
_FILLING = re.compile(r"(?: |-){2,}")
_KEY = re.compile(r"\b(S?[OAUNX])[A-Z2-7]{55,57}\b")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
_INNER = re.compile(r"""\$\((nsk [^|)]*) \| tr -d '"'\)""")
"""The value of a field, in place of a word."""
_VARYING = (
    _KEY,
    re.compile(r"\b20\d\d-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?: UTC|Z)?)?"),
    re.compile(r"\b20\d\d/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?"),
    re.compile(r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d UTC"),
    re.compile(r"\b[0-9a-f]{8}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{20}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{64}\b"),
    re.compile(r"(?<=/keys/[OAUX]/)[A-Z2-7]{2}(?=/)"),
    re.compile(r"(?<=127\.0\.0\.1:)\d+"),
    re.compile(r"\b1[789]\d{8}\b"),
    re.compile(r"\b\d+(?:\.\d+)?(?:ms|µs)"),
    re.compile(r"\b[A-Z2-7]{52}\b"),
    re.compile(r"\b\d+ bytes\b"),
)


@dataclass(slots=True)
class Page:
    """A page that is being played, in its home."""

    path: Path
    home: Path
    port: int = field(default_factory=reserve_port)
    server: ServerProcess | None = None

    def play(self) -> str:
        """The page with what is printed now in its console blocks."""
        text, place, parts = self.path.read_text("utf-8"), 0, []
        file = ""
        try:
            for found in _PART.finditer(text):
                parts.append(text[place : found.start()])
                shown = found[0]
                if found["deed"]:
                    file = self._prepare(found["deed"], found["given"])
                elif found["language"] == "console":
                    shown = f"```console\n{self._block(found['block'])}```"
                elif file:
                    (self.home / file).write_text(found["block"])
                    file = ""
                parts.append(shown)
                place = found.end()
        finally:
            self._stop()
        return "".join((*parts, text[place:]))

    def _prepare(self, deed: str, given: str) -> str:
        """Does what a comment says; the name of the file that the next block is."""
        if deed == "nsk":
            for line in given.strip().splitlines():
                printed = self._printed(f"nsk {line}")
                assert "Error:" not in printed, f"{self.path.name}: {line}: {printed}"
        elif deed == "server":
            self._serve(given)
        elif deed == "stop":
            self._stop()
        return given if deed == "file" else ""

    def _serve(self, further: str) -> None:
        self._printed("nsk generate config --nats-resolver --config-file operator.conf --force")
        configuration = self.home / "server.conf"
        lines = (f"listen: 127.0.0.1:{self.port}", "server_name: quay", 'include "operator.conf"', further)
        configuration.write_text("\n".join(lines))
        self.server = ServerProcess(NATSKEEP, ["-c", str(configuration)], self.home, preforked=True)
        assert self.server.wait_until_ready(), self.server.output
        self._printed(f"nsk push --all --yes --account-jwt-server-url nats://127.0.0.1:{_PORT}")

    def _stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait_until_exit(10.0)
            self.server.stop()
            (self.home / "natskeep.log").write_text(self.server.output)
        self.server = None

    def _block(self, block: str) -> str:
        """A block with what its commands print; as it is when nothing but what varies is other."""
        lines = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        commands = [line.partition("\n")[0] for line in lines]
        played = "".join(f"$ {command}\n{self._shown(command)}" for command in commands)
        return block if _settled(block) == _settled(played) else played

    def _shown(self, command: str) -> str:
        printed = self._printed(command).replace(f":{self.port}", f":{_PORT}")
        tables = iter(_TABLE.findall(printed))
        short = _TOKEN.sub("eyJ…", _KEY.sub(r"\1…", printed))
        short = _TABLE.sub(lambda _: self._row(next(tables)), short).replace(str(self.home), _HOME)
        lines = [line.rstrip() for line in short.rstrip().splitlines()]
        return "".join(f"{line}\n" for line in lines)

    def _row(self, row: str) -> str:
        """A row of a table; a cell with the home stays as wide as it is."""
        home = str(self.home)
        found = re.search(re.escape(home) + r"\S*", row)
        return row if found is None else row.replace(found[0], found[0].replace(home, _HOME).ljust(len(found[0])))

    def _printed(self, command: str) -> str:
        command = command.replace(f":{_PORT}", f":{self.port}")
        if not command.startswith("nsk "):
            command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
            done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
            return done.stdout
        command = _INNER.sub(lambda inner: self._printed(inner[1]).strip().strip('"'), command)
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            main(shlex.split(command)[1:])
        return printed.getvalue()


def _settled(text: str) -> str:
    """A text without what differs from run to run. The width of a table follows from the paths in it."""
    text = _TABLE.sub(lambda row: _FILLING.sub("  ", row[0]), text)
    for pattern in _VARYING:
        text = pattern.sub("#", text)
    return text


@contextmanager
def _home(directory: Path) -> Iterator[None]:
    """A home of its own, without anything of whoever runs this."""
    before, here = dict(os.environ), Path.cwd()
    own = {"PATH": before["PATH"], "HOME": str(directory), "TZ": "UTC", "NSK_REMEDIES": "always"}
    os.environ.clear()
    os.environ.update(own)
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def play(path: Path) -> str:
    """A page with what is printed now in its console blocks."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        stack.enter_context(_home(home))
        return Page(path, home).play()


def pages() -> list[Path]:
    """The pages of the manual."""
    return sorted(MANUAL.glob("*.md"))


if __name__ == "__main__":
    for page in pages():
        page.write_text(play(page), "utf-8")
