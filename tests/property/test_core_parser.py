"""The compiled parser against its twin, on the same bytes, whole and split at every place."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.outbox import Hub
from broker.core.parser import Lane, ReadBuffer
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription
from tests.oracle.cases import CASES, MAXIMUM_CONTROL_LINE, MAXIMUM_PAYLOAD
from tests.oracle.frames import read_frames
from tests.oracle.parser import CLOSING, Event, Parser, Publish, is_publishable, parse
from tests.oracle.plan import Delivery

NAMES = (
    "MORE",
    "CONNECT",
    "SUB",
    "UNSUB",
    "PING",
    "PONG",
    "INFO",
    "ERR",
    "PUBLISH_REFUSED",
    "REPLY_REFUSED",
    "NOT_OPEN",
    "UNKNOWN_OPERATION",
    "CONTROL_LINE_EXCEEDED",
    "PAYLOAD_EXCEEDED",
    "BAD_ARGUMENTS",
)
"""The events by number."""


class Connection:
    """A lane whose client publishes to one subscriber of everything; gathers what comes of the bytes in order."""

    def __init__(self, *, size: int = 64, control_line: int = 32, payload: int = 16) -> None:
        hub = Hub()
        namespace = Namespace("A")
        plans = PlanCache(namespace, Policy(None, [b"no.>"], [b"_R_.>"]))
        self.receiver = Client(hub)
        self.receiver.headers = True
        self.client = Client(hub)
        self.client.bind(plans)
        namespace.insert(Subscription(self.receiver, b">", None, b"1"))
        self.lane = Lane(self.client, ReadBuffer(size))
        self.lane.open = self.lane.accept_headers = True
        self.lane.verbose = self.lane.pedantic = False
        self.lane.maximum_control_line = control_line
        self.lane.maximum_payload = payload
        self.found: list[Event | Publish] = []
        self.closed = False

    def feed(self, chunks: Iterable[bytes]) -> list[Event | Publish]:
        for chunk in chunks:
            data = chunk
            while data and not self.closed:
                data = data[self.lane.feed(data) :]
                self.advance()
        return self.found

    def advance(self) -> None:
        while not self.closed:
            name = NAMES[self.lane.advance()]
            self.take_messages()
            if name == "MORE":
                return
            if name in ("PUBLISH_REFUSED", "REPLY_REFUSED"):
                self.found.append(Event(name, (self.lane.subject,)))
                continue
            arguments = tuple(self.lane.arguments) if name in ("CONNECT", "SUB", "UNSUB", "INFO", "ERR") else ()
            # The session counts the words of SUB and UNSUB, the parser's twin does so itself.
            if (name == "SUB" and not 2 <= len(arguments) <= 3) or (name == "UNSUB" and not 1 <= len(arguments) <= 2):
                name, arguments = "BAD_ARGUMENTS", ()
            self.found.append(Event(name, arguments))
            self.closed = name in CLOSING

    def take_messages(self) -> None:
        for frame in read_frames(take(self.receiver)):
            assert isinstance(frame, Delivery)
            assert frame.sid == b"1"
            self.found.append(Publish(frame.subject, frame.reply, frame.header, frame.payload))


def take(client: Client) -> bytes:
    data = bytes(client.view())
    client.consume(len(data))
    return data


def as_delivered(events: Iterable[Event | Publish]) -> list[Event | Publish]:
    """What of the twin's events the connection above can see: messages that arrive, and refusals."""
    visible: list[Event | Publish] = []
    for event in events:
        if isinstance(event, Event):
            visible.append(event)
        elif event.subject.startswith(b"no.") and b"" not in event.subject.split(b"."):
            visible.append(Event("PUBLISH_REFUSED", (event.subject,)))
        elif (event.reply or b"").startswith(b"_R_.") and event.reply != b"_R_.":
            visible.append(Event("REPLY_REFUSED", (event.reply or b"",)))
        elif b"" not in event.subject.split(b"."):
            visible.append(Publish(event.subject, event.reply, event.header or None, event.payload))
    return visible


def bytes_of(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


@pytest.mark.parametrize(("stream", "expected"), CASES, ids=[repr(stream[:30]) for stream, _ in CASES])
@pytest.mark.parametrize("size", [64, 4096])
def test_observed(stream: bytes, expected: list[Event | Publish], size: int) -> None:
    def connection() -> Connection:
        return Connection(size=size, control_line=MAXIMUM_CONTROL_LINE, payload=MAXIMUM_PAYLOAD)

    assert connection().feed([stream]) == as_delivered(expected)
    assert connection().feed(bytes_of(stream)) == as_delivered(expected)
    for place in range(1, min(len(stream), 40)):
        assert connection().feed([stream[:place], stream[place:]]) == as_delivered(expected)


WORDS = (b"a", b"a.b", b"a..b", b"no.x", b"_R_.x", b"_R_.", b">", b"q", b"{}", b"\x00\xff", b"a\r", b"\ra")
NUMBERS = (b"0", b"1", b"3", b"16", b"17", b"007", b"-1", b"12345678901")
LONG_WORDS = (b"x" * 29, b"x" * 40)
VERBS = (b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"PONG", b"+OK", b"-ERR", b"INFO", b"CONNECT")
ODD_VERBS = (b"pub", b"sUb", b"MSG", b"P", b"PIN", b"CONNEC", b"X", b"")

words = st.sampled_from([*WORDS, *NUMBERS, *LONG_WORDS])
blanks = st.sampled_from([b" ", b" ", b" ", b"\t", b"  ", b" \t ", b""])
line_ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b" \r\n"])
verbs = st.sampled_from([*VERBS, *ODD_VERBS])


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    parts = [draw(verbs)]
    for word in draw(st.lists(words, max_size=5)):
        parts += [draw(blanks), word]
    return b"".join([*parts, draw(line_ends)])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    subject = draw(st.sampled_from([b"a", b"a.b", b"no.x", b"a..b", b"*", b"no."]))
    reply = draw(st.sampled_from([b"", b"", b" r", b" _R_.x", b"\t_R_."]))
    payload = draw(st.binary(max_size=16) | st.sampled_from([b"\r\n", b"PING\r\n", b"+OK\r\n\r\n"]))
    if draw(st.booleans()):
        header = draw(st.integers(0, len(payload)))
        line = b"HPUB %b%b %d %d" % (subject, reply, header, len(payload))
    else:
        line = b"PUB %b%b %d" % (subject, reply, len(payload))
    end = draw(st.sampled_from([b"\r\n"] * 9 + [b"\n", b"\r"]))
    return line + draw(line_ends) + payload + end


pings = st.sampled_from([b"PING\r\n", b"ping  x\n", b"SUB a.b q 7\r\n", b"UNSUB 7 2\r\n", b"+OK\r\n"])
streams = st.lists(messages() | pings | odd_lines() | st.binary(max_size=4), max_size=8).map(b"".join)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[first:last] for first, last in pairwise(marks)]


@given(streams, st.lists(st.integers(0, 400), max_size=6), st.sampled_from([64, 65, 4096]))
@example(b"SUB " + b"a" * 20 + b"\r" + b"a" * 10 + b" 1\n", [35], 4096)
def test_any_bytes_in_any_split(stream: bytes, places: list[int], size: int) -> None:
    expected = as_delivered(parse(stream, parser=Parser(maximum_control_line=32, maximum_payload=16)))
    assert Connection(size=size).feed([stream]) == expected
    assert Connection(size=size).feed(cut(stream, places)) == expected
    assert Connection(size=size).feed(bytes_of(stream)) == expected


@given(st.lists(messages(), min_size=1, max_size=3).map(b"".join))
def test_messages_split_at_every_place(stream: bytes) -> None:
    expected = as_delivered(parse(stream, parser=Parser(maximum_control_line=32, maximum_payload=16)))
    for place in range(len(stream) + 1):
        assert Connection().feed([stream[:place], stream[place:]]) == expected


@given(st.lists(messages() | pings, max_size=6).map(b"".join), st.booleans(), st.booleans(), st.booleans())
def test_what_the_publisher_itself_reads(stream: bytes, verbose: bool, pedantic: bool, whole: bool) -> None:
    connection = Connection()
    connection.lane.verbose, connection.lane.pedantic = verbose, pedantic
    connection.feed([stream] if whole else bytes_of(stream))
    expected = b""
    for event in parse(stream, parser=Parser(maximum_control_line=32, maximum_payload=16)):
        if isinstance(event, Publish):
            if pedantic and not is_publishable(event.subject):
                expected += b"-ERR 'Invalid Publish Subject'\r\n"
            refused = [seen for seen in as_delivered([event]) if isinstance(seen, Event)]
            if verbose and not refused:
                expected += b"+OK\r\n"
    assert take(connection.client) == expected


@given(streams)
def test_only_connect_opens(stream: bytes) -> None:
    connection = Connection()
    connection.lane.open = False
    twin = Parser(maximum_control_line=32, maximum_payload=16, open=False)
    assert connection.feed(bytes_of(stream)) == as_delivered(parse(stream, parser=twin))


@given(st.integers(0, 5000), st.integers(1, 700))
def test_large_payloads_in_small_reads(size: int, step: int) -> None:
    payload = bytes(index * 7 & 0xFF for index in range(size))
    stream = b"PUB a %d\r\n%b\r\nPING\r\n" % (size, payload)
    connection = Connection(payload=5000)
    chunks = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert connection.feed(chunks) == [Publish(b"a", None, None, payload), Event("PING")]
    assert connection.lane.unfinished == 0


def test_later_pings_are_answered_at_once() -> None:
    connection = Connection()
    connection.lane.answer_pings = True
    assert connection.feed([b"PING\r\nPONG\r\nping x\r\n"]) == [Event("PONG")]
    assert take(connection.client) == b"PONG\r\nPONG\r\n"
