"""Fuzz target: a client's bytes through lane and session.

Invariants: any bytes, split anywhere, raise nothing; the lane keeps no more than the limits allow of what has not
arrived whole; and answers and reason of the end are those of the same bytes in one piece, whatever the read buffer.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from broker.session.session import Session
from broker.session.states import State
from tests.fuzz.inputs import budget, mutated, noise_or
from tests.support.sessions import Conversation, NotedBackend

CONTROL_LINE = 40
PAYLOAD = 32
KEPT_BEFORE_ARGUMENTS = len(b"CONNECT ") + 1
"""A verb, one blank, and a carriage return that may yet turn out to be part of the line's end."""

LARGEST_FRAME = KEPT_BEFORE_ARGUMENTS + CONTROL_LINE + PAYLOAD + 2 * len(b"\r\n")

SEEDS = [
    b'CONNECT {"verbose":false,"headers":true}\r\nSUB a 1\r\nPUB a r 2\r\nhi\r\nPING\r\n',
    b"CONNECT {}\r\nSUB a.* q 1\r\nSUB > 2\r\nPUB a.b 5\r\nhello\r\nUNSUB 1 1\r\nPUB a.b 0\r\n\r\n",
    b'CONNECT {"headers":true,"no_responders":true}\r\nSUB r 1\r\nHPUB a 4 5\r\nNATSh\r\nPUB a r 0\r\n\r\n',
    b'connect{"echo":false}\r\nsub a 1\r\npub a 1\r\nx\r\nping\r\npong\r\n+ok\r\nINFO {}\r\n',
    b'PING\r\nCONNECT {"protocol":1}\r\nPING x\r\nSUB a 1\r\nCONNECT {"verbose":false}\r\nPUB a 1\r\nx\r\nPING\r\n',
    b"PUB no.x 1\r\nx\r\nPUB a _R_.x 1\r\nx\r\nPUB a..b 1\r\nx\r\nPUB a 32\r\n" + b"z" * 32 + b"\r\n",
    b"PUB a 33\r\n",
    b"SUB " + b"s" * 38 + b" 1\r\n-ERR 'x'\r\n",
    b"PING" + b" " * 60 + b"\r\nPING\r\n",
    b"PUB  \ta\t 2 \nhi\r\nSUB a\r 1\r\nUNSUB 1 x\r\n",
]
DICTIONARY = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\xff", b"PUB ", b"HPUB ", b"SUB ", b"UNSUB ", b"PING\r\n", b"PONG\r\n",
    b"+OK\r\n", b"-ERR ", b"INFO {}\r\n", b"CONNECT {}\r\n", b" 0\r\n\r\n", b" 999999999\r\n", b" 1234567890\r\n",
    b" -1\r\n", b"x" * 45, b" " * 45, b"{" * 8, b'"verbose":', b"null",
]  # fmt: skip
streams = noise_or(mutated(SEEDS, DICTIONARY))
cuts = st.lists(st.integers(0, 300), max_size=8)


class Unqueued(NotedBackend):
    """Takes members of queue groups for plain subscriptions, since the choice among them is left to chance."""

    def subscribe(self, session: Session, subject: bytes, queue: bytes | None, sid: bytes) -> str | None:
        return super().subscribe(session, subject, None, sid)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[first:last] for first, last in pairwise(marks)]


def told(chunks: list[bytes], *, required: bool, slow: bool, buffer: int) -> tuple[bytes, object, object]:
    """What the client reads, why it ended, and what the backend was asked."""
    backend = Unqueued(required=required)
    backend.slow = slow
    conversation = Conversation(backend, buffer=buffer, control_line=CONTROL_LINE, payload=PAYLOAD)
    session, lane = conversation.session, conversation.lane
    session.greet()
    for chunk in chunks:
        data = chunk
        while data and session.state is not State.CLOSED:
            data = data[lane.feed(data) :]
            session.data_received()
            while session.state is State.VERIFYING:
                session.verified(backend.authenticate(session, session.connect))
            assert lane.unfinished <= LARGEST_FRAME
    assert conversation.hub.take_finished() is not None
    # A report quotes what had arrived when the parser stumbled, so it may differ in length.
    asked = [note for note in backend.notes if note[0] not in {"unbind", "report"}]
    return conversation.said(), conversation.close_reason, asked


@budget
@given(streams, cuts, st.booleans(), st.sampled_from([64, 65, 100, 4096]))
def test_any_bytes_in_any_split_are_told_the_same(data: bytes, places: list[int], required: bool, buffer: int) -> None:
    whole = told([data], required=required, slow=False, buffer=4096)
    assert told(pieces(data, places), required=required, slow=False, buffer=buffer) == whole
    assert told(pieces(data, list(range(len(data)))), required=required, slow=False, buffer=buffer) == whole


@budget
@given(streams, cuts, st.sampled_from([200, 4096]))
def test_a_comparison_in_a_thread_changes_nothing(data: bytes, places: list[int], buffer: int) -> None:
    whole = told([data], required=True, slow=False, buffer=4096)
    assert told(pieces(data, places), required=True, slow=True, buffer=buffer) == whole
