"""The ``admission`` block: what it may say, and what is said of what it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.config.errors import ConfigError
from broker.config.load import load
from broker.config.options import AdmissionOptions


def read(directory: Path, text: str) -> AdmissionOptions:
    file = directory / "t.conf"
    file.write_text(text)
    return load(str(file)).options.admission


def test_every_key(tmp_path: Path) -> None:
    text = """
    admission {
      max_unauthenticated: 5
      max_unauthenticated_per_address: 4
      max_unauthenticated_memory: 2MB
      handshakes_per_address: 3
      failures_per_address: 2
      max_backoff: "90s"
      exempt: ["10.1.2.3/8", "192.0.2.7", "2001:db8::1"]
    }
    """
    assert read(tmp_path, text) == AdmissionOptions(
        max_unauthenticated=5,
        max_unauthenticated_per_address=4,
        max_unauthenticated_memory=2 * 1024 * 1024,
        handshakes_per_address=3,
        failures_per_address=2,
        longest_backoff=90.0,
        exempt=("10.0.0.0/8", "192.0.2.7/32", "2001:db8::1/128"),
    )


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "admission {}") == read(tmp_path, "port: -1") == AdmissionOptions()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("max_unauthenticated: -1", "max_unauthenticated value can not be negative"),
        ("max_unauthenticated_memory: 1000", "max_unauthenticated_memory must be at least 1MB"),
        ('max_backoff: "10ms"', "max_backoff must be between 1s and 24h"),
        ('max_backoff: "25h"', "max_backoff must be between 1s and 24h"),
        ('exempt: ["10.0.0.300"]', 'field "exempt": "10.0.0.300" is no network; write an address such as 192.0.2.7'),
        ("exempt: [7]", 'field "exempt" takes a string or a list of strings, not an integer'),
        ("failures: 7", 'unknown field "failures"'),
    ],
)
def test_what_cannot_be(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"t\.conf:1:\d+: .*{re.escape(problem)}"):
        read(tmp_path, f"admission {{ {entry} }}")
