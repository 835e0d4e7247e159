"""The JSON Schemas of all commands, one file each: ``python -m tools.nsk.schemas docs/nsk/schemas``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tools.nsk.cli import Command
from tools.nsk.commands import ROOT
from tools.nsk.document import schema


def commands() -> Iterator[tuple[str, Command]]:
    """Every command with its command line: ``add user``. What only shells ask for is left out."""
    return _commands(ROOT, click.Context(ROOT, info_name="nsk"), ())


def _commands(group: click.Group, context: click.Context, above: tuple[str, ...]) -> Iterator[tuple[str, Command]]:
    for name in group.list_commands(context):
        member, words = group.get_command(context, name), (*above, name)
        if isinstance(member, click.Group):
            yield from _commands(member, context, words)
        elif isinstance(member, Command) and not name.startswith("_"):
            yield " ".join(words), member


def command_of(words: Sequence[str]) -> tuple[str, Command]:
    """The command that the words of a command line name, which begins with it. Raises KeyError when there is none."""
    group: click.Command = ROOT
    named = []
    for word in words:
        if not isinstance(group, click.Group):
            break
        member = group.get_command(click.Context(group), word)
        if member is None:
            raise KeyError(word)
        named.append(member.name or "")
        group = member
    if not isinstance(group, Command):
        raise KeyError(" ".join(words))
    return " ".join(named), group


def schema_for(line: str, command: Command) -> dict[str, object]:
    """The schema of what a command prints with ``--json``."""
    return schema(f"nsk {line}", command.result, own_form=command.own_json)


def files() -> dict[str, str]:
    """The content of each file by its name: ``add-user.json``."""
    return {
        f"{line.replace(' ', '-')}.json": f"{json.dumps(schema_for(line, command), indent=1)}\n"
        for line, command in commands()
    }


def _write(directory: Path) -> None:
    wanted = files()
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text, "utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
