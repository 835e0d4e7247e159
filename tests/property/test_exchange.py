"""What crosses the walls of accounts is what the twin says: nothing is missing, and nothing that is forbidden comes.

Small worlds of accounts with exports, imports, mappings, permissions and queue groups go through the configuration, the
control and the sessions of natskeep. With NATSKEEP_REFERENCE=/path/to/nats-server the twin is held against that server
as well, over sockets.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.scenes import play
from tests.support.servers import Target, targets
from tests.support.topologies import Scene, scenes


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_every_delivery_is_what_the_twin_says(target: Target) -> None:
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scenes(plain=target.is_reference))
    def check(scene: Scene) -> None:
        play(scene, target)

    check()
