"""Command-line flags as nats-server takes them: one table says what there is, one small parser reads it.

``-x`` and ``--x`` are the same, a value follows as the next word or behind ``=``, and a switch is turned off with
``=false``. Flags end at the first word that is none, or behind ``--``. The last one of equal flags counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})

Value = str | int | bool
ValueT = TypeVar("ValueT", str, int, bool)


class FlagError(ValueError):
    """A command line that cannot be understood; the text names the flag and the reason."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag with all its names."""

    key: str
    """What the rest of the program calls it."""
    names: tuple[str, ...]
    """Without dashes, as a person types them."""
    read: Callable[[str], Value]
    """Turns the text of a value into the value. Raises ValueError with the reason."""
    help: str
    placeholder: str = ""
    """What usage shows for the value; empty for a switch."""

    @property
    def is_switch(self) -> bool:
        """Whether the flag may stand without a value."""
        return self.read is switch_value


@dataclass(frozen=True, slots=True)
class Section:
    """Flags that usage shows below one heading."""

    title: str
    flags: tuple[Flag, ...]


class Flags:
    """What a command line said. Flags that it did not mention are absent, whatever their default means."""

    def __init__(self, values: Mapping[str, Value], words: Sequence[str], names: Mapping[str, str]) -> None:
        self._values = dict(values)
        self._names = dict(names)
        self.words = tuple(words)
        """What stood behind the flags."""

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def is_on(self, key: str) -> bool:
        """Whether a switch was given and not turned off."""
        return self._values.get(key) is True

    def asks_for(self, key: str) -> bool:
        """Whether a flag was given a value that is not empty, false or zero."""
        return bool(self._values.get(key))

    def name(self, key: str) -> str:
        """The name by which a flag was given, without dashes. Raises KeyError when it was not."""
        return self._names[key]

    def text(self, key: str, default: str = "") -> str:
        """The value of a flag that takes text."""
        return self._value(key, default)

    def number(self, key: str, default: int = 0) -> int:
        """The value of a flag that takes a number."""
        return self._value(key, default)

    def _value(self, key: str, default: ValueT) -> ValueT:
        value = self._values.get(key, default)
        assert isinstance(value, type(default))
        return value


def parse(sections: Sequence[Section], words: Sequence[str]) -> Flags:
    """Reads a command line. Raises FlagError."""
    known = {name: flag for section in sections for flag in section.flags for name in flag.names}
    values: dict[str, Value] = {}
    names: dict[str, str] = {}
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, assigned, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        flag = known.get(name)
        if flag is None:
            raise FlagError(f"flag provided but not defined: -{name}")
        if not assigned:
            if not flag.is_switch and not left:
                raise FlagError(f"flag needs an argument: -{name}")
            text = "true" if flag.is_switch else left.pop(0)
        try:
            values[flag.key] = flag.read(text)
            names[flag.key] = name
        except ValueError as error:
            raise FlagError(f'invalid value "{text}" for flag -{name}: {error}') from None
    return Flags(values, left, names)


def usage(sections: Sequence[Section]) -> str:
    """The table of flags, for people."""
    lines = []
    for section in sections:
        lines.append(f"{section.title}:")
        for flag in section.flags:
            names = ", ".join(f"-{name}" if len(name) <= 2 or name.isupper() else f"--{name}" for name in flag.names)
            left = f"{names} {flag.placeholder}".rstrip()
            lines.append(f"    {left:<36} {flag.help}")
        lines.append("")
    return "\n".join(lines)


def text_value(text: str) -> str:
    """Any text."""
    return text


def switch_value(text: str) -> bool:
    """On or off. Raises ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("it is a switch; say true or false")


def number_value(text: str) -> int:
    """A whole number, 0 or more. Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("it is no whole number")
    return int(text)


def port_value(text: str) -> int:
    """A TCP port; -1 asks for a free one and 0 for the default. Raises ValueError."""
    try:
        port = int(text, 0) if text == text.strip() else None
    except ValueError:
        port = None
    if port is None or not -1 <= port <= 65535:
        raise ValueError("it is no port; give 1 to 65535, or -1 for a free one")
    return port
