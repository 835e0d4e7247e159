"""Fuzz target: header blocks.

Invariant: whatever bytes a header block and a payload are, a receiver that takes headers gets both byte for byte, and
one that does not gets the payload alone. Nothing in a header is read on the way.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.inputs import budget, mutated, noise_or
from tests.oracle.frames import read_frames
from tests.oracle.plan import Delivery
from tests.support.sessions import Conversation, NotedBackend

MAXIMUM_PAYLOAD = 400
SEEDS = [
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nA: 1\r\nA: 2\r\nb:3\r\n\r\n",
    b"NATS/1.0 503\r\nNats-Subject: x\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0\r\nKey: PUB a 1\r\nX: MSG a 1 1\r\nx\r\n\r\n",
    b"X",
    b"",
]
DICTIONARY = [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b":", b" ", b"\0", b"\xff", b"NATS/1.0", b"+OK\r\n"]
header_blocks = noise_or(mutated(SEEDS, DICTIONARY)).map(lambda block: block[:200])
payloads = noise_or(mutated([b"", b"payload", b"\r\n", b"PUB a 1\r\nx\r\n"], DICTIONARY)).map(lambda block: block[:200])


class Room:
    """A publisher and two subscribers, of which one takes headers."""

    def __init__(self) -> None:
        backend = NotedBackend()
        self.publisher, self.aware, self.unaware = (
            Conversation(backend, control_line=100, payload=MAXIMUM_PAYLOAD) for _ in range(3)
        )
        for member in (self.publisher, self.aware, self.unaware):
            headers = b"false" if member is self.unaware else b"true"
            member.feed(b'CONNECT {"verbose":false,"headers":%b}\r\nSUB h.* 1\r\n' % headers)


@budget
@given(header_blocks, payloads, st.booleans(), st.integers(0, 500))
def test_a_header_block_arrives_as_it_was_sent(header: bytes, payload: bytes, with_reply: bool, place: int) -> None:
    room = Room()
    reply = b"r.1" if with_reply else None
    line = b"HPUB h.x %b%d %d\r\n" % (b"r.1 " if with_reply else b"", len(header), len(header) + len(payload))
    data = line + header + payload + b"\r\n"
    place %= len(data)
    own = room.publisher.feed(data[:place], data[place:])
    bare = [Delivery(b"h.x", b"1", reply, None, payload)]
    # An empty block is none at all.
    whole = [Delivery(b"h.x", b"1", reply, header, payload)] if header else bare
    assert read_frames(own) == whole
    assert read_frames(room.aware.said()) == whole
    assert read_frames(room.unaware.said()) == bare
    assert room.publisher.close_reason is None


@budget
@given(payloads)
def test_a_message_without_a_header_block_gets_none(payload: bytes) -> None:
    room = Room()
    room.publisher.feed(b"PUB h.x %d\r\n%b\r\n" % (len(payload), payload))
    assert room.aware.said() == room.unaware.said() == b"MSG h.x 1 %d\r\n%b\r\n" % (len(payload), payload)
