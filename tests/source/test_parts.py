"""The parts in which all tests are run have every test file, once."""

from __future__ import annotations

from collections import Counter

from tests.__main__ import PARTS, TESTS, files


def test_every_file_is_in_one_part() -> None:
    counted = Counter(path for part in PARTS for path in files(part))
    assert {path.relative_to(TESTS) for path, count in counted.items() if count > 1} == set()
    assert set(counted) == set(TESTS.rglob("test_*.py"))
