"""The twin of broker.core.parser: the client protocol, written from its facts.

All bytes that arrived are kept in one string, and each event is found by looking at it from its beginning. So the
events cannot depend on how the bytes were split.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CLOSING = frozenset(
    {"UNKNOWN_OPERATION", "CONTROL_LINE_EXCEEDED", "PAYLOAD_EXCEEDED", "BAD_ARGUMENTS", "NOT_OPEN", "ERR"}
)
"""Events after which the connection closes."""

_WITH_BLANK = (b"PUB", b"HPUB", b"SUB", b"UNSUB", b"-ERR")  # A space or tab must follow the verb.
_WITHOUT_BLANK = (b"CONNECT", b"INFO")  # Arguments may follow at once.
_WITHOUT_ARGUMENTS = (b"PING", b"PONG", b"+OK")  # The rest of the line has no meaning, and no limit.
_VERBS = (*_WITH_BLANK, *_WITHOUT_BLANK, *_WITHOUT_ARGUMENTS)


@dataclass(frozen=True)
class Event:
    """Something that the session or the message path has to act on.

    ``arguments`` are the words of SUB and UNSUB, or the whole argument text of CONNECT, INFO and ERR.
    """

    name: str
    arguments: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Publish:
    """A whole PUB or HPUB; ``reply`` and ``header`` are None where the frame has none."""

    subject: bytes
    reply: bytes | None
    header: bytes | None
    payload: bytes


def is_publishable(subject: bytes) -> bool:
    """Say whether a pedantic connection accepts ``subject`` without an error: no empty and no wildcard token."""
    return not {b"", b"*", b">"} & set(subject.split(b"."))


def size_field(word: bytes) -> int | None:
    """Read a size: 1 to 9 decimal digits, nothing else."""
    return int(word) if 1 <= len(word) <= 9 and all(0x30 <= byte <= 0x39 for byte in word) else None


def words(line: bytes) -> list[bytes]:
    """Split arguments at runs of spaces, tabs and stray carriage returns, and of nothing else."""
    return [word for word in line.replace(b"\t", b" ").replace(b"\r", b" ").split(b" ") if word]


@dataclass
class Parser:
    """One connection's input. Settings may change between two events."""

    maximum_control_line: int = 4096
    maximum_payload: int = 1 << 20
    accept_headers: bool = True
    open: bool = True
    waiting: bytes = field(default=b"", init=False)
    closed: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self.waiting += data

    def advance(self) -> Event | Publish | None:
        """Return the next event, or None when more bytes are needed or the connection is to be closed."""
        if self.closed:
            return None
        event = self._next()
        self.closed = isinstance(event, Event) and event.name in CLOSING
        return event

    def _next(self) -> Event | Publish | None:
        while self.waiting:
            if not self.open and self.waiting[:1].upper() != b"C":
                return Event("NOT_OPEN")
            start = self.waiting[:8].upper()
            verb = next((verb for verb in _VERBS if start.startswith(verb)), None)
            if verb is None:
                is_beginning = any(verb.startswith(start) for verb in _VERBS)
                return None if is_beginning else Event("UNKNOWN_OPERATION")
            rest = self.waiting[len(verb) :]
            if verb not in _WITHOUT_ARGUMENTS:
                return self._with_arguments(verb, rest)
            _, newline, after = rest.partition(b"\n")
            if not newline:
                return None
            self.waiting = after
            if verb != b"+OK":
                return Event(verb.decode())
        return None

    def _with_arguments(self, verb: bytes, rest: bytes) -> Event | Publish | None:
        if verb in _WITH_BLANK:
            if not rest:
                return None
            if rest[:1] not in (b" ", b"\t"):
                return Event("UNKNOWN_OPERATION")
        line, newline, after = rest.lstrip(b" \t").partition(b"\n")
        # A carriage return anywhere in the arguments costs them their last byte: normally itself.
        length = len(line) - (b"\r" in line)
        if length > self.maximum_control_line:
            return Event("CONTROL_LINE_EXCEEDED")
        if not newline:
            return None
        line = line[:length]
        if verb in (b"PUB", b"HPUB"):
            return self._message(words(line), after, with_header=verb == b"HPUB")
        self.waiting = after
        if verb in (b"SUB", b"UNSUB"):
            arguments = words(line)
            fewest, most = (2, 3) if verb == b"SUB" else (1, 2)
            if not fewest <= len(arguments) <= most:
                return Event("BAD_ARGUMENTS")
            return Event(verb.decode(), tuple(arguments))
        return Event(verb.decode().lstrip("-"), (line,))

    def _message(self, arguments: list[bytes], after: bytes, *, with_header: bool) -> Event | Publish | None:
        numbers = 2 if with_header else 1
        if not numbers + 1 <= len(arguments) <= numbers + 2:
            return Event("BAD_ARGUMENTS")
        size = size_field(arguments[-1])
        header_size = size_field(arguments[-2]) if with_header else 0
        if size is None or header_size is None or header_size > size or (with_header and not self.accept_headers):
            return Event("BAD_ARGUMENTS")
        if size > self.maximum_payload:
            return Event("PAYLOAD_EXCEEDED")
        body, end = after[:size], after[size : size + 2]
        if not b"\r\n".startswith(end):
            return Event("UNKNOWN_OPERATION")
        if len(body) < size or len(end) < 2:
            return None
        self.waiting = after[size + 2 :]
        reply = arguments[1] if len(arguments) == numbers + 2 else None
        header = body[:header_size] if with_header else None
        return Publish(arguments[0], reply, header, body[header_size:])


def parse(*chunks: bytes, parser: Parser | None = None) -> list[Event | Publish]:
    """Return all events of a stream that arrives in ``chunks``."""
    parser = parser or Parser()
    found: list[Event | Publish] = []
    for chunk in chunks:
        parser.feed(chunk)
        while (event := parser.advance()) is not None:
            found.append(event)
    return found
