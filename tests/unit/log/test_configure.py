"""Where the log goes, at which levels, and what happens when it is configured again."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config.options import LoggingOptions
from broker.log import TRACE, TRACES, LogError, configure, reopen
from tests.support.logs import logs_as_before


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with logs_as_before():
        yield


def say_everything() -> None:
    for level in (logging.DEBUG, logging.INFO, logging.ERROR):
        logging.getLogger("natskeep.net").log(level, "%s", logging.getLevelName(level).lower())
    logging.getLogger(TRACES).log(TRACE, "trace")


@pytest.mark.parametrize(
    ("debug", "trace", "said"),
    [
        (False, False, ["info", "error"]),
        (True, False, ["debug", "info", "error"]),
        (False, True, ["info", "error", "trace"]),
        (True, True, ["debug", "info", "error", "trace"]),
    ],
)
def test_levels(tmp_path: Path, debug: bool, trace: bool, said: list[str]) -> None:
    configure(LoggingOptions(log_file=str(tmp_path / "log"), debug=debug, trace=trace))
    say_everything()
    assert re.findall(r"\] (\w+)$", (tmp_path / "log").read_text(), re.MULTILINE) == said


def test_levels_change_and_the_file_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configure(LoggingOptions(log_file=str(path)))
    path.rename(tmp_path / "moved")
    configure(LoggingOptions(log_file=str(path), debug=True))
    say_everything()
    assert not path.exists()
    assert len((tmp_path / "moved").read_text().splitlines()) == 3
    assert reopen()
    say_everything()
    assert len(path.read_text().splitlines()) == 3


def test_another_file_takes_over(tmp_path: Path) -> None:
    for name in ("one", "two"):
        configure(LoggingOptions(log_file=str(tmp_path / name)))
        say_everything()
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("one", "two")] == [2, 2]


def test_what_cannot_be_had_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    configure(LoggingOptions(log_file=str(tmp_path / "log")))
    with pytest.raises(LogError):
        configure(LoggingOptions(log_file=str(tmp_path / "none" / "log"), debug=True))
    say_everything()
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_warnings_of_libraries_are_in_the_same_log(tmp_path: Path) -> None:
    configure(LoggingOptions(log_file=str(tmp_path / "log")))
    logging.getLogger("asyncio").error("a callback failed")
    logging.getLogger("aiohttp.server").error("a handler failed")
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_standard_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    configure(LoggingOptions(logtime=False))
    say_everything()
    assert re.fullmatch(r"\[\d+\] \[INF\] info\n\[\d+\] \[ERR\] error\n", capsys.readouterr().err)
    assert not reopen()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(LoggingOptions(logtime=False), "another")
    say_everything()
    assert "[\x1b[32mINF\x1b[0m] info\n" in capsys.readouterr().err


def test_nobody_reads_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(LoggingOptions())

    def broken(text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stderr, "write", broken)
    say_everything()
