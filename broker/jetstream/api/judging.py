"""Who may ask for what: what the payload of each kind of request reaches, held against the client's permissions.

A judge stands beside every handler in the table of routes. It looks at the very body that the handler will get, and
raises before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.jetstream.api.bodies import (
    ConsumerRequest,
    InfoRequest,
    MessageDeleteRequest,
    MessageGetRequest,
    PurgeRequest,
    RestoreRequest,
    SnapshotRequest,
    StreamRequest,
)
from broker.jetstream.codec import is_empty

if TYPE_CHECKING:
    from broker.jetstream.api.request import Request
    from broker.jetstream.stream import Stream


def nothing(_: Request) -> None:
    """The subject says all there is to say."""


def _stream(request: Request) -> Stream | None:
    """The stream that the subject names first; where there is none the handler says so."""
    return request.account.streams.get(request.names[0])


def configuration(request: Request) -> None:
    """What a stream takes, keeps and says."""
    request.access.configure(request.body(StreamRequest))


def consumer(request: Request) -> None:
    """What a consumer reads, and where it delivers."""
    config = request.body(ConsumerRequest).config
    stream = _stream(request)
    if stream is not None:
        name = request.names[1] if len(request.names) > 1 else config.name
        request.access.consume(stream, config, name)
        existing = stream.consumers.get(name)
        if existing is not None:
            # Whoever changes it has delivered again what it gave before.
            existing.delivery.check_access(request.access)


def message(request: Request) -> None:
    """The message that is asked for."""
    stream = _stream(request)
    if stream is None or is_empty(request.payload):
        return
    body = request.body(MessageGetRequest)
    named = [subject for subject in (body.last_by_subj, body.next_by_subj) if subject]
    if named:
        request.access.read(stream, named)
        return
    entry = stream.entry(body.seq if body.start_time is None else stream.log.at_time(body.start_time))
    if entry is not None:
        request.access.read_one(stream, entry)


def message_removal(request: Request) -> None:
    """The message that is to go."""
    stream = _stream(request)
    if stream is None or is_empty(request.payload):
        return
    entry = stream.entry(request.body(MessageDeleteRequest).seq)
    if entry is not None:
        request.access.remove_one(entry)


def removal(request: Request) -> None:
    """All messages of a stream are to go."""
    stream = _stream(request)
    if stream is not None:
        request.access.remove(stream)


def purge(request: Request) -> None:
    """Some messages of a stream are to go."""
    stream = _stream(request)
    body = request.options(PurgeRequest)
    if stream is not None:
        request.access.remove(stream, body.filter)


def snapshot(request: Request) -> None:
    """All of a stream is to be read, and delivered to a subject."""
    stream = _stream(request)
    if stream is not None and not is_empty(request.payload):
        request.access.archive(stream, request.body(SnapshotRequest).deliver_subject)


def restore(request: Request) -> None:
    """What the stream of an archive will take, keep and say; what is in it is judged when it comes."""
    if not is_empty(request.payload):
        request.access.configure(request.body(RestoreRequest).config)


def subjects(request: Request) -> None:
    """The subjects of a stream are to be told: they may be as telling as what they hold."""
    stream = _stream(request)
    wanted = request.options(InfoRequest).subjects_filter
    if stream is not None and wanted:
        request.access.read(stream, [wanted])
