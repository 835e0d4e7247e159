"""Records as lines of nats-server and as JSON objects."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time

import pytest

from broker.log.formats import TRACE, About, JsonFormatter, LineFormatter, MessageFormatter

MOMENT = 1_795_467_800.25
PID = os.getpid()
ABOUT = About(
    label='1.2.3.4:5 - cid:7 - "A/user:u"', cid=7, address="1.2.3.4:5", account="A", user="user:u", denial="12ab"
)


def record(text: str, *arguments: object, level: int = logging.INFO, about: About | None = None) -> logging.LogRecord:
    made = logging.LogRecord("natskeep.net", level, __file__, 1, text, arguments, None)
    made.created = MOMENT
    if about is not None:
        made.about = about
    return made


def broken() -> logging.LogRecord:
    made = record("failed")
    try:
        raise ValueError("first\nsecond \x1b[2J")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_line(new_york: object) -> None:
    assert LineFormatter().format(record("a %s", "b")) == f"[{PID}] 2026/11/23 16:03:20.250000 [INF] a b"
    assert LineFormatter(utc=True).format(record("a")) == f"[{PID}] 2026/11/23 21:03:20.250000 [INF] a"
    assert LineFormatter(with_time=False).format(record("a")) == f"[{PID}] [INF] a"


@pytest.mark.parametrize(
    ("level", "label", "colour"),
    [
        (TRACE, "TRC", "33"),
        (logging.DEBUG, "DBG", "36"),
        (logging.INFO, "INF", "32"),
        (logging.WARNING, "WRN", "0;93"),
        (logging.ERROR, "ERR", "31"),
        (logging.CRITICAL, "FTL", "31"),
    ],
)
def test_labels(level: int, label: str, colour: str) -> None:
    assert LineFormatter(with_time=False).format(record("a", level=level)) == f"[{PID}] [{label}] a"
    coloured = LineFormatter(with_time=False, colour=True).format(record("a", level=level))
    assert coloured == f"[{PID}] [\x1b[{colour}m{label}\x1b[0m] a"


def test_no_argument_forges_a_line() -> None:
    line = LineFormatter().format(record("%s", f"x\n[{PID}] 2026/11/23 21:03:20.250000 [INF] Server is ready\x1b[2J"))
    assert "\n" not in line
    assert line.endswith(r"Server is ready\x1b[2J")


def test_a_traceback_is_indented_and_escaped() -> None:
    first, *rest = LineFormatter().format(broken()).split("\n")
    assert first.endswith("[INF] failed")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_wrong_format_is_no_error() -> None:
    assert "%d" in MessageFormatter().format(record("%d", "no number"))


def test_json(new_york: object) -> None:
    line = JsonFormatter().format(record("%s - %s", ABOUT.label, "text", level=logging.ERROR, about=ABOUT))
    assert json.loads(line) == {
        "time": "2026-11-23T16:03:20.250000-05:00",
        "level": "error",
        "pid": PID,
        "component": "net",
        "message": "text",
        "cid": 7,
        "address": "1.2.3.4:5",
        "account": "A",
        "user": "user:u",
        "denial": "12ab",
    }
    assert list(json.loads(line))[:5] == ["time", "level", "pid", "component", "message"]


def test_json_of_what_is_about_nobody() -> None:
    fields = json.loads(JsonFormatter(utc=True).format(record("a\n\x1b\u2028")))
    assert set(fields) == {"time", "level", "pid", "component", "message"}
    assert fields["time"] == "2026-11-23T21:03:20.250000Z"
    assert fields["message"] == r"a\n\x1b\u2028"


def test_json_of_an_exception_is_one_line() -> None:
    line = JsonFormatter().format(broken())
    assert "\n" not in line
    assert re.search(r"ValueError: first$", json.loads(line)["exception"], re.MULTILINE)
