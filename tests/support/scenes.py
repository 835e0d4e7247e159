"""Plays a small world of accounts to the end: everybody publishes everything, and everybody who is asked answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.oracle.exchange import Account, Delivery, Import, Response
from tests.support.exchange import Natskeep, Play, Reference, Server, configuration
from tests.support.servers import Target
from tests.support.topologies import REPLIES, Scene, spoken


def play(scene: Scene, target: Target, rounds: int = 1, own: Callable[[str], Natskeep] = Natskeep) -> int:
    """Plays the scene, and holds all that is seen against the twin; returns how many deliveries were compared.

    Everything is said in so many rounds before some subscriptions end, again after that, again with other imports and
    mappings, and again after a client has left. ``own`` starts natskeep with a configuration.
    """
    with _started(scene, target, own) as server:
        world = Play(scene.accounts, server)
        for presence in scene.presences:
            world.connect(
                presence.user, echo=presence.echo, headers=presence.headers, no_responders=presence.no_responders
            )
        sids = [(each.user, world.subscribe(each.user, each.subject, each.queue)) for each in scene.interests]
        for turn in range(rounds):
            _say_everything(world, turn)
        for user, sid in sids[::3]:
            world.unsubscribe(user, sid)
        _say_everything(world, rounds)
        world.reconfigure(changed(scene.accounts))
        _say_everything(world, rounds + 1)
        world.close(scene.presences[-1].user)
        _say_everything(world, rounds + 2)
        return world.deliveries


def changed(accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """The same accounts without every second import, under another name for the third, and without some mappings."""
    found = []
    for number, account in enumerate(accounts):
        imports = [
            replace(taken, to="z", prefix="") if each == 2 and _is_literal(taken) else taken
            for each, taken in enumerate(account.imports)
            if each % 2 == 0
        ]
        mappings = account.mappings[number % 2 :]
        found.append(replace(account, imports=tuple(imports), mappings=mappings))
    return tuple(found)


def _is_literal(taken: Import) -> bool:
    return not {"*", ">"} & set(taken.subject.split("."))


@contextmanager
def _started(scene: Scene, target: Target, own: Callable[[str], Natskeep]) -> Iterator[Server]:
    text = configuration(scene.accounts)
    if not target.is_reference:
        server = own(text)
        yield server
        server.stop()
        return
    with TemporaryDirectory() as directory:
        reference = Reference(text, target, Path(directory))
        try:
            yield reference
        finally:
            reference.stop()


def _say_everything(world: Play, turn: int) -> None:
    """Every client publishes to every subject, sometimes as a request, with and without a header."""
    number = turn
    for name, client in list(world.bus.clients.items()):
        for subject in spoken(client.account):
            number += 1
            reply = (None, *REPLIES)[number % 3]
            for delivery in world.publish(name, subject, reply, header=number % 2 == 0):
                _answer(world, delivery, number)


def _answer(world: Play, delivery: Delivery, number: int) -> None:
    """The receiver answers: with something, with nothing, and with something again."""
    if isinstance(delivery.reply, Response) and delivery.reply.is_known:
        for turn in range(3):
            world.answer(delivery.client, delivery.reply, header=number % 4 == 0, empty=turn == 1)
