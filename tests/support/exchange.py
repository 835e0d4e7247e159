"""Plays what crosses the walls of accounts to a server, and holds every frame that comes of it against the twin."""

from __future__ import annotations

import json
import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from broker.wire.errors import CloseReason
from tests.oracle import plan
from tests.oracle.exchange import (
    NATS_SERVER,
    NATSKEEP,
    REWRITTEN,
    Account,
    Bus,
    Delivery,
    Info,
    Manner,
    Response,
    Rules,
    World,
)
from tests.oracle.frames import read_frames
from tests.support.brokers import Broker
from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target
from tests.support.sessions import Conversation
from tests.support.wire import WireConnection

HEADER = b"NATS/1.0\r\nColour: blue\r\n\r\n"
_REQUEST_INFO = b"Nats-Request-Info: "


class Server(Protocol):
    """A server with clients that are known by their users' names."""

    manner: Manner
    header: bytes
    """The header block of messages that have one."""

    def connect(self, user: str, **options: Any) -> None:
        """Log in with the password ``p``."""

    def send(self, user: str, data: bytes) -> dict[str, bytes]:
        """Send bytes and wait until all that comes of them has come; what every client has got, PONGs left out."""

    def close(self, user: str, sids: Sequence[str]) -> None:
        """End the connection, which has these subscriptions."""

    def reload(self, configuration: str) -> None:
        """Put another configuration in place, and wait until that is so."""

    def stop(self) -> None:
        """End all connections and the server."""


class Natskeep:
    """natskeep without sockets: configuration, control and sessions."""

    manner = NATSKEEP
    header = HEADER

    def __init__(self, configuration: str) -> None:
        self.broker = Broker(configuration)
        self._clients: dict[str, Conversation] = {}

    def connect(self, user: str, **options: Any) -> None:
        client = self._clients[user] = self.broker.connect(user, **options)
        assert client.said() == b""

    def send(self, user: str, data: bytes) -> dict[str, bytes]:
        self._clients[user].send([data])
        self.broker.settle()
        return {name: client.said() for name, client in self._clients.items()}

    def close(self, user: str, sids: Sequence[str]) -> None:
        self._clients.pop(user).session.close(CloseReason.CLIENT_CLOSED)
        self.broker.settle()

    def reload(self, configuration: str) -> None:
        self.broker.replace(configuration)
        self.broker.settle()

    def stop(self) -> None:
        for user in list(self._clients):
            self.close(user, ())
        self.broker.assert_idle()
        self.broker.close()


class Reference:
    """nats-server over sockets."""

    manner = NATS_SERVER
    header = HEADER

    def __init__(self, configuration: str, target: Target, directory: Path) -> None:
        self._port = reserve_port()
        self._file = directory / "server.conf"
        self._write(configuration)
        self._process = ServerProcess(target, ["-c", str(self._file)], directory)
        assert self._process.wait_until_ready(), self._process.output
        self._clients: dict[str, WireConnection] = {}

    def connect(self, user: str, **options: Any) -> None:
        client = self._clients[user] = WireConnection(self._port)
        client.read_info()
        client.send(_connect(user, options))
        self._heard(user)

    def send(self, user: str, data: bytes) -> dict[str, bytes]:
        self._clients[user].send(data)
        # The server writes to others before it answers the sender, but hears their PINGs whenever they come.
        first = {user: self._heard(user)}
        return {name: first.pop(name, b"") + self._heard(name) for name in self._clients}

    def close(self, user: str, sids: Sequence[str]) -> None:
        # When the server notices the end of a connection cannot be seen from outside, but that of subscriptions can.
        self.send(user, "".join(f"UNSUB {sid}\r\n" for sid in sids).encode())
        self._clients.pop(user).close()

    def reload(self, configuration: str) -> None:
        self._write(configuration)
        self._process.send_signal(signal.SIGHUP)
        assert self._process.wait_for("Reloaded server configuration"), self._process.output

    def _write(self, configuration: str) -> None:
        self._file.write_text(f'listen: "127.0.0.1:{self._port}"\n{configuration}')

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self._process.stop()

    def _heard(self, user: str) -> bytes:
        client = self._clients[user]
        client.send(b"PING\r\n")
        found = []
        while (frame := client.frame()) != b"PONG":
            assert frame is not None, f"{user} was disconnected: {self._process.output[-2000:]}"
            if not frame.startswith(b"INFO "):
                found.append(frame + b"\r\n")
        return b"".join(found)


class Play:
    """One bus and one server that are done the same to."""

    def __init__(self, accounts: Sequence[Account], server: Server) -> None:
        self.bus = Bus(accounts, server.manner)
        self.server = server
        self.deliveries = 0
        self._messages = 0
        self._sids = 0

    def connect(self, user: str, *, echo: bool = True, headers: bool = True, no_responders: bool = True) -> None:
        """Connects one client of the user."""
        no_responders = no_responders and headers
        self.server.connect(user, echo=echo, headers=headers, no_responders=no_responders)
        self.bus.connect(user, echo=echo, headers=headers, no_responders=no_responders)

    def reconfigure(self, accounts: Sequence[Account]) -> None:
        """Puts other exports, imports and mappings in place, while everybody stays connected."""
        self.server.reload(configuration(accounts))
        self.bus.reconfigure(accounts)

    def close(self, user: str) -> None:
        """Ends a connection."""
        client = self.bus.clients[user]
        self.server.close(user, [each.sid for each in self.bus.subscriptions if each.client is client])
        self.bus.close(client)

    def subscribe(self, user: str, subject: str, queue: str | None = None) -> str:
        """Subscribes, if the user may; returns the sid."""
        self._sids += 1
        sid = str(self._sids)
        words = [subject, sid] if queue is None else [subject, queue, sid]
        heard = self.server.send(user, f"SUB {' '.join(words)}\r\n".encode())
        queued = "" if queue is None else f' using queue "{queue}"'
        refusal = f"-ERR 'Permissions Violation for Subscription to \"{subject}\"{queued}'\r\n".encode()
        permitted = self.bus.subscribe(self.bus.clients[user], subject, queue, sid)
        assert {name: data for name, data in heard.items() if data} == ({} if permitted else {user: refusal})
        return sid

    def unsubscribe(self, user: str, sid: str) -> None:
        """Ends a subscription."""
        heard = self.server.send(user, f"UNSUB {sid}\r\n".encode())
        assert not any(heard.values())
        self.bus.unsubscribe(self.bus.clients[user], sid)

    def publish(
        self, user: str, subject: str, reply: str | None = None, *, header: bool = False, empty: bool = False
    ) -> list[Delivery]:
        """Publishes, and holds what every client gets against the twin; returns the deliveries."""
        client = self.bus.clients[user]
        self._messages += 1
        payload = b"" if empty else b"%d" % self._messages
        with_header = header and client.headers
        head = f"{subject} {reply}" if reply else subject
        if with_header:
            block = self.server.header
            line = f"HPUB {head} {len(block)} {len(block) + len(payload)}\r\n".encode() + block
        else:
            line = f"PUB {head} {len(payload)}\r\n".encode()
        worlds = self.bus.publish(client, subject, reply, header=with_header, empty=empty)
        heard = self.server.send(user, line + payload + b"\r\n")
        deliveries, replies, refusals = _read(heard, payload, self.server.header)
        for world in worlds:
            wanted = [] if world.refused is None else [(user, _refusal(world.refused, reply))]
            happened = world.matching(deliveries)
            if happened is not None and refusals == wanted:
                self.bus.settle(client, world, happened, replies)
                self.deliveries += len(happened)
                return happened
        raise AssertionError(_told(worlds, deliveries, refusals))

    def answer(self, user: str, response: Response, *, header: bool = False, empty: bool = False) -> list[Delivery]:
        """Publishes to the subject that the server has made for the answers to a request."""
        return self.publish(user, response.name, header=header, empty=empty)


def _read(
    heard: Mapping[str, bytes], payload: bytes, block: bytes
) -> tuple[Counter[Delivery], dict[Delivery, list[str]], list[Any]]:
    """The deliveries, the subjects that the server made for replies to them, and the lines of other kinds."""
    deliveries: Counter[Delivery] = Counter()
    replies: dict[Delivery, list[str]] = defaultdict(list)
    others = []
    for name, data in heard.items():
        for frame in read_frames(data):
            if not isinstance(frame, plan.Delivery):
                others.append((name, frame.decode()))
                continue
            status = (frame.header or b"").startswith(b"NATS/1.0 503\r\n")
            assert frame.payload == (b"" if status else payload), "another message than was published"
            info, own = (None, False) if status else _header(frame.header, block)
            reply = None if frame.reply is None else frame.reply.decode()
            found = Delivery(name, frame.sid.decode(), frame.subject.decode(), reply, info, own, status)
            if reply is not None and reply.startswith(REWRITTEN):
                found = Delivery(found.client, found.sid, found.subject, REWRITTEN, info, own, status)
                replies[found.seen].append(reply)
            deliveries[found.seen] += 1
    return deliveries, replies, others


def _header(header: bytes | None, block: bytes) -> tuple[Info | None, bool]:
    """What a header says about the request, and whether the publisher's own lines are in it, and no others."""
    if header is None:
        return None, False
    lines = header.removesuffix(b"\r\n\r\n").split(b"\r\n")
    asked = [line.removeprefix(_REQUEST_INFO) for line in lines if line.startswith(_REQUEST_INFO)]
    rest = [line for line in lines if not line.startswith(_REQUEST_INFO)]
    assert rest in ([b"NATS/1.0"], block.removesuffix(b"\r\n\r\n").split(b"\r\n")), header
    assert len(asked) <= 1, header
    if not asked:
        return None, len(rest) > 1
    info = json.loads(asked[0])
    return Info(info["acc"], info.get("svc"), "user" in info), len(rest) > 1


def _refusal(subject: str, reply: str | None) -> str:
    what = f'with Reply of "{subject}"' if subject == reply else f'to "{subject}"'
    return f"-ERR 'Permissions Violation for Publish {what}'"


def _told(worlds: Iterable[World], deliveries: Counter[Delivery], refusals: list[Any]) -> str:
    lines = ["seen:", *(f"  {count} times {delivery}" for delivery, count in deliveries.items()), f"  {refusals}"]
    for world in worlds:
        lines += ["wanted:", *(f"  {delivery.seen}" for delivery in world.certain)]
        lines += [f"  one of {[delivery.seen for delivery in choice]}" for choice in world.choices]
        lines += [f"  refused {world.refused}"] if world.refused is not None else []
    return "\n".join(lines)


def _connect(user: str, options: Mapping[str, Any]) -> bytes:
    fields = {"verbose": False, "pedantic": False, "user": user, "pass": "p", **options}
    return b"CONNECT " + json.dumps(fields).encode() + b"\r\n"


# The configuration file.


def configuration(accounts: Iterable[Account]) -> str:
    """The accounts as both servers read them."""
    return json.dumps({"accounts": {account.name: _account(account) for account in accounts}}, indent=1)


def _account(account: Account) -> dict[str, Any]:
    found: dict[str, Any] = {
        "users": [
            {"user": user.name, "password": "p", "permissions": _permissions(user.rules)} for user in account.users
        ],
        "exports": [
            {
                export.kind: export.subject,
                **({"accounts": sorted(export.accounts)} if export.accounts is not None else {}),
                **({"account_token_position": export.position} if export.position else {}),
                **({"response": export.response} if export.kind == "service" else {}),
                **({"allow_trace": True} if export.allow_trace else {}),
            }
            for export in account.exports
        ],
        "imports": [
            {
                taken.kind: {"account": taken.account, "subject": taken.subject},
                **({"to": taken.to} if taken.to else {}),
                **({"prefix": taken.prefix} if taken.prefix else {}),
                **({"share": True} if taken.share else {}),
                **({"allow_trace": True} if taken.allow_trace else {}),
            }
            for taken in account.imports
        ],
        "mappings": {
            mapping.source: [{"dest": to, "weight": weight} for to, weight in mapping.destinations]
            for mapping in account.mappings
        },
    }
    return {key: value for key, value in found.items() if value or key == "users"}


def _permissions(rules: Rules) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for direction, allow, deny in (
        ("publish", rules.publish_allow, rules.publish_deny),
        ("subscribe", rules.subscribe_allow, rules.subscribe_deny),
    ):
        if allow or deny:
            found[direction] = {"allow": list(allow)} if allow else {}
            found[direction] |= {"deny": list(deny)} if deny else {}
    if rules.responses is not None:
        found["allow_responses"] = {"max": rules.responses, "expires": "10m"}
    return found
