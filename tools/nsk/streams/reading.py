"""Reading a stream in order: a consumer for the moment, as official clients make it (ADR-17).

It is pushed and has flow control, so that the server sends no more than is taken.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from nats.aio.msg import Msg
from nats.nuid import NUID

from tools.nsk.errors import NskError
from tools.nsk.streams.api import JetStream, Stored

_HEARTBEAT: Final = 5.0
_MISSED: Final = 3
"""Heartbeats after which the server is taken for gone."""
_SHORT_REPLY: Final = 9
_WAITING: Final = 256
"""Messages that are taken from the connection before the reader asks for them."""


@dataclass(frozen=True, slots=True)
class Delivered(Stored):
    """A message as a consumer hands it out: with how many come behind it."""

    pending: int


async def reading(
    streams: JetStream,
    stream: str,
    subjects: Sequence[str] = (),
    *,
    deliver: str = "all",
    headers_only: bool = False,
    follow: bool = False,
) -> AsyncGenerator[Delivered, None]:
    """The messages of a stream in their order, up to the last that was there, or on and on.

    ``deliver`` is the policy of ADR-15: ``all``, ``last_per_subject``, ``new``. Raises NskError, also for a message
    that got lost on the way.
    """
    client, queue = streams.link.client, asyncio.Queue[Msg](_WAITING)
    inbox, name = client.new_inbox(), NUID().next().decode()
    subscription = await streams.link.done(client.subscribe(inbox, cb=queue.put), inbox)
    try:
        config: dict[str, Any] = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": deliver,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": round(_HEARTBEAT * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        if headers_only:
            config["headers_only"] = True
        where = f"CONSUMER.CREATE.{stream}.{name}"
        if len(subjects) == 1:
            config["filter_subject"] = subjects[0]
            where = f"{where}.{subjects[0]}"
        elif subjects:
            config["filter_subjects"] = list(subjects)
        made = await streams.ask(where, {"stream_name": stream, "config": config, "action": "create"})
        pending, expected = int(made.get("num_pending", 0)), 1
        while pending or follow:
            message = await _next(streams, queue)
            if "Status" in (message.headers or {}):
                await _respond(streams, message)
                continue
            found, number = delivered(message)
            if number != expected:
                raise NskError(
                    f"a message of {stream} got lost on the way, before sequence {found.sequence}",
                    remedy="do it again: the connection is slower than the server sends",
                )
            pending, expected = found.pending, expected + 1
            yield found
    finally:
        await subscription.unsubscribe()


async def _next(streams: JetStream, queue: asyncio.Queue[Msg]) -> Msg:
    if not queue.empty():
        return queue.get_nowait()
    try:
        return await streams.link.done(asyncio.wait_for(queue.get(), _HEARTBEAT * _MISSED))
    except TimeoutError:
        raise NskError(
            f"the server has been silent for {_HEARTBEAT * _MISSED:g} s",
            remedy="look whether it still runs, and whether somebody removed the stream",
        ) from None


async def _respond(streams: JetStream, status: Msg) -> None:
    """Answer flow control: the server waits for it, whichever of both forms it asks in."""
    asked = status.reply or (status.headers or {}).get("Nats-Consumer-Stalled", "")
    if asked:
        await streams.link.client.publish(asked)


def delivered(message: Msg) -> tuple[Delivered, int]:
    """A message with its number among those of the consumer, which its reply subject tells."""
    # $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<nanoseconds>.<pending>; longer ones have the domain
    # and the account before the stream.
    tokens = message.reply.split(".")
    sequence, number, nanoseconds, pending = map(int, tokens[5:9] if len(tokens) == _SHORT_REPLY else tokens[7:11])
    headers = dict(message.headers or {})
    return Delivered(message.subject, sequence, moment(nanoseconds), headers, message.data, pending), number


def moment(nanoseconds: int) -> str:
    """A time since 1970 as servers write it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def document_of(payload: bytes) -> dict[str, Any] | None:
    """A payload that is an object of JSON, else None."""
    try:
        found = json.loads(payload)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
