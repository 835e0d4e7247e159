"""A million subscriptions, and subjects that match none of them."""

from __future__ import annotations

import socket

from tools.bench.client import Target, connect, settle
from tools.bench.frames import Ring, Side, deliver_frame, publish_frame, unique_subjects

BRANCHES = 100
"""Values of the second and of the third token; literal and wildcard subscriptions share these branches."""
LOAD_SECONDS = 180.0


def subscriptions(count: int) -> list[str]:
    """`count` subjects, half of them with wildcards: in the second token, in the third token, or `>` at the end."""
    subjects = []
    for number in range(count // 2):
        second, third, last = _branch(number)
        subjects.append(f"bench.{second}.{third}.c{last}")
        # The division keeps the kind of wildcard from going with the second token.
        match number // 3 % 5:
            case 0 | 1:
                subjects.append(f"bench.{second}.*.d{number}")
            case 2 | 3:
                subjects.append(f"bench.*.{third}.d{number}")
            case _:
                subjects.append(f"bench.{second}.{third}.c{last}.>")
    return subjects


def misses(count: int = 65536) -> Ring:
    """A ring of messages whose subjects walk the same branches as the subscriptions, match none, and never repeat."""
    subjects = []
    for number, tail in enumerate(unique_subjects("", count)):
        second, third, _ = _branch(number)
        subjects.append(f"bench.{second}.{third}{tail}")
    payload = b"x" * 16
    return Ring(
        Side.join([publish_frame(subject, payload) for subject in subjects]),
        Side.join([deliver_frame(subject, payload) for subject in subjects]),
    )


def subscribe_many(target: Target, count: int) -> socket.socket:
    """A connection with `count` subscriptions, all of which the server has processed."""
    connection = connect(target, "subscriber")
    connection.settimeout(LOAD_SECONDS)
    lines = [f"SUB {subject} {sid}\r\n" for sid, subject in enumerate(subscriptions(count), 1)]
    connection.sendall("".join(lines).encode())
    settle(connection)
    return connection


def _branch(number: int) -> tuple[str, str, int]:
    return f"a{number % BRANCHES:02d}", f"b{number // BRANCHES % BRANCHES:02d}", number // BRANCHES**2
