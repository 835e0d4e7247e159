"""What crosses the walls of accounts is what the twin says: nothing is missing, and nothing that is forbidden comes.

Small worlds of accounts with exports, imports, mappings, permissions and queue groups go through the configuration, the
control and the sessions of natskeep; then everybody publishes everything, and everybody who is asked answers. With
NATSKEEP_REFERENCE=/path/to/nats-server the twin is held against that server as well, over sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from tests.oracle.exchange import Delivery, Response
from tests.support.exchange import Natskeep, Play, Reference, Server, configuration
from tests.support.servers import Target, targets
from tests.support.topologies import REPLIES, Scene, scenes, spoken


@contextmanager
def started(scene: Scene, target: Target) -> Iterator[Server]:
    """The server with the accounts of the scene."""
    text = configuration(scene.accounts)
    with TemporaryDirectory() as directory:
        server: Server = Reference(text, target, Path(directory)) if target.is_reference else Natskeep(text)
        try:
            yield server
        finally:
            server.stop()


def play(scene: Scene, target: Target) -> int:
    """Plays the scene; returns how many deliveries were compared."""
    with started(scene, target) as server:
        world = Play(scene.accounts, server)
        for presence in scene.presences:
            world.connect(
                presence.user,
                echo=presence.echo,
                headers=presence.headers,
                no_responders=presence.no_responders,
            )
        sids = [(each.user, world.subscribe(each.user, each.subject, each.queue)) for each in scene.interests]
        say_everything(world)
        for user, sid in sids[::3]:
            world.unsubscribe(user, sid)
        say_everything(world)
        world.close(scene.presences[-1].user)
        say_everything(world)
        return world.deliveries


def say_everything(world: Play) -> None:
    """Every client publishes to every subject, sometimes as a request; whoever is asked answers more than once."""
    number = 0
    for name, client in list(world.bus.clients.items()):
        for subject in spoken(client.account):
            number += 1
            reply = (None, *REPLIES)[number % 3]
            happened = world.publish(name, subject, reply, header=number % 2 == 0)
            for delivery in happened:
                answer(world, delivery, number)


def answer(world: Play, delivery: Delivery, number: int) -> None:
    """The receiver answers: with something, with nothing, and with something again."""
    if isinstance(delivery.reply, Response) and delivery.reply.is_known:
        for turn in range(3):
            world.answer(delivery.client, delivery.reply, header=number % 4 == 0, empty=turn == 1)


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_every_delivery_is_what_the_twin_says(target: Target) -> None:
    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scenes(plain=target.is_reference))
    def check(scene: Scene) -> None:
        play(scene, target)

    check()
