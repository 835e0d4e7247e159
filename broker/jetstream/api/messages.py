"""Requests about single messages of a stream."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from broker.jetstream.api.bodies import MessageDeleteRequest, MessageGetRequest
from broker.jetstream.codec import Plain, is_empty, shown_time
from broker.jetstream.errors import ApiError
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.core.log import Entry
    from broker.jetstream.api.request import Request
    from broker.jetstream.stream import Stream


def get(request: Request) -> Plain:
    """Tells one message."""
    if is_empty(request.payload):
        raise ApiError.BAD_REQUEST.error()
    body = request.body(MessageGetRequest)
    is_batch = body.batch > 0 or body.max_bytes > 0
    ways = (body.seq > 0, bool(body.last_by_subj), body.start_time is not None)
    is_clear = sum(ways) <= 1 and not (body.last_by_subj and body.next_by_subj)
    if is_batch or not is_clear or not (any(ways) or body.next_by_subj):
        raise ApiError.BAD_REQUEST.error()
    entry = _found(request.stream(), body)
    if entry is None:
        raise ApiError.NO_MESSAGE_FOUND.error()
    message: Plain = {"subject": shown(entry.subject), "seq": entry.sequence}
    if entry.header and not body.no_hdr:
        message["hdrs"] = b64encode(entry.header).decode()
    if entry.payload:
        message["data"] = b64encode(entry.payload).decode()
    message["time"] = shown_time(entry.time)
    return {"message": message}


def _found(stream: Stream, body: MessageGetRequest) -> Entry | None:
    sequence = body.seq
    if body.start_time is not None:
        sequence = stream.log.at_time(body.start_time)
    if body.next_by_subj:
        return stream.next_entry(body.next_by_subj, sequence)
    return stream.entry(sequence) if sequence else stream.last_entry(body.last_by_subj)


def delete(request: Request) -> Plain:
    """Lets one message go."""
    if is_empty(request.payload):
        raise ApiError.BAD_REQUEST.error()
    body = request.body(MessageDeleteRequest)
    stream = request.stream()
    if stream.config.sealed:
        raise ApiError.STREAM_SEALED.error()
    if stream.config.deny_delete:
        raise ApiError.STREAM_MSG_DELETE_FAILED.error(err="message delete not permitted")
    stream.remove(body.seq, erase=not body.no_erase)
    return {"success": True}
