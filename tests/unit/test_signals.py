"""``-sl`` finds the process that is meant, and refuses what might hit another one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from broker import signals
from broker.signals import SignalError, send


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        if pid == 999999:
            raise ProcessLookupError(3, "No such process")
        found.append((pid, number))

    monkeypatch.setattr(os, "kill", kill)
    return found


def running(monkeypatch: pytest.MonkeyPatch, *pids: int) -> None:
    listing = "".join(f"{pid}\n" for pid in (*pids, os.getpid()))

    def pgrep(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 0, listing, "")

    monkeypatch.setattr(signals.subprocess, "run", pgrep)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("ldm", signal.SIGUSR2),
        ("stop", signal.SIGKILL),
        ("quit", signal.SIGINT),
        ("term", signal.SIGTERM),
        ("reopen", signal.SIGUSR1),
        ("reload", signal.SIGHUP),
    ],
)
def test_each_command_is_a_signal(command: str, number: int, sent: list[tuple[int, int]]) -> None:
    send("nats-server", f"{command}=123")
    assert sent == [(123, number)]


@pytest.mark.parametrize("text", ["4711", "4711\n"])
def test_a_pid_file(text: str, tmp_path: Path, sent: list[tuple[int, int]]) -> None:
    (tmp_path / "pid").write_text(text)
    send("nats-server", f"reload={tmp_path / 'pid'}")
    assert sent == [(4711, signal.SIGHUP)]


@pytest.mark.parametrize("request_text", ["term", "term=", "term=1*"])
def test_the_only_process(request_text: str, monkeypatch: pytest.MonkeyPatch, sent: list[tuple[int, int]]) -> None:
    running(monkeypatch, 17)
    send("nats-server", request_text)
    assert sent == [(17, signal.SIGTERM)]


def test_a_pattern_means_all_that_match(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[int, int]]) -> None:
    running(monkeypatch, 17, 18, 27)
    send("nats-server", "term=1*")
    assert sent == [(17, signal.SIGTERM), (18, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("request_text", "pids", "message"),
    [
        ("zzz=1", (), 'unknown signal "zzz"; it is one of ldm, stop, quit, term, reopen, reload'),
        ("=5", (), 'unknown signal ""; it is one of ldm, stop, quit, term, reopen, reload'),
        ("stop=1=2", (), "invalid signal parameters: [2]"),
        ("stop=abc", (), "invalid pid: abc"),
        ("stop=0", (), "invalid pid: 0"),
        ("stop=-1", (), "invalid pid: -1"),
        ("reload=999999", (), '\nsignal "reload" 999999: no such process'),
        ("reload", (), "no nats-server processes running"),
        ("reload=9*", (17,), "no nats-server processes running"),
        ("reload", (17, 18), "multiple nats-server processes running:\n17\n18"),
    ],
)
def test_what_is_refused(
    request_text: str,
    pids: tuple[int, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    sent: list[tuple[int, int]],
) -> None:
    running(monkeypatch, *pids)
    with pytest.raises(SignalError) as caught:
        send("nats-server", request_text)
    assert str(caught.value) == message
    assert sent == []


def test_all_are_tried_and_each_failure_is_told(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[int, int]]) -> None:
    running(monkeypatch, 999999, 17)
    with pytest.raises(SignalError, match='signal "term" 999999: no such process'):
        send("nats-server", "term=*")
    assert sent == [(17, signal.SIGTERM)]


def test_without_pgrep_a_process_id_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SignalError, match="unable to resolve pid, try providing one"):
        send("nats-server", "reload")
