"""The streams of one account without sockets and without waiting: its time stands still until a test moves it on."""

from __future__ import annotations

import heapq
import json
import shutil
from collections import deque
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import Any, cast

from accounts.account import Account
from accounts.limits import EVERY_TIER, JetStreamLimits
from broker.config.options import JetStreamOptions
from broker.control.internal import Internal, Received
from broker.control.tenant import Tenant
from broker.core.outbox import Hub
from broker.jetstream.account import AccountJetStream
from broker.jetstream.api.router import Router
from broker.jetstream.settings import Settings
from broker.jetstream.store.account import AccountStore
from broker.jetstream.store.tables import StoreError

START = 1_700_000_000_000_000_000
"""Nanoseconds since 1970 at which time begins."""

NANOSECONDS = 10**9
MOST_TURNS = 1000
API = "$JS.API."


class Moment:
    """Stands in for the time module."""

    def __init__(self) -> None:
        self.passed = 0
        self._looks = 0

    def time_ns(self) -> int:
        """A little later whenever somebody looks, as with a real clock."""
        self._looks += 1
        return START + self.passed + self._looks

    def monotonic(self) -> float:
        return self.passed / NANOSECONDS


class Call:
    """A call that is to come."""

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Written:
    """A commit that was written when it was asked for; who waits for it hears of that at the end of the turn."""

    def __init__(self, loop: Loop, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._loop = loop
        self._error: BaseException | None = None
        try:
            function(*arguments)
        except StoreError as error:
            self._error = error

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._loop.call_soon(callback, self)

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self._error

    def __await__(self) -> Generator[None]:
        if self._error is not None:
            raise self._error
        return
        yield


class Awaited:
    """Who waits for it has the loop turn until it is there."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, _: object) -> None:
        self._is_done = True

    def __await__(self) -> Generator[None]:
        while not self._is_done:
            assert self._loop.turn(), "nobody does what is waited for"
        return
        yield


class Loop:
    """What an account asks of an event loop, and the clock of its timers."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.hub = Hub()
        self.turns = 0
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[int, int, Call]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self.moment.monotonic()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Call:
        self._ready.append(Call(callback, arguments))
        return self._ready[-1]

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Call:
        made = Call(callback, arguments)
        due = self.moment.passed + max(round(seconds * NANOSECONDS), 0)
        heapq.heappush(self._timers, (due, next(self._numbers), made))
        return made

    def run_in_executor(self, executor: object, function: Callable[..., object], *arguments: Any) -> Written:
        return Written(self, function, arguments)

    def create_future(self) -> Awaited:
        return Awaited(self)

    def end_turn(self) -> None:
        """What messages left to be done at the end of their turn."""
        while deferred := self.hub.take_deferred():
            for call, arguments in deferred:
                call(*arguments)

    def turn(self) -> bool:
        """One turn of the loop; returns whether anything was done."""
        self.end_turn()
        calls = [self._ready.popleft() for _ in range(len(self._ready))]
        while self._timers and self._timers[0][0] <= self.moment.passed:
            calls.append(heapq.heappop(self._timers)[2])
        for call in calls:
            if not call.is_cancelled:
                call.callback(*call.arguments)
                self.end_turn()
        self.turns += bool(calls)
        return bool(calls)

    def settle(self) -> None:
        """Turns until nothing is left to be done at this moment."""
        for _ in range(MOST_TURNS):
            if not self.turn():
                return
        raise AssertionError("it never comes to rest")

    def advance(self, nanoseconds: int) -> None:
        """Lets time pass; what falls due is done at its own moment."""
        end = self.moment.passed + nanoseconds
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            self.moment.passed = max(self.moment.passed, self._timers[0][0])
            self.settle()
        self.moment.passed = end
        self.settle()


class Apart:
    """An account with streams in a directory, and a client of it. Everything happens inside the calls of a test."""

    def __init__(self, directory: Path, moment: Moment, limits: JetStreamLimits | None = None) -> None:
        self.directory = directory
        self.moment = moment
        self._account = Account("A", jetstream={EVERY_TIER: limits or JetStreamLimits()})
        self._numbers = count(1)
        self._answers: dict[str, Received] = {}
        self._incarnations = count()
        self.begin()

    def begin(self) -> None:
        """Begins with what is on disk."""
        self.loop = Loop(self.moment)
        tenant = Tenant(self._account)
        directory = self.directory / "account"
        loop = cast("Any", self.loop)
        self.store = AccountStore(directory, loop, cast("Any", None), lambda: None)
        internal = Internal(tenant, self.loop.hub, echo=True)
        settings = Settings(JetStreamOptions(store_dir=str(self.directory)), "one")
        self.streams = AccountJetStream(settings, self.store, internal, self.loop.hub, self.loop)
        self.streams.load()
        self.router = Router(internal, settings, self.streams)
        self.client = Internal(tenant, self.loop.hub, is_own=True)
        self.client.subscribe("answer.*", self._answered)
        self.loop.settle()

    def restart(self) -> None:
        """Ends everything in order and begins anew with what is on disk."""
        self.close()
        self.begin()

    def crash(self) -> None:
        """Begins anew with what is on disk at this moment, as after a failure of power: nothing is ended."""
        left = self.directory / f"left{next(self._incarnations)}"
        if (self.directory / "account").exists():
            shutil.copytree(self.directory / "account", left)
        self.close()
        shutil.rmtree(self.directory / "account", ignore_errors=True)
        if left.exists():
            left.rename(self.directory / "account")
        self.begin()

    def close(self) -> None:
        """Ends everything in order."""
        self.router.close()
        self.streams.close()
        try:
            self.store.close().send(None)
        except StopIteration:
            return
        raise AssertionError("the store waits for something that is not done here")

    # The client

    def _answered(self, received: Received) -> None:
        self._answers[received.subject] = received

    def send(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> str:
        """Publishes something, and returns the subject on which the answer comes."""
        reply = f"answer.{next(self._numbers)}"
        self.client.publish(subject, payload, reply=reply, header=block(headers))
        return reply

    def answer(self, reply: str) -> Received | None:
        """The answer that came, if there was one."""
        return self._answers.pop(reply, None)

    def said(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        """What a stream says to a message."""
        reply = self.send(subject, payload, headers)
        self.loop.settle()
        received = self.answer(reply)
        assert received is not None, subject
        return json.loads(received.payload)

    def ask(self, request: str, body: object = None) -> Any:
        """The answer to a request of the API."""
        return self.said(API + request, b"" if body is None else json.dumps(body).encode())

    def taken(self, stream: str, consumer: str, batch: int) -> list[Received]:
        """Messages that a consumer has for a client that does not wait, and the status that ends them last."""
        inbox = f"inbox.{next(self._numbers)}"
        got: list[Received] = []
        subscription = self.client.subscribe(inbox, got.append)
        body = json.dumps({"batch": batch, "no_wait": True}).encode()
        self.client.publish(f"{API}CONSUMER.MSG.NEXT.{stream}.{consumer}", body, reply=inbox)
        self.loop.settle()
        self.client.unsubscribe(subscription)
        return got


def block(headers: dict[str, str] | None) -> bytes | None:
    """A header block."""
    if headers is None:
        return None
    return b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
