"""Published advisories about permissions: what a deny names is not said and not heard, by whatever detour."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.brokers import Broker
from tests.support.sessions import Conversation


def opened(**permissions: Any) -> tuple[Conversation, Conversation]:
    """A user with these permissions, and another of the same account without any."""
    users = [{"user": "a", "password": "p", "permissions": permissions}, {"user": "b", "password": "p"}]
    broker = Broker(json.dumps({"accounts": {"A": {"users": users}}}))
    return broker.connect("a", headers=True), broker.connect("b", headers=True)


@pytest.mark.parametrize("wildcard", ["*", ">", "secre*", "secret"])
@pytest.mark.parametrize("queue", ["q", "secret", "*", ">"])
def test_cve_2022_29946_denies_hold_for_queue_members(wildcard: str, queue: str) -> None:
    """Denied subjects could be heard by a queue subscription to a wildcard: denies were not looked at there.

    A queue member is given nothing that a deny names.
    """
    limited, free = opened(subscribe={"deny": "secret"})
    answer = limited.feed(f"SUB {wildcard} {queue} 1\r\n".encode())
    assert answer.startswith(b"-ERR 'Permissions Violation") == (wildcard == "secret")
    free.feed(b"PUB secret 1\r\nx\r\n")
    assert limited.said() == b""


@pytest.mark.parametrize("queue", [None, "q"])
@pytest.mark.parametrize(
    ("deny", "subject", "told", "kept"),
    [
        ("a.*", "*.b", "c.b", "a.b"),
        ("*.secret", "a.*", "a.b", "a.secret"),
        ("a.*.c", "a.b.*", "a.b.d", "a.b.c"),
        ("a.>", "*.b.>", "c.b.d", "a.b.d"),
        ("*.*.c", "a.>", "a.b", "a.b.c"),
    ],
)
def test_ghsa_wh7g_5m82_pmhr_overlapping_wildcards(
    deny: str, subject: str, told: str, kept: str, queue: str | None
) -> None:
    """A wildcard subscription that overlapped a wildcard deny without being part of it was given what was denied.

    What both match is not delivered, and a denied member takes no message away from the others of its queue.
    """
    limited, free = opened(subscribe={"deny": deny})
    words = " ".join(word for word in ("SUB", subject, queue, "1") if word)
    assert limited.feed(words.encode() + b"\r\n") == b""
    free.feed(f"PUB {kept} 1\r\nx\r\nPUB {told} 1\r\nx\r\n".encode())
    assert limited.said() == f"MSG {told} 1 1\r\nx\r\n".encode()
    free.feed(words.encode() + b"\r\n")
    for _ in range(20):
        assert free.feed(f"PUB {kept} 1\r\nx\r\n".encode()) == f"MSG {kept} 1 1\r\nx\r\n".encode()
    assert limited.said() == b""


@pytest.mark.parametrize(
    "denies", [["secret", "secret q"], ["secret q", "secret"], ["secret", "* q"], ["> q", "secret"]]
)
@pytest.mark.parametrize("queue", ["q", "other", "secret"])
def test_ghsa_jx8g_9g95_6322_a_plain_deny_holds_beside_one_with_a_queue(denies: list[str], queue: str) -> None:
    """Where a list held a deny with a queue as well, a plain deny of the same subject was overruled for other queues.

    A deny without a queue is about all subscriptions, whatever stands beside it.
    """
    limited, free = opened(subscribe={"deny": denies})
    assert limited.feed(f"SUB secret {queue} 1\r\n".encode()).startswith(b"-ERR 'Permissions Violation")
    limited.feed(f"SUB > {queue} 2\r\n".encode())
    free.feed(b"PUB secret 1\r\nx\r\n")
    assert limited.said() == b""


@pytest.mark.parametrize("name", ["Nats-Trace-Dest", "nats-trace-dest", "traceparent"])
def test_cve_2026_33249_traces_go_nowhere_that_the_client_may_not(name: str) -> None:
    """A client could have traces of its messages sent to subjects that it may not publish to.

    A header that asks for one brings nothing to such a subject; the message itself arrives as it was sent, or never.
    """
    limited, free = opened(publish={"allow": "a"})
    free.feed(b"SUB secret 1\r\nSUB a 2\r\n")
    header = f"NATS/1.0\r\n{name}: secret\r\n\r\n".encode()
    message = b"%d %d\r\n%bx\r\n" % (len(header), len(header) + 1, header)
    limited.feed(b"HPUB a " + message)
    assert free.said() in (b"HMSG a 2 " + message, b"")


def test_cve_2026_33217_and_its_kin_have_no_exempt_prefix() -> None:
    """Subjects below ``$MQTT.`` were exempt from permissions, so that ACLs did not hold for who used them.

    No prefix is exempt: a client with an allow list may neither hear nor say anything below ``$MQTT``.
    """
    limited, free = opened(publish={"allow": "a"}, subscribe={"allow": "a"})
    for subject in ("$MQTT.sub.x", "$MQTT.deliver.pubrel.x", "$MQTT.>"):
        assert b"Permissions Violation" in limited.feed(f"SUB {subject} 1\r\n".encode())
        assert b"Permissions Violation" in limited.feed(f"PUB {subject} 0\r\n\r\n".encode())
        free.feed(f"PUB {subject} 1\r\nx\r\n".encode())
        assert limited.said() == b""


@pytest.mark.parametrize("only", [b"", b"Nats-Trace-Only: true\r\n"])
@pytest.mark.parametrize("responses", [{}, {"allow_responses": {"max": -1, "expires": "1h"}}])
def test_ghsa_p3j5_5hrq_p75h_traces_go_where_their_sender_may_publish(only: bytes, responses: dict[str, Any]) -> None:
    """Whoever connected as a leafnode could have traces of its messages sent to any subject, denied or not.

    Traces of any client go only where its own permissions let it publish; a permission to answer opens nothing.
    """
    limited, free = opened(publish={"allow": ["ok", "mine"]}, subscribe={"allow": ">"}, **responses)
    free.feed(b"SUB other 1\r\nSUB ok 2\r\n")
    limited.feed(b"SUB req 1\r\n")
    free.feed(b"PUB req other 1\r\nx\r\n")
    limited.said()
    block = b"NATS/1.0\r\nNats-Trace-Dest: other\r\n" + only + b"\r\n"
    said = limited.feed(b"HPUB ok %d %d\r\n%b\r\n" % (len(block), len(block), block))
    assert said == b"-ERR 'Permissions Violation for Publish to \"other\"'\r\n"
    assert free.said() == b""
