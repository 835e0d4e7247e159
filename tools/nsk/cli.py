"""The command line: groups and commands on click, with the flags, help and errors that nsc users know.

Flags that a group or the whole tool shares may stand before or behind the command. What a command needs is
imported when it is called, so that the tool starts fast.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from tools.nsk.errors import NskError
from tools.nsk.flags import Flag, Flags, boolean, expand, text

if TYPE_CHECKING:
    from pathlib import Path

    from tools.nsk.session import Session

SHARED_FLAGS = (
    text("all-dirs", "H", "sets --config-dir, --data-dir, and --keystore-dir to the same value"),
    text("config-dir", "", "nsc config directory"),
    text("data-dir", "", "nsc data store directory"),
    text("keystore-dir", "", "nsc keystore directory"),
    text(
        "private-key",
        "K",
        "Key used to sign. Can be specified as role (where applicable),\n"
        "public key (private portion is retrieved)\n"
        "or file path to a private key or private key ",
    ),
    boolean("interactive", "i", "ask questions for various settings"),
    boolean("nsc-compatible-output", "", "print to the streams that nsc prints to, and in its name", beyond=True),
)
_JSON = boolean("json", "", "print one JSON document that tells what was done", beyond=True)
HELP = boolean("help", "h")
_NAME_WIDTH = 11
_OWN_NAME = re.compile(r"(?<![\w/.-])nsk\b")


@dataclass(slots=True)
class Invocation:
    """The flags given to groups, on the way down to a command."""

    given: dict[str, Any] = field(default_factory=dict)

    def note(self, params: Mapping[str, Any]) -> None:
        """Keep what was given; the place nearest to the command wins."""
        self.given.update({name: value for name, value in params.items() if value not in (None, ())})


Run = Callable[["Session", Flags], object]
Homes = Callable[["Session", Flags], "tuple[Path, ...]"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A result that ends the command with another exit code than 0, such as 1 for "no"."""

    result: object
    exit_code: int


class Command(click.Command):
    """One command. ``arguments`` is the least and the highest number of arguments besides flags.

    A command that ``changes`` the store does it in one transaction; ``homes`` tells which directories that is about,
    where it is not the store and the keystore. ``error_code`` is the exit code of its errors.
    ``result`` is the type of what the command returns, which ``--json`` prints; a command with a flag ``json`` of its
    own prints that type by itself, without the document around it. ``own_examples`` show what nsc has not, and
    ``nsc_examples`` stand in for both where the help is to be nsc's. The help begins with the ``introduction``, or
    else the description; ``usage`` stands behind the command's name; ``one_table`` shows all flags as the command's.
    """

    def __init__(
        self,
        name: str,
        description: str,
        run: Run,
        flags: Sequence[Flag] = (),
        *,
        arguments: tuple[int, int] = (0, 0),
        examples: str = "",
        aliases: tuple[str, ...] = (),
        group_flags: Sequence[Flag] = (),
        usage_on_error: bool = False,
        changes: bool = False,
        homes: Homes | None = None,
        error_code: int = 1,
        result: Any = None,
        own_examples: str = "",
        nsc_examples: str = "",
        introduction: str = "",
        asks_without_flags: bool = False,
        usage: str = "",
        one_table: bool = False,
    ) -> None:
        own_json = any(flag.long == _JSON.long for flag in (*flags, *group_flags))
        self._own, self._shared = tuple(flags), (*group_flags, *SHARED_FLAGS, *(() if own_json else (_JSON,)))
        super().__init__(name, params=[*self._own, HELP, *self._shared], add_help_option=False)
        self.description = description
        self._run = run
        self._arguments = arguments
        self._examples = examples
        self._own_examples = f"\n{own_examples}" if examples and own_examples else own_examples
        self._nsc_examples = nsc_examples or examples
        self.introduction = introduction
        self.asks_without_flags = asks_without_flags
        self._usage = f"{usage} " if usage else ""
        self._one_table = one_table
        self._aliases = aliases
        self._usage_on_error = usage_on_error
        self._changes = changes
        self._homes = homes
        self.error_code = error_code
        self.result = result
        self.own_json = own_json

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _usage_added(self, ctx, always=self._usage_on_error):
            expanded, rest = expand(args, (*self._own, HELP, *self._shared))
            super().parse_args(ctx, expanded)
        if ctx.params["help"]:
            click.echo(self.get_help(ctx))
            ctx.exit()
        ctx.args = rest
        return rest

    def _invoke(self, ctx: click.Context) -> int:
        given = ctx.ensure_object(Invocation)
        given.note(ctx.params)
        structured = not self.own_json and bool(given.given.get("json"))
        session: Session = import_module("tools.nsk.session").start(given.given, structured=structured)
        if self.asks(given.given, ctx.args):
            questions: Any = import_module("tools.nsk.questions")
            ctx.args = questions.ask(words_of(ctx), session, (*self._own, *self._shared), given.given, ctx.args)
        least, most = self._arguments
        if least == most > 0 and len(ctx.args) != most:
            raise NskError(f"accepts {most} arg(s), received {len(ctx.args)}")
        if len(ctx.args) < least:
            raise NskError(f"requires at least {least} arg(s), only received {len(ctx.args)}", show_usage=True)
        if len(ctx.args) > most:
            raise NskError(f"accepts at most {most} arg(s), received {len(ctx.args)}")
        done = self._carried_out(session, Flags((*self._own, *self._shared), given.given, ctx.args))
        if structured:
            document: Any = import_module("tools.nsk.document")
            result = done.result if isinstance(done, Answer) else done
            code = done.exit_code if isinstance(done, Answer) else 0
            click.echo(document.succeeded(session.output.reported, result, ok=not code))
        return done.exit_code if isinstance(done, Answer) else 0

    def _carried_out(self, session: Session, flags: Flags) -> object:
        """What the command returns. What it changes is on the disk before anybody is told of it."""
        output = session.output
        if not self._changes:
            with _reported(session):
                return self._run(session, flags)
        output.hold()
        try:
            with _reported(session):
                homes = self._homes(session, flags) if self._homes else ()
            with session.transaction(*homes), _reported(session):
                done = self._run(session, flags)
        except BaseException:
            output.drop()
            raise
        output.release()
        return done

    def asks(self, given: Mapping[str, Any], arguments: Sequence[str]) -> bool:
        """Whether the person is asked for the flags."""
        first_contact = self.asks_without_flags and not arguments and not any(flag.name in given for flag in self._own)
        return bool(given.get("interactive")) or first_contact

    def invoke(self, ctx: click.Context) -> int:
        with _usage_added(self, ctx, always=self._usage_on_error):
            return self._invoke(ctx)

    def get_help(self, ctx: click.Context) -> str:
        return f"{_named(ctx, self.introduction or self.description)}\n\n{self.usage_text(ctx).rstrip()}"

    def usage_text(self, ctx: click.Context) -> str:
        """Everything below the description."""
        parts = [f"Usage:\n  {ctx.command_path} {self._usage}[flags]\n"]
        if self._aliases:
            parts.append(f"Aliases:\n  {', '.join((self.name or '', *self._aliases))}\n")
        examples = self._nsc_examples if _is_nsc(ctx) else self._examples + self._own_examples
        if examples:
            parts.append(f"Examples:\n{_named(ctx, examples)}\n")
        parts += _flag_tables(ctx, (*self._own, HELP), self._shared, together=self._one_table)
        return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Member:
    """A command of a group that is not imported yet: ``source`` is ``module:name`` below ``tools.nsk.commands``.

    A hidden one works and stands in no help; one ``beyond`` nsc does not stand in the help that is to be nsc's.
    """

    description: str
    source: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False
    beyond: bool = False


class Group(click.Group):
    """Commands, and groups of them, under one verb.

    ``sections`` orders what the help shows by what it is for, except in the help that is to be nsc's.
    """

    def __init__(
        self,
        name: str,
        description: str,
        members: Mapping[str, Member | Group],
        flags: Sequence[Flag] = (),
        *,
        aliases: tuple[str, ...] = (),
        hidden: bool = False,
        beyond: bool = False,
        introduction: str = "",
        sections: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._own = (*flags, HELP)
        super().__init__(
            name,
            params=[*self._own, *SHARED_FLAGS],
            add_help_option=False,
            invoke_without_command=True,
            callback=self._arrive,
        )
        self.description = description
        self.aliases = aliases
        self.hidden = hidden
        self.beyond = beyond
        self.introduction = introduction
        self._members = dict(members)
        self._sections = dict(sections or {})

    @staticmethod
    def _is_shown(ctx: click.Context, member: Member | Group) -> bool:
        return not member.hidden and not (member.beyond and _is_nsc(ctx))

    def shown(self, ctx: click.Context) -> list[str]:
        """The names of the commands that stand in the help."""
        return [name for name in sorted(self._members) if self._is_shown(ctx, self._members[name])]

    def offered(self, beginning: str) -> Iterator[tuple[str, str]]:
        """The commands that begin so and stand in the help, each with its description."""
        for name, member in sorted(self._members.items()):
            if name.startswith(beginning) and not member.hidden:
                yield name, _first_line(member)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, member in self._members.items():
            if cmd_name == name or cmd_name in member.aliases:
                if isinstance(member, Group):
                    return member
                module, _, attribute = member.source.partition(":")
                command: Command = getattr(import_module(f"tools.nsk.commands.{module}"), attribute)
                return command
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _usage_added(self, ctx, always=True):
            expanded, rest = expand(args, (*self._own, *SHARED_FLAGS), leading=True)
            return super().parse_args(ctx, [*expanded, *rest])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None or ctx.params["help"]:
            self.unknown_command(ctx, args[0])
        return args[0], command, args[1:]

    def unknown_command(self, ctx: click.Context, name: str) -> None:
        """Show what there is instead."""
        click.echo(self.get_help(ctx))
        ctx.exit()

    def _arrive(self, **params: Any) -> None:
        context = click.get_current_context()
        context.ensure_object(Invocation).note(params)
        if context.invoked_subcommand is None:
            click.echo(self.get_help(context))

    def get_help(self, ctx: click.Context) -> str:
        return f"{_named(ctx, self.introduction or self.description)}\n\n{self.usage_text(ctx).rstrip()}"

    @staticmethod
    def _told(ctx: click.Context, member: Member | Group) -> str:
        """A member's description; nsc shows all lines of one."""
        return member.description if _is_nsc(ctx) else _first_line(member)

    def _usage_lines(self, ctx: click.Context) -> str:
        return f"  {ctx.command_path} [command]"

    def usage_text(self, ctx: click.Context) -> str:
        """Everything below the description."""
        shown = self.shown(ctx)
        width = max(_NAME_WIDTH, *map(len, shown))
        sections = {"Available Commands": tuple(shown)} if _is_nsc(ctx) or not self._sections else self._sections
        parts = [f"Usage:\n{self._usage_lines(ctx)}\n"]
        if self.aliases:
            parts.append(f"Aliases:\n  {', '.join((self.name or '', *self.aliases))}\n")
        for title, names in sections.items():
            lines = (f"  {name:{width}} {self._told(ctx, self._members[name])}\n" for name in names)
            parts.append(f"{title}:\n{''.join(lines)}")
        parts += _flag_tables(ctx, self._own, SHARED_FLAGS, together=ctx.parent is None)
        parts.append(f'Use "{ctx.command_path} [command] --help" for more information about a command.\n')
        return "\n".join(parts)


def _first_line(member: Member | Group) -> str:
    return member.description.partition("\n")[0].rstrip(".")


def _is_nsc(ctx: click.Context) -> bool:
    return ctx.find_root().info_name == "nsc"


@contextmanager
def _reported(session: Session) -> Iterator[None]:
    """Let errors of a command carry its report, and stand below what it has told until then."""
    try:
        yield
    except NskError as error:
        error.report = session.output.reported
        session.output.release()
        raise


@contextmanager
def _usage_added(command: Command | Group, ctx: click.Context, *, always: bool = False) -> Iterator[None]:
    """Let errors that ask for it, or all, carry the command's usage text."""
    try:
        yield
    except NskError as error:
        if always if error.show_usage is None else error.show_usage:
            error.usage = command.usage_text(ctx)
        if isinstance(command, Command):
            error.exit_code = command.error_code
        if not error.remedy and not error.usage:
            known = import_module("tools.nsk.remedies").remedy_for(error.text)
            error.remedy = known or f"{ctx.command_path} --help shows what it takes"
        raise


def _named(ctx: click.Context, text: str) -> str:
    """A text in the name of the tool that is run."""
    return _OWN_NAME.sub("nsc", text) if _is_nsc(ctx) else text


def words_of(ctx: click.Context) -> str:
    """The command line up to the command, without the tool's name and with every alias replaced: ``add user``."""
    names = []
    while ctx.parent is not None:
        names.append(ctx.command.name or "")
        ctx = ctx.parent
    return " ".join(reversed(names))


def _flag_tables(ctx: click.Context, own: Sequence[Flag], shared: Sequence[Flag], *, together: bool) -> list[str]:
    if together:
        return [_flag_table(ctx, "Flags", (*own, *shared))]
    return [_flag_table(ctx, "Flags", own), _flag_table(ctx, "Global Flags", shared)]


def _flag_table(ctx: click.Context, title: str, flags: Sequence[Flag]) -> str:
    shown = (flag for flag in flags if not flag.hidden and not (flag.beyond and _is_nsc(ctx)))
    rows = [_usage_of(ctx, flag) for flag in sorted(shown, key=lambda flag: flag.long)]
    width = max(len(left) for left, _ in rows) + 3
    lines = (f"  {left:{width}}" + right.replace("\n", "\n" + " " * (width + 2)) for left, right in rows)
    return f"{title}:\n" + "\n".join(lines).rstrip() + "\n"


def _usage_of(ctx: click.Context, flag: Flag) -> tuple[str, str]:
    left, right = flag.usage()
    return left, f"help for {ctx.info_name}" if flag is HELP else _named(ctx, right)
