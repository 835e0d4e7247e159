"""What reaches the ledger through its thread, and what is told of a disk that does not answer."""

from __future__ import annotations

import errno
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


def test_more_than_one_step_takes_is_written_in_its_order(tmp_path: Path) -> None:
    told = Recorder(Ledger(tmp_path, KEY), seal_seconds=3600.0)
    told.open()
    for number in range(3 * recorder.BATCH + 1):
        told.record("denied", {"number": number})
    told.close()
    found = [one["number"] for one in entries(tmp_path) if one["event"] == "denied"]
    assert found == list(range(3 * recorder.BATCH + 1))
    verdict = verify_ledger(tmp_path, KEY.public)
    assert verdict.intact, verdict.problem
    assert verdict.unsealed == 0


def test_a_disk_that_refuses_holds_up_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Full(Ledger):
        def append(self, events: Sequence[Event], *, lost: int = 0) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    told = Recorder(Full(tmp_path, KEY))
    told.open()
    for number in range(recorder.BATCH + 1):
        told.record("denied", {"number": number})
    told.close()
    assert f"lacks the last {recorder.BATCH + 1} events" in caplog.text
    assert verify_ledger(tmp_path, KEY.public).intact
