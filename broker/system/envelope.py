"""Who says it: the server's own facts in every event and answer, and the frame around an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from broker.monitor.snapshot import feature_flags
from broker.monitor.wording import compact
from broker.wire.info import PROVIDED_RELEASE
from broker.wire.values import moment

if TYPE_CHECKING:
    from broker.monitor.watched import Watched


class Sender(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A server in what it says; ``seq`` counts everything that it has said as the system account."""

    name: str
    host: str
    id: str
    domain: str = ""
    ver: str
    tags: list[str] = msgspec.field(default_factory=list)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    feature_flags: dict[str, bool]
    jetstream: bool
    flags: int
    """A bit for each part that the server has: 1 for streams."""
    seq: int
    time: str


class Voice:
    """Numbers what one server says, and signs it."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.spoken = 0

    def skip(self) -> None:
        """Counts something that nobody listened to."""
        self.spoken += 1

    def sender(self) -> Sender:
        """The server's facts for the next thing that it says."""
        self.spoken += 1
        info, options = self._watched.service.control.server_info, self._watched.options
        return Sender(
            name=info.server_name,
            host=info.host,
            id=info.server_id,
            domain=info.domain,
            ver=PROVIDED_RELEASE,
            tags=list(options.server_tags),
            metadata=dict(options.server_metadata),
            feature_flags=feature_flags(options),
            jetstream=info.jetstream,
            flags=int(info.jetstream),
            seq=self.spoken,
            time=moment(time.time()),
        )


class Fault(msgspec.Struct, kw_only=True):
    """Why a request was not fulfilled: 400 where it was not understood, 500 else."""

    code: int
    description: str


class Envelope(msgspec.Struct, kw_only=True):
    """The frame of an answer. ``data`` is null where there would be some but for an error, absent where none is due."""

    server: Sender
    data: object = msgspec.UNSET
    error: object = msgspec.UNSET

    def encoded(self) -> bytes:
        """As it goes out."""
        return compact(self)
