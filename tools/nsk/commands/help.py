"""``help``: the help of any command, as its ``--help`` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click

from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class HelpText:
    """The help of a command or of the whole tool."""

    command: Annotated[str, "the command line that it is about"]
    text: Annotated[str, "the help as it is printed"]


def _help(session: Session, flags: Flags) -> HelpText:
    context = click.get_current_context().find_root()
    for word in flags.arguments:
        command = context.command
        member = command.get_command(context, word) if isinstance(command, click.Group) else None
        if member is None:
            topic = " ".join(flags.arguments)
            raise NskError(f"unknown help topic `{topic}` - `{session.output.program} help` lists the commands")
        context = click.Context(member, parent=context, info_name=word)
    found = context.command.get_help(context)
    session.output.line(found)
    return HelpText(context.command_path, found)


HELP = Command(
    "help",
    "Help about any command",
    _help,
    arguments=(0, 8),
    introduction="Help provides help for any command in the application.\n"
    "Simply type nsk help [path to command] for full details.",
    usage="[command]",
    result=HelpText,
)
