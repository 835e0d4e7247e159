"""A broker without sockets: a control, the sessions of its clients, and a clock that only tests move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from auth.authenticate import Authenticator
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options
from broker.control.control import Control
from broker.core.outbox import Hub
from broker.settings import auth_settings
from broker.wire.errors import CloseReason
from tests.support.connections import INFO
from tests.support.sessions import Conversation


@dataclass(eq=False)
class Call:
    """A call that is to come."""

    at: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class StillClock:
    """Time stands until a test moves it."""

    now: float = 1000.0
    calls: list[Call] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Call:
        call = Call(self.now + seconds, callback)
        self.calls.append(call)
        return call

    @property
    def waiting(self) -> list[Call]:
        """What is still to come, in its order."""
        return sorted((call for call in self.calls if not call.cancelled), key=lambda call: call.at)

    def pass_by(self, seconds: float) -> None:
        """Lets time pass, and calls what was to be called meanwhile."""
        end = self.now + seconds
        while self.waiting and self.waiting[0].at <= end:
            call = self.waiting[0]
            self.calls.remove(call)
            self.now = max(call.at, self.now)
            call.callback()
        self.now = end


class Broker:
    """A control, and the conversations of its clients. Users of a configuration text have the password ``p``."""

    def __init__(self, text: str = "", **options: Any) -> None:
        self.options = read_options(parse_bytes(text.encode())).options if text else Options(**options)
        self.clock = StillClock()
        self.hub = Hub()
        self.hub.now = self.clock.now
        authenticator = Authenticator(auth_settings(self.options))
        self.control = Control(self.options, authenticator, self.hub, INFO, self.clock)
        self._cid = 0

    def open(self) -> Conversation:
        """A client that has said nothing yet."""
        conversation = Conversation(self.control, hub=self.hub, control_line=4096, payload=1 << 20)
        self._cid += 1
        conversation.session.cid = self._cid
        return conversation

    def connect(self, user: str = "", **options: Any) -> Conversation:
        """A client that has sent CONNECT."""
        conversation = self.open()
        fields = {"verbose": False, "pedantic": False, "user": user, "pass": "p" if user else "", **options}
        conversation.feed(b"CONNECT " + json.dumps(fields).encode() + b"\r\n")
        return conversation

    def pass_by(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.pass_by(seconds)
        self.hub.now = self.clock.now

    def settle(self) -> None:
        """The end of a turn: what the last messages left to be done is done."""
        self.control.finish(self.hub.take_finished())
        while deferred := self.hub.take_deferred():
            for call, arguments in deferred:
                call(*arguments)

    def replace(self, text: str) -> None:
        """Puts the accounts of another configuration in place, as a reload does for what crosses walls."""
        self.options = read_options(parse_bytes(text.encode())).options
        self.control.authenticator = Authenticator(auth_settings(self.options))
        self.control.wiring.refresh()

    def close(self) -> None:
        """Ends everybody and everything."""
        for tenant in list(self.control.tenants.values()):
            for session in list(tenant.sessions):
                session.close(CloseReason.SERVER_SHUTDOWN)
        self.settle()
        self.control.close()

    def assert_idle(self) -> None:
        """Nothing is left of any client."""
        for tenant in self.control.tenants.values():
            assert (len(tenant.sessions), tenant.subscriptions, len(tenant._caches)) == (0, 0, 0)
            assert len(tenant.namespace) == 0
