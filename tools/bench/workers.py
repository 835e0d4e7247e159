"""Child processes of the generator: forked with what they need, bounded in time, ended with their parent."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

from tools.bench.errors import BenchError

Figures = dict[str, float]
"""What a worker hands back: named figures."""


class Worker:
    """One forked process that runs `function` and hands back its figures.

    Forking lets the child use sockets that the parent has opened, TLS state included.
    """

    def __init__(self, name: str, function: Callable[[], Figures]) -> None:
        context = multiprocessing.get_context("fork")
        self._name = name
        self._results, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(function, sender), name=name, daemon=True)
        self._process.start()
        sender.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def fileno(self) -> int:
        """A descriptor that becomes readable when the worker has ended."""
        return self._results.fileno()

    def has_ended(self) -> bool:
        """Whether `result` will not wait."""
        return self._results.poll()

    def result(self, timeout: float) -> Figures:
        """Wait for the figures.

        Raises:
            BenchError: the worker failed, died, or took longer than `timeout` seconds.
        """
        if not self._results.poll(timeout):
            raise BenchError(f"{self._name} gave no result within {timeout:g} s")
        try:
            outcome = self._results.recv()
        except EOFError:
            raise BenchError(f"{self._name} ended without a result") from None
        if isinstance(outcome, str):
            raise BenchError(f"{self._name}: {outcome}")
        figures: Figures = outcome
        return figures

    def stop(self) -> None:
        """End the process if it still runs; safe to call twice."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
        self._process.join(2)
        self._results.close()


def _run(function: Callable[[], Figures], sender: Connection) -> None:
    # The parent alone reacts to Ctrl-C; it ends its workers. SIGTERM must work as usual here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        sender.send(function())
    except (BenchError, OSError) as failure:
        sender.send(str(failure))
