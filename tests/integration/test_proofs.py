"""Proofs of isolation against a running broker: what they show happens there, and what they exclude does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import uvloop
from hypothesis import HealthCheck, given, settings

from accounts.account import Account
from accounts.exchange import compile_exchange
from accounts.exports import ServiceExport
from accounts.flow import World
from accounts.imports import ServiceImport
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.prove import Action, Proof, Reach
from broker import Options, Server
from broker.config.options import AccountOptions, UserOptions
from tests.fuzz.inputs import LONG
from tests.property.test_prove import NAMES, UNIVERSE, topologies
from tests.support.serving import Client, serving

SHOWN = b"shown"
ANYWHERE = settings(
    max_examples=1_000 if LONG else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def in_force(accounts: list[Account]) -> list[Account]:
    """The accounts without the imports that are not in force, since a configuration with such is refused."""
    by_name = {account.name: account for account in accounts}
    kept = []
    for account in accounts:
        exchange = compile_exchange(account, by_name.get, 0.0)
        refused = {id(problem.found) for problem in exchange.refused}
        kept.append(replace(account, imports=tuple(one for one in account.imports if id(one) not in refused)))
    return kept


def options(accounts: list[Account]) -> Options:
    return Options(
        accounts=tuple(
            AccountOptions(
                name=account.name,
                users=(UserOptions(user=account.name, password="p"),),
                exports=account.exports,
                imports=account.imports,
                mappings=account.mappings,
            )
            for account in accounts
        )
    )


class Voice:
    """A client of an account, and what it has heard: subject, reply subject and payload of each message."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[tuple[str, str, bytes]] = []
        self._sids = itertools.count(1)

    @classmethod
    async def raised(cls, server: Server, account: str) -> Voice:
        return cls(await Client.connect(server, user=account, **{"pass": "p"}, headers=True))

    async def listen(self, subject: str) -> None:
        await self.client.send(f"SUB {subject} {next(self._sids)}\r\n".encode())
        await self.settle()

    async def publish(self, subject: str, reply: str, payload: bytes) -> None:
        await self.client.send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
        await self.settle()

    async def settle(self) -> None:
        """All that has been sent before this is dealt with, and heard."""
        for frame in await self.client.ping():
            line, _, body = frame.partition(b"\r\n")
            words = line.decode().split(" ")
            header = int(words[-2]) if words[0] == "HMSG" else 0
            reply = words[3] if len(words) == (6 if header else 5) else ""
            self.heard.append((words[1], reply, body[header:]))


async def replayed(server: Server, names: Iterable[str], reach: Reach) -> bool:
    """Whether the target hears what the source says last, when clients do what the example says."""
    voices = {name: await Voice.raised(server, name) for name in names}
    last = len(reach.script) - 1
    for number, action in enumerate(reach.script):
        await act(voices[action.account], action, SHOWN if number == last else b"")
        for voice in voices.values():
            await voice.settle()
    heard = [subject for subject, _, payload in voices[reach.target].heard if payload == SHOWN]
    for voice in voices.values():
        voice.client.close()
    return bool(heard)


async def act(voice: Voice, action: Action, payload: bytes) -> None:
    if action.verb == "listen":
        await voice.listen(action.subject)
    elif action.verb == "publish":
        await voice.publish(action.subject, action.reply, payload)
    else:
        _, reply, _ = next(one for one in reversed(voice.heard) if one[1])
        await voice.publish(reply, action.reply, payload)


@ANYWHERE
@given(topologies(chance=False))
def test_what_is_shown_happens(accounts: list[Account]) -> None:
    uvloop.run(shown_happens(in_force(accounts)))


@ANYWHERE
@given(topologies())
def test_what_is_excluded_never_happens(accounts: list[Account]) -> None:
    uvloop.run(excluded_never_happens(in_force(accounts)))


async def shown_happens(accounts: list[Account]) -> None:
    proof = Proof(World(accounts, 0.0))
    names = [account.name for account in accounts]
    shown = [reach for pair in itertools.permutations(names, 2) if (reach := proof.reach(*pair)) and reach.is_shown]
    if not shown:
        return
    async with serving(options(accounts)) as server:
        for reach in shown:
            assert await replayed(server, names, reach), reach.script


async def excluded_never_happens(accounts: list[Account]) -> None:
    proof = Proof(World(accounts, 0.0))
    async with serving(options(accounts)) as server:
        voices = {name: await Voice.raised(server, name) for name in NAMES}
        for voice in voices.values():
            await voice.listen(">")
        for name, voice in voices.items():
            for subject, reply in itertools.product(UNIVERSE, ("a", "z.z")):
                await voice.publish(subject, reply, name.encode())
        for name, voice in voices.items():
            await voice.settle()
            answered = {reply for _, reply, _ in voice.heard if reply.startswith("_R_")}
            for reply in sorted(answered):
                await voice.publish(reply, "a.z", name.encode())
        for name, voice in voices.items():
            await voice.settle()
            speakers = {payload.decode() for _, _, payload in voice.heard} - {name}
            assert all(proof.reach(speaker, name) is not None for speaker in speakers)


def test_an_answer_that_an_account_on_the_way_leads_astray() -> None:
    def to(source: str, destination: str) -> SubjectMapping:
        return SubjectMapping(source, (WeightedDestination(destination),))

    accounts = [
        Account("A", exports=(ServiceExport(subject="q.*"),)),
        Account(
            "B",
            imports=(ServiceImport(account="A", subject="q.*", to="m.$1"), ServiceImport(account="C", subject="w.>")),
            exports=(ServiceExport(subject="m.*"),),
            mappings=(to("_R_.>", "w.>"), to("w.>", "gone.>")),
        ),
        Account("C", exports=(ServiceExport(subject="w.>"),)),
        Account("D", imports=(ServiceImport(account="B", subject="m.*"),)),
    ]
    reach = Proof(World(accounts, 0.0)).reach("A", "C")
    assert reach is not None
    assert reach.leak is not None
    uvloop.run(shown_happens(accounts))
