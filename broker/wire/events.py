"""The events that the compiled parser hands to the session, by number."""

from __future__ import annotations

from enum import IntEnum


class Event(IntEnum):
    """Why `Lane.advance` returned. The numbers are those of `broker/core/parser.pyx`; a test holds the two together."""

    MORE = 0
    CONNECT = 1
    SUB = 2
    UNSUB = 3
    PING = 4
    PONG = 5
    INFO = 6
    ERR = 7
    PUBLISH_REFUSED = 8
    REPLY_REFUSED = 9
    NOT_OPEN = 10
    UNKNOWN_OPERATION = 11
    CONTROL_LINE_EXCEEDED = 12
    PAYLOAD_EXCEEDED = 13
    BAD_ARGUMENTS = 14
    TURN_SPENT = 15
    TRACE_ASKED = 16
