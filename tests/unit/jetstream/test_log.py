"""How much of a log is read and stays in memory, which its plain twin does not tell."""

from __future__ import annotations

from broker.core.log import Log
from tests.oracle.log import PlainTables

BLOCK = 64 << 10


def written(messages: int, header: bytes | None = None) -> tuple[Log, list[int]]:
    """A log that was loaded from a store, and the first sequences of the blocks that it then asks for."""
    log, tables, asked = Log(), PlainTables(), []
    for _ in range(messages):
        log.append(b"a", header, b"x" * 1000, 1)
    tables.take(log)
    log = tables.load()

    def read(first: int, pieces: tuple[int, ...]) -> list[bytes]:
        asked.append(first)
        return tables.read(first, pieces)

    log.loader = read
    return log, asked


def test_blocks_without_headers_are_not_read_for_them() -> None:
    log, asked = written(1000)
    assert log.headed(0) == 0
    assert asked == []
    log, asked = written(1000, b"NATS/1.0\r\n\r\n")
    assert [log.headed(1), log.headed(500)] == [1, 500]
    assert len(asked) == 2


def test_who_reads_all_keeps_little() -> None:
    log, asked = written(2000)
    log.maximum_held = 5 * BLOCK
    whole = log.held
    for sequence in range(1, 2001):
        entry = log.get(sequence)
        assert entry is not None
        assert (entry.sequence, len(entry.payload)) == (sequence, 1000)
        assert log.held <= whole + 6 * BLOCK
    assert len(asked) == len(set(asked)) > 20
