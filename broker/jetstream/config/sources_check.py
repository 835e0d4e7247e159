"""Checks what a stream takes from others: its mirror or its sources, and that nothing goes round in circles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.subject import REST, contains, is_literal, is_valid, overlaps
from accounts.transform import InvalidTransformError
from auth.gojson import quote
from broker.jetstream.config.names import is_asset_name, transform
from broker.jetstream.errors import ApiError, JetStreamError

if TYPE_CHECKING:
    from broker.jetstream.config.stream import StreamConfig, StreamSource
    from broker.jetstream.config.surroundings import Surroundings

API: Final = "$JS.API"
DETECTED_CYCLE: Final = "detected cycle"


def check_origins(config: StreamConfig, surroundings: Surroundings, *, pedantic: bool) -> None:
    """Checks mirror and sources; the mirror inherits whether its origin may be read directly. Raises JetStreamError."""
    if config.mirror is not None:
        _check_mirror(config, config.mirror, surroundings, pedantic=pedantic)
    if config.sources and config.allow_msg_schedules:
        raise ApiError.SOURCE_WITH_MSG_SCHEDULES.error()
    keys, consumers = set(), set()
    for source in config.sources:
        _check_source(source)
        if source_key(source) in keys:
            raise ApiError.SOURCE_DUPLICATE_DETECTED.error()
        keys.add(source_key(source))
        if source.filter_subject and source.subject_transforms:
            raise ApiError.SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED.error()
        _check_source_transforms(source)
        if source.consumer is not None:
            if not _is_usable_consumer(source):
                raise ApiError.SOURCE_DURABLE_CONSUMER_CFG_INVALID.error()
            consumer = (source.name, _api(source), source.consumer.name)
            if consumer in consumers:
                raise ApiError.SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED.error()
            consumers.add(consumer)
        if _is_smaller(config, source, surroundings):
            raise ApiError.SOURCE_MAX_MESSAGE_SIZE_TOO_BIG.error()
    _check_prefixes(config, surroundings)
    _check_circles(config, surroundings)


def check_filters(config: StreamConfig) -> None:
    """Checks the single filters of a new stream's origins. Raises JetStreamError."""
    mirror = config.mirror
    if mirror is not None and mirror.filter_subject and not is_valid(mirror.filter_subject):
        text = f"subject filter '{mirror.filter_subject}' for the mirror invalid subject"
        raise ApiError.STREAM_CREATE.error(err=text)
    for source in config.sources:
        if source.filter_subject and not is_valid(source.filter_subject):
            text = f"subject filter '{source.filter_subject}' for the source: invalid subject"
            raise ApiError.STREAM_CREATE.error(err=text)


def source_key(source: StreamSource) -> tuple[object, ...]:
    """What tells sources of one stream apart."""
    if source.subject_transforms:
        routes = tuple((one.src or REST, one.dest or REST) for one in source.subject_transforms)
    else:
        routes = ((source.filter_subject or REST, REST),)
    return source.name, _api(source), source.consumer and source.consumer.name, routes


def _api(source: StreamSource) -> str | None:
    return None if source.external is None else source.external.api


def _check_mirror(config: StreamConfig, mirror: StreamSource, surroundings: Surroundings, *, pedantic: bool) -> None:
    for is_wrong, error in (
        (config.first_seq > 0, ApiError.MIRROR_WITH_FIRST_SEQ),
        (config.subjects, ApiError.MIRROR_WITH_SUBJECTS),
        (config.sources, ApiError.MIRROR_WITH_SOURCES),
        (config.allow_msg_counter, ApiError.MIRROR_WITH_COUNTERS),
        (config.allow_atomic, ApiError.MIRROR_WITH_ATOMIC_PUBLISH),
        (config.allow_batched, ApiError.MIRROR_WITH_BATCH_PUBLISH),
        (config.allow_msg_schedules, ApiError.MIRROR_WITH_MSG_SCHEDULES),
        (
            mirror.consumer is not None and not _is_usable_consumer(mirror),
            ApiError.MIRROR_DURABLE_CONSUMER_CFG_INVALID,
        ),
        (mirror.filter_subject and mirror.subject_transforms, ApiError.MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED),
    ):
        if is_wrong:
            raise error.error()
    if config.subject_delete_marker_ttl > 0:
        # A marker would take a sequence that the origin gives to another message.
        raise _invalid("subject delete markers forbidden on mirrors")
    for position, one in enumerate(mirror.subject_transforms):
        if one.src and not is_valid(one.src):
            raise ApiError.MIRROR_INVALID_SUBJECT_FILTER.error(err=f"invalid subject {one.src}")
        try:
            transform(one.src, one.dest)
        except InvalidTransformError as error:
            raise ApiError.MIRROR_INVALID_TRANSFORM_DESTINATION.error(err=error) from None
        for other in (*mirror.subject_transforms[:position], *mirror.subject_transforms[position + 1 :]):
            if overlaps(one.src, other.src):
                raise ApiError.MIRROR_OVERLAPPING_SUBJECT_FILTERS.error()
    if mirror.external is not None:
        return
    if not is_asset_name(mirror.name):
        raise ApiError.MIRROR_INVALID_STREAM_NAME.error()
    if _is_smaller(config, mirror, surroundings):
        raise ApiError.MIRROR_MAX_MESSAGE_SIZE_TOO_BIG.error()
    origin = surroundings.stream_config(mirror.name)
    if origin is not None:
        if pedantic and config.mirror_direct != origin.allow_direct:
            raise ApiError.PEDANTIC.error(err="origin stream has direct get set, mirror has it disabled")
        config.mirror_direct = origin.allow_direct


def _check_source(source: StreamSource) -> None:
    if not is_asset_name(source.name):
        raise ApiError.SOURCE_INVALID_STREAM_NAME.error()


def _check_source_transforms(source: StreamSource) -> None:
    for one in source.subject_transforms:
        if one.src and not is_valid(one.src):
            raise ApiError.SOURCE_INVALID_SUBJECT_FILTER.error(err=f"invalid subject {one.src}")
        try:
            transform(one.src, one.dest)
        except InvalidTransformError as error:
            raise ApiError.SOURCE_INVALID_TRANSFORM_DESTINATION.error(err=error) from None
    for position, one in enumerate(source.subject_transforms):
        for other in (*source.subject_transforms[:position], *source.subject_transforms[position + 1 :]):
            if contains(other.src, one.src):
                raise ApiError.SOURCE_OVERLAPPING_SUBJECT_FILTERS.error()


def _is_usable_consumer(source: StreamSource) -> bool:
    consumer = source.consumer
    if consumer is None:
        return False
    is_named = is_asset_name(consumer.name) and is_literal(consumer.deliver_subject)
    begins_itself = source.opt_start_seq or source.opt_start_time is not None or source.filter_subject
    return is_named and not begins_itself


def _is_smaller(config: StreamConfig, source: StreamSource, surroundings: Surroundings) -> bool:
    """Whether the stream takes only smaller messages than a visible origin does."""
    origin = surroundings.stream_config(source.name) if source.external is None else None
    return origin is not None and 0 < config.max_msg_size < origin.max_msg_size


def _check_prefixes(config: StreamConfig, surroundings: Surroundings) -> None:
    origins = [config.mirror] if config.mirror is not None else config.sources
    found = (surroundings.stream_config(source.name) for source in origins if source.external is None)
    subjects = [subject for origin in found if origin is not None for subject in origin.subjects]
    externals = [source.external for source in origins if source.external is not None]
    for prefix in (external.deliver for external in externals if external.deliver):
        if not is_literal(prefix):
            raise ApiError.STREAM_INVALID_EXTERNAL_DELIVERY_SUBJ.error(prefix=prefix)
        for subject in subjects:
            if overlaps(subject, f"{prefix}.{subject}"):
                raise ApiError.STREAM_EXTERNAL_DEL_PREFIX_OVERLAPS.error(prefix=prefix, subject=subject)
    for prefix in (external.api for external in externals if external.api):
        if not is_literal(prefix):
            what = f"stream external api prefix {quote(prefix)} must be a valid subject without wildcards"
            raise _invalid(what)
        if overlaps(prefix, API):
            raise ApiError.STREAM_EXTERNAL_API_OVERLAP.error(prefix=prefix, subject=API)


def _check_circles(config: StreamConfig, surroundings: Surroundings) -> None:
    """Follows origins of origins as far as they are visible."""
    waiting, visited = [config], set()
    while waiting:
        current = waiting.pop(0)
        visited.add(current.name)
        mirror = [current.mirror] if current.mirror is not None else []
        for source in (*current.sources, *mirror):
            if source.external is not None:
                continue
            if source.name in visited:
                wanted = source.filter_subject
                is_mirror = source is current.mirror
                if is_mirror or not wanted or any(overlaps(subject, wanted) for subject in current.subjects):
                    raise _invalid(DETECTED_CYCLE)
            else:
                origin = surroundings.stream_config(source.name)
                if origin is not None:
                    waiting.append(origin)


def _invalid(text: str) -> JetStreamError:
    return ApiError.STREAM_INVALID_CONFIG.error(err=text)
