"""What the configuration of one stream is checked against: limits, and the other streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from accounts.limits import JetStreamLimits
    from broker.config.options import JetStreamCeilings
    from broker.jetstream.config.stream import StreamConfig


class Surroundings(Protocol):
    """An account with JetStream, as checks see it."""

    @property
    def server_limits(self) -> JetStreamCeilings:
        """What every stream of the server keeps to."""

    def stream_config(self, name: str) -> StreamConfig | None:
        """How another stream is configured; None where there is none of that name."""

    def limits_for(self, replicas: int) -> tuple[str, JetStreamLimits] | None:
        """The tier that holds for so many replicas, and its limits; None where the account has none."""
