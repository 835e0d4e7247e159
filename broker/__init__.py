"""natskeep: a NATS-compatible broker for many tenants.

Embedding: `async with Server(Options(port=-1)) as server:` starts a broker on a free port inside the caller's loop.
"""

from broker.app import Server
from broker.config.options import Options

__all__ = ["Options", "Server"]
