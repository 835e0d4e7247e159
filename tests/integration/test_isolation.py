"""Accounts never meet: what each connection receives is what a broker for its account alone would have sent it.

Three accounts use the same subjects, wildcards, queues, sids and reply subjects on one server. Each account has a twin
that knows of nothing else, and every frame that any connection gets must be one of its own twin.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from broker import Options, Server
from broker.config.options import AccountOptions, UserOptions
from tests.oracle import plan
from tests.oracle.frames import read_frames
from tests.oracle.parser import Publish
from tests.oracle.plan import PUBLISHED, Delivery
from tests.oracle.sublist import pattern_matches
from tests.support.loops import in_every_loop
from tests.support.serving import Client, serving, until

ACCOUNTS = ("A", "B", "C")
ROLES = ("free", "responder", "deaf")
DENIED_TO_THE_DEAF = (b"x.*", b"b")
RESERVED = (b"_R_.>", b"$JS.ACK.>", b"_GR_.>")

PERMISSIONS = {
    "free": None,
    "responder": Permissions(responses=ResponsePermission(2, 600.0)),
    "deaf": Permissions(subscribe=SubjectRules(deny=tuple(Grant(subject.decode()) for subject in DENIED_TO_THE_DEAF))),
}
POLICIES = {
    "free": plan.Policy(None, (b"_GR_.>", b"$NRG.>"), RESERVED),
    "responder": plan.Policy((), (b"_GR_.>", b"$NRG.>"), RESERVED, (2, 600.0)),
    "deaf": plan.Policy(None, (b"_GR_.>", b"$NRG.>"), RESERVED),
}
OPTIONS = Options(
    accounts=tuple(
        AccountOptions(
            name=account,
            users=tuple(
                UserOptions(user=f"{account}.{role}", password="p", permissions=PERMISSIONS[role]) for role in ROLES
            ),
        )
        for account in ACCOUNTS
    )
)

subjects = st.sampled_from([b"a", b"b", b"x.a", b"x.b", b"a.x.b", b"x", b"a..b", b"x.*", b">", b"r.1"])
patterns = st.sampled_from([b"a", b"b", b"x.a", b"x.*", b"x.>", b"*.a", b"*", b">", b"a.*.b", b"r.*", b"r.1", b"*.*"])
queues = st.sampled_from([None, None, b"q", b"w"])
replies = st.sampled_from([None, None, b"r.1", b"r.2", b"a", b"_R_.x", b"x.b"])
headers = st.sampled_from([None, None, b"", b"NATS/1.0\r\n\r\n", b"H"])
members = st.integers(0, len(ACCOUNTS) * len(ROLES) - 1)
flags = st.tuples(st.booleans(), st.booleans(), st.booleans())

Step = tuple[Any, ...]
subscribes = st.tuples(st.just("subscribe"), members, patterns, queues)
publishes = st.tuples(st.just("publish"), members, subjects, replies, headers)
changes = st.one_of(
    subscribes,
    st.tuples(st.just("unsubscribe"), st.integers(0, 30)),
    st.tuples(st.just("limit"), st.integers(0, 30), st.integers(1, 3)),
    st.tuples(st.just("leave"), members),
)
turns = st.tuples(changes, publishes, publishes, publishes)


@dataclass(eq=False)
class Member:
    """One connection, and its side of the twin."""

    account: str
    role: str
    client: Client
    twin: plan.Client
    sids: int = 0
    seen: list[Delivery] = field(default_factory=list)
    """What has come and was not yet compared."""

    def take(self, frames: list[bytes]) -> list[bytes]:
        """Keeps messages, returns the other lines."""
        lines = []
        for found in read_frames(b"".join(frame + b"\r\n" for frame in frames)):
            if isinstance(found, Delivery):
                self.seen.append(found)
            else:
                lines.append(found)
        return lines


class World:
    """All connections of one server, and a twin for each account."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.members: list[Member] = []
        self.namespaces = {account: plan.Namespace() for account in ACCOUNTS}
        self.subscriptions: list[tuple[Member, plan.Subscription]] = []
        self.published = 0

    @classmethod
    async def of(cls, server: Server, chosen: list[tuple[bool, bool, bool]]) -> Self:
        world = cls(server)
        for account in ACCOUNTS:
            for role in ROLES:
                echo, with_headers, no_responders = chosen[len(world.members)]
                no_responders = no_responders and with_headers
                client = await Client.connect(
                    server, user=f"{account}.{role}", echo=echo, headers=with_headers, no_responders=no_responders,
                    **{"pass": "p"},
                )  # fmt: skip
                twin = plan.Client(POLICIES[role], echo=echo, headers=with_headers, no_responders=no_responders)
                world.members.append(Member(account, role, client, twin))
        return world

    def of_account(self, account: str) -> list[Member]:
        return [member for member in self.members if member.account == account and not member.twin.closed]

    async def subscribe(self, number: int, subject: bytes, queue: bytes | None) -> None:
        member = self.members[number]
        if member.twin.closed:
            return
        member.sids += 1
        sid = b"%d" % member.sids
        await member.client.send(b"SUB %b %b%b\r\n" % (subject, queue + b" " if queue else b"", sid))
        lines = member.take(await member.client.ping())
        denies = DENIED_TO_THE_DEAF if member.role == "deaf" else ()
        if any(pattern_matches(pattern, subject) for pattern in denies):
            assert len(lines) == 1
            assert lines[0].startswith(b"-ERR 'Permissions Violation for Subscription")
            return
        assert lines == []
        subscription = plan.Subscription(member.twin, subject, queue, sid, denies)
        self.namespaces[member.account].insert(subscription)
        self.subscriptions.append((member, subscription))

    async def unsubscribe(self, number: int) -> None:
        if number < len(self.subscriptions):
            member, subscription = self.subscriptions.pop(number)
            if not member.twin.closed:
                await member.client.send(b"UNSUB %b\r\n" % subscription.sid)
                assert member.take(await member.client.ping()) == []
                self.namespaces[member.account].remove(subscription)

    async def limit(self, number: int, maximum: int) -> None:
        if number < len(self.subscriptions):
            member, subscription = self.subscriptions[number]
            if not member.twin.closed and not subscription.closed:
                await member.client.send(b"UNSUB %b %d\r\n" % (subscription.sid, maximum))
                assert member.take(await member.client.ping()) == []
                if subscription.limit(maximum):
                    self.namespaces[member.account].remove(subscription)

    async def leave(self, number: int) -> None:
        member = self.members[number]
        if member.twin.closed or member.role != "deaf":
            return
        member.client.close()
        await until(lambda: member.client.cid not in self.server.service.connections)
        member.twin.closed = True

    async def publish(self, number: int, subject: bytes, reply: bytes | None, header: bytes | None) -> None:
        member = self.members[number]
        if member.twin.closed:
            return
        self.published += 1
        payload = b"%b %d" % (member.account.encode(), self.published)
        arguments = subject + b" " + (reply + b" " if reply is not None else b"")
        if header is not None and member.twin.headers:
            line = b"HPUB %b%d %d\r\n" % (arguments, len(header), len(header) + len(payload))
        else:
            line, header = b"PUB %b%d\r\n" % (arguments, len(payload)), None
        await member.client.send(line + (header or b"") + payload + b"\r\n")
        lines = member.take(await member.client.ping())
        others = self.of_account(member.account)
        for other in others:
            assert other.take(await other.client.ping()) == []

        def choose(queue: bytes | None, candidates: list[plan.Subscription]) -> plan.Subscription:
            """Whoever has got it, where the choice is left to chance."""
            for candidate in candidates:
                seen = next(other.seen for other in others if other.twin is candidate.client)
                if any(delivery.sid == candidate.sid for delivery in seen):
                    return candidate
            return candidates[0]

        message = Publish(subject, reply, header, payload)
        outcome = self.namespaces[member.account].publish(member.twin, message, now=0.0, choose=choose)
        assert len(lines) == (outcome != PUBLISHED)
        assert all(line.startswith(b"-ERR 'Permissions Violation for Publish") for line in lines)
        for other in others:
            assert Counter(other.seen) == Counter(other.twin.received)
            other.seen.clear()
            other.twin.received.clear()

    async def finish(self) -> None:
        """Nothing more has come to anybody, of whatever account."""
        for member in self.members:
            if not member.twin.closed:
                assert member.take(await member.client.ping()) == []
                assert member.seen == []
        control = self.server.service.control
        for account in ACCOUNTS:
            living = [
                subscription
                for member, subscription in self.subscriptions
                if member.account == account and not member.twin.closed and not subscription.closed
            ]
            assert control.tenants[account].subscriptions == len(living)


async def play(chosen: list[tuple[bool, bool, bool]], taken: list[Step]) -> None:
    async with serving(OPTIONS) as server:
        world = await World.of(server, chosen)
        for name, *arguments in taken:
            await getattr(world, name)(*arguments)
        await world.finish()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(flags, min_size=len(ACCOUNTS) * len(ROLES), max_size=len(ACCOUNTS) * len(ROLES)),
    st.lists(subscribes, min_size=8, max_size=16),
    st.lists(turns, min_size=4, max_size=10),
)
def test_every_account_is_alone(
    chosen: list[tuple[bool, bool, bool]], beginning: list[Step], following: list[tuple[Step, ...]]
) -> None:
    steps = [*beginning, *(step for steps in following for step in steps)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(chosen, steps))


ALL_FLAGS = [(True, True, True)] * (len(ACCOUNTS) * len(ROLES))


@in_every_loop
async def test_no_responders_of_another_account_answer() -> None:
    """A responder in B is nobody to A: the requester in A gets its status, and B hears nothing."""
    await play(ALL_FLAGS, [
        ("subscribe", 3, b"a", None), ("subscribe", 3, b">", None), ("subscribe", 4, b"a", b"q"),
        ("subscribe", 0, b"r.*", None), ("publish", 0, b"a", b"r.1", None), ("publish", 0, b"a", b"r.1", b"H"),
    ])  # fmt: skip


@in_every_loop
async def test_a_response_opens_nothing_in_another_account() -> None:
    """The responder of A was asked with r.1, that of B was not, so only one of them may answer there."""
    await play(ALL_FLAGS, [
        ("subscribe", 1, b"a", None), ("subscribe", 4, b"a", None), ("subscribe", 0, b"r.*", None),
        ("subscribe", 3, b"r.*", None), ("publish", 0, b"a", b"r.1", None), ("publish", 4, b"r.1", None, None),
        ("publish", 1, b"r.1", None, None), ("publish", 1, b"r.1", None, None), ("publish", 1, b"r.1", None, None),
    ])  # fmt: skip


@in_every_loop
async def test_members_of_one_queue_name_in_all_accounts() -> None:
    subscribed = [("subscribe", number, b"a", b"q") for number in range(9)]
    await play(ALL_FLAGS, [*subscribed, *[("publish", number, b"a", None, None) for number in (0, 3, 6) * 5]])


@in_every_loop
async def test_echo_off_in_all_accounts() -> None:
    silent = [(False, True, True)] * 9
    subscribed = [("subscribe", number, b">", queue) for number in range(9) for queue in (None, b"q")]
    await play(silent, [*subscribed, *[("publish", number, b"a", b"r.1", None) for number in (0, 2, 3, 6)]])
