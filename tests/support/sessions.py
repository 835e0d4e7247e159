"""Sessions without sockets: real bytes, lane and outbox, between a backend and a transport that only take notes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from auth.authenticate import Authenticator
from auth.errors import AuthError
from auth.evidence import ConnectionType
from auth.principal import Principal
from auth.settings import AuthSettings
from broker.core.exchange import Crossing
from broker.core.outbox import Hub
from broker.core.parser import Lane, ReadBuffer
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription
from broker.session.backend import Backend, LimitError
from broker.session.liveness import Liveness
from broker.session.session import Session
from broker.wire.connect import ConnectOptions
from broker.wire.errors import CloseReason

INFO = b'INFO {"first":true} \r\n'
LATER_INFO = b'INFO {"first":false} \r\n'


def anybody() -> Principal:
    """The principal of a server that asks for no credentials."""
    principal = Authenticator(AuthSettings()).no_auth_principal(ConnectionType.STANDARD)
    assert principal is not None
    return principal


ANYBODY = anybody()


class NotedBackend:
    """Lets everybody in unless told otherwise, and keeps a namespace of its own."""

    def __init__(self, *, required: bool = False, policy: Policy | None = None) -> None:
        self.required = required
        self.slow = False
        self.refusal: AuthError | None = None
        self.limit: LimitError | None = None
        self.subscribe_answer: str | None = None
        self.namespace = Namespace("A")
        self.plans = PlanCache(self.namespace, policy or Policy(None, [b"no.>"], [b"_R_.>"]))
        self.principal = ANYBODY
        self.notes: list[tuple[object, ...]] = []

    def authenticate(self, session: Session, connect: ConnectOptions) -> Principal:
        self.notes.append(("authenticate", connect))
        if self.refusal is not None:
            raise self.refusal
        return self.principal

    def is_slow(self, session: Session, connect: ConnectOptions) -> bool:
        return self.slow

    def principal_without_connect(self, session: Session) -> Principal | None:
        return None if self.required else self.principal

    def bind(self, session: Session, principal: Principal) -> None:
        if self.limit is not None:
            raise self.limit
        session.client.bind(self.plans)
        session.tenant = self
        self.notes.append(("bind",))

    def unbind(self, session: Session) -> None:
        if session.tenant is None:
            return
        for subscription in session.subscriptions.values():
            self.namespace.remove(subscription)
        session.subscriptions.clear()
        session.client.bind(None)
        session.tenant = None
        self.notes.append(("unbind",))

    def subscribe(self, session: Session, subject: bytes, queue: bytes | None, sid: bytes) -> str | None:
        self.notes.append(("subscribe", subject, queue, sid))
        if self.subscribe_answer is None and sid not in session.subscriptions:
            session.subscriptions[sid] = Subscription(session.client, subject, queue, sid)
            self.namespace.insert(session.subscriptions[sid])
        return self.subscribe_answer

    def unsubscribe(self, session: Session, sid: bytes, maximum: int) -> None:
        self.notes.append(("unsubscribe", sid, maximum))
        subscription = session.subscriptions.get(sid)
        if subscription is not None and subscription.limit(maximum):
            self.namespace.remove(session.subscriptions.pop(sid))

    def publish_refused(self, session: Session, subject: str) -> None:
        self.notes.append(("publish refused", subject))

    def reply_refused(self, session: Session, reply: str) -> None:
        self.notes.append(("reply refused", reply))

    def request_info(self, session: Session, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        return b"Nats-Request-Info: {}\r\n"

    def info(self, session: Session) -> bytes:
        return INFO if session.tenant is None else LATER_INFO

    def report(self, session: Session, text: str, level: int = logging.ERROR) -> None:
        self.notes.append(("report", text, level))

    def noted(self, name: str) -> list[tuple[object, ...]]:
        """The arguments of every call of that name."""
        return [note[1:] for note in self.notes if note[0] == name]


class NotedTransport:
    """Keeps what the session asks of it."""

    def __init__(self) -> None:
        self.ended: list[CloseReason] = []
        self.expiry: list[float | None] = []
        self.authentications = 0
        self.set_aside: list[ConnectOptions] = []
        self.pauses = 0
        self.paused_for = 0.0
        self.started = 1_700_000_000.0
        self.connected: float | None = None

    def end(self, reason: CloseReason) -> None:
        self.ended.append(reason)

    def expire_at(self, moment: float | None) -> None:
        self.expiry.append(moment)

    def verify_aside(self, connect: ConnectOptions) -> None:
        self.set_aside.append(connect)

    def pause(self, seconds: float = 0.0) -> None:
        self.pauses += 1
        self.paused_for += seconds

    def flush(self) -> None:
        raise AssertionError("a session does not write by itself")

    def authenticated(self) -> None:
        self.authentications += 1


class Conversation:
    """One session and everything around it."""

    backend: Any

    def __init__(
        self,
        backend: Backend | None = None,
        *,
        hub: Hub | None = None,
        buffer: int = 4096,
        control_line: int = 256,
        payload: int = 100,
        interval: float = 10.0,
        maximum: int = 2,
        headers: bool = True,
    ) -> None:
        self.backend = backend or NotedBackend()
        self.transport = NotedTransport()
        self.hub = hub or Hub()
        self.hub.now = 1000.0
        self.client = Client(self.hub)
        self.lane = Lane(self.client, ReadBuffer(buffer))
        self.lane.maximum_control_line = control_line
        self.lane.maximum_payload = payload
        self.lane.accept_headers = headers
        self.session = Session(
            self.backend,
            self.transport,
            self.hub,
            self.client,
            self.lane,
            cid=7,
            remote_ip="127.0.0.1",
            remote_port=1,
            nonce="",
            liveness=Liveness(interval, maximum, self.hub.now),
        )
        self.client.owner = self.session

    def feed(self, *chunks: bytes) -> bytes:
        """Hands chunks to the session as a connection does, as long as it listens; returns what it answered."""
        self.send(chunks)
        return self.said()

    def send(self, chunks: Iterable[bytes]) -> None:
        """Hands chunks to the session and leaves the answers in the outbox."""
        for chunk in chunks:
            data = chunk
            while data and not self.transport.ended:
                data = data[self.lane.feed(data) :]
                self.session.data_received()
                while self.session.paused:
                    self.session.go_on()

    def said(self) -> bytes:
        """What the session has answered since the last call."""
        data = bytes(self.client.view())
        self.client.consume(len(data))
        return data

    @property
    def close_reason(self) -> CloseReason | None:
        """Why it ended; None while it lives."""
        assert self.transport.ended == ([] if self.session.close_reason is None else [self.session.close_reason])
        return self.session.close_reason
