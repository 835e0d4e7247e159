"""What is told of a disk that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from auth.nkey import KeyKind, KeyPair
from broker.audit import recorder
from broker.audit.ledger import Event, Ledger
from broker.audit.recorder import Recorder
from broker.audit.verify import entries, verify_ledger

KEY = KeyPair.generate(KeyKind.SERVER)


class Hanging(Ledger):
    """A ledger on a disk that answers when it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, KEY)
        self.reached, self.answers = threading.Event(), threading.Event()

    def append(self, events: Sequence[Event], *, lost: int = 0) -> None:
        self.reached.set()
        self.answers.wait()
        super().append(events, lost=lost)


def test_a_disk_that_does_not_answer_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Hanging(tmp_path)
    told = Recorder(ledger, seal_seconds=0.0, refuses=True)
    told.open()
    try:
        told.record("started", {})
        assert ledger.reached.wait(10)
        assert not told.problem
        monkeypatch.setattr(recorder, "PATIENCE_SECONDS", 0.0)
        assert told.problem == "the disk does not answer"
    finally:
        ledger.answers.set()
        told.close()
    assert not told.problem
    assert verify_ledger(tmp_path, KEY.public).intact
    assert "started" in [one["event"] for one in entries(tmp_path)]
