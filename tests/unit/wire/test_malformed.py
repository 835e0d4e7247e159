"""Why a message's line was refused, in the reference's words."""

from __future__ import annotations

import pytest

from broker.wire.malformed import message_problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"PUB a", "processPub Parse Error:"),
        (b"PUB a b c d", "processPub Parse Error:"),
        (b"PUB foo x", "processPub Bad or Missing Size:"),
        (b"PUB foo bar -1", "processPub Bad or Missing Size:"),
        (b"HPUB a 4", "processHeaderPub Parse Error:"),
        (b"HPUB a b c d e", "processHeaderPub Parse Error:"),
        (b"HPUB a x 4", "processHeaderPub Bad or Missing Header Size:"),
        (b"HPUB a 4 1234567890", "processHeaderPub Bad or Missing Total Size:"),
        (b"HPUB a r 44 3", "processHeaderPub Header Size larger then TotalSize:"),
    ],
)
def test_problems(line: bytes, problem: str) -> None:
    assert message_problem(line, headers=True) == problem


def test_headers_that_are_not_taken() -> None:
    assert message_problem(b"HPUB a 4 4", headers=False) == ""
