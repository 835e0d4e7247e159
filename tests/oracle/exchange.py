"""The twin of all that crosses the walls of accounts: who must receive one message, who may, and nobody else.

Everything is found afresh for every message by trying all subscriptions of all accounts against all imports. Where
chance decides, the outcome is a list of worlds of which one must be the case; within a world, some deliveries are
certain and of each choice exactly one takes place. Source of the rules: the NATS documentation on accounts, and what
nats-server 2.14.5 was seen to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from tests.oracle.names import caught, collide, covers, fits, inverted, renamed

STREAM, SERVICE = "stream", "service"
SINGLETON, STREAMED, CHUNKED = "singleton", "stream", "chunked"
REWRITTEN = "_R_."
RESERVED = (REWRITTEN, "$JS.ACK.", "_GR_.")


# What is configured.


@dataclass(frozen=True)
class Token:
    """An activation token: ``exporter`` lets ``importer`` take ``subject``. Times are Unix seconds."""

    exporter: str
    importer: str
    kind: str
    subject: str
    issued_at: int = 0
    expires_at: float | None = None


@dataclass(frozen=True)
class Export:
    """A subject that is offered. ``position`` counts from 1; ``revoked`` maps importers, or ``*``, to Unix seconds."""

    kind: str
    subject: str
    accounts: frozenset[str] | None = None
    position: int = 0
    token_required: bool = False
    revoked: Mapping[str, int] = field(default_factory=dict, hash=False)
    response: str = SINGLETON
    allow_trace: bool = False

    def permits(self, importer: str, taken: Import, now: float) -> bool:
        """Say whether ``importer`` may take this at the Unix second ``now``."""
        if self.kind != taken.kind or not covers(self.subject, taken.subject):
            return False
        if self.accounts is not None and importer not in self.accounts:
            return False
        if self.position and taken.subject.split(".")[self.position - 1] != importer:
            return False
        return not self.token_required or self._accepts(importer, taken, now)

    def _accepts(self, importer: str, taken: Import, now: float) -> bool:
        token = taken.token
        if token is None or (token.exporter, token.importer, token.kind) != (taken.account, importer, taken.kind):
            return False
        if not covers(token.subject, taken.subject) or (token.expires_at is not None and token.expires_at <= now):
            return False
        return all(token.issued_at > self.revoked.get(name, -1) for name in (importer, "*"))


@dataclass(frozen=True)
class Import:
    """A subject that is taken from ``account``: here it is called ``to``, or as there, behind a ``prefix`` or not."""

    kind: str
    account: str
    subject: str
    to: str = ""
    prefix: str = ""
    share: bool = False
    token: Token | None = None
    allow_trace: bool = False

    @property
    def here(self) -> str:
        """How it is called here, as written."""
        return self.to or (f"{self.prefix}.{self.subject}" if self.prefix else self.subject)


@dataclass(frozen=True)
class Rewriting:
    """Another subject for what is published: destinations with their weights in percent."""

    source: str
    destinations: tuple[tuple[str, int], ...]

    def outcomes(self, subject: str) -> set[str | None]:
        """All subjects that a message may get, None for being dropped."""
        found: set[str | None] = {renamed(self.source, to, subject) for to, weight in self.destinations if weight}
        if sum(weight for _, weight in self.destinations) < 100:
            found.add(None if any(to == self.source for to, _ in self.destinations) else subject)
        return found


@dataclass(frozen=True)
class Rules:
    """A user's permissions: lists of ``subject`` or ``subject queue``; None where a list is not given.

    ``responses`` is how many answers each request permits, above 0, or negative for any number.
    """

    publish_allow: tuple[str, ...] = ()
    publish_deny: tuple[str, ...] = ()
    subscribe_allow: tuple[str, ...] = ()
    subscribe_deny: tuple[str, ...] = ()
    responses: int | None = None


@dataclass(frozen=True)
class User:
    """One login, with the password ``p``."""

    name: str
    rules: Rules = Rules()


@dataclass(frozen=True)
class Account:
    """One tenant with everything that crosses its wall."""

    name: str
    users: tuple[User, ...] = ()
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    mappings: tuple[Rewriting, ...] = ()


@dataclass(frozen=True)
class Manner:
    """In which nats-server differs from natskeep on purpose, so that one twin tells what either does."""

    contained: bool = True
    """Whether a subscription must be contained in one allow entry, not only match it token by token."""
    deny_is_final: bool = True
    """Whether a deny holds against a response permission as well."""
    queue_hears_local: bool = True
    """Whether a queue member's denies are held against the subject that is delivered, not the exporter's."""
    copies_are_free: bool = True
    """Whether a second copy of a request leaves the permission to answer as it is, and does not use up one answer."""


NATSKEEP = Manner()
NATS_SERVER = Manner(
    contained=False,
    deny_is_final=False,
    queue_hears_local=False,
    copies_are_free=False,
)


# What is connected.


@dataclass(eq=False)
class Client:
    """A connection, by the name of its user."""

    account: Account
    user: User
    echo: bool = True
    headers: bool = True
    no_responders: bool = True
    grants: dict[str, int] = field(default_factory=dict)
    is_filtered: bool = False
    """Whether some subscription of the client was wider than a deny of its; nats-server filters nothing before that."""

    @property
    def name(self) -> str:
        """Its name in the outcome."""
        return self.user.name


@dataclass(eq=False)
class Subscription:
    """One interest of a client."""

    client: Client
    subject: str
    queue: str | None
    sid: str

    def hears(self, subject: str) -> bool:
        """Say whether no deny forbids to give it messages on ``subject``."""
        return not any(_concerns(entry, subject, self.queue) for entry in self.client.user.rules.subscribe_deny)


@dataclass(eq=False)
class Response:
    """The way back of a request: what is published to ``name`` by ``exporter`` reaches ``reply`` in ``importer``."""

    exporter: Account
    importer: Account
    reply: str | Response
    kind: str
    name: str = ""
    """Which subject the server made for it, once it was seen."""
    is_open: bool = True
    is_certain: bool = True
    """Whether the requester has always listened for the answer; if not, the server may have forgotten the way back."""
    is_known: bool = True
    """Whether what was seen tells it from all others."""

    @property
    def subject(self) -> str:
        """Where the answer goes in the importing account."""
        return self.reply if isinstance(self.reply, str) else self.reply.name


@dataclass(frozen=True)
class Info:
    """What ``Nats-Request-Info`` says: the requester's account, the account between, and whether more is told."""

    account: str
    service: str | None = None
    shared: bool = False


@dataclass(frozen=True)
class Delivery:
    """What one subscription gets. ``reply`` is a subject, or the way back that the server has made a subject for."""

    client: str
    sid: str
    subject: str
    reply: str | Response | None = None
    info: Info | None = None
    header: bool = False
    """Whether the publisher's own header comes along."""
    status: bool = False
    """Whether it is no message but the word that there are no responders."""

    @property
    def seen(self) -> Delivery:
        """How it looks from outside, where one subject that the server made is like another."""
        reply = REWRITTEN if isinstance(self.reply, Response) else self.reply
        subject = REWRITTEN if self.subject.startswith(REWRITTEN) else self.subject
        return Delivery(self.client, self.sid, subject, reply, self.info, self.header, self.status)


Choice = tuple[Delivery, ...]


@dataclass(frozen=True)
class World:
    """One course that things may take."""

    certain: tuple[Delivery, ...] = ()
    choices: tuple[Choice, ...] = ()
    refused: str | None = None
    """The subject that may not be published to."""
    closed: tuple[Response, ...] = ()
    """Ways back that end with it."""
    doubted: tuple[Response, ...] = ()
    """Ways back on which something came that nobody got, whereupon the server may forget them."""
    spent: str = ""
    """The subject that the publisher's permission to answer was used for."""

    def matching(self, seen: Counter[Delivery]) -> list[Delivery] | None:
        """The deliveries that were seen, if this is the course that things took."""
        certain = Counter(delivery.seen for delivery in self.certain)
        if certain - seen or (seen - certain).total() != len(self.choices):
            return None
        for chosen in _chosen(self.choices, seen - certain):
            return [*self.certain, *chosen]
        return None


def _chosen(choices: Sequence[Choice], left: Counter[Delivery]) -> Iterator[list[Delivery]]:
    """One member of each choice, so that they are just what is left."""
    if not choices:
        yield []
        return
    for member in choices[0]:
        if left[member.seen]:
            for others in _chosen(choices[1:], left - Counter([member.seen])):
                yield [member, *others]


@dataclass(frozen=True)
class Message:
    """What is on its way; ``passed`` are the service exports that it went through."""

    sender: Client
    reply: str | Response | None = None
    header: bool = False
    empty: bool = False
    info: Info | None = None
    passed: tuple[tuple[str, Export], ...] = ()


class Bus:
    """All accounts, their clients and subscriptions, and the requests that wait for answers."""

    def __init__(self, accounts: Iterable[Account], manner: Manner = NATSKEEP, now: float = 0.0) -> None:
        self.accounts = {account.name: account for account in accounts}
        self.manner = manner
        self.now = now
        self.clients: dict[str, Client] = {}
        self.subscriptions: list[Subscription] = []
        self.responses: list[Response] = []

    def connect(self, user: str, *, echo: bool = True, headers: bool = True, no_responders: bool = True) -> Client:
        """A client of the user, who is alone of that name."""
        account, found = next(
            (account, each) for account in self.accounts.values() for each in account.users if each.name == user
        )
        self.clients[user] = Client(account, found, echo, headers, no_responders and headers)
        return self.clients[user]

    def reconfigure(self, accounts: Iterable[Account]) -> None:
        """Other exports, imports and mappings for the same accounts and users.

        Who waits for an answer at that moment is forgotten: nobody may answer any more.
        """
        self.accounts = {account.name: account for account in accounts}
        for client in self.clients.values():
            client.account = self.accounts[client.account.name]
        self.responses.clear()

    def close(self, client: Client) -> None:
        """The client is gone, with all its subscriptions."""
        del self.clients[client.name]
        self.subscriptions = [each for each in self.subscriptions if each.client is not client]
        self._look_after_responses()

    def subscribe(self, client: Client, subject: str, queue: str | None, sid: str) -> bool:
        """Subscribe if the client may; return whether it may."""
        if not self._may_subscribe(client.user.rules, subject, queue):
            return False
        denied = (entry.partition(" ")[0] for entry in client.user.rules.subscribe_deny)
        is_wide = queue is not None or not {"*", ">"}.isdisjoint(subject.split("."))
        client.is_filtered |= is_wide and any(collide(pattern, subject) for pattern in denied)
        self.subscriptions.append(Subscription(client, subject, queue, sid))
        return True

    def unsubscribe(self, client: Client, sid: str) -> None:
        """End a subscription."""
        self.subscriptions = [each for each in self.subscriptions if each.client is not client or each.sid != sid]
        self._look_after_responses()

    def publish(
        self, client: Client, subject: str, reply: str | None = None, *, header: bool = False, empty: bool = False
    ) -> list[World]:
        """All that may come of a message; `settle` says afterwards what came of it."""
        worlds = []
        for mapped in _mapped(client.account, subject):
            if mapped is None:
                worlds.append(self._or_no_responders(World(), client, reply))
                continue
            allowed, by_answer = self._may_publish(client, mapped)
            if not allowed or (reply is not None and reply.startswith(RESERVED)):
                worlds.append(World(refused=reply if allowed else mapped))
                continue
            message = Message(client, reply, header and client.headers, empty)
            for world in self._route(client.account, mapped, message, arrived=False):
                worlds.append(self._or_no_responders(replace(world, spent=mapped if by_answer else ""), client, reply))
        return worlds

    def settle(self, client: Client, world: World, happened: Iterable[Delivery], seen: Names) -> None:
        """Note that ``world`` is the one, with these deliveries, and which subjects the server has made for replies."""
        happened = list(happened)
        self._name_responses(world, happened, seen)
        if world.spent and client.grants[world.spent] > 0:
            client.grants[world.spent] -= 1
        for response in world.closed:
            response.is_open = False
        for response in world.doubted:
            response.is_certain = False
        for delivery in happened:
            receiver = self.clients[delivery.client]
            reply = delivery.reply.name if isinstance(delivery.reply, Response) else delivery.reply
            answers = receiver.user.rules.responses
            if reply and answers is not None:
                has_some = receiver.grants.get(reply, 0) > 0 and not self.manner.copies_are_free
                receiver.grants[reply] = receiver.grants[reply] - 1 if has_some else answers
        self._look_after_responses()

    # Permissions.

    def _may_publish(self, client: Client, subject: str) -> tuple[bool, bool]:
        """Whether the client may publish, and whether only as an answer."""
        rules = client.user.rules
        denied = any(fits(entry, subject) for entry in rules.publish_deny)
        is_answer = client.grants.get(subject, 0) != 0
        if denied:
            return (is_answer and not self.manner.deny_is_final,) * 2
        if not rules.publish_allow and rules.responses is None:
            return True, False
        if any(fits(entry, subject) for entry in rules.publish_allow):
            return True, False
        return is_answer, is_answer

    def _may_subscribe(self, rules: Rules, subject: str, queue: str | None) -> bool:
        if any(_concerns(entry, subject, queue) for entry in rules.subscribe_deny):
            return False
        if not rules.subscribe_allow:
            return True
        entries = [entry.partition(" ")[::2] for entry in rules.subscribe_allow]
        within: Callable[[str, str], bool] = covers if self.manner.contained else fits
        if queue is not None:
            touches = collide if self.manner.contained else fits
            named = [(pattern, group) for pattern, group in entries if group and touches(pattern, subject)]
            if any(_queue_fits(group, queue) and within(pattern, subject) for pattern, group in named):
                return True
            if any(not _queue_fits(group, queue) for _, group in named):
                return False
        return any(not group and within(pattern, subject) for pattern, group in entries)

    # Ways.

    def _route(self, account: Account, subject: str, message: Message, *, arrived: bool) -> list[World]:
        """What comes of a message on ``subject`` in ``account``; ``arrived`` from another account, by a service.

        What has arrived so is not exported again as a stream.
        """
        candidates = [(each, subject) for each in self.subscriptions if each.client.account is account]
        if not arrived:
            candidates += self._imported(account, subject)
        certain: list[Delivery] = []
        groups: dict[str, list[Delivery]] = {}
        for subscription, name in candidates:
            silent = subscription.client is message.sender and not message.sender.echo
            if silent or not fits(subscription.subject, name) or not self._hears(subscription, name, subject):
                continue
            delivery = _delivery(subscription, name, message)
            if subscription.queue is None:
                certain.append(delivery)
            else:
                groups.setdefault(subscription.queue, []).append(delivery)
        own = World(tuple(certain), tuple(tuple(group) for group in groups.values()))
        ways = [*self._requests(account, subject, message), *self._answers(account, subject, message)]
        return [_together([own, *course]) for course in product(*ways)]

    def _hears(self, subscription: Subscription, name: str, subject: str) -> bool:
        """Whether no deny forbids a message, which is ``name`` to the subscription and ``subject`` to its publisher."""
        if subscription.queue is None or self.manner.queue_hears_local:
            return subscription.hears(name)
        return subscription.hears(subject) or not subscription.client.is_filtered

    def _imported(self, exporter: Account, subject: str) -> Iterator[tuple[Subscription, str]]:
        """The subscriptions of all accounts, this one included, that a stream import joins to the message.

        What has come that way is no part of what the importing account exports.
        """
        for account in self.accounts.values():
            for taken in self.in_force(account, STREAM):
                if taken.account == exporter.name and fits(taken.subject, subject):
                    name = renamed(taken.subject, taken.here, subject)
                    yield from ((each, name) for each in self.subscriptions if each.client.account is account)

    def _requests(self, account: Account, subject: str, message: Message) -> Iterator[list[World]]:
        """What comes of the message behind each service that the account imports."""
        for taken in self.in_force(account, SERVICE):
            here, there = inverted(taken.subject, taken.here)
            if caught(here, subject) is None:
                continue
            exporter = self.accounts[taken.account]
            export = self.export(account, taken)
            assert export is not None
            if (exporter.name, export) in message.passed:
                continue
            response = None
            if message.reply is not None:
                response = Response(exporter, account, message.reply, export.response)
                response.is_certain = self._listened_for(account, message.reply)
            if message.info is None:
                info = Info(message.sender.account.name, None, taken.share)
            else:
                info = replace(message.info, service=account.name)
            passed = (*message.passed, (exporter.name, export))
            forwarded = replace(message, reply=response, info=info, passed=passed)
            worlds = []
            for mapped in _mapped(exporter, renamed(here, there, subject)):
                if mapped is None:
                    worlds.append(World())
                else:
                    worlds += self._route(exporter, mapped, forwarded, arrived=True)
            yield worlds

    def _answers(self, account: Account, subject: str, message: Message) -> Iterator[list[World]]:
        """What comes of the message as the answer to a request."""
        for response in self.responses:
            if not response.is_open or response.exporter is not account or response.name != subject:
                continue
            answer = replace(message, reply=None, info=None, passed=())
            worlds = []
            for mapped in _mapped(response.importer, response.subject):
                if mapped is not None:
                    worlds += self._route(response.importer, mapped, answer, arrived=True)
            is_last = message.empty and not message.header
            finished = response.kind == SINGLETON or is_last
            if finished:
                courses = [replace(world, closed=(*world.closed, response)) for world in worlds]
            else:
                courses = [
                    world if _delivers(world) else replace(world, doubted=(*world.doubted, response))
                    for world in worlds
                ]
            if not response.is_certain:
                courses.append(World(closed=(response,)))
            yield courses

    def _or_no_responders(self, world: World, client: Client, reply: str | None) -> World:
        """The course of things, with the word to the requester that nobody was there."""
        if _delivers(world) or reply is None or not client.no_responders:
            return world
        own = [each for each in self.subscriptions if each.client is client and each.queue is None]
        hearers = [each for each in own if fits(each.subject, reply) and each.hears(reply)]
        status = tuple(Delivery(client.name, each.sid, reply, status=True) for each in hearers)
        return replace(world, choices=(status,)) if status else world

    def in_force(self, account: Account, kind: str) -> Iterator[Import]:
        """The imports of that kind that some export permits."""
        return (taken for taken in account.imports if taken.kind == kind and self.export(account, taken) is not None)

    def export(self, account: Account, taken: Import) -> Export | None:
        """The export that permits an import of ``account``, if any."""
        exporter = self.accounts.get(taken.account)
        exports = exporter.exports if exporter is not None else ()
        return next((each for each in exports if each.permits(account.name, taken, self.now)), None)

    # Ways back.

    def _listened_for(self, account: Account, reply: str | Response) -> bool:
        if isinstance(reply, Response):
            return reply.is_open and reply.is_certain
        return any(each.client.account is account and fits(each.subject, reply) for each in self.subscriptions)

    def _look_after_responses(self) -> None:
        # From the requester outwards: a way back that leads into another one is as certain as that.
        self.responses = [response for response in self.responses if response.is_open]
        for _ in self.responses:
            for response in self.responses:
                response.is_certain = response.is_certain and self._listened_for(response.importer, response.reply)

    def _name_responses(self, world: World, happened: Iterable[Delivery], seen: Names) -> None:
        """Learn which subject stands for which way back; raise where two share one, or one has two."""
        for group in _alike([*world.certain, *(member for choice in world.choices for member in choice)]):
            deliveries = [delivery for delivery in happened if delivery.reply in group]
            asked = {delivery.reply for delivery in deliveries}
            names = {name for delivery in deliveries for name in seen[delivery.seen]}
            if len(names) != len(asked):
                raise ValueError(f"{len(asked)} requests with {len(names)} subjects for their answers: {sorted(names)}")
            if names & {other.name for other in self.responses}:
                raise ValueError(f"one subject for the answers to several requests: {sorted(names)}")
            for response in group:
                # Where several are alike from outside, whose is whose cannot be told, and nobody answers them.
                response.is_known = len(group) == 1
                if response.is_known and names:
                    response.name = names.pop()
                    self.responses.append(response)
        for response in list(self.responses):
            self._name_outer(response)

    def _name_outer(self, response: Response) -> None:
        """A way back into an account where nobody has seen it still leads on from there."""
        outer = response.reply
        if isinstance(outer, Response) and not outer.name:
            outer.name = f"{REWRITTEN}unseen.{id(outer)}"
            self.responses.append(outer)
            self._name_outer(outer)


Names = Mapping[Delivery, Sequence[str]]
"""For each delivery, as it looks from outside, the reply subjects that were seen with it."""


def _mapped(account: Account, subject: str) -> set[str | None]:
    """The subjects that a message may get by the account's mappings: the most specific source decides."""
    fitting = [mapping for mapping in account.mappings if fits(mapping.source, subject)]
    if not fitting:
        return {subject}
    return min(fitting, key=lambda mapping: _generality(mapping.source)).outcomes(subject)


def _generality(pattern: str) -> list[int]:
    """Sorts patterns that match one subject: token by token, the literal before ``*`` before ``>``."""
    return [{"*": 1, ">": 2}.get(token, 0) for token in pattern.split(".")]


def _alike(deliveries: Iterable[Delivery]) -> list[set[Response]]:
    """The ways back of these deliveries, together where some deliveries look the same from outside."""
    groups: list[tuple[set[Delivery], set[Response]]] = []
    for delivery in deliveries:
        if isinstance(delivery.reply, Response):
            looks, responses = {delivery.seen}, {delivery.reply}
            for group in [group for group in groups if looks & group[0] or responses & group[1]]:
                groups.remove(group)
                looks |= group[0]
                responses |= group[1]
            groups.append((looks, responses))
    return [responses for _, responses in groups]


def _queue_fits(entry: str, queue: str) -> bool:
    return entry == queue or fits(entry, queue)


def _concerns(entry: str, subject: str, queue: str | None) -> bool:
    """Whether a deny entry forbids ``subject`` to a subscription in ``queue``."""
    pattern, _, group = entry.partition(" ")
    return fits(pattern, subject) and (not group or (queue is not None and _queue_fits(group, queue)))


def _delivery(subscription: Subscription, subject: str, message: Message) -> Delivery:
    client = subscription.client
    info, header = (message.info, message.header) if client.headers else (None, False)
    return Delivery(client.name, subscription.sid, subject, message.reply, info, header)


def _delivers(world: World) -> bool:
    return bool(world.certain or world.choices)


def _together(worlds: Sequence[World]) -> World:
    return World(
        tuple(delivery for world in worlds for delivery in world.certain),
        tuple(choice for world in worlds for choice in world.choices),
        closed=tuple(response for world in worlds for response in world.closed),
        doubted=tuple(response for world in worlds for response in world.doubted),
    )
