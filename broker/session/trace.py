"""Traced protocol lines: what a client sent (`<<-`), what it was sent (`->>`), and what changed (`<->`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from accounts.callout import REQUEST_SUBJECT
from broker.log import TRACE, TRACES
from broker.log.text import REDACTED, quoted
from broker.session import journal
from broker.wire.events import Event
from broker.wire.redact import redacted_connect

if TYPE_CHECKING:
    from broker.session.session import Session

LOGGER: Final = logging.getLogger(TRACES)

HEADER_END: Final = b"\r\n\r\n"

_LOGIN: Final = REQUEST_SUBJECT.encode()


class Tracer:
    """Shows what one session sends and gets. It only logs: it never raises, and never changes anything.

    `maximum` is how many bytes of a payload are shown, 0 for all. With `headers_only`, headers are shown and
    payloads are not.
    """

    __slots__ = ("headers_only", "maximum", "session")

    def __init__(self, session: Session, *, maximum: int = 0, headers_only: bool = False) -> None:
        self.session = session
        self.maximum = maximum
        self.headers_only = headers_only

    def received(self, line: bytes | str) -> None:
        """A control line came."""
        self._write("<<-", line)

    def sent(self, line: bytes | str) -> None:
        """A control line goes out."""
        self._write("->>", line)

    def changed(self, line: bytes | str) -> None:
        """Something happened to what the session holds."""
        self._write("<->", line)

    def received_message(self, arguments: bytes, header: int, body: bytes) -> None:
        """A message came. `header` is the size of the header block in `body`, -1 for none."""
        self._write("<<-", (b"PUB " if header < 0 else b"HPUB ") + arguments)
        self._payload("<<-", header, body)

    def sent_message(self, line: bytes, header: int, body: bytes) -> None:
        """A message goes out, under its line."""
        self._write("->>", line)
        if line.split(b" ", 2)[1] == _LOGIN:
            # What an auth callout is asked holds the password of whoever logs in.
            journal.write(LOGGER, TRACE, self.session, "->> MSG_PAYLOAD: [%s]", REDACTED)
            return
        self._payload("->>", header, body)

    def event(self, event: int) -> None:
        """The parser met something other than a message."""
        lane = self.session.lane
        if event == Event.CONNECT:
            self.received(f"CONNECT {redacted_connect(lane.arguments[0])}")
        elif event in {Event.SUB, Event.UNSUB}:
            self.received(b" ".join((Event(event).name.encode(), *lane.arguments)))
        elif event in {Event.PING, Event.PONG}:
            self.received(Event(event).name)
        elif event in {Event.BAD_ARGUMENTS, Event.PAYLOAD_EXCEEDED}:
            self.received(lane.line)

    def _payload(self, direction: str, header: int, body: bytes) -> None:
        if self.headers_only:
            if header <= 0:
                return
            body = body[:header].removesuffix(HEADER_END)
        if not body:
            return
        shown = quoted(body)
        if 0 < self.maximum < len(body):
            shown = f'{quoted(body[: self.maximum])[:-1]}..."'
        journal.write(LOGGER, TRACE, self.session, "%s MSG_PAYLOAD: [%s]", direction, shown)

    def _write(self, direction: str, line: bytes | str) -> None:
        text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
        journal.write(LOGGER, TRACE, self.session, "%s [%s]", direction, text)
