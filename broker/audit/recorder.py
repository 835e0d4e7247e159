"""What the broker tells its ledger, from any thread and without waiting for the disk.

Events wait in memory until the ledger's thread has written them. While it cannot, they wait on, up to a number beyond
which they are counted; what becomes of the server meanwhile is a choice of its operator.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

from broker.audit.ledger import Event, Ledger, LedgerError
from broker.log.text import printable

LOGGER: Final = logging.getLogger("natskeep.audit")

WAITING: Final = 100_000
"""Events that wait for a disk at most; what comes then is counted."""

GATHER_SECONDS: Final = 0.05
"""How long the thread lets events come together before it writes them: to wake it costs more than to write a line."""

BATCH: Final = 200
"""Events that are written in one step; the loop does not run while their lines are made."""

RETRY_SECONDS: Final = 1.0
"""How long the thread waits before it tries a disk again that refused."""

PATIENCE_SECONDS: Final = 5.0
"""How long the disk may take for one step before it counts as one that does not answer."""

CLOSE_SECONDS: Final = 10.0
"""How long the end of a server waits for the disk."""


class Recorder:
    """The events of one server on their way to its ledger."""

    def __init__(self, ledger: Ledger, *, seal_seconds: float = 1.0, refuses: bool = False) -> None:
        """``refuses`` tells whether logins are turned away while the ledger cannot be written."""
        self._ledger = ledger
        self._seal_seconds = seal_seconds
        self.refuses = refuses
        self._problem = ""
        self._at_work_since: float | None = None
        """Monotonic time at which the thread began what it does on the disk; None while it does nothing there."""
        self.on_change: Callable[[str], None] = lambda problem: None
        """Called in the ledger's thread with the problem when it begins, and with nothing when it has passed."""
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._wake = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @property
    def directory(self) -> Path:
        """Where the ledger lies."""
        return self._ledger.directory

    @property
    def problem(self) -> str:
        """Why the ledger cannot be written, empty while it can."""
        since = self._at_work_since
        if not self._problem and since is not None and time.monotonic() - since > PATIENCE_SECONDS:
            return "the disk does not answer"
        return self._problem

    def open(self) -> None:
        """Opens the ledger and begins. Raises LedgerError and OSError."""
        self._ledger.open()
        self._thread.start()

    def record(self, name: str, members: dict[str, object]) -> None:
        """Takes an event. Safe in every thread; never waits for the disk."""
        event = Event(time.time(), name, members)
        with self._wake:
            if len(self._waiting) >= WAITING:
                self._lost += 1
                return
            self._waiting.append(event)
            if len(self._waiting) == 1:
                self._wake.notify()

    def close(self) -> None:
        """Writes what waits, seals, and ends."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            LOGGER.error("The audit ledger in %s was not closed: the disk did not answer", self.directory)

    # In the thread

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._wake:
                if not self._waiting and not self._ending:
                    self._wake.wait(None if not self._ledger.unsealed else max(due - time.monotonic(), 0.0))
                if not self._ledger.unsealed:
                    due = time.monotonic() + self._seal_seconds
                if 0 < len(self._waiting) < BATCH:
                    # Nobody but the end wakes it here: who records finds that others wait already.
                    gather = min(GATHER_SECONDS, max(due - time.monotonic(), 0.0))
                    self._wake.wait_for(lambda: self._ending, gather)
                events, lost, ending = list(islice(self._waiting, BATCH)), self._lost, self._ending
                is_all = len(events) == len(self._waiting)
            self._at_work_since = time.monotonic()
            try:
                if events or lost:
                    self._ledger.append(events, lost=lost)
                    self._written(len(events), lost)
                if self._ledger.unsealed and (time.monotonic() >= due or (ending and is_all)):
                    self._ledger.seal()
                self._at_work_since = None
                self._tell("")
            except (OSError, LedgerError) as error:
                self._at_work_since = None
                self._tell(_reason(error))
                if ending:
                    break
                with self._wake:
                    self._wake.wait_for(lambda: self._ending, RETRY_SECONDS)
                continue
            if ending and is_all:
                break
        self._finish()

    def _written(self, count: int, lost: int) -> None:
        with self._wake:
            for _ in range(count):
                self._waiting.popleft()
            self._lost -= lost

    def _finish(self) -> None:
        try:
            self._ledger.close()
        except OSError as error:
            reason = printable(_reason(error))
            LOGGER.error("The audit ledger in %s was not sealed at the end: %s", self.directory, reason)
        left = len(self._waiting) + self._lost
        if left:
            LOGGER.error("The audit ledger in %s lacks the last %d events", self.directory, left)

    def _tell(self, problem: str) -> None:
        if problem == self._problem:
            return
        began = not self._problem
        self._problem = problem
        if problem and began:
            LOGGER.error("The audit ledger in %s cannot be written: %s", self.directory, printable(problem))
        elif not problem:
            LOGGER.warning("The audit ledger in %s is written again", self.directory)
        self.on_change(problem)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
