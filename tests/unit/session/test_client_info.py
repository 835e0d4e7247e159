"""What others are told of a client."""

from __future__ import annotations

import json

import msgspec

from accounts.account import Account
from broker.session.client_info import asking, connected, disconnected
from tests.support.sessions import ANYBODY, Conversation

STARTED = "2023-11-14T22:13:20Z"
FULL = {"start": STARTED, "host": "127.0.0.1", "id": 7, "acc": "$G", "kind": "Client", "client_type": "nats"}


def shown(line: bytes) -> dict[str, object]:
    name, _, value = line.partition(b": ")
    assert name == b"Nats-Request-Info"
    assert value.endswith(b"}\r\n")
    found: dict[str, object] = json.loads(value)
    return found


def conversation() -> Conversation:
    made = Conversation()
    made.session.principal = ANYBODY
    made.session.liveness.round_trip = 0.002
    return made


def test_a_service_learns_account_and_round_trip() -> None:
    info = asking(conversation().session)
    assert info.header_line() == b'Nats-Request-Info: {"acc":"$G","rtt":2000000}\r\n'


def test_the_system_account_learns_the_server() -> None:
    assert shown(asking(conversation().session, "S1").header_line()) == {
        "acc": "$G", "rtt": 2_000_000, "server": "S1",
    }


def test_who_is_shared_is_shown() -> None:
    made = conversation()
    made.feed(b'CONNECT {"name":"app\\r\\nX: y","lang":"py","version":"3","verbose":false}\r\n')
    line = asking(made.session, "S1", share=True).header_line()
    assert line.count(b"\r\n") == 1, "a name cannot add a header"
    assert shown(line) == FULL | {
        "name": "app\r\nX: y", "lang": "py", "ver": "3", "rtt": 2_000_000, "server": "S1",
    }


def test_the_account_in_between_is_named() -> None:
    assert asking(conversation().session, through="B").svc == "B"


def test_a_client_that_comes_and_goes() -> None:
    made = conversation()
    account = Account("A", display_name="Acme")
    expected = FULL | {"acc": "A", "name_tag": "Acme"}
    assert json.loads(_line(connected(made.session, account))) == expected
    assert json.loads(_line(disconnected(made.session, account, 1_700_000_001.5))) == expected | {
        "rtt": 2_000_000, "stop": "2023-11-14T22:13:21.5Z",
    }


def test_whoever_was_let_in_nowhere_counts_for_the_global_account() -> None:
    made = Conversation()
    made.feed(b'CONNECT {"user":"bob","pass":"secret","jwt":"eyJ","verbose":false}\r\n')
    made.session.principal = None
    text = _line(disconnected(made.session, None, 1_700_000_001.0))
    assert json.loads(text) == FULL | {"user": "bob", "name_tag": "$G", "stop": "2023-11-14T22:13:21Z"}


def _line(info: object) -> bytes:
    return msgspec.json.encode(info)
