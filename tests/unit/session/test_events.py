"""The numbers of the compiled parser's events, the names that Python has for them, and their handlers are the same."""

from __future__ import annotations

import re
from pathlib import Path

import broker.core.parser
from broker.session.session import HANDLERS
from broker.wire.events import Event

_SOURCE = Path(broker.core.parser.__file__).with_name("parser.pyx")
_BLOCK = re.compile(r"^cdef enum Event:\n((?:    .*\n)+)", re.MULTILINE)
_LINE = re.compile(r"    ([A-Z_]+) = (\d+)")


def compiled_events() -> dict[str, int]:
    block = _BLOCK.search(_SOURCE.read_text())
    assert block is not None
    # The name of an outcome of the core is taken, so one event carries its kind in its name.
    return {name.removesuffix("_EVENT"): int(number) for name, number in _LINE.findall(block[1])}


def test_numbers_are_those_of_the_parser() -> None:
    assert {event.name: event.value for event in Event} == compiled_events()


def test_every_event_but_more_has_a_handler() -> None:
    assert set(HANDLERS) == set(Event) - {Event.MORE}
