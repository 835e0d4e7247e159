"""The log in nats-server's format: `[pid] date time [LVL] text`, one line for each record."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.config.options import LoggingOptions

TRACE: Final = 5
"""The level of traced protocol lines, below debug."""

_LABELS: Final = {
    TRACE: "TRC",
    logging.DEBUG: "DBG",
    logging.INFO: "INF",
    logging.WARNING: "WRN",
    logging.ERROR: "ERR",
    logging.CRITICAL: "FTL",
}


class LineFormatter(logging.Formatter):
    """Formats one record as one line; line breaks inside it are escaped, so that no client can forge a line."""

    def __init__(self, *, with_time: bool = True, utc: bool = False) -> None:
        super().__init__()
        self.with_time = with_time
        self.utc = utc

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        stamp = ""
        if self.with_time:
            moment = time.gmtime(record.created) if self.utc else time.localtime(record.created)
            fraction = int(record.created % 1 * 1_000_000)
            stamp = f" {time.strftime('%Y/%m/%d %H:%M:%S', moment)}.{fraction:06d}"
        line = f"[{os.getpid()}]{stamp} [{_LABELS.get(record.levelno, 'INF')}] {text}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(options: LoggingOptions) -> None:
    """Sends the broker's log to the standard error stream or the file that the options name. Raises OSError."""
    handler: logging.Handler
    handler = logging.FileHandler(options.log_file) if options.log_file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(with_time=options.logtime, utc=options.logtime_utc))
    logger = logging.getLogger("natskeep")
    for earlier in list(logger.handlers):
        logger.removeHandler(earlier)
        earlier.close()
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(TRACE if options.trace else logging.DEBUG if options.debug else logging.INFO)
