"""Takes the requests of one account, has them answered, and tells of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.jetstream.access import Access
from broker.jetstream.advisories import Advisories
from broker.jetstream.api import consumers, judging, messages, snapshots, streams
from broker.jetstream.api.request import Request
from broker.jetstream.api.streams import NO_PAGE
from broker.jetstream.codec import ZERO_TIME, Plain, dumps, shown_time
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish.headers import asks_too_much
from broker.session.client_info import asking
from broker.wire.values import readable

if TYPE_CHECKING:
    from broker.control.internal import Internal, Received
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.settings import Settings
    from broker.jetstream.store.tables import StoreError

Work = Generator[None, None, Plain]
"""What takes longer than others should wait: it gives way again and again, and returns the answer."""

PREFIX: Final = "$JS.API"
_TYPES: Final = "io.nats.jetstream.api.v1."
_CONSUMER_VERBS: Final = (
    "CREATE", "DURABLE", "NAMES", "LIST", "INFO", "DELETE", "PAUSE", "UNPIN", "LEADER",
)  # fmt: skip

SUBJECTS: Final = (
    f"{PREFIX}.*",
    f"{PREFIX}.STREAM.>",
    *(f"{PREFIX}.CONSUMER.{verb}.>" for verb in _CONSUMER_VERBS),
)
"""What an account's requests come on. Those for messages, and to begin again, go to the consumer or stream itself, so
that who asks one that is not there learns that nobody is."""


def account_info(request: Request) -> Plain:
    """Tells what the account has and may have."""
    return request.account.info()


def _needs_cluster(_: Request) -> Plain:
    raise ApiError.CLUSTER_REQUIRED.error()


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request: what answers it, and the type of the answer."""

    kind: str
    handle: Callable[[Request], Plain | Work]
    """Does it at once, or a slice in each turn."""
    judge: Callable[[Request], None]
    """Checks that who asks may reach what the payload names, before anything else is done; see `judging`."""
    names: tuple[int, int] = (1, 1)
    """How many tokens of the subject stand behind what names the request, at least and at most."""
    empty: Plain = field(default_factory=dict)
    """What a refusal has besides the error."""
    changes: bool = True
    """Whether it changes anything, so that the answer waits until that is on disk."""
    is_told: bool = True
    """Whether the account counts it, and hears of it, where it is fulfilled."""


_MANY: Final = 1 << 16
_NOWHERE: Final[Plain] = {"deliver_subject": ""}
_PAUSED: Final[Plain] = {"paused": False, "pause_until": shown_time(ZERO_TIME)}
_NO_NAMES: Final[Plain] = {**NO_PAGE, "streams": None}
_NO_STREAMS: Final[Plain] = {**NO_PAGE, "streams": []}
_CONSUMERS: Final[Plain] = {**NO_PAGE, "consumers": []}

ROUTES: Final[dict[tuple[str, ...], Route]] = {
    ("INFO",): Route("account_info", account_info, judging.nothing, (0, 0), changes=False),
    ("STREAM", "CREATE"): Route("stream_create", streams.create, judging.configuration),
    ("STREAM", "UPDATE"): Route("stream_update", streams.update, judging.configuration),
    ("STREAM", "NAMES"): Route("stream_names", streams.names, judging.nothing, (0, 0), _NO_NAMES, changes=False),
    ("STREAM", "LIST"): Route("stream_list", streams.listed, judging.nothing, (0, 0), _NO_STREAMS, changes=False),
    ("STREAM", "INFO"): Route("stream_info", streams.info, judging.subjects, empty=NO_PAGE, changes=False),
    ("STREAM", "DELETE"): Route("stream_delete", streams.delete, judging.removal),
    ("STREAM", "PURGE"): Route("stream_purge", streams.purge, judging.purge, empty={"purged": 0}),
    ("STREAM", "MSG", "GET"): Route("stream_msg_get", messages.get, judging.message, changes=False, is_told=False),
    ("STREAM", "MSG", "DELETE"): Route("stream_msg_delete", messages.delete, judging.message_removal),
    ("STREAM", "SNAPSHOT"): Route("stream_snapshot", snapshots.snapshot, judging.snapshot, changes=False),
    ("STREAM", "RESTORE"): Route("stream_restore", snapshots.restore, judging.restore, empty=_NOWHERE, changes=False),
    ("STREAM", "PEER", "REMOVE"): Route("stream_remove_peer", _needs_cluster, judging.nothing),
    ("STREAM", "CANCEL_MOVE"): Route("stream_update", _needs_cluster, judging.nothing),
    ("STREAM", "LEADER", "STEPDOWN"): Route("stream_leader_stepdown", _needs_cluster, judging.nothing),
    ("CONSUMER", "CREATE"): Route("consumer_create", consumers.create_ephemeral, judging.consumer),
    ("CONSUMER", "DURABLE", "CREATE"): Route("consumer_create", consumers.create_durable, judging.consumer, (2, 2)),
    ("CONSUMER", "NAMES"): Route("consumer_names", consumers.names, judging.nothing, empty=_CONSUMERS, changes=False),
    ("CONSUMER", "LIST"): Route("consumer_list", consumers.listed, judging.nothing, empty=_CONSUMERS, changes=False),
    ("CONSUMER", "INFO"): Route("consumer_info", consumers.info, judging.nothing, (2, 2), changes=False),
    ("CONSUMER", "DELETE"): Route("consumer_delete", consumers.delete, judging.nothing, (2, 2)),
    ("CONSUMER", "PAUSE"): Route("consumer_pause", consumers.pause, judging.nothing, (2, 2), _PAUSED),
    ("CONSUMER", "UNPIN"): Route("consumer_unpin", consumers.unpin, judging.nothing, (2, 2)),
    ("CONSUMER", "LEADER", "STEPDOWN"): Route("consumer_leader_stepdown", _needs_cluster, judging.nothing, (2, 2)),
}
"""By the tokens that name a request."""

_NAMED_CONSUMER: Final = Route("consumer_create", consumers.create, judging.consumer, (2, _MANY))
"""Named like the older request for ephemeral consumers, with the consumer's name behind it."""
_LONGEST: Final = max(map(len, ROUTES))


def find(subject: str) -> tuple[Route, tuple[str, ...]] | None:
    """What answers a request, and the names in its subject; None for what is no request."""
    given = tuple(subject.split(".")[2:])
    for length in range(min(_LONGEST, len(given)), 0, -1):
        route = ROUTES.get(given[:length])
        if route is None:
            continue
        names = given[length:]
        if route.handle is consumers.create_ephemeral and len(names) > 1:
            route = _NAMED_CONSUMER
        least, most = route.names
        return (route, names) if least <= len(names) <= most else None
    return None


class Router:
    """The requests of one account. Without an ``account`` of streams, each is answered that there are none."""

    def __init__(self, internal: Internal, settings: Settings, account: AccountJetStream | None) -> None:
        self._internal = internal
        self._settings = settings
        self._advisories = Advisories(internal, settings.domain)
        self.account = account
        self._subscriptions = [internal.subscribe(subject, self.take) for subject in SUBJECTS]

    def close(self) -> None:
        """Answers nothing more."""
        for subscription in self._subscriptions:
            self._internal.unsubscribe(subscription)

    def take(self, received: Received) -> None:
        """Has one request answered; what is no request is left alone."""
        found = find(received.subject)
        if found is None:
            return
        route, names = found
        try:
            self._check_level(received)
            if self.account is None:
                raise ApiError.NOT_ENABLED_FOR_ACCOUNT.error()
            access = Access.of(received, self.account)
            access.check_asker()
            if not access.may_answer(received.reply):
                return
            request = Request(self.account, names, received, access)
            route.judge(request)
            answer = route.handle(request)
        except JetStreamError as error:
            self._refuse(route, received, error)
            return
        self.account.under_way += 1
        if isinstance(answer, dict):
            self._done(self.account, route, received, answer)
        else:
            self._go_on(self.account, route, received, answer)

    def _go_on(self, account: AccountJetStream, route: Route, received: Received, work: Work) -> None:
        """Does a slice of what a request asks for; others have their turn before the next."""
        try:
            next(work)
        except StopIteration as end:
            self._done(account, route, received, end.value)
        except JetStreamError as error:
            account.under_way -= 1
            self._refuse(route, received, error)
        else:
            account.clock.call_later(0.0, partial(self._go_on, account, route, received, work))

    def _done(self, account: AccountJetStream, route: Route, received: Received, answer: Plain) -> None:
        """Says what became of a request when that is on disk."""
        if route.changes:
            account.store.after(partial(self._kept, account, route, received, answer))
        else:
            account.store.when_quiet(partial(self._kept, account, route, received, answer))

    def _check_level(self, received: Received) -> None:
        """Checks that a request asks for no newer server (ADR-44). Raises JetStreamError."""
        if asks_too_much(received.header):
            raise ApiError.REQUIRED_API_LEVEL.error()

    def _kept(
        self,
        account: AccountJetStream,
        route: Route,
        received: Received,
        answer: Plain,
        problem: StoreError | None = None,
    ) -> None:
        account.under_way -= 1
        if problem is None:
            self._say(route, received, answer, is_told=route.is_told)
        else:
            self._refuse(route, received, ApiError.STREAM_STORE_FAILED.error(err=problem.told))

    def _refuse(self, route: Route, received: Received, error: JetStreamError) -> None:
        if self.account is not None:
            self.account.refused += 1
        empty = {} if self._is_system(route) else route.empty
        self._say(route, received, {"error": error.plain(), **empty}, is_told=True)

    def _is_system(self, route: Route) -> bool:
        """Whether it is the system account that asks for what it cannot have."""
        return self._internal.tenant.account.is_system and route.handle is not account_info

    def _say(self, route: Route, received: Received, facts: Plain, *, is_told: bool) -> None:
        kind = "system" if self._is_system(route) else route.kind
        body = dumps({"type": f"{_TYPES}{kind}_response", **facts})
        if received.reply:
            self._internal.publish(received.reply, body)
        if is_told:
            if self.account is not None:
                self.account.requests += 1
            self._tell(received, body)

    def _tell(self, received: Received, answer: bytes) -> None:
        """Lets the account hear who asked what, and what the answer was."""
        session, server = received.session, self._settings.server
        client = None if session is None else asking(session, server, share=True)
        if client is not None:
            client.jwt = ""
        facts: Plain = {"server": server, "client": client, "subject": received.subject}
        if received.payload:
            facts["request"] = readable(received.payload)
        self._advisories.tell("API", "api_audit", {**facts, "response": answer.decode()})
