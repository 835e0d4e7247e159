"""``help``: the help of any command, as its ``--help`` prints it."""

from __future__ import annotations

import click

from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags
from tools.nsk.session import Session


def _help(session: Session, flags: Flags) -> None:
    context = click.get_current_context().find_root()
    for word in flags.arguments:
        command = context.command
        member = command.get_command(context, word) if isinstance(command, click.Group) else None
        if member is None:
            topic = " ".join(flags.arguments)
            raise NskError(f"unknown help topic `{topic}` - `{session.output.program} help` lists the commands")
        context = click.Context(member, parent=context, info_name=word)
    session.output.line(context.command.get_help(context))


HELP = Command(
    "help",
    "Help about any command",
    _help,
    arguments=(0, 8),
    introduction="Help provides help for any command in the application.\n"
    "Simply type nsk help [path to command] for full details.",
    usage="[command]",
)
