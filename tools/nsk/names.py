"""Names for things whose name does not matter: ``*`` asks for a random one."""

from __future__ import annotations

import secrets

_QUALITIES = (
    "able amber apt bold brave bright brisk calm candid clear clever cool crisp deft eager early even fair fast "
    "fine fond frank free fresh gentle glad grand great green happy hardy honest jolly keen kind late light "
    "lively loyal lucky mild modest neat noble plain polite prime proud pure quick quiet rapid ready rich safe "
    "sharp shy silent simple sleek smart smooth snug sober solid sound spry stable steady still strong sunny "
    "sure swift tall thrifty tidy tough trim true trusty vivid warm wise witty young zesty"
)
_THINGS = (
    "acorn alder anchor apple arrow aspen badger barley basil beacon birch brook candle canyon cedar cliff "
    "clover comet copper coral crane creek dune eagle ember falcon fern field finch fir flint forest fox garnet "
    "glacier grove gull harbor hawk hazel heron hill ibis iris island ivy jasper juniper kestrel lagoon lake "
    "lark laurel linden lotus lynx maple marble meadow mesa moss oak oasis olive orchid otter owl pebble pine "
    "plover pond poplar prairie quail quartz raven reed reef ridge river robin rowan sage sparrow spruce stone "
    "stork summit swan thicket thistle tide tulip valley violet willow wren"
)


def random_name() -> str:
    """Two words, such as ``quiet_otter``."""
    return f"{secrets.choice(_QUALITIES.split())}_{secrets.choice(_THINGS.split())}"


def given_or_random(name: str) -> str:
    """The name itself, or a random one for ``*``."""
    return random_name() if name == "*" else name
