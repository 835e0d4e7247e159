"""Requests about streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.jetstream.api.bodies import InfoRequest, ListRequest, NamesRequest, PurgeRequest, StreamRequest
from broker.jetstream.codec import Plain, is_empty
from broker.jetstream.config import metadata
from broker.jetstream.config.names import has_separator
from broker.jetstream.config.stream_check import check_stream, invalid
from broker.jetstream.errors import ApiError
from broker.jetstream.stream import MAXIMUM_SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Generator

    from broker.jetstream.api.request import Request

NAMES_LIMIT: Final = 1024
LIST_LIMIT: Final = 256
NO_PAGE: Final[Plain] = {"total": 0, "offset": 0, "limit": 0}


def page(total: int, offset: int, limit: int) -> Plain:
    """Which part of a list an answer holds."""
    return {"total": total, "offset": min(max(offset, 0), total), "limit": limit}


def create(request: Request) -> Plain:
    """Makes a stream."""
    body = request.body(StreamRequest)
    wanted = body.config()
    metadata.stamp(wanted)
    if wanted.name != request.names[0]:
        raise ApiError.STREAM_MISMATCH.error()
    if has_separator(wanted.name):
        raise ApiError.STREAM_NAME_CONTAINS_PATH_SEPARATORS.error()
    if wanted.sealed:
        raise invalid("stream configuration for create can not be sealed")
    if wanted.mirror_direct and wanted.mirror is None:
        raise invalid("stream has no mirror but does have mirror direct")
    told = request.account.create(wanted, pedantic=body.pedantic).info()
    told.pop("domain", None)
    return {**told, "did_create": True}


def update(request: Request) -> Plain:
    """Configures a stream anew."""
    body = request.body(StreamRequest)
    wanted = check_stream(body.config(), request.account, pedantic=body.pedantic)
    if wanted.name != request.names[0]:
        raise ApiError.STREAM_MISMATCH.error()
    stream = request.stream()
    metadata.stamp(wanted)
    stream.update(wanted, pedantic=body.pedantic)
    return stream.info()


def names(request: Request) -> Plain:
    """Lists the names of streams."""
    body = request.options(NamesRequest)
    found = [stream.name for stream in request.account.listed(body.subject)]
    part = page(len(found), body.offset, NAMES_LIMIT)
    return {**part, "streams": found[part["offset"] :][:NAMES_LIMIT] or None}


def listed(request: Request) -> Plain:
    """Tells all of many streams."""
    body = request.options(ListRequest)
    found = request.account.listed(body.subject)
    part = page(len(found), body.offset, LIST_LIMIT)
    return {**part, "streams": [one.info(as_stored=True) for one in found[part["offset"] :][:LIST_LIMIT]]}


def info(request: Request) -> Generator[None, None, Plain]:
    """Tells all of one stream."""
    body = request.options(InfoRequest)
    stream = request.stream()
    part: Plain = NO_PAGE
    subjects: dict[str, int] = {}
    if body.subjects_filter:
        offset = max(body.offset, 0)
        total, subjects = yield from stream.counts(body.subjects_filter, offset)
        if total:
            part = {"total": total, "offset": offset, "limit": MAXIMUM_SUBJECTS}
    told = stream.info()
    told["state"] = stream.state(deleted=body.deleted_details, subjects=subjects)
    moment = told.pop("ts")
    return {**part, **told, "cluster": {"leader": request.account.settings.server}, "ts": moment}


def delete(request: Request) -> Plain:
    """Lets a stream go."""
    if not is_empty(request.payload):
        raise ApiError.NOT_EMPTY_REQUEST.error()
    request.account.delete(request.stream())
    return {"success": True}


def purge(request: Request) -> Generator[None, None, Plain]:
    """Lets messages of a stream go."""
    body = request.options(PurgeRequest)
    if body.seq and body.keep:
        raise ApiError.BAD_REQUEST.error()
    stream = request.stream()
    if stream.config.sealed:
        raise ApiError.STREAM_SEALED.error()
    if stream.config.deny_purge:
        raise ApiError.STREAM_PURGE_FAILED.error(err="stream purge not permitted")
    return {"success": True, "purged": (yield from stream.purge(body.filter, body.seq, body.keep))}
