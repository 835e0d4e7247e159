"""``test flags``, ``test whoflag`` and ``test doc``: the command line itself, as tables and as pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import click

from tools.nsk.cli import Command
from tools.nsk.files import make_directory
from tools.nsk.flags import Flag, Flags
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class FlagsOfCommand:
    """A command and its flags."""

    command: Annotated[str, "the command line without flags"]
    flags: Annotated[dict[str, str], "the one-letter form of each flag, empty where it has none"]


@dataclass(frozen=True, slots=True)
class FlagTable:
    """All commands with their flags."""

    commands: Annotated[list[FlagsOfCommand], "in the order of their names"]


@dataclass(frozen=True, slots=True)
class UsersOfFlag:
    """The commands that have a flag."""

    commands: Annotated[list[str], "the command lines without flags"]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages that were written."""

    directory: Annotated[str, "where they are"]
    files: Annotated[list[str], "their names"]


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """A command and everything below it."""
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            member = group.get_command(context, name)
            assert member is not None
            yield from _contexts(click.Context(member, parent=context, info_name=name))


def _leaves() -> Iterator[click.Context]:
    root = click.get_current_context().find_root()
    return (context for context in _contexts(root) if not isinstance(context.command, click.Group))


def _table() -> list[FlagsOfCommand]:
    found = []
    for context in _leaves():
        flags = {flag.long[2:]: flag.short[1:] for flag in context.command.params if isinstance(flag, Flag)}
        found.append(FlagsOfCommand(context.command_path, flags))
    return found


def _flags(session: Session, flags: Flags) -> FlagTable:
    commands = _table()
    names = sorted({name for command in commands for name in command.flags})
    lines = [["cmd", *names]]
    for command in commands:
        cells = ((command.flags[name] or "-") if name in command.flags else "" for name in names)
        lines.append([command.command, *cells])
    session.output.message("".join(f"{','.join(line)}\n" for line in lines))
    return FlagTable(commands)


def _whoflag(session: Session, flags: Flags) -> UsersOfFlag:
    wanted = flags.arguments[0]
    found = [
        command.command
        for command in _table()
        for name, short in command.flags.items()
        if wanted in (name, short)
    ]
    session.output.message("\n".join(found))
    return UsersOfFlag(found)


def _doc(session: Session, flags: Flags) -> Pages:
    directory = session.environment.absolute(flags.arguments[0])
    make_directory(directory)
    names = []
    for context in _contexts(click.get_current_context().find_root()):
        name = context.command_path.replace(" ", "_") + ".md"
        body = f"## {context.command_path}\n\n```\n{context.command.get_help(context)}\n```\n"
        session.write_output(str(directory / name), body)
        names.append(name)
    return Pages(str(directory), sorted(names))


FLAGS = Command("flags", "prints a table with all the flags", _flags, arguments=(0, 8), result=FlagTable)
WHOFLAG = Command(
    "whoflag",
    "prints a table with commands using the specified flag",
    _whoflag,
    arguments=(1, 1),
    result=UsersOfFlag,
)
DOC = Command(
    "doc",
    "generate markdown documentation in the specified directory",
    _doc,
    arguments=(1, 1),
    usage_on_error=True,
    result=Pages,
)
