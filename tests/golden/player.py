"""Plays one scenario: runs its command lines in a home directory of their own and looks at what they leave behind."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from auth import envelope
from auth.gojson import dumps
from auth.nkey import KeyKind, KeyPair
from tests.golden.matching import Bindings
from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target
from tools.nsk.__main__ import main

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REFERENCE = re.compile(r"@\{([^{}@]+)\}")
_SPACES = re.compile(r" {2,}")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_REMEDY = "  \N{RIGHTWARDS ARROW} "
"""Begins what nsk says beyond nsc when something is refused."""
_PROGRAM = re.compile(r"(?<![/.\w])nsc\b(?!://| url)")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Recorded command lines with their output, and the files that they leave; README.md tells the format."""

    name: str
    needs_server: bool
    environment: Mapping[str, str]
    steps: list[dict[str, Any]]
    tree: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, path: Path, differences: Mapping[str, Any], *, compatible: bool) -> Scenario:
        """The recording, with nsk's own outcome where it differs on purpose: always, or when it need not be nsc's."""
        document = yaml.load(path.read_text("utf-8"), _LOADER)
        always = differences.get(document["name"], {})
        steps, tree = document["steps"], document["tree"]
        for own in (always,) if compatible else (always, always.get("own", {})):
            steps = [_revised(step, own.get("steps", {}).get(number, {})) for number, step in enumerate(steps, 1)]
            tree = _merged(tree, own.get("tree", {}))
        needs_server = document.get("needs") == "server"
        return cls(document["name"], needs_server, document.get("env", {}), steps, tree)


def _revised(step: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A step with nsk's own outcome: other values, and other words within its recorded output."""
    revised = {**step, **own}
    for old, new in revised.pop("replace", {}).items():
        streams = [stream for stream in ("stdout", "stderr") if old in revised[stream]]
        assert streams, f"{step['argv']} did not say: {old}"
        revised.update({stream: revised[stream].replace(old, new) for stream in streams})
    return revised


def _merged(recorded: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded members with nsk's own in their place; those that nsk has not at all are null."""
    merged = {**recorded}
    for old, new in own.get("replace", {}).items():
        merged["text"] = merged["text"].replace(old, new)
    for name, value in own.items():
        if name == "replace":
            continue
        assert name in recorded or value is not None, f"{name} is not recorded"
        both = isinstance(value, dict) and isinstance(recorded.get(name), dict)
        merged[name] = _merged(recorded[name], value) if both else value
    return {name: value for name, value in merged.items() if value is not None}


class Player:
    """The home directory of one play, and what its placeholders stand for."""

    def __init__(self, scenario: Scenario, home: Path, *, compatible: bool, server: Target | None = None) -> None:
        self.scenario = scenario
        self.home = home
        self.work = home / "work"
        self.work.mkdir(mode=0o755)
        self.compatible = compatible
        self.bindings = Bindings(str(home))
        self._data = home / ".local/share/nats/nsc"
        self._captured: dict[str, str] = {}
        self._server = server
        self._servers: list[ServerProcess] = []

    def play(self) -> list[str]:
        """Everything that came out otherwise than recorded."""
        try:
            return [*self._steps(), *self._tree()]
        finally:
            for server in self._servers:
                server.stop()

    def _steps(self) -> Iterator[str]:
        for number, step in enumerate(self.scenario.steps, 1):
            if "do" in step:
                self._prepare(step)
            else:
                title = f"step {number}: {shlex.join(step['argv'])}"
                yield from (f"{title}\n    {difference}" for difference in self._command(step))

    # Command lines.

    def _command(self, step: Mapping[str, Any]) -> Iterator[str]:
        code, output, errors = self._run(step)
        for name, pattern in step.get("capture", {}).items():
            match = re.search(pattern, f"{output}\n{errors}")
            self._captured[name] = match[1] if match else ""
        if code != step["rc"]:
            yield f"exit code {code}, recorded {step['rc']}: {errors.strip()}"
        if step.get("streams") == "ignore":
            return
        recorded, found = ([self._lines(text, step.get("ignore")) for text in pair] for pair in (
            (step["stdout"], step["stderr"]), (output, errors)
        ))  # fmt: skip
        if self.compatible:
            ordered = not step.get("unordered")
            for stream, old, new in zip(("stdout", "stderr"), recorded, found, strict=True):
                for line in self.bindings.differences(old, new, ordered=ordered):
                    yield f"{stream} {line}"
            return
        # nsc shows the usage after many an error that has nothing to do with it.
        old = [_own_words(line) for lines in recorded for line in lines if line != "Usage:"]
        new = [line for lines in found for line in lines if line != "Usage:" and not line.startswith(_REMEDY)]
        yield from self.bindings.differences(old, new, ordered=False)
        if any(line.startswith("[ OK ]") for line in found[0]):
            yield "a report went to stdout, which is for data"

    def _lines(self, text: str, ignored: str | None) -> list[str]:
        """The lines that say something. Of a usage text in nsk's own words only the head."""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        lines = [line for line in lines if not (ignored and re.search(ignored, line))]
        usage = next((number for number, line in enumerate(lines) if line.startswith("Usage:")), len(lines))
        told = lines[usage:] if self.compatible else lines[usage : usage + 1]
        # Releases of nsc set the columns of a table differently, and some show the values of a switch.
        return lines[:usage] + [_SPACES.sub(" ", line.replace("[=true|false]", "")) for line in told]

    def _run(self, step: Mapping[str, Any]) -> tuple[int, str, str]:
        arguments = [self._fill(argument) for argument in step["argv"]]
        if self.compatible:
            arguments.insert(0, "--nsc-compatible-output")
        environment = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            **{name: self._fill(value) for name, value in {**self.scenario.environment, **step.get("env", {})}.items()},
        }
        directory = self.work / self._fill(step.get("cwd", "."))
        output, errors = io.StringIO(), io.StringIO()
        with (
            _surroundings(environment, directory),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            code = main(arguments)
        return code, output.getvalue(), errors.getvalue()

    # References to what earlier steps made.

    def _fill(self, text: str) -> str:
        while (filled := _REFERENCE.sub(lambda match: self._value(match[1]), text)) != text:
            text = filled
        return text

    def _value(self, reference: str) -> str:
        kind, _, rest = reference.partition(":")
        stores = self._data / "stores"
        match kind:
            case "home":
                return str(self.home)
            case "work":
                return str(self.work)
            case "stores":
                return str(stores)
            case "keys":
                return str(self._data / "keys")
            case "op":
                return _subject(stores.glob(f"*/{rest or '*'}.jwt"))
            case "port":
                self.bindings.port = self.bindings.port or reserve_port()
                return str(self.bindings.port)
            case "acct":
                return _subject(stores.glob(f"*/accounts/{rest}/{rest}.jwt"))
            case "pub" | "priv":
                pair = self._test_key(rest)
                return pair.public if kind == "pub" else pair.seed
        return self._captured[reference]

    def _test_key(self, name: str) -> KeyPair:
        """A key that follows from its name, such as ``A/foreign``, as it did when the scenarios were recorded.

        Lists are sorted by key, so other keys would stand in another order.
        """
        kind, _, label = name.partition("/")
        pair = KeyPair(KeyKind(kind), hashlib.sha256(f"gv test key, never a secret: {name}".encode()).digest())
        self.bindings.bind(f"{kind}!{label}", pair.public)
        return pair

    # Other steps.

    def _prepare(self, step: Mapping[str, Any]) -> None:
        path = self.work / self._fill(step.get("file") or step["arg"])
        match step["do"]:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._fill(step["text"]))
            case "rm":
                shutil.rmtree(path)
            case "replace":
                path.write_text(path.read_text().replace(step["old"], step["new"]))
            case "server":
                self._start(path)
            case "mkdir":
                path.mkdir(parents=True)
            case "copy":
                target = self.work / self._fill(step["to"])
                (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
            case "move":
                shutil.move(path, self.work / self._fill(step["to"]))
            case "forge":
                path.write_text(self._forge(step))
            case other:
                raise AssertionError(f"no such step: {other}")

    def _start(self, configuration: Path) -> None:
        """Run a server to the end of the scenario."""
        assert self._server is not None, "the scenario needs a server"
        server = ServerProcess(self._server, ["-c", str(configuration)], self.work)
        self._servers.append(server)
        assert server.wait_until_ready(), server.output

    def _forge(self, step: Mapping[str, Any]) -> str:
        """A token with the given claims, signed as tokens of its generation are."""
        claims = json.loads(self._fill(json.dumps(step["claims"])))
        header = step.get("header") or {"typ": "JWT", "alg": "ed25519-nkey"}
        parts = [_base64(dumps(header)), _base64(dumps(claims))]
        signed = parts[1] if claims.get("type") else ".".join(parts)
        return ".".join([*parts, _base64(self._test_key(step["key"]).sign(signed.encode()))])

    # Files.

    def _tree(self) -> Iterator[str]:
        found = dict(self._files())
        # Files that the labels of others depend on come first: those whose names are known.
        for name, entry in sorted(self.scenario.tree.items(), key=lambda item: "<" in item[0]):
            actual = next((other for other in found if self.bindings.text(name, other)), None)
            if actual is None:
                yield f"file {name} is missing"
            else:
                path = found.pop(actual)
                yield from (f"file {name}: {difference}" for difference in self._file(entry, path))
        yield from (f"file {self.bindings.label(Path(name).stem)} at {name} is too many" for name in found)

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            if not path.is_dir():
                yield name, path
            elif not any(path.iterdir()):
                yield f"{name}/", path

    def _file(self, entry: Mapping[str, Any], path: Path) -> Iterator[str]:
        mode = f"{path.stat().st_mode & 0o7777:04o}"
        if mode != entry["mode"]:
            yield f"mode {mode}, recorded {entry['mode']}"
        if path.is_dir():
            return
        content = path.read_text("utf-8")
        if "claims" in entry:
            if not self.bindings.token(dict(entry), content):
                yield f"holds {_claims(content)}, recorded {entry['claims']}"
        elif "json" in entry:
            value = json.loads(content)
            value.pop("last_update", None)
            if not self.bindings.value(entry["json"], value) or list(value) != list(entry["json"]):
                yield f"holds {value}, recorded {entry['json']}"
        else:
            recorded = entry["text"].split("\n")
            if not self.compatible:
                recorded = [_own_words(line) for line in recorded]
            # Accounts are sorted by key there.
            ordered = "resolver_preload" not in entry["text"]
            yield from self.bindings.differences(recorded, content.split("\n"), ordered=ordered)


@contextlib.contextmanager
def _surroundings(environment: Mapping[str, str], directory: Path) -> Iterator[None]:
    """Environment, working directory and umask as a user would have them."""
    before, umask = dict(os.environ), os.umask(0o022)
    os.environ.clear()
    os.environ.update(environment)
    try:
        with contextlib.chdir(directory):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.umask(umask)


def _own_words(line: str) -> str:
    """A recorded line as nsk words it where nsc's own output is not asked for."""
    line = _PROGRAM.sub("nsk", _ESCAPE.sub("", line))
    return line.replace("start a nats-server", "start a natskeep").replace("  nats-server -c", "  natskeep -c")


def _subject(paths: Iterator[Path]) -> str:
    return str(envelope.open_unverified(next(paths).read_text())["sub"])


def _claims(content: str) -> object:
    try:
        return envelope.open_unverified(content)
    except envelope.JwtError as error:
        return error


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
