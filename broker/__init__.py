"""natskeep: a NATS-compatible broker for many tenants.

Embedding: `async with Server(Options(port=-1)) as server:` starts a broker on a free port inside the caller's loop.
`Options(authenticator=...)` lets the caller decide who a client is: a Login comes in, an Admission or None goes out.
"""

from auth.login import Admission, Login
from broker.app import Server
from broker.config.options import Options

__all__ = ["Admission", "Login", "Options", "Server"]
