"""Keys and flags of the log: both arrive at the same options, and flags win."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.config.errors import ConfigError
from broker.config.load import load
from broker.config.options import LoggingOptions, Options
from broker.flags import FlagError, parse
from broker.overrides import SECTIONS, apply


def from_file(directory: Path, text: str) -> Options:
    path = directory / "server.conf"
    path.write_text(text)
    return load(path).options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("syslog: true", LoggingOptions(syslog=True)),
        ('remote_syslog: "udp://h:514"', LoggingOptions(remote_syslog="udp://h:514")),
        ("log_format: JSON", LoggingOptions(log_format="json")),
        ("log_format: text", LoggingOptions()),
        ("logfile: x\nlogfile_size_limit: 1k\nlogfile_max_num: 3",
         LoggingOptions(log_file="x", log_size_limit=1000, log_max_num=3)),
        ("max_traced_msg_len: 5", LoggingOptions(max_traced_msg_len=5)),
        ("trace_headers: true", LoggingOptions(trace=True, trace_headers=True)),
        ("connect_error_reports: 5\nreconnect_error_reports: 2", LoggingOptions()),
    ],
)  # fmt: skip
def test_keys(tmp_path: Path, text: str, options: LoggingOptions) -> None:
    assert from_file(tmp_path, text).logging == options


@pytest.mark.parametrize("text", ["log_format: xml", "log_format: true", "log_size_limit: -1", "syslog: 3"])
def test_wrong_values(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.conf:1:"):
        from_file(tmp_path, text)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-s"], LoggingOptions(syslog=True)),
        (["--syslog=false"], LoggingOptions()),
        (["-r", "tcp://h:1"], LoggingOptions(remote_syslog="tcp://h:1")),
        (["--remote_syslog=unix:///s"], LoggingOptions(remote_syslog="unix:///s")),
        (["-l", "x", "-log_size_limit", "10"], LoggingOptions(log_file="x", log_size_limit=10)),
        (["--max_traced_msg_len=3", "-V"], LoggingOptions(trace=True, max_traced_msg_len=3)),
        (["-DVV"], LoggingOptions(debug=True, trace=True, trace_verbose=True)),
        (["-T=false", "-logtime_utc"], LoggingOptions(logtime=False, logtime_utc=True)),
    ],
)
def test_flags(words: list[str], options: LoggingOptions) -> None:
    assert apply(parse(SECTIONS, words), Options()).logging == options


@pytest.mark.parametrize("value", ["-1", "1k", "", "²"])
def test_numbers_of_flags(value: str) -> None:
    with pytest.raises(FlagError, match="it is no whole number"):
        parse(SECTIONS, [f"-log_size_limit={value}"])


def test_flags_win(tmp_path: Path) -> None:
    options = from_file(tmp_path, "log_file: a\nlog_size_limit: 5\nsyslog: true\n")
    changed = apply(parse(SECTIONS, ["-l", "b", "-log_size_limit", "7", "-s=false"]), options)
    assert changed.logging == LoggingOptions(log_file="b", log_size_limit=7)
