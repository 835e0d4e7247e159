"""Flags as account tools take them: ``--flag=false``, lists with commas, sizes with units, flags with an implied value.

Built on click's options; ``expand`` brings the forms that click does not know into those it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from tools.nsk import values
from tools.nsk.errors import NskError


class Value(click.ParamType[Any]):
    """A kind of value: its name in help texts and the function that reads it, which raises ValueError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or not isinstance(param, Flag):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            raise NskError(f'invalid argument "{value}" for "{param.spelling}" flag: {error}') from None


def _parse_count(text: str) -> int:
    try:
        return values.parse_integer(text)
    except ValueError:
        raise ValueError("must be an integer") from None


def _unsigned(bits: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
        if int(text) >= 1 << bits:
            raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
        return int(text)

    return parse


TEXT = Value("string", str)
BOOLEAN = Value("", values.parse_boolean)
STRINGS = Value("strings", values.split_list)
NUMBER = Value("number", values.parse_size)
INTEGER = Value("int", values.parse_integer)
COUNT = Value("int", _parse_count)
UNSIGNED = Value("uint", _unsigned(64))
BYTE = Value("uint8", _unsigned(8))
DURATION = Value("duration", values.parse_duration)
MOMENT = Value("date-time", values.parse_moment)
TIME_RANGES = Value("time-ranges", values.parse_time_range)


class Flag(click.Option):
    """One flag. ``implied`` is its value when it is written without one; it then takes a value only after ``=``.

    One that is ``beyond`` nsc does not stand in the help that is to be nsc's.
    """

    def __init__(
        self,
        name: str,
        short: str = "",
        description: str = "",
        *,
        kind: Value = TEXT,
        default: Any = None,
        implied: str | None = None,
        multiple: bool = False,
        hidden: bool = False,
        beyond: bool = False,
    ) -> None:
        declarations = [f"--{name}", *([f"-{short}"] if short else []), name.replace("-", "_")]
        super().__init__(declarations, type=kind, help=description, multiple=multiple, hidden=hidden, expose_value=True)
        self.long = f"--{name}"
        self.short = f"-{short}" if short else ""
        self.value_when_absent = default
        self.implied = implied
        self.beyond = beyond

    @property
    def spelling(self) -> str:
        """Both forms of the flag, as error texts show it."""
        return f"{self.short}, {self.long}" if self.short else self.long

    def usage(self) -> tuple[str, str]:
        """The two columns of the help text."""
        kind = self.type.name
        if self.implied is not None:
            kind = "[=true|false]" if self.type is BOOLEAN else f" {kind}[={self.implied}]"
        else:
            kind = f" {kind}"
        default = self.value_when_absent
        if self.type is MOMENT:
            default = values.format_rfc3339(default or 0)
        elif self.type is TEXT and default:
            default = f'"{default}"'
        elif self.type is TIME_RANGES:
            default = "[]"
        elif self.type is BOOLEAN:
            default = str(default).lower() if default else ""
        note = f" (default {default})" if default not in (None, "", 0, False, ()) else ""
        return f"{self.short or '  '}{',' if self.short else ' '} {self.long}{kind}", (self.help or "") + note


def text(name: str, short: str = "", description: str = "", **more: Any) -> Flag:
    """A flag with a text."""
    return Flag(name, short, description, **more)


def boolean(name: str, short: str = "", description: str = "", **more: Any) -> Flag:
    """A switch: ``--flag``, ``--flag=false``."""
    return Flag(name, short, description, kind=BOOLEAN, implied="true", **{"default": False, **more})


def strings(name: str, short: str = "", description: str = "", *, told: bool = True, **more: Any) -> Flag:
    """A list: given several times, or with commas, as the description goes on to say unless not ``told`` to."""
    note = " - comma separated list or option can be specified multiple times" if told else ""
    return Flag(name, short, f"{description}{note}", kind=STRINGS, multiple=True, **more)


def number(name: str, description: str, default: int = -1, **more: Any) -> Flag:
    """A number, with a unit where one likes."""
    return Flag(name, "", description, kind=NUMBER, default=default, **more)


class Flags:
    """The values of one invocation: what was given, and what stands for the rest."""

    def __init__(self, flags: Iterable[Flag], given: Mapping[str, Any], arguments: Sequence[str] = ()) -> None:
        """``given`` maps the names of click's parameters to what was read for them."""
        self.arguments = tuple(arguments)
        self._values: dict[str, Any] = {}
        self._given: set[str] = set()
        for flag in flags:
            name = flag.long.removeprefix("--")
            value = given.get(flag.name or "")
            if value is None or value == ():
                self._values[name] = flag.value_when_absent
                continue
            self._given.add(name)
            self._values[name] = [item for items in value for item in items] if flag.type is STRINGS else value

    def given(self, *names: str) -> bool:
        """Whether any of the flags was given, or any flag at all when none is named."""
        return not self._given.isdisjoint(names) if names else bool(self._given)

    def text(self, name: str) -> str:
        """The text of a flag, else its default or nothing."""
        return str(self._values[name] or "")

    def boolean(self, name: str) -> bool:
        """The state of a switch."""
        return bool(self._values[name])

    def strings(self, name: str) -> list[str]:
        """The entries of a list, without blanks around them."""
        return [entry.strip() for entry in self.raw_strings(name)]

    def raw_strings(self, name: str) -> list[str]:
        """The entries of a list as they were typed."""
        return list(self._values[name] or ())

    def number(self, name: str) -> int:
        """A number, else its default."""
        return int(self._values[name] or 0)

    def time_ranges(self, name: str) -> list[tuple[str, str]]:
        """Starts and ends."""
        return list(self._values[name] or ())

    def name(self, flag: str = "name") -> str:
        """The name of what the command is about: the flag, or else the first argument, without blanks around it."""
        given = self.text(flag) if self.given(flag) else self.arguments[0] if self.arguments else ""
        return given.strip()


def expand(arguments: Sequence[str], flags: Iterable[Flag], *, leading: bool = False) -> tuple[list[str], list[str]]:
    """Split a command line into flags, each as ``--flag=value``, and the remaining arguments.

    With ``leading``, only the flags before the first argument are looked at. Raises NskError for a flag that the
    command does not have or that lacks its value.
    """
    long = {flag.long: flag for flag in flags}
    short = {flag.short[1]: flag for flag in long.values() if flag.short}
    expanded: list[str] = []
    rest: list[str] = []
    queue = list(arguments)

    def take(flag: Flag, value: str | None, shown: str) -> None:
        if value is None and flag.implied is not None:
            value = flag.implied
        if value is None:
            if not queue:
                raise NskError(f"flag needs an argument: {shown}")
            value = queue.pop(0)
        expanded.append(f"{flag.long}={value}")

    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += queue
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name not in long:
                raise NskError(f"unknown flag: {name}")
            take(long[name], value if equals else None, name)
        elif word.startswith("-") and word != "-":
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter not in short:
                    raise NskError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
                flag = short[letter]
                if letters.startswith("="):
                    take(flag, letters[1:], "")
                    break
                if letters and flag.implied is None:
                    take(flag, letters, "")
                    break
                take(flag, None, f"'{letter}' in -{letter}")
        else:
            rest.append(word)
            if leading:
                rest += queue
                break
    return expanded, rest
