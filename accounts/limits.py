"""Ceilings of a tenant and of a user, and how they combine.

``UNLIMITED`` (-1) is the only value that means "no limit". Zero and every other negative number are limits that
nothing fits, so a claim that lacks a number or carries a wrong one restricts instead of opening (in a JWT, an absent
number is zero).
"""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED = -1
"""The one value that means that there is no limit."""


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Ceilings of an account; each number is -1 for unlimited.

    ``subscriptions`` per connection, ``payload`` bytes of one message (headers included), ``data`` bytes in all,
    ``connections`` clients and leafnodes together, ``leafnodes`` among them, ``imports`` and ``exports`` entries.
    ``message_rate`` and ``byte_rate`` are messages, and bytes of headers and payloads, that all its users together
    publish in a second.
    ``wildcard_exports`` permits wildcards in exported subjects; ``disallow_bearer`` refuses users that do not sign.
    """

    subscriptions: int = UNLIMITED
    payload: int = UNLIMITED
    data: int = UNLIMITED
    connections: int = UNLIMITED
    leafnodes: int = UNLIMITED
    imports: int = UNLIMITED
    exports: int = UNLIMITED
    wildcard_exports: bool = True
    disallow_bearer: bool = False
    message_rate: int = UNLIMITED
    byte_rate: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class UserLimits:
    """Ceilings of one user; each number is -1 for unlimited.

    Per connection: ``subscriptions``, ``payload`` bytes of one message (headers included), ``data`` bytes in all. For
    all connections of the user together: ``message_rate`` and ``byte_rate``, messages and bytes that it publishes in a
    second.
    """

    subscriptions: int = UNLIMITED
    payload: int = UNLIMITED
    data: int = UNLIMITED
    message_rate: int = UNLIMITED
    byte_rate: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class JetStreamLimits:
    """What an account's streams may take, all of them or those of one tier.

    ``memory`` and ``disk`` are bytes, -1 for unlimited and 0 for none. All others restrict only where they are above 0,
    as in nats-server: ``streams``, ``consumers`` of one stream, ``max_ack_pending`` of one consumer, and bytes of one
    stream by where it is kept. ``max_bytes_required`` wants each stream to name its size.
    """

    memory: int = UNLIMITED
    disk: int = UNLIMITED
    streams: int = UNLIMITED
    consumers: int = UNLIMITED
    max_ack_pending: int = UNLIMITED
    memory_max_stream_bytes: int = UNLIMITED
    disk_max_stream_bytes: int = UNLIMITED
    max_bytes_required: bool = False


EVERY_TIER: str = ""
"""The tier of limits that hold whatever the number of replicas."""


def tightest(*limits: int) -> int:
    """Return the smallest of ``limits``, -1 when none of them limits; negative limits other than -1 count as 0."""
    real = [max(limit, 0) for limit in limits if limit != UNLIMITED]
    return min(real, default=UNLIMITED)


def fits(amount: int, limit: int) -> bool:
    """Say whether ``amount`` is within ``limit``."""
    return limit == UNLIMITED or amount <= max(limit, 0)


def effective_payload(server: int, account: AccountLimits, user: UserLimits) -> int:
    """Return the largest message in bytes that a connection may publish; ``server`` is its ``max_payload``."""
    return tightest(server, account.payload, user.payload)


def effective_subscriptions(server: int, account: AccountLimits, user: UserLimits) -> int:
    """Return how many subscriptions a connection may hold; ``server`` is its ``max_subscriptions`` or -1."""
    return tightest(server, account.subscriptions, user.subscriptions)


def effective_data(account: AccountLimits, user: UserLimits) -> int:
    """Return how many bytes a connection may move in all.

    Only a positive number is a limit here: 0 is what an absent one reads as, and no connection could live under it.
    """
    return min((limit for limit in (account.data, user.data) if limit > 0), default=UNLIMITED)
