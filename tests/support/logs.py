"""The loggers of the process, for tests that configure them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from broker.log import TRACES

NAMES = ("natskeep", TRACES, "asyncio", "aiohttp")


@contextmanager
def logs_as_before() -> Iterator[None]:
    """Gives the loggers back what they had before the block."""
    loggers = [logging.getLogger(name) for name in NAMES]
    kept = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate in kept:
            for added in [handler for handler in logger.handlers if handler not in handlers]:
                logger.removeHandler(added)
                added.close()
            logger.setLevel(level)
            logger.propagate = propagate
