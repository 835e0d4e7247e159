"""Checks what a stream is to be configured with, and puts the defaults (ADR-8, ADR-36, ADR-43, ADR-48, ADR-50, ADR-51).

The order is that of nats-server: where several things are wrong, the same one is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.subject import REST, contains, is_valid, overlaps
from accounts.transform import InvalidTransformError
from auth.gojson import quote
from broker.jetstream.config import metadata, sources_check
from broker.jetstream.config.durations import MILLISECOND, MINUTE, SECOND, shown_duration
from broker.jetstream.config.names import MAXIMUM_DESCRIPTION, MAXIMUM_NAME, is_asset_name, size, transform
from broker.jetstream.config.stream import UNLIMITED, Placement, StreamConfig, Transform
from broker.jetstream.config.words import Discard, PersistMode, Retention, Storage
from broker.jetstream.errors import ApiError, JetStreamError

if TYPE_CHECKING:
    from broker.jetstream.config.surroundings import Surroundings

MAXIMUM_REPLICAS: Final = 5
DEFAULT_DUPLICATE_WINDOW: Final = 2 * MINUTE
SHORTEST: Final = 100 * MILLISECOND
"""The least of ages and windows."""

_CEILINGS: Final = ("max_msgs", "max_msgs_per_subject", "max_bytes", "max_msg_size", "max_consumers")
_RESERVED: Final = ("$JS.>", "$JSC.>", "$NRG.>")


def invalid(text: str) -> JetStreamError:
    """A configuration that cannot be."""
    return ApiError.STREAM_INVALID_CONFIG.error(err=text)


def pedantic_problem(text: str) -> JetStreamError:
    """What would be put right silently, if the request did not forbid it."""
    return ApiError.PEDANTIC.error(err=text)


def check_stream(wanted: StreamConfig, surroundings: Surroundings, *, pedantic: bool = False) -> StreamConfig:
    """The configuration with all defaults; ``wanted`` stays as it is.

    ``pedantic`` refuses what would have to be changed. Raises JetStreamError.
    """
    config = wanted.copy()
    _check_texts(config)
    _check_ceilings(config, pedantic=pedantic)
    _check_duplicates(config, surroundings, pedantic=pedantic)
    _check_features(config, pedantic=pedantic)
    sources_check.check_origins(config, surroundings, pedantic=pedantic)
    _check_subjects(config)
    _check_bytes(config, surroundings)
    _check_transform(config)
    _check_republish(config, pedantic=pedantic)
    if config.placement == Placement():
        config.placement = None
    if config.placement is not None and config.placement.preferred:
        raise invalid("preferred server not permitted in placement")
    return config


def _check_texts(config: StreamConfig) -> None:
    if not is_asset_name(config.name):
        raise invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'")
    if size(config.name) > MAXIMUM_NAME:
        raise invalid(f"stream name is too long, maximum allowed is {MAXIMUM_NAME}")
    if size(config.description) > MAXIMUM_DESCRIPTION:
        raise invalid(f"stream description is too long, maximum allowed is {MAXIMUM_DESCRIPTION}")
    if metadata.length(config.metadata) > metadata.MAXIMUM_LENGTH:
        raise invalid(f"stream metadata exceeds maximum size of {metadata.MAXIMUM_LENGTH} bytes")


def _check_ceilings(config: StreamConfig, *, pedantic: bool) -> None:
    config.num_replicas = config.num_replicas or 1
    if config.num_replicas > MAXIMUM_REPLICAS:
        raise invalid(f"maximum replicas is {MAXIMUM_REPLICAS}")
    if config.num_replicas < 0:
        raise ApiError.REPLICAS_COUNT_CANNOT_BE_NEGATIVE.error()
    for name in _CEILINGS:
        value = getattr(config, name)
        if pedantic and value < UNLIMITED:
            raise pedantic_problem(f"{name} must be set to -1")
        if value <= 0:
            setattr(config, name, UNLIMITED)
    if config.max_age < 0:
        raise invalid("max age can not be negative")
    if 0 < config.max_age < SHORTEST:
        raise invalid("max age needs to be >= 100ms")


def _check_duplicates(config: StreamConfig, surroundings: Surroundings, *, pedantic: bool) -> None:
    ceiling = surroundings.server_limits.duplicate_window
    if config.duplicate_window == 0 and config.mirror is None and not config.sources:
        window = DEFAULT_DUPLICATE_WINDOW
        if 0 < ceiling < window:
            if pedantic:
                raise pedantic_problem("duplicate window limits are higher than current limits")
            window = ceiling
        if 0 < config.max_age < window:
            if pedantic:
                raise pedantic_problem("duplicate window cannot be bigger than max age")
            window = config.max_age
        config.duplicate_window = window
    if config.duplicate_window < 0:
        raise invalid("duplicates window can not be negative")
    if 0 < config.max_age < config.duplicate_window:
        raise invalid("duplicates window can not be larger then max age")
    if 0 < ceiling < config.duplicate_window:
        raise invalid(f"duplicates window can not be larger then server limit of {shown_duration(ceiling)}")
    if 0 < config.duplicate_window < SHORTEST:
        raise invalid("duplicates window needs to be >= 100ms")


def _check_features(config: StreamConfig, *, pedantic: bool) -> None:
    if config.deny_purge and config.allow_rollup_hdrs:
        raise invalid("roll-ups require the purge permission")
    if config.allow_msg_counter:
        _check_counter(config)
    if config.discard_new_per_subject:
        check_discard_new(config)
    _check_markers(config, pedantic=pedantic)
    if config.allow_msg_schedules:
        if config.discard is Discard.NEW:
            raise invalid("message scheduling cannot use discard new")
        if not config.allow_rollup_hdrs:
            if pedantic:
                raise invalid("message scheduling cannot be set if roll-ups are disabled")
            config.allow_rollup_hdrs, config.deny_purge = True, False
    if config.persist_mode is PersistMode.ASYNC:
        if config.storage is not Storage.FILE:
            raise invalid("async persist mode is only supported on file storage")
        if config.num_replicas > 1:
            raise invalid("async persist mode is not supported on replicated streams")
        if config.allow_atomic:
            raise invalid("async persist mode is not supported with atomic batch publish")


def _check_counter(config: StreamConfig) -> None:
    if config.discard is Discard.NEW:
        raise invalid("counter stream cannot use discard new")
    if config.allow_msg_ttl:
        raise invalid("counter stream cannot use message TTLs")
    if config.allow_msg_schedules:
        raise invalid("counter stream cannot use message schedules")
    if config.retention is not Retention.LIMITS:
        raise invalid("counter stream can only use limits retention")


def check_discard_new(config: StreamConfig) -> None:
    """Checks what goes with refusing new messages of single subjects. Raises JetStreamError."""
    if config.discard is not Discard.NEW:
        raise invalid("discard new per subject requires discard new policy to be set")
    if config.max_msgs_per_subject <= 0:
        raise invalid("discard new per subject requires max msgs per subject > 0")


def _check_markers(config: StreamConfig, *, pedantic: bool) -> None:
    if config.subject_delete_marker_ttl < 0:
        raise invalid("subject delete marker TTL must not be negative")
    if not config.subject_delete_marker_ttl:
        return
    if config.subject_delete_marker_ttl < SECOND:
        raise invalid("subject delete marker TTL must be at least 1 second")
    if not config.allow_msg_ttl:
        if pedantic:
            raise invalid("subject delete marker cannot be set if message TTLs are disabled")
        config.allow_msg_ttl = True
    if not config.allow_rollup_hdrs:
        if pedantic:
            raise invalid("subject delete marker cannot be set if roll-ups are disabled")
        config.allow_rollup_hdrs, config.deny_purge = True, False


def _check_subjects(config: StreamConfig) -> None:
    if not config.subjects:
        if config.mirror is None and not config.sources:
            config.subjects = [config.name]
        return
    if config.mirror is not None:
        raise ApiError.MIRROR_WITH_SUBJECTS.error()
    for position, subject in enumerate(config.subjects):
        if not is_valid(subject):
            raise invalid("invalid subject")
        if subject in config.subjects[:position]:
            raise invalid("duplicate subjects detected")
        if subject == REST:
            if not config.no_ack:
                raise invalid("capturing all subjects requires no-ack to be true")
            if config.num_replicas != 1:
                raise invalid("capturing all subjects requires replicas of 1")
        if not config.no_ack:
            is_own = any(overlaps(subject, reserved) for reserved in _RESERVED)
            if is_own and not contains("$JS.EVENT.>", subject):
                raise invalid("subjects that overlap with jetstream api require no-ack to be true")
            if overlaps(subject, "$SYS.>") and not contains("$SYS.ACCOUNT.>", subject):
                raise invalid("subjects that overlap with system api require no-ack to be true")
        for other in config.subjects[position + 1 :]:
            # The same subject twice is found when its turn comes, as an overlap before.
            if overlaps(other, subject):
                raise invalid(f"subject {quote(subject)} overlaps with {quote(other)}")


def _check_bytes(config: StreamConfig, surroundings: Surroundings) -> None:
    found = surroundings.limits_for(config.num_replicas)
    if found is None:
        return
    _, limits = found
    is_memory = config.storage is Storage.MEMORY
    most = limits.memory_max_stream_bytes if is_memory else limits.disk_max_stream_bytes
    if limits.max_bytes_required and config.max_bytes <= 0:
        raise ApiError.STREAM_MAX_BYTES_REQUIRED.error()
    if 0 < most < config.max_bytes:
        raise ApiError.STREAM_MAX_STREAM_BYTES_EXCEEDED.error()


def _check_transform(config: StreamConfig) -> None:
    if config.subject_transform is None:
        return
    source = config.subject_transform.src
    if source and not is_valid(source):
        raise ApiError.STREAM_TRANSFORM_INVALID_SOURCE.error(err=f"invalid subject {source}")
    try:
        transform(source, config.subject_transform.dest)
    except InvalidTransformError as error:
        raise ApiError.STREAM_TRANSFORM_INVALID_DESTINATION.error(err=error) from None


def _check_republish(config: StreamConfig, *, pedantic: bool) -> None:
    if config.republish is None:
        return
    source, destination = config.republish.src, config.republish.dest
    if not source:
        if pedantic:
            raise pedantic_problem("republish source can not be empty")
        source = REST
    whole = config.subject_transform or Transform()
    if source == destination == REST and config.subjects == [whole.src]:
        # What is stored under another subject may be published there without coming back.
        if pedantic:
            raise pedantic_problem("implicit republish based on subject transform")
        source = destination = whole.dest
    config.republish = type(config.republish)(
        src=source, dest=destination, headers_only=config.republish.headers_only
    )
    if any(overlaps(destination, subject) for subject in config.subjects):
        raise invalid("stream configuration for republish destination forms a cycle")
    try:
        transform(source, destination)
    except InvalidTransformError:
        what = f"stream configuration for republish with transform from '{source}' to '{destination}' not valid"
        raise invalid(what) from None
