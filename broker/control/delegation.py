"""Logins that somebody else decides about: a service by auth callout, or a function of the embedding program.

Whoever is asked has the authorization timeout for each login. No answer, no service, one too many things wrong with the
answer, an error: each ends the login, and the log tells why under a denial id; the client only learns that it was
refused. What comes for a login that is decided already, or for none at all, is passed over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.callout import REQUEST_SUBJECT
from auth import jwt
from auth.callout import LONGEST_REASON, Delegation, Question, read_answer
from auth.errors import AuthError, AuthFailure
from auth.login import Admission
from auth.nkey import KeyKind, KeyPair, NKeyError
from broker.control.request import XKEY_HEADER, login_of, request_claims
from broker.session.states import State

if TYPE_CHECKING:
    from auth.authenticate import Authenticator
    from auth.principal import Principal
    from auth.user import SignedUser
    from broker.control.clock import Timer
    from broker.control.control import Control
    from broker.control.internal import Internal, Received
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions
    from tls.identity import Secured

LOGGER: Final = logging.getLogger("natskeep.control")

IN_FLIGHT: Final = 256
"""Logins that are asked about at one time; the others wait for their turn, within their own time."""

NO_RESPONDERS: Final = b"NATS/1.0 503"

Done = Callable[["Principal | AuthError"], None]


@dataclass(slots=True, eq=False)
class _Login:
    """One login, from the moment it is handed over until it is decided."""

    session: Session
    connect: ConnectOptions
    delegation: Delegation
    secured: Secured | None
    by: Authenticator
    done: Done = field(repr=False)
    user_key: str = ""
    token: str = ""
    timer: Timer | None = None
    task: asyncio.Task[object] | None = None
    is_answered: bool = False


@dataclass(slots=True)
class _Inbox:
    """Where the answers of one account's service come in: on subjects that begin alike."""

    internal: Internal
    prefix: str


class Desk:
    """Asks about logins, a bounded number at a time, and says what came of each exactly once."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._logins: dict[int, _Login] = {}
        """All of them, by the number of the connection."""
        self._waiting: dict[_Login, None] = {}
        """Those that nobody was asked about yet, the longest there first."""
        self._asked: dict[str, _Login] = {}
        """Logins that were asked about, by the last token of the subject that the answer comes on."""
        self._inboxes: dict[str, _Inbox] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        """Functions at work; also those whose login is over, and which have been called off."""

    def __len__(self) -> int:
        """How many logins are undecided."""
        return len(self._logins)

    @property
    def in_flight(self) -> int:
        """How many of them have been asked about."""
        return len(self._asked)

    def ask(
        self, session: Session, connect: ConnectOptions, delegation: Delegation, secured: Secured | None, done: Done
    ) -> None:
        """Has a login decided; ``done`` is called with who it is or why not, once and never before this returns.

        ``secured`` are the facts of the connection's TLS, None in the clear.
        """
        login = _Login(session, connect, delegation, secured, self._control.authenticator, done)
        seconds = self._control.options.authorization_timeout
        login.timer = self._control.clock.call_later(seconds, partial(self._late, login))
        self._logins[session.cid] = login
        self._waiting[login] = None
        if len(self._asked) < IN_FLIGHT:
            self._control.clock.call_later(0.0, self._go_on)

    def forget(self, session: Session) -> None:
        """A client has left. The place of its login is free for who waits; an answer about it is passed over."""
        login = self._logins.get(session.cid)
        if login is not None:
            self._remove(login)
            if self._waiting:
                self._control.clock.call_later(0.0, self._go_on)

    def _remove(self, login: _Login) -> None:
        _stop(login)
        del self._logins[login.session.cid]
        if self._asked.pop(login.token, None) is None:
            del self._waiting[login]

    def _go_on(self) -> None:
        """Asks about those who wait, as far as there is room."""
        while self._waiting and len(self._asked) < IN_FLIGHT:
            login = next(iter(self._waiting))
            del self._waiting[login]
            login.token = secrets.token_urlsafe(16)
            self._asked[login.token] = login
            if login.delegation.callout is not None:
                self._request(login, login.delegation)
            else:
                self._call(login)

    def _late(self, login: _Login) -> None:
        login.timer = None
        self._decide(login, AuthError(AuthFailure.CALLOUT_SILENT))

    def _decide(self, login: _Login, verdict: Principal | AuthError) -> None:
        """The end of a login; whoever waits longest is next."""
        self._remove(login)
        is_awaited = login.session.state is State.VERIFYING and login.by is self._control.authenticator
        if isinstance(verdict, AuthError) and is_awaited:
            self._control.failed(login.session, verdict)
        login.done(verdict)
        self._go_on()

    # A service

    def _request(self, login: _Login, delegation: Delegation) -> None:
        """Sends the request; that nobody listens is told by the status 503."""
        account, callout = delegation.account, delegation.callout
        if account is None or callout is None:
            self._decide_later(login, AuthError(AuthFailure.CALLOUT_ABSENT))
            return
        control, identity = self._control, self._control.identity
        try:
            inbox = self._inbox(account.name)
        except KeyError:
            self._decide_later(login, AuthError(AuthFailure.CALLOUT_ABSENT, account.name))
            return
        # The answer has to be about this key, which nobody has ever seen, so none can be used twice.
        login.user_key = KeyPair.generate(KeyKind.USER).public
        claims = request_claims(
            control, login.session, login.connect, delegation,
            secured=login.secured, user_key=login.user_key, now=time.time(),
        )
        payload, header = jwt.encode(claims, identity.keys).encode(), None
        if callout.xkey:
            try:
                payload = identity.curve.seal(payload, callout.xkey)
            except NKeyError as problem:
                self._decide_later(login, AuthError(AuthFailure.CALLOUT_ABSENT, f"{account.name}: {problem}"))
                return
            header = f"NATS/1.0\r\n{XKEY_HEADER}: {identity.curve.public}\r\n\r\n".encode()
        inbox.internal.publish(REQUEST_SUBJECT, payload, reply=f"{inbox.prefix}{login.token}", header=header)

    def _inbox(self, account: str) -> _Inbox:
        """Raises KeyError where there is no such account."""
        internal = self._control.internal(account)
        found = self._inboxes.get(account)
        if found is None or found.internal is not internal:
            prefix = f"$SYS._INBOX.{secrets.token_urlsafe(16)}."
            found = self._inboxes[account] = _Inbox(internal, prefix)
            internal.subscribe(f"{prefix}*", partial(self._answered, account))
        return found

    def _answered(self, account: str, message: Received) -> None:
        login = self._asked.get(message.subject.rpartition(".")[2])
        if login is None or login.delegation.account is None or login.delegation.account.name != account:
            return
        if login.is_answered:
            return
        login.is_answered = True
        if message.session is None and message.header is not None and message.header.startswith(NO_RESPONDERS):
            self._decide(login, AuthError(AuthFailure.CALLOUT_ABSENT, account))
            return
        user = self._user(login, login.delegation, message.payload)
        if isinstance(user, AuthError):
            self._decide(login, user)
            return
        supply = self._control.supply
        name = login.by.wanted_placement(login.delegation, user, time.time()) if supply is not None else ""
        if supply is not None and name and supply.wants(name):
            supply.fetch(name).add_done_callback(partial(self._found, login, user))
        else:
            self._decide(login, self._admitted(login, user))

    def _found(self, login: _Login, user: SignedUser, search: asyncio.Future[None]) -> None:
        """The account of a user has been looked for; whether it was found shows now."""
        _ = search.cancelled() or search.exception()
        if self._asked.get(login.token) is login:
            self._decide(login, self._admitted(login, user))
            self._control.after_call()

    def _user(self, login: _Login, delegation: Delegation, payload: bytes) -> SignedUser | AuthError:
        identity, by = self._control.identity, login.by
        if delegation.callout is None:
            return AuthError(AuthFailure.CALLOUT_NOT_ASKED)
        question = Question(
            callout=delegation.callout,
            server_id=identity.server_id,
            curve=identity.curve,
            user_key=login.user_key,
        )
        try:
            return read_answer(payload, question, partial(by.check_signer, delegation), time.time())
        except AuthError as problem:
            return problem

    def _admitted(self, login: _Login, user: SignedUser) -> Principal | AuthError:
        evidence = self._control.evidence(login.session, login.connect)
        try:
            return login.by.admit(login.delegation, user, evidence, time.time())
        except AuthError as problem:
            return problem

    # A function

    def _call(self, login: _Login) -> None:
        authenticate = self._control.options.authenticator
        if authenticate is None:
            self._decide_later(login, AuthError(AuthFailure.CALLOUT_NOT_ASKED))
            return

        async def decide() -> object:
            return await authenticate(login_of(login.session, login.connect, login.secured))

        login.task = asyncio.get_running_loop().create_task(decide())
        self._tasks.add(login.task)
        login.task.add_done_callback(partial(self._called, login))

    def _called(self, login: _Login, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if self._asked.get(login.token) is not login:
            # Too late, or called off. What it came to concerns nobody, but asyncio wants it looked at.
            _ = task.cancelled() or task.exception()
            return
        login.task = None
        self._decide(login, self._outcome(login, task))
        self._control.after_call()

    def _outcome(self, login: _Login, task: asyncio.Task[object]) -> Principal | AuthError:
        if task.cancelled():
            return AuthError(AuthFailure.AUTHENTICATOR_FAILED, "it was cancelled")
        error = task.exception()
        if error is not None:
            # Its words may hold what the client sent, so the log gets its kind only.
            return AuthError(AuthFailure.AUTHENTICATOR_FAILED, type(error).__name__[:LONGEST_REASON])
        admission = task.result()
        if admission is None:
            return AuthError(AuthFailure.AUTHENTICATOR_DENIED)
        if not isinstance(admission, Admission):
            return AuthError(AuthFailure.AUTHENTICATOR_FAILED, "it returned no Admission")
        evidence = self._control.evidence(login.session, login.connect)
        try:
            return login.by.admit_as(login.delegation, admission, evidence, time.time())
        except AuthError as problem:
            return problem

    def _decide_later(self, login: _Login, verdict: AuthError) -> None:
        """From inside `_go_on`, which `_decide` calls."""

        def decide() -> None:
            if self._asked.get(login.token) is login:
                self._decide(login, verdict)

        self._control.clock.call_later(0.0, decide)

    # The end

    def close(self) -> None:
        """Forgets all logins, and calls off the functions that decide about them."""
        for login in self._logins.values():
            _stop(login)
        self._logins.clear()
        self._asked.clear()
        self._waiting.clear()
        self._inboxes.clear()

    async def ended(self) -> None:
        """Returns once every function that decides has ended.

        One that does not let go is not waited for longer than for an answer.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._control.options.authorization_timeout)


def _stop(login: _Login) -> None:
    if login.timer is not None:
        login.timer.cancel()
        login.timer = None
    if login.task is not None:
        login.task.cancel()
