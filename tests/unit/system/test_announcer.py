"""What the system account is told, when, and that nobody is told what he may not hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from broker.identity import Identity
from broker.monitor.watched import Watched
from broker.net.service import Service
from broker.system.announcer import CONNECTIONS_INTERVAL, STATISTICS_INTERVAL, TOLD_A_TURN, Announcer
from broker.system.envelope import Voice
from broker.wire.errors import CloseReason
from tests.support.brokers import Broker
from tests.support.sessions import Conversation

ACCOUNTS = """
server_name: S1
server_tags: ["a:b"]
accounts {
  $SYS { users: [{user: s, password: p}] }
  A { users: [{user: a, password: p}] }
  B { users: [{user: b, password: p}] }
}
"""


class Stage:
    """A broker with an announcer, and a user of the system account."""

    def __init__(self, loop: asyncio.AbstractEventLoop, text: str = ACCOUNTS) -> None:
        self.broker = Broker(text)
        control = self.broker.control
        self.watched = Watched(
            identity=Identity(name="S1"),
            started_at=1_700_000_000.0,
            service=Service(loop, self.broker.options, control),
            is_serving=lambda: True,
            http_host="127.0.0.1",
        )
        self.voice = Voice(self.watched)
        self.announcer = Announcer(self.watched, control.internal("$SYS"), self.voice)
        self.server = self.watched.identity.server_id
        self.announcer.open()
        self.listener = self.broker.connect("s")

    def listen(self, *subjects: str) -> None:
        """Lets the user of the system account hear these."""
        self.listener.feed(b"".join(f"SUB {subject} {number}\r\n".encode() for number, subject in enumerate(subjects)))

    def heard(self, conversation: Conversation | None = None) -> list[tuple[str, dict[str, Any]]]:
        """Subjects and bodies that came since the last call."""
        said = (conversation or self.listener).said()
        found = []
        while said:
            line, _, rest = said.partition(b"\r\n")
            assert line.startswith(b"MSG "), said
            size = int(line.split()[-1])
            found.append((line.split()[1].decode(), json.loads(rest[:size])))
            said = rest[size + 2 :]
        return found

    def subjects(self) -> list[str]:
        return [subject for subject, _ in self.heard()]


@pytest.fixture
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    yield Stage(loop)
    loop.close()


def close(conversation: Conversation) -> None:
    conversation.session.close(CloseReason.CLIENT_CLOSED)


def test_a_client_that_comes(stage: Stage) -> None:
    stage.listen("$SYS.>")
    stage.broker.connect("a", name="app", lang="py", version="3")
    (old, old_body), (new, new_body), (subject, event) = stage.heard()
    assert (old, new, subject) == (
        "$SYS.SERVER.ACCOUNT.A.CONNS", "$SYS.ACCOUNT.A.SERVER.CONNS", "$SYS.ACCOUNT.A.CONNECT",
    )
    assert list(event) == ["type", "id", "timestamp", "server", "client"]
    assert event["type"] == "io.nats.server.advisory.v1.client_connect"
    assert len(event["id"]) == 22
    assert list(event["server"]) == [
        "name", "host", "id", "ver", "tags", "feature_flags", "jetstream", "flags", "seq", "time",
    ]
    assert event["client"] == {
        "start": "2023-11-14T22:13:20Z", "host": "127.0.0.1", "id": 2, "acc": "A", "user": "a", "name": "app",
        "lang": "py", "ver": "3", "name_tag": "A", "kind": "Client", "client_type": "nats",
    }
    assert (old_body["id"], old_body["timestamp"]) == (new_body["id"], new_body["timestamp"])
    assert new_body["server"]["seq"] == old_body["server"]["seq"] + 1
    assert (new_body["acc"], new_body["name"], new_body["conns"], new_body["total_conns"]) == ("A", "A", 1, 1)


def test_a_client_that_goes(stage: Stage) -> None:
    stage.listen("$SYS.ACCOUNT.A.DISCONNECT", "$SYS.ACCOUNT.A.SERVER.CONNS")
    client = stage.broker.connect("a")
    stage.heard()
    client.feed(b"SUB q 1\r\nPUB q 3\r\n123\r\nPUB z 2\r\n45\r\n")
    close(client)
    (_, connections), (subject, event) = stage.heard()
    assert subject == "$SYS.ACCOUNT.A.DISCONNECT"
    assert event["type"] == "io.nats.server.advisory.v1.client_disconnect"
    assert (event["sent"], event["received"]) == ({"msgs": 2, "bytes": 5}, {"msgs": 1, "bytes": 3})
    assert event["reason"] == "Client Closed"
    assert event["client"]["stop"] == event["timestamp"]
    # The account's numbers are the server's: what it received is what its clients sent.
    assert (connections["conns"], connections["received"]["msgs"], connections["sent"]["bytes"]) == (0, 2, 3)


def test_a_client_that_is_not_let_in(stage: Stage) -> None:
    stage.listen("$SYS.>")
    stage.broker.connect("a", **{"pass": "wrong"})
    (subject, event), (gone, _) = stage.heard()
    assert (subject, gone) == (f"$SYS.SERVER.{stage.server}.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT")
    assert event["reason"] == "Authentication Failure"
    assert (event["client"]["acc"], event["client"]["user"]) == ("$G", "a")
    assert "wrong" not in json.dumps(event)


def test_a_failed_login_is_told_inside_its_account() -> None:
    loop = asyncio.new_event_loop()
    stage = Stage(loop, "accounts { $SYS { users: [{user: s, password: p}] } }")
    stranger = stage.broker.connect()
    stranger.feed(b"SUB > 1\r\n")
    stage.broker.connect("nobody")
    stage.broker.open().feed(b"CONNECT {}\r\nSUB $SYS.> 1\r\n")
    ((subject, event),) = stage.heard(stranger)
    assert (subject, event["client"]["user"]) == ("$SYS.ACCOUNT.CLIENT.AUTH.ERR", "nobody")
    loop.close()


def test_a_verb_before_connect_is_told_to_the_system_account_only(stage: Stage) -> None:
    stage.listen("$SYS.>")
    stage.broker.open().feed(b"PING\r\n")
    assert stage.subjects() == [f"$SYS.SERVER.{stage.server}.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT"]


def test_a_client_that_changes_its_account(stage: Stage) -> None:
    client = stage.broker.connect("a")
    client.feed(b"PUB x 4\r\nabcd\r\n")
    stage.listen("$SYS.ACCOUNT.*.SERVER.CONNS")
    client.feed(b'CONNECT {"user":"b","pass":"p","verbose":false}\r\nPUB x 1\r\na\r\n')
    close(client)
    told = [(body["acc"], body["conns"], body["received"]["bytes"]) for _, body in stage.heard()]
    assert told == [("A", 0, 4), ("B", 1, 0), ("B", 0, 1)]


def test_the_global_account_is_not_counted() -> None:
    loop = asyncio.new_event_loop()
    stage = Stage(loop, "accounts { $SYS { users: [{user: s, password: p}] } }")
    stage.listen("$SYS.>")
    close(stage.broker.connect())
    assert stage.subjects() == ["$SYS.ACCOUNT.$G.CONNECT", "$SYS.ACCOUNT.$G.DISCONNECT"]
    loop.close()


def test_connections_are_told_again_until_there_are_none(stage: Stage) -> None:
    client = stage.broker.connect("a")
    stage.listen("$SYS.ACCOUNT.A.SERVER.CONNS")
    stage.broker.pass_by(CONNECTIONS_INTERVAL - 1)
    assert stage.subjects() == []
    stage.broker.pass_by(1)
    assert len(stage.subjects()) == 1
    stage.broker.pass_by(2 * CONNECTIONS_INTERVAL)
    assert len(stage.subjects()) == 2
    close(client)
    assert len(stage.subjects()) == 1
    stage.broker.pass_by(2 * CONNECTIONS_INTERVAL)
    assert stage.subjects() == []


def test_a_change_puts_the_next_time_off(stage: Stage) -> None:
    stage.broker.connect("a")
    stage.listen("$SYS.ACCOUNT.A.SERVER.CONNS")
    stage.broker.pass_by(20)
    stage.broker.connect("a")
    assert len(stage.subjects()) == 1
    stage.broker.pass_by(20)
    assert stage.subjects() == []
    stage.broker.pass_by(10)
    assert len(stage.subjects()) == 1


def test_many_accounts_are_told_of_in_turns() -> None:
    loop = asyncio.new_event_loop()
    names = [f"N{number}" for number in range(TOLD_A_TURN + 10)]
    users = "\n".join(f"{name} {{ users: [{{user: {name}, password: p}}] }}" for name in names)
    stage = Stage(loop, f"accounts {{ $SYS {{ users: [{{user: s, password: p}}] }}\n{users}\n}}")
    for name in names:
        stage.broker.connect(name)
    stage.listen("$SYS.ACCOUNT.*.SERVER.CONNS")
    due = stage.announcer._due_timer
    stage.broker.pass_by(CONNECTIONS_INTERVAL)
    told = stage.subjects()
    # The user of the system account came first, and is one of them.
    assert len(told) == len(set(told)) == len(names) + 1
    assert stage.announcer._due_timer is not due
    loop.close()


def test_statistics_are_told_ever_more_seldom(stage: Stage) -> None:
    stage.listen(f"$SYS.SERVER.{stage.server}.STATSZ")
    moments = []
    for _ in range(240):
        stage.broker.pass_by(0.25)
        moments += [stage.broker.clock.now - 1000.0] * len(stage.heard())
    # After a quarter of a second, and then twice as late each time.
    assert moments == [0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 25.75, 35.75, 45.75, 55.75]
    assert moments[-1] - moments[-2] == STATISTICS_INTERVAL


def test_statistics_that_were_just_asked_for_are_not_repeated_within_a_second(stage: Stage) -> None:
    stage.broker.pass_by(15.0)
    stage.listen(f"$SYS.SERVER.{stage.server}.STATSZ")
    stage.announcer.broadcast()
    ((_, body),) = stage.heard()
    assert list(body) == ["server", "statsz"]
    assert (body["statsz"]["active_accounts"], body["statsz"]["active_servers"]) == (1, 1)
    stage.broker.pass_by(0.75)
    assert stage.heard() == []
    stage.broker.pass_by(0.25)
    assert len(stage.heard()) == 1


def test_the_end_is_told_and_nothing_after_it(stage: Stage) -> None:
    client = stage.broker.connect("a")
    stage.listen("$SYS.>")
    stage.announcer.lame_duck()
    stage.announcer.close()
    (first, body), (second, _) = stage.heard()
    assert (first, second) == (f"$SYS.SERVER.{stage.server}.LAMEDUCK", f"$SYS.SERVER.{stage.server}.SHUTDOWN")
    assert (body["name"], body["id"], body["jetstream"]) == (stage.watched.service.control.server_info.server_name,
                                                             stage.watched.service.control.server_info.server_id, False)
    close(client)
    assert stage.heard() == []
    assert stage.broker.clock.waiting == []


def test_nothing_is_built_that_nobody_hears(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(Voice, "sender", lambda _: built.append(1))
    close(stage.broker.connect("a"))
    stage.broker.connect("a", **{"pass": "wrong"})
    stage.broker.pass_by(60.0)
    assert built == []


def test_what_nobody_hears_counts_all_the_same(stage: Stage) -> None:
    before = stage.voice.spoken
    close(stage.broker.connect("a"))
    # Twice the connections in two forms, and the client's coming and going.
    assert stage.voice.spoken == before + 6
