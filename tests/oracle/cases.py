"""What the client protocol makes of some bytes, as observed with max_payload 100 and max_control_line 256."""

from __future__ import annotations

from tests.oracle.parser import Event, Publish

MAXIMUM_PAYLOAD = 100
MAXIMUM_CONTROL_LINE = 256

PING = Event("PING")
UNKNOWN = Event("UNKNOWN_OPERATION")
BAD = Event("BAD_ARGUMENTS")
LONG_LINE = Event("CONTROL_LINE_EXCEEDED")
LONG_PAYLOAD = Event("PAYLOAD_EXCEEDED")


def sub(*arguments: bytes) -> Event:
    return Event("SUB", arguments)


def message(subject: bytes, payload: bytes, reply: bytes | None = None, header: bytes | None = None) -> Publish:
    return Publish(subject, reply, header, payload)


CASES: list[tuple[bytes, list[Event | Publish]]] = [
    (b"PING\r\n", [PING]),
    (b"ping\r\n", [PING]),
    (b"Ping \r\n", [PING]),
    (b"PING junk\r\n", [PING]),
    (b"PINGx\r\nPING\rx\n", [PING, PING]),
    (b"PING\n", [PING]),
    (b"PONG\r\n", [Event("PONG")]),
    (b" PING\r\n", [UNKNOWN]),
    (b"\r\n", [UNKNOWN]),
    (b"foo\r\n", [UNKNOWN]),
    (b"f", [UNKNOWN]),
    (b"P", []),
    (b"P\r", [UNKNOWN]),
    (b"CON\r\n", [UNKNOWN]),
    (b"MSG a 1 0\r\n\r\n", [UNKNOWN]),
    (b"RS+ A a\r\n", [UNKNOWN]),
    (b"+OK\r\n", []),
    (b"+okx\r\nPING\r\n", [PING]),
    (b"+O\r\n", [UNKNOWN]),
    (b"-ERR 'x'\r\nPING\r\n", [Event("ERR", (b"'x'",))]),
    (b"-err x\r\n", [Event("ERR", (b"x",))]),
    (b"-ERR\r\n", [UNKNOWN]),
    (b"-ERRx\r\n", [UNKNOWN]),
    (b"-E\r\n", [UNKNOWN]),
    (b"INFO {}\r\nPING\r\n", [Event("INFO", (b"{}",)), PING]),
    (b"INFO{}\r\n", [Event("INFO", (b"{}",))]),
    (b"INFO\r\n", [Event("INFO", (b"",))]),
    (b"CONNECT {}\r\n", [Event("CONNECT", (b"{}",))]),
    (b"connect{}\r\n", [Event("CONNECT", (b"{}",))]),
    (b"CONNECT \r\n", [Event("CONNECT", (b"",))]),
    (b"CONNECT {} x\r\n", [Event("CONNECT", (b"{} x",))]),
    (b'CONNECT {"a":1}\rx\n', [Event("CONNECT", (b'{"a":1}\r',))]),
    (b"SUB a 1\r\n", [sub(b"a", b"1")]),
    (b"SUB a q 1\r\n", [sub(b"a", b"q", b"1")]),
    (b"SUB  a \t 1  \r\n", [sub(b"a", b"1")]),
    (b"sub\ta\t1\n", [sub(b"a", b"1")]),
    (b"SUB a\r 1\r\n", [sub(b"a", b"1")]),
    (b"SUB a\r 12\n", [sub(b"a", b"1")]),
    (b"SUB \ra 1\r\n", [sub(b"a", b"1")]),
    (b"SUB a\x0b 1\r\n", [sub(b"a\x0b", b"1")]),
    (b"SUB a\x0c1\r\n", [BAD]),
    (b"SUB\r\n", [UNKNOWN]),
    (b"SUB\r", [UNKNOWN]),
    (b"SUB \r\n", [BAD]),
    (b"SUBa 1\r\n", [UNKNOWN]),
    (b"SUB a\r\n", [BAD]),
    (b"SUB a b c d\r\n", [BAD]),
    (b"UNSUB 1\r\n", [Event("UNSUB", (b"1",))]),
    (b"UNSUB 1 x\r\n", [Event("UNSUB", (b"1", b"x"))]),
    (b"UNSUB\r\n", [UNKNOWN]),
    (b"UNSUB \r\n", [BAD]),
    (b"UNSUB 1 2 3\r\n", [BAD]),
    (b"PUB a 5\r\nhello\r\n", [message(b"a", b"hello")]),
    (b"PUB a 2\nhi\r\n", [message(b"a", b"hi")]),
    (b"PUB a r.x 5\r\nhello\r\n", [message(b"a", b"hello", b"r.x")]),
    (b"PUB \ta  \t5 \r\nhello\r\n", [message(b"a", b"hello")]),
    (b"PUB a 0\r\n\r\n", [message(b"a", b"")]),
    (b"PUB a 4\r\n\r\n\r\n\r\n", [message(b"a", b"\r\n\r\n")]),
    (b"PUB a 007\r\n1234567\r\nPING\r\n", [message(b"a", b"1234567"), PING]),
    (b"PUB a..b 1\r\nx\r\n", [message(b"a..b", b"x")]),
    (b"PUB\r\n", [UNKNOWN]),
    (b"PUB \r\n", [BAD]),
    (b"PUBa 1\r\n", [UNKNOWN]),
    (b"PUB a\r\n", [BAD]),
    (b"PUB a b c 1\r\n", [BAD]),
    (b"PUB a x\r\n", [BAD]),
    (b"PUB a -1\r\n", [BAD]),
    (b"PUB a +1\r\n", [BAD]),
    (b"PUB a 0x1\r\n", [BAD]),
    (b"PUB a 1234567890\r\n", [BAD]),
    (b"PUB a 0000000001\r\n", [BAD]),
    (b"PUB a \xd9\xa1\r\n", [BAD]),
    (b"PUB a 101\r\n", [LONG_PAYLOAD]),
    (b"PUB a 100\r\n" + b"z" * 100 + b"\r\n", [message(b"a", b"z" * 100)]),
    (b"PUB a 5\r\nhelloo\r\n", [UNKNOWN]),
    (b"PUB a 5\r\nhellox", [UNKNOWN]),
    (b"PUB a 5\r\nhello\r", []),
    (b"PUB a 5\r\nhello\rx", [UNKNOWN]),
    (b"PUB a 5\r\nhello\nPING\r\n", [UNKNOWN]),
    (b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", [message(b"a", b"hi", None, b"NATS/1.0\r\n\r\n")]),
    (b"HPUB a r 2 4\r\nXXhi\r\n", [message(b"a", b"hi", b"r", b"XX")]),
    (b"HPUB a 0 2\r\nhi\r\n", [message(b"a", b"hi", None, b"")]),
    (b"HPUB\r\n", [UNKNOWN]),
    (b"HPUB \r\n", [BAD]),
    (b"HPUB a 5 4\r\n", [BAD]),
    (b"HPUB a -1 4\r\n", [BAD]),
    (b"HPUB a 4\r\n", [BAD]),
    (b"HPUB a 300 200\r\n", [BAD]),
    (b"HPUB a 12 101\r\n", [LONG_PAYLOAD]),
    (b"SUB " + b"s" * 254 + b" 1\r\n", [sub(b"s" * 254, b"1")]),
    (b"SUB " + b"s" * 255 + b" 1\r\n", [LONG_LINE]),
    (b"SUB " + b"s" * 255 + b" 1", [LONG_LINE]),
    (b"SUB " + b"s" * 254 + b" 1\r", []),
    (b"SUB " + b"s" * 100 + b"\r" + b"s" * 153 + b" 12\n", [sub(b"s" * 100, b"s" * 153, b"1")]),
    (b"PUB " + b"s" * 255 + b" 0\r\n\r\n", [LONG_LINE]),
    (b"-ERR " + b"x" * 257, [LONG_LINE]),
    (b"SUB " + b" " * 1000 + b"a 1\r\n", [sub(b"a", b"1")]),
    (b"PUB " + b" " * 1000 + b"a 0\r\n\r\n", [message(b"a", b"")]),
    (b"SUB a 1" + b" " * 500 + b"\r\n", [LONG_LINE]),
    (b"PING" + b" " * 500 + b"\r\n", [PING]),
    (b"SUB a 1\r\nPUB a 2\r\nhi\r\nBAD\r\nPING\r\n", [sub(b"a", b"1"), message(b"a", b"hi"), UNKNOWN]),
]
