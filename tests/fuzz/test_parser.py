"""Fuzz target: the compiled parser, and with it plans and outboxes.

Invariant: whatever the bytes, however they are split, and whatever the limits are, the core makes of them exactly what
its twin in plain Python makes of them. What is delivered has the lengths that its control line names.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.inputs import budget, mutated, noise_or
from tests.oracle.cases import CASES
from tests.oracle.parser import Parser, parse
from tests.property.test_core_parser import Connection, as_delivered, bytes_of, cut

SEEDS = [stream for stream, _ in CASES] + [
    b"SUB a 1\r\nPUB a r 5\r\nhello\r\nUNSUB 1 2\r\nPING\r\n",
    b"HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPUB b 0\r\n\r\nPING\r\n",
    b'CONNECT {"verbose":false}\r\nPING\r\nSUB a q 1\r\nHPUB a 2 4\r\nXXhi\r\n',
]
DICTIONARY = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"0",
    b"1",
    b"999999999",
    b"PUB ",
    b"HPUB ",
    b"SUB ",
    b"\x00",
    b"\xff",
]
streams = st.lists(noise_or(mutated(SEEDS, DICTIONARY)), min_size=1, max_size=4).map(b"".join)


@dataclass(frozen=True)
class Setting:
    """Limits and modes of one connection."""

    buffer: int
    control_line: int
    payload: int
    headers: bool
    is_open: bool

    def connection(self) -> Connection:
        made = Connection(size=self.buffer, control_line=self.control_line, payload=self.payload)
        made.lane.accept_headers, made.lane.open = self.headers, self.is_open
        return made

    def twin(self) -> Parser:
        return Parser(
            maximum_control_line=self.control_line,
            maximum_payload=self.payload,
            accept_headers=self.headers,
            open=self.is_open,
        )


settings = st.builds(
    Setting,
    buffer=st.sampled_from([64, 100, 4096]),
    control_line=st.integers(4, 300),
    payload=st.integers(0, 120),
    headers=st.booleans(),
    is_open=st.booleans(),
)


@budget
@given(streams, st.lists(st.integers(0, 2000), max_size=8), settings)
def test_core_and_twin_agree(stream: bytes, places: list[int], setting: Setting) -> None:
    expected = as_delivered(parse(stream, parser=setting.twin()))
    assert setting.connection().feed([stream]) == expected
    assert setting.connection().feed(cut(stream, places)) == expected
    assert setting.connection().feed(bytes_of(stream)) == expected
