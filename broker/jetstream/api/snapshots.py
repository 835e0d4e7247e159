"""Requests about streams as archives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.subject import is_literal
from broker.jetstream.api.bodies import RestoreRequest, SnapshotRequest
from broker.jetstream.codec import Plain, is_empty, plain
from broker.jetstream.config.names import has_separator
from broker.jetstream.errors import ApiError
from broker.jetstream.snapshot.restoring import Restore
from broker.jetstream.snapshot.sending import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.jetstream.api.request import Request

MOST_AT_ONCE: Final = 32
"""Archives of one account that are sent, and that are taken, at the same time."""


def snapshot(request: Request) -> Plain:
    """Sends a stream as it is now."""
    if is_empty(request.payload):
        raise ApiError.BAD_REQUEST.error()
    stream = request.stream()
    body = request.body(SnapshotRequest)
    if not is_literal(body.deliver_subject):
        raise ApiError.SNAPSHOT_DELIVER_SUBJECT_INVALID.error()
    if sum(len(one.snapshots) for one in request.account.streams.values()) >= MOST_AT_ONCE:
        raise ApiError.STREAM_SNAPSHOT.error(err="too many snapshots are taken at the same time")
    taken = Snapshot(
        stream, body.deliver_subject, request.asker, chunk=body.chunk_size, window=body.window_size,
        consumers=not body.no_consumers,
    )  # fmt: skip
    _when_told(request, taken.begin)
    return {"config": plain(stream.config), "state": taken.state}


def restore(request: Request) -> Plain:
    """Takes an archive and makes a stream of it."""
    if is_empty(request.payload):
        raise ApiError.BAD_REQUEST.error()
    body = request.body(RestoreRequest)
    wanted, name = body.config, request.names[0]
    wanted.name = wanted.name or name
    if wanted.name != name:
        raise ApiError.STREAM_MISMATCH.error()
    if has_separator(name):
        raise ApiError.STREAM_NAME_CONTAINS_PATH_SEPARATORS.error()
    if len(request.account.restores) >= MOST_AT_ONCE:
        raise ApiError.STREAM_RESTORE.error(err="too many archives are taken at the same time")
    taken = Restore(request.account, request.account.check_new(wanted), request.access, request.asker)
    _when_told(request, taken.begin)
    return {"deliver_subject": taken.subject}


def _when_told(request: Request, begin: Callable[[], None]) -> None:
    """Begins behind the answer to the request, which goes out when what it tells is on disk."""
    request.account.store.when_quiet(partial(_next, request, begin))


def _next(request: Request, begin: Callable[[], None]) -> None:
    request.account.clock.call_later(0.0, begin)
