"""The orders in which connections can be listed, for those that are open and those that are gone alike."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from broker.monitor.query import QueryError
from broker.session.record import ConnectionRecord, active_at, round_trip

if TYPE_CHECKING:
    from broker.session.record import Carrier

    Source = Carrier | ConnectionRecord

SLICE: Final = 1000
"""Connections that are looked at before others have a turn."""

Key = int | float | str


@dataclass(frozen=True, slots=True)
class Clocks:
    """One moment on both clocks."""

    now: float
    """Unix seconds."""
    monotonic: float
    """Seconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Order:
    """How to sort: by a fact of a living connection and of a record, largest first where `descending`."""

    living: Callable[[Carrier, Clocks], Key]
    gone: Callable[[ConnectionRecord, Clocks], Key]
    descending: bool = True
    closed_only: bool = False


def _age(source: Source, clocks: Clocks) -> float:
    return (clocks.now if source.ended is None else source.ended) - source.started


def _last(connection: Carrier, clocks: Clocks) -> float:
    return active_at(connection, clocks.now, clocks.monotonic)


ORDERS: Final[dict[str, Order]] = {
    "cid": Order(lambda c, _: c.session.cid, lambda r, _: r.cid, descending=False),
    "start": Order(lambda c, _: c.started, lambda r, _: r.started, descending=False),
    "subs": Order(lambda c, _: len(c.session.subscriptions), lambda r, _: r.subscription_count),
    "pending": Order(lambda c, _: c.client.pending, lambda r, _: r.pending),
    "msgs_to": Order(lambda c, _: c.client.out_messages, lambda r, _: r.out_messages),
    "msgs_from": Order(lambda c, _: c.client.in_messages, lambda r, _: r.in_messages),
    "bytes_to": Order(lambda c, _: c.client.out_bytes, lambda r, _: r.out_bytes),
    "bytes_from": Order(lambda c, _: c.client.in_bytes, lambda r, _: r.in_bytes),
    "last": Order(_last, lambda r, _: r.active),
    "idle": Order(lambda c, at: at.now - _last(c, at), lambda r, at: (r.ended or at.now) - r.active),
    "uptime": Order(_age, _age, descending=False),
    "rtt": Order(lambda c, _: round_trip(c), lambda r, _: r.round_trip),
    "stop": Order(lambda c, _: 0.0, lambda r, _: r.ended or 0.0, closed_only=True),
    "reason": Order(lambda c, _: "", lambda r, _: r.reason, descending=False, closed_only=True),
}


def find_order(name: str, *, closed_only: bool) -> Order:
    """The order of that name, by cid without one. Raises QueryError."""
    order = ORDERS.get(name or "cid")
    if order is None:
        raise QueryError(f"invalid sorting option: {name}")
    if order.closed_only and not closed_only:
        raise QueryError(f"sort by {name} only valid on closed connections")
    return order


def arrange(
    order: Order, living: list[Carrier], gone: list[ConnectionRecord], clocks: Clocks
) -> Generator[bytes, None, list[Source]]:
    """All of them in the order; equals stand by their cid. An empty piece wherever others may have a turn."""
    rows: list[tuple[Key, int, Source]] = []
    for start in range(0, len(living), SLICE):
        rows += [(order.living(one, clocks), one.session.cid, one) for one in living[start : start + SLICE]]
        yield b""
    for start in range(0, len(gone), SLICE):
        rows += [(order.gone(one, clocks), one.cid, one) for one in gone[start : start + SLICE]]
        yield b""
    rows.sort(key=itemgetter(1))
    yield b""
    rows.sort(key=itemgetter(0), reverse=order.descending)
    yield b""
    return [row[2] for row in rows]
