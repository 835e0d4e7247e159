"""Requests about consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.jetstream import consumers
from broker.jetstream.api.bodies import ConsumerRequest, ConsumersRequest, PauseRequest, UnpinRequest
from broker.jetstream.api.streams import LIST_LIMIT, NAMES_LIMIT, page
from broker.jetstream.codec import ZERO_TIME, JsonError, Plain, is_empty, shown_time, unmarshal
from broker.jetstream.config import metadata
from broker.jetstream.config.consumer_check import check_group
from broker.jetstream.config.names import has_separator
from broker.jetstream.errors import ApiError

if TYPE_CHECKING:
    from broker.jetstream.api.request import Request
    from broker.jetstream.consumer.consumer import Consumer


def create_ephemeral(request: Request) -> Plain:
    """Makes a consumer, as older clients ask for ephemeral ones: the subject does not name it."""
    body = request.body(ConsumerRequest)
    _check_names(request, body, body.config.name)
    if body.config.durable_name:
        raise ApiError.CONSUMER_EPHEMERAL_WITH_DURABLE_NAME.error()
    return _create(request, body, body.config.name)


def create_durable(request: Request) -> Plain:
    """Makes a consumer, as older clients ask for durable ones."""
    body = request.body(ConsumerRequest)
    _, name = request.names
    _check_names(request, body, name)
    if not body.config.durable_name:
        raise ApiError.CONSUMER_DURABLE_NAME_NOT_SET.error()
    _check_durable(body, name)
    return _create(request, body, name)


def create(request: Request) -> Plain:
    """Makes a consumer whose name, and maybe whose filter, stand in the subject, so that permissions see them."""
    body = request.body(ConsumerRequest)
    _, name, *rest = request.names
    _check_names(request, body, name)
    _check_durable(body, name)
    if rest:
        if body.config.filter_subjects:
            raise ApiError.CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED.error()
        if body.config.filter_subject != ".".join(rest):
            raise ApiError.CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH.error()
    return _create(request, body, name)


def _check_names(request: Request, body: ConsumerRequest, name: str) -> None:
    if body.stream_name != request.names[0]:
        raise ApiError.STREAM_MISMATCH.error()
    if has_separator(name):
        raise ApiError.CONSUMER_NAME_CONTAINS_PATH_SEPARATORS.error()


def _check_durable(body: ConsumerRequest, name: str) -> None:
    """Checks that a durable name is the one in the subject, which is what the consumer is called."""
    if body.config.durable_name not in ("", name):
        raise ApiError.CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT.error()
    body.config.name = name


def _create(request: Request, body: ConsumerRequest, name: str) -> Plain:
    config = body.config
    if config.num_replicas > 1:
        raise ApiError.STREAM_REPLICAS_NOT_SUPPORTED.error()
    stream = request.account.stream(body.stream_name)
    existing = stream.consumers.get(name)
    if existing is not None:
        # Whether it pauses is changed by a request of its own.
        config.pause_until = existing.config.pause_until
    metadata.stamp(config)
    consumer = consumers.add(stream, config, body.action, pedantic=body.pedantic)
    if existing is None and consumer.pause_remaining:
        consumers.tell_of_pause(consumer)
    return consumer.info()


def names(request: Request) -> Plain:
    """Lists the names of a stream's consumers."""
    body = request.options(ConsumersRequest)
    found = [consumer.name for consumer in _visible(request)]
    part = page(len(found), body.offset, NAMES_LIMIT)
    return {**part, "consumers": found[part["offset"] :][:NAMES_LIMIT]}


def listed(request: Request) -> Plain:
    """Tells all of many consumers."""
    body = request.options(ConsumersRequest)
    found = _visible(request)
    part = page(len(found), body.offset, LIST_LIMIT)
    return {**part, "consumers": [one.info(as_stored=True) for one in found[part["offset"] :][:LIST_LIMIT]]}


def _visible(request: Request) -> list[Consumer]:
    found = sorted(request.stream().consumers.items())
    return [consumer for _, consumer in found if not consumer.config.direct]


def _named(request: Request) -> Consumer:
    found = request.stream().consumers.get(request.names[1])
    if found is None:
        raise ApiError.CONSUMER_NOT_FOUND.error()
    return found


def info(request: Request) -> Plain:
    """Tells all of one consumer."""
    if not is_empty(request.payload):
        raise ApiError.NOT_EMPTY_REQUEST.error()
    return _named(request).info()


def delete(request: Request) -> Plain:
    """Lets a consumer go."""
    if not is_empty(request.payload):
        raise ApiError.NOT_EMPTY_REQUEST.error()
    _named(request).delete()
    return {"success": True}


def pause(request: Request) -> Plain:
    """Makes a consumer pause until a time, or go on."""
    body = request.options(PauseRequest)
    consumer = _named(request)
    consumers.pause(consumer, None if body.pause_until == ZERO_TIME else body.pause_until)
    remaining = consumer.pause_remaining
    answer: Plain = {"paused": remaining > 0, "pause_until": shown_time(body.pause_until)}
    if remaining:
        answer["pause_remaining"] = remaining
    return answer


def unpin(request: Request) -> Plain:
    """Takes its pinned client from a priority group."""
    try:
        body = unmarshal(request.payload, UnpinRequest)
    except JsonError as error:
        raise ApiError.INVALID_JSON.error(err=error) from None
    if not body.group:
        raise ApiError.INVALID_JSON.error(err="consumer group not specified")
    check_group(body.group)
    consumer = _named(request)
    if body.group not in consumer.config.priority_groups:
        raise ApiError.CONSUMER_INVALID_PRIORITY_GROUP.error()
    consumer.unpin(body.group)
    return {}
