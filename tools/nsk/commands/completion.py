"""``completion bash|fish|powershell|zsh``: scripts that let a shell ask the tool itself what could come next.

A script calls the tool with the words typed so far (``__complete WORD...``); the tool answers with one candidate
a line, each followed by a tab and its description. Nothing of the store is read but names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import click

from tools.nsk.cli import Command, Group
from tools.nsk.completion_scripts import SCRIPTS
from tools.nsk.environment import DirectoryFlags, Environment
from tools.nsk.errors import NskError
from tools.nsk.flags import BOOLEAN, Flag, Flags, boolean
from tools.nsk.keystore import KeyStore
from tools.nsk.session import Session
from tools.nsk.store import Store

_NAMED = {"account": "accounts", "operator": "operators", "user": "users", "system-account": "accounts"}
_MOST_WORDS = 10_000
_PLAIN = boolean("no-descriptions", "", "disable completion descriptions")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a word could become."""

    candidates: Annotated[list[str], "without their descriptions"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script that a shell reads."""

    script: Annotated[str, "its text"]


def candidates(words: list[str], root: Group) -> Iterator[tuple[str, str]]:
    """What the last word could become, given those before it, each with a description."""
    *before, last = words or [""]
    command, flags, waiting, given = _walk(before, root)
    if waiting is not None:
        yield from ((value, "") for value in _values(waiting, given, command) if value.startswith(last))
        return
    if last.startswith("--") and "=" in last:
        name, _, typed = last.partition("=")
        flag = next((flag for flag in flags if flag.long == name), None)
        if flag is not None:
            found = _values(flag, given, command)
            yield from ((f"{name}={value}", "") for value in found if value.startswith(typed))
        return
    if last.startswith("-"):
        for flag in flags:
            if flag.long.startswith(last) and not flag.hidden:
                yield flag.long, (flag.help or "").split("\n")[0]
        return
    if isinstance(command, Group):
        yield from command.offered(last)
        return
    subject = next((flag for flag in flags if flag.long == "--name"), None)
    if subject is not None:
        yield from ((value, "") for value in _values(subject, given, command) if value.startswith(last))


def _walk(words: list[str], root: Group) -> tuple[click.Command, list[Flag], Flag | None, dict[str, str]]:
    """The command that the words lead to, its flags, the flag that waits for its value, and the values given."""
    command: click.Command = root
    given: dict[str, str] = {}
    waiting: Flag | None = None
    flags = _flags(command)
    for word in words:
        if waiting is not None:
            given[waiting.long.removeprefix("--")] = word
            waiting = None
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            flag = next((flag for flag in flags if name in (flag.long, flag.short)), None)
            if flag is not None and equals:
                given[flag.long.removeprefix("--")] = value
            elif flag is not None and flag.implied is None:
                waiting = flag
        elif isinstance(command, Group):
            command = command.get_command(click.Context(command), word) or command
            flags = [*_flags(command), *(flag for flag in flags if flag.long not in {f.long for f in _flags(command)})]
    return command, flags, waiting, given


def _flags(command: click.Command) -> list[Flag]:
    return [parameter for parameter in command.params if isinstance(parameter, Flag)]


def _values(flag: Flag, given: dict[str, str], command: click.Command) -> list[str]:
    """What a flag could be given, as far as the tool knows: names of the store, and the words of a few flags."""
    if flag.type is BOOLEAN:
        return ["true", "false"]
    name = flag.long.removeprefix("--")
    kind = _NAMED.get(name) or (_NAMED.get(command.name or "") if name == "name" else None)
    if kind is None:
        return list(_words(name))
    directories = DirectoryFlags(
        config=given.get("config-dir"),
        data=given.get("data-dir"),
        keystore=given.get("keystore-dir"),
        all=given.get("all-dirs"),
    )
    try:
        environment = Environment(directories)
        if kind == "operators":
            return environment.operators()
        if kind == "accounts" or environment.store_root is None:
            return environment.accounts()
        store = Store(environment.store_root / environment.operator, KeyStore(environment.keystore_directory))
        return store.users(given.get("account") or environment.account)
    except (NskError, OSError):
        # A key press is no place for an error: there is nothing to offer.
        return []


def _words(name: str) -> tuple[str, ...]:
    # Imported for a key press only where it is about them.
    if name == "role":
        return tuple(import_module("tools.nsk.roles").ROLES)
    if name in ("conn-type", "rm-conn-type"):
        return tuple(import_module("auth.claims.permissions").CONNECTION_TYPES)
    return ("Singleton", "Stream", "Chunked") if name == "response-type" else ()


def _complete(session: Session, flags: Flags) -> Candidates:
    root = click.get_current_context().find_root().command
    found = list(candidates(list(flags.arguments), root)) if isinstance(root, Group) else []
    for candidate, description in found:
        shown = description and not flags.boolean("no-descriptions")
        session.output.line(f"{candidate}\t{description}" if shown else candidate)
    return Candidates([candidate for candidate, _ in found])


COMPLETE = Command(
    "__complete",
    "Answer what a shell asks when a word is to be completed",
    _complete,
    (_PLAIN,),
    arguments=(0, _MOST_WORDS),
    result=Candidates,
)


def _script(session: Session, flags: Flags, shell: str) -> Script:
    program = session.output.program
    plain = " --no-descriptions" if flags.boolean("no-descriptions") else ""
    text = SCRIPTS[shell].replace("@PROGRAM@", program).replace("@PLAIN@", plain)
    session.output.write(text)
    return Script(text)


def _command(shell: str, title: str, load: str, install: str) -> Command:
    return Command(
        shell,
        f"Generate the autocompletion script for {shell}",
        lambda session, flags: _script(session, flags, shell),
        (_PLAIN,),
        introduction=f"""\
Generate the autocompletion script for {title}.

To load completions in your current shell session:

\t{load}

To load completions for every new session, execute once:

\t{install}

You will need to start a new shell for this setup to take effect.""",
        usage_on_error=True,
        result=Script,
    )


BASH = _command(
    "bash",
    "the bash shell",
    "source <(nsk completion bash)",
    "nsk completion bash > ~/.local/share/bash-completion/completions/nsk",
)
FISH = _command(
    "fish",
    "the fish shell",
    "nsk completion fish | source",
    "nsk completion fish > ~/.config/fish/completions/nsk.fish",
)
POWERSHELL = _command(
    "powershell",
    "powershell",
    "nsk completion powershell | Out-String | Invoke-Expression",
    "nsk completion powershell >> $PROFILE",
)
ZSH = _command("zsh", "the zsh shell", "source <(nsk completion zsh)", 'nsk completion zsh > "${fpath[1]}/_nsk"')
