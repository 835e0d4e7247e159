"""Tracing changes nothing, and tells nothing of what lies behind a wall that `allow_trace` does not open.

The small worlds of `test_exchange` are played once more, with every message that has a header traced: what everybody
receives must be what the twin says of messages that are not traced. Before each of them it is traced alone, which must
reach nobody and leave everything as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings

from auth.gojson import dumps
from broker.control.observer import Observer
from tests.oracle import plan
from tests.oracle.exchange import Rules
from tests.oracle.frames import read_frames
from tests.oracle.names import covers, inverted
from tests.support.exchange import HEADER, Natskeep
from tests.support.scenes import play
from tests.support.servers import NATSKEEP
from tests.support.topologies import Scene, scenes

DESTINATION = "told.to.one.who.asks"
TRACED = HEADER.replace(b"\r\n\r\n", f"\r\nNats-Trace-Dest: {DESTINATION}\r\n\r\n".encode())
ALONE = TRACED.replace(b"\r\n\r\n", b"\r\nNats-Trace-Only: true\r\n\r\n")


class Told(Observer):
    """Keeps the events as they would go out."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def traced(self, account: str, destination: str, build: Callable[[object], object], accepts: str) -> None:
        self.events.append((account, destination, json.loads(dumps(build({})))))


class Traced(Natskeep):
    """natskeep with every message traced that has a header."""

    header = TRACED

    def __init__(self, configuration: str) -> None:
        super().__init__(configuration)
        self.told = self.broker.control.observer = Told()
        self.accounts: dict[str, dict[str, Any]] = json.loads(configuration)["accounts"]
        self.home = {user["user"]: name for name, account in self.accounts.items() for user in account["users"]}

    def connect(self, user: str, **options: Any) -> None:
        super().connect(user, name=f"client-{user}", **options)

    def reload(self, configuration: str) -> None:
        super().reload(configuration)
        self.accounts = json.loads(configuration)["accounts"]

    def send(self, user: str, data: bytes) -> dict[str, bytes]:
        if TRACED not in data:
            heard = super().send(user, data)
            assert self.told.events == []
            return heard
        alone = super().send(user, _resized(data))
        assert not any(_messages(said) for said in alone.values())
        self._check(user, self._event(), None)
        heard = super().send(user, data)
        self._check(user, self._event(), heard)
        return heard

    def _event(self) -> tuple[str, str, dict[str, Any]]:
        [event] = self.told.events
        self.told.events.clear()
        return event

    def _check(self, user: str, event: tuple[str, str, dict[str, Any]], heard: dict[str, bytes] | None) -> None:
        account, destination, told = event
        sender = self.home[user]
        assert (account, destination) == (sender, DESTINATION)
        came, *steps = told["events"]
        assert (came["type"], came["acc"], came["name"]) == ("in", sender, f"client-{user}")
        services, streams = self._opened_services(sender), self._opened_streams(sender)
        received: Counter[str] = Counter()
        for step in steps:
            if step["type"] == "eg":
                owner = step["name"].removeprefix("client-")
                assert self.home[owner] == step.get("acc", sender)
                assert self.home[owner] in services | streams
                received[owner] += "error" not in step
            elif step["type"] == "se":
                assert any(
                    taken["account"] == sender and _brings(taken, step["to"])
                    for taken in self._imports(step["acc"], "stream")
                )
            elif step["type"] == "si":
                assert step["to"] == "" or self._is_permitted(step, services)
        if heard is not None:
            for owner, said in heard.items():
                assert received[owner] <= _messages(said)
                if self.home[owner] == sender and not self._takes_from_itself(sender):
                    assert received[owner] == _messages(said)

    def _imports(self, account: str, kind: str) -> list[dict[str, Any]]:
        found = self.accounts[account].get("imports", [])
        return [{**taken, **taken[kind]} for taken in found if kind in taken]

    def _takes_from_itself(self, account: str) -> bool:
        imports = [*self._imports(account, "stream"), *self._imports(account, "service")]
        return any(taken["account"] == account for taken in imports)

    def _opens(self, taken: dict[str, Any]) -> bool:
        """Whether the export of a service import lets traces on."""
        return any(
            export.get("allow_trace", False) and covers(export["service"], taken["subject"])
            for export in self.accounts[taken["account"]].get("exports", [])
            if "service" in export
        )

    def _opened_services(self, account: str) -> set[str]:
        """The account, and those whose services let its traces on."""
        found, waiting = {account}, [account]
        while waiting:
            for taken in self._imports(waiting.pop(), "service"):
                if taken["account"] not in found and self._opens(taken):
                    found.add(taken["account"])
                    waiting.append(taken["account"])
        return found

    def _opened_streams(self, account: str) -> set[str]:
        """Those that take streams of the account and let its traces on."""
        return {
            name
            for name in self.accounts
            if any(taken["account"] == account and taken.get("allow_trace") for taken in self._imports(name, "stream"))
        }

    def _is_permitted(self, step: dict[str, Any], opened: set[str]) -> bool:
        """Whether an account that is open to the trace imports just that; behind an open wall a mapping may be told."""
        for name in opened:
            for taken in self._imports(name, "service"):
                if taken["account"] == step["acc"] and (covers(taken["subject"], step["to"]) or self._opens(taken)):
                    return True
        return False


def _brings(taken: dict[str, Any], subject: str) -> bool:
    """Whether a stream import brings something under that subject."""
    here = taken.get("to") or (f"{taken['prefix']}.{taken['subject']}" if "prefix" in taken else taken["subject"])
    return covers(inverted(taken["subject"], here)[0], subject)


def _messages(said: bytes) -> int:
    """How many messages a client was sent; the server's own words are none."""
    frames = [frame for frame in read_frames(said) if isinstance(frame, plan.Delivery)]
    return sum(not (frame.header or b"").startswith(b"NATS/1.0 503\r\n") for frame in frames)


def _resized(data: bytes) -> bytes:
    """The message, traced alone."""
    line, _, rest = data.partition(b"\r\n")
    *words, header, size = line.split(b" ")
    more = len(ALONE) - len(TRACED)
    sizes = b"%d %d" % (int(header) + more, int(size) + more)
    return b" ".join([*words, sizes]) + b"\r\n" + rest.replace(TRACED, ALONE)


def _may_trace(rules: Rules) -> Rules:
    """The rules of somebody who may publish to the destination too."""
    closed = bool(rules.publish_allow) or rules.responses is not None
    return replace(
        rules,
        publish_allow=(*rules.publish_allow, DESTINATION) if closed else (),
        publish_deny=tuple(subject for subject in rules.publish_deny if subject != ">"),
    )


def traceable(scene: Scene) -> Scene:
    """The scene with everybody free to have traces sent to the destination."""
    accounts = [
        replace(account, users=tuple(replace(user, rules=_may_trace(user.rules)) for user in account.users))
        for account in scene.accounts
    ]
    return replace(scene, accounts=tuple(accounts))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenes())
def test_deliveries_are_those_of_untraced_messages_and_traces_end_at_walls(scene: Scene) -> None:
    play(traceable(scene), NATSKEEP, own=Traced)
