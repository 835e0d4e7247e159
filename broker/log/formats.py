"""What one record looks like: nats-server's line, a JSON object, or the bare message for syslog."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from broker.log.text import printable, without_secrets

TRACE: Final = 5
"""The level of traced protocol lines, below debug."""

ROOT: Final = "natskeep"
"""The logger above all loggers of the program; what follows it in their names is the component."""

_LABELS: Final = {
    TRACE: ("TRC", "33", "trace"),
    logging.DEBUG: ("DBG", "36", "debug"),
    logging.INFO: ("INF", "32", "info"),
    logging.WARNING: ("WRN", "0;93", "warning"),
    logging.ERROR: ("ERR", "31", "error"),
    logging.CRITICAL: ("FTL", "31", "fatal"),
}
"""By level: nats-server's label, its colour on a terminal, and the name in JSON."""


@dataclass(frozen=True, slots=True)
class About:
    """Whom a record is about; what is not known is empty. A record carries it as its attribute `about`."""

    label: str
    """How the message begins because of it; JSON leaves that out and names the parts."""
    cid: int
    address: str
    account: str = ""
    user: str = ""
    denial: str = ""
    """The id under which a refusal is found again."""


class MessageFormatter(logging.Formatter):
    """The message alone, as syslog wants it, on one line unless there is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return _message(record) + "".join(f"\n    {line}" for line in self._traceback(record))

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        """Indented by whoever shows it, since no line of a log begins with a blank."""
        if not record.exc_info:
            return []
        return [without_secrets(printable(line)) for line in self.formatException(record.exc_info).splitlines()]


class LineFormatter(MessageFormatter):
    """`[pid] date time [LVL] text`, as nats-server writes it."""

    def __init__(self, *, with_time: bool = True, utc: bool = False, colour: bool = False) -> None:
        super().__init__()
        self.with_time = with_time
        self.utc = utc
        self._labels = {
            level: f"\x1b[{number}m{name}\x1b[0m" if colour else name for level, (name, number, _) in _LABELS.items()
        }
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        stamp = f" {self._stamp(record.created)}" if self.with_time else ""
        label = self._labels.get(record.levelno, self._labels[logging.INFO])
        return f"[{os.getpid()}]{stamp} [{label}] {super().format(record)}"

    def _stamp(self, moment: float) -> str:
        second = int(moment)
        if self._second[0] != second:
            parts = time.gmtime(second) if self.utc else time.localtime(second)
            self._second = (second, time.strftime("%Y/%m/%d %H:%M:%S", parts))
        return f"{self._second[1]}.{int((moment - second) * 1_000_000):06d}"


class JsonFormatter(MessageFormatter):
    """One JSON object a line: `time`, `level`, `pid`, `component`, `message`; where known `cid`, `address`, `account`,
    `user`, `denial`; and `exception` with a traceback."""

    def __init__(self, *, utc: bool = False) -> None:
        super().__init__()
        self.utc = utc

    def format(self, record: logging.LogRecord) -> str:
        message = _message(record)
        known: dict[str, str | int] = {}
        about = getattr(record, "about", None)
        if isinstance(about, About):
            message = message.removeprefix(f"{printable(about.label)} - ")
            known["cid"] = about.cid
            for name in ("address", "account", "user", "denial"):
                value = getattr(about, name)
                if value:
                    known[name] = without_secrets(printable(value))
        traceback = self._traceback(record)
        if traceback:
            known["exception"] = "\n".join(traceback)
        fields = {
            "time": self._time(record.created),
            "level": _LABELS.get(record.levelno, _LABELS[logging.INFO])[2],
            "pid": os.getpid(),
            "component": component(record.name),
            "message": message,
            **known,
        }
        return msgspec.json.encode(fields).decode()

    def _time(self, moment: float) -> str:
        """RFC 3339, with microseconds."""
        second = int(moment)
        parts = time.gmtime(second) if self.utc else time.localtime(second)
        fraction = int((moment - second) * 1_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}.{fraction:06d}{offset(parts)}"


def offset(parts: time.struct_time) -> str:
    """How far a time is from UTC, as RFC 3339 writes it."""
    if not parts.tm_gmtoff:
        return "Z"
    minutes = abs(parts.tm_gmtoff) // 60
    return f"{'-' if parts.tm_gmtoff < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def component(logger: str) -> str:
    """The part of the program that a logger belongs to."""
    return logger.removeprefix(f"{ROOT}.")


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        # A wrong format, of a library perhaps, must not raise where something was to be logged.
        text = f"{record.msg} {record.args}"
    return without_secrets(printable(text))
