"""The log: where it goes, and in which form.

Each part of the program writes to a logger below `natskeep`, and traced protocol lines go to `natskeep.trace`. Who
embeds the broker handles these loggers as any other; the command calls `configure`.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final

from broker.log.destination import LogError, StandardError
from broker.log.file import LogFile
from broker.log.formats import ROOT, TRACE, About, JsonFormatter, LineFormatter, MessageFormatter

if TYPE_CHECKING:
    from broker.config.options import LoggingOptions

__all__ = ["TRACE", "TRACES", "About", "LogError", "configure", "reopen"]

TRACES: Final = f"{ROOT}.trace"
"""The logger of traced protocol lines; trace and debug are turned on apart from each other."""

_SILENT: Final = logging.CRITICAL + 1
_LIBRARIES: Final = ("asyncio", "aiohttp")
"""Loggers of libraries, whose warnings belong in the same log."""


def configure(options: LoggingOptions, program: str = "nats-server") -> None:
    """Sends the log where the options say: to a file, else to a remote or the local syslog, else to stderr.

    `program` is the name that syslog gets to know. What was configured before holds until all is ready, so it stays
    when this raises LogError. A destination that stays the same is not closed.
    """
    root, traces = logging.getLogger(ROOT), logging.getLogger(TRACES)
    wanted = (program, replace(options, debug=False, trace=False))
    if _Installed.wanted != wanted or _Installed.handler not in root.handlers:
        handler = _handler(options, program)
        _install(handler)
        _Installed.wanted, _Installed.handler = wanted, handler
    root.setLevel(logging.DEBUG if options.debug else logging.INFO)
    root.propagate = False
    traces.setLevel(TRACE if options.trace else _SILENT)


class _Installed:
    """What `configure` has set up last."""

    wanted: ClassVar[tuple[str, LoggingOptions] | None] = None
    handler: ClassVar[logging.Handler | None] = None


def _install(handler: logging.Handler) -> None:
    """Puts the one destination in the place of what there was."""
    root = logging.getLogger(ROOT)
    earlier = list(root.handlers)
    for logger in (root, *map(logging.getLogger, _LIBRARIES)):
        for old in earlier:
            logger.removeHandler(old)
        logger.addHandler(handler)
    for old in earlier:
        old.close()


def reopen() -> bool:
    """Opens the log file anew, as after it was moved away; False when the log goes to no file. Raises LogError."""
    files = [handler for handler in logging.getLogger(ROOT).handlers if isinstance(handler, LogFile)]
    for file in files:
        file.reopen()
    return bool(files)


def _handler(options: LoggingOptions, program: str) -> logging.Handler:
    handler: logging.Handler
    to_syslog = not options.log_file and (options.syslog or options.remote_syslog)
    if options.log_file:
        handler = LogFile(options.log_file, limit=options.log_size_limit, kept=options.log_max_num)
    elif to_syslog:
        handler = import_module("broker.log.syslog").Syslog(options.remote_syslog, program)
    else:
        handler = StandardError()
    handler.setFormatter(_formatter(options, to_syslog=bool(to_syslog)))
    return handler


def _formatter(options: LoggingOptions, *, to_syslog: bool) -> logging.Formatter:
    if options.log_format == "json":
        return JsonFormatter(utc=options.logtime_utc)
    if to_syslog:
        return MessageFormatter()
    colour = not options.log_file and sys.stderr.isatty()
    return LineFormatter(with_time=options.logtime, utc=options.logtime_utc, colour=colour)
