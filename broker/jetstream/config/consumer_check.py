"""Checks what a consumer is to be configured with, and puts the defaults (ADR-34, ADR-37, ADR-42).

The order is that of nats-server: where several things are wrong, the same one is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from accounts.subject import SINGLE, contains, is_literal, is_valid, tokens
from broker.jetstream.config import metadata
from broker.jetstream.config.durations import MILLISECOND, MINUTE, SECOND, shown_duration
from broker.jetstream.config.names import MAXIMUM_DESCRIPTION, MAXIMUM_NAME, is_asset_name, size
from broker.jetstream.config.stream import UNLIMITED
from broker.jetstream.config.words import AckPolicy, DeliverPolicy, PriorityPolicy, Retention
from broker.jetstream.errors import ApiError, JetStreamError

if TYPE_CHECKING:
    from accounts.limits import JetStreamLimits
    from broker.config.options import JetStreamCeilings
    from broker.jetstream.config.consumer import ConsumerConfig
    from broker.jetstream.config.stream import StreamConfig

DEFAULT_ACK_WAIT: Final = 30 * SECOND
DEFAULT_MAX_ACK_PENDING: Final = 1000
DEFAULT_MAX_WAITING: Final = 512
DEFAULT_PINNED: Final = 2 * MINUTE
FLOW_CONTROL_HEARTBEAT: Final = SECOND
"""The heartbeat of consumers that are acknowledged by flow control."""

_NOT_NEGATIVE: Final = (
    "max_waiting", "max_ack_pending", "max_batch", "max_expires", "max_bytes", "idle_heartbeat",
    "inactive_threshold", "priority_timeout",
)  # fmt: skip
_GROUP: Final = re.compile(r"[a-zA-Z0-9/_=-]{1,16}")
_SAMPLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def check_consumer(
    wanted: ConsumerConfig,
    stream: StreamConfig,
    server: JetStreamCeilings,
    account: JetStreamLimits,
    *,
    pedantic: bool = False,
) -> ConsumerConfig:
    """The configuration with all defaults; ``wanted`` stays as it is.

    ``pedantic`` refuses what would have to be changed. Raises JetStreamError.
    """
    config = wanted.copy()
    _put_defaults(config, stream, server, account, pedantic=pedantic)
    _check_names(config)
    _check_replicas(config, stream)
    _check_acks(config)
    if size(config.description) > MAXIMUM_DESCRIPTION:
        raise ApiError.CONSUMER_DESCRIPTION_TOO_LONG.error(max=MAXIMUM_DESCRIPTION)
    if config.is_push:
        _check_push(config, stream)
    else:
        _check_pull(config, stream, server)
    _check_pending(config, stream, server, account)
    _check_filters(config)
    _check_start(config)
    _check_rest(config)
    return config


def _pedantic(text: str) -> JetStreamError:
    return ApiError.PEDANTIC.error(err=text)


def _put_defaults(
    config: ConsumerConfig, stream: StreamConfig, server: JetStreamCeilings, account: JetStreamLimits, *, pedantic: bool
) -> None:
    if config.max_deliver == 0 or config.max_deliver < UNLIMITED:
        if pedantic and config.max_deliver:
            raise _pedantic("max_deliver must be set to -1")
        config.max_deliver = UNLIMITED
    for name in _NOT_NEGATIVE:
        least = UNLIMITED if name == "max_ack_pending" else 0
        if getattr(config, name) < least:
            if pedantic:
                raise _pedantic(f"{name} must be set to -1" if least else f"{name} must not be negative")
            setattr(config, name, least)
    if not config.is_push and not config.max_waiting:
        config.max_waiting = DEFAULT_MAX_WAITING
    if not config.ack_wait and config.ack_policy in (AckPolicy.EXPLICIT, AckPolicy.ALL):
        config.ack_wait = DEFAULT_ACK_WAIT
    if config.backoff:
        if pedantic and config.ack_wait != config.backoff[0]:
            raise _pedantic("first backoff value has to equal batch AckWait")
        config.ack_wait = config.backoff[0]
    if not config.max_ack_pending:
        if pedantic and stream.consumer_limits.max_ack_pending > 0:
            raise _pedantic("max_ack_pending must be set if it's configured in stream limits")
        config.max_ack_pending = stream.consumer_limits.max_ack_pending
    if not config.inactive_threshold:
        if pedantic and stream.consumer_limits.inactive_threshold > 0:
            raise _pedantic("inactive_threshold must be set if it's configured in stream limits")
        config.inactive_threshold = stream.consumer_limits.inactive_threshold
    if not config.max_ack_pending and config.ack_policy is not AckPolicy.NONE:
        ceilings = [limit for limit in (server.max_ack_pending, account.max_ack_pending) if limit > 0]
        config.max_ack_pending = min((DEFAULT_MAX_ACK_PENDING, *ceilings))
    if not config.is_push and not config.max_batch and server.max_request_batch > 0:
        if pedantic:
            raise _pedantic("max_request_batch must be set if it's JetStream limits are set")
        config.max_batch = server.max_request_batch
    if config.priority_policy is PriorityPolicy.PINNED_CLIENT and not config.priority_timeout:
        config.priority_timeout = DEFAULT_PINNED
    if config.ack_policy is AckPolicy.FLOW_CONTROL and not pedantic:
        config.flow_control = True
        config.idle_heartbeat = FLOW_CONTROL_HEARTBEAT


def _check_names(config: ConsumerConfig) -> None:
    for what, name in (("name", config.name), ("durable name", config.durable_name)):
        if name and not is_asset_name(name):
            raise _invalid(f"consumer {what} can not contain '.', '*', '>', '\\', '/'")


def _check_replicas(config: ConsumerConfig, stream: StreamConfig) -> None:
    if config.num_replicas > stream.num_replicas:
        raise ApiError.CONSUMER_REPLICAS_EXCEEDS_STREAM.error()
    if config.num_replicas < 0:
        raise ApiError.REPLICAS_COUNT_CANNOT_BE_NEGATIVE.error()
    if stream.retention is not Retention.LIMITS and config.num_replicas not in (0, stream.num_replicas):
        raise ApiError.CONSUMER_REPLICAS_SHOULD_MATCH_STREAM.error()


def _check_acks(config: ConsumerConfig) -> None:
    if any(wait < 0 for wait in config.backoff):
        raise ApiError.CONSUMER_BACK_OFF_NEGATIVE.error()
    if config.ack_wait < 0:
        raise ApiError.CONSUMER_ACK_WAIT_NEGATIVE.error()
    if config.ack_policy is AckPolicy.FLOW_CONTROL:
        if not config.is_push:
            raise ApiError.CONSUMER_ACK_FC_REQUIRES_PUSH.error()
        if not config.flow_control:
            raise ApiError.CONSUMER_ACK_FC_REQUIRES_FC.error()
        if config.idle_heartbeat != FLOW_CONTROL_HEARTBEAT:
            raise _invalid("flow control ack policy heartbeat needs to be 1s")
        if config.max_ack_pending <= 0:
            raise ApiError.CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING.error()
        if config.ack_wait or config.backoff:
            raise ApiError.CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT.error()
        if config.max_deliver > 0:
            raise ApiError.CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER.error()
    check_backoff(config)


def check_backoff(config: ConsumerConfig) -> None:
    """Checks that there are deliveries for all the waits. Raises JetStreamError."""
    if config.max_deliver != UNLIMITED and len(config.backoff) > max(config.max_deliver, 0):
        raise ApiError.CONSUMER_MAX_DELIVER_BACKOFF.error()


def _check_push(config: ConsumerConfig, stream: StreamConfig) -> None:
    parts = tokens(config.deliver_subject)
    if SINGLE in parts or parts[-1] == ">":
        raise ApiError.CONSUMER_DELIVER_TO_WILDCARDS.error()
    if not is_literal(config.deliver_subject):
        raise ApiError.CONSUMER_INVALID_DELIVER_SUBJECT.error()
    if any(contains(subject, config.deliver_subject) for subject in stream.subjects):
        raise ApiError.CONSUMER_DELIVER_CYCLE.error()
    if config.max_waiting:
        raise ApiError.CONSUMER_PUSH_MAX_WAITING.error()
    if config.max_ack_pending > 0 and config.ack_policy is AckPolicy.NONE:
        raise ApiError.CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED.error()
    if 0 < config.idle_heartbeat < 100 * MILLISECOND:
        raise ApiError.CONSUMER_SMALL_HEARTBEAT.error()


def _check_pull(config: ConsumerConfig, stream: StreamConfig, server: JetStreamCeilings) -> None:
    if config.ack_policy is AckPolicy.NONE and stream.retention is Retention.WORK_QUEUE:
        raise ApiError.CONSUMER_PULL_REQUIRES_ACK.error()
    if config.rate_limit_bps > 0:
        raise ApiError.CONSUMER_PULL_WITH_RATE_LIMIT.error()
    if config.idle_heartbeat > 0:
        raise ApiError.CONSUMER_HB_REQUIRES_PUSH.error()
    if config.flow_control:
        raise ApiError.CONSUMER_FC_REQUIRES_PUSH.error()
    if 0 < config.max_expires < MILLISECOND:
        raise ApiError.CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL.error()
    if 0 < server.max_request_batch < config.max_batch:
        raise ApiError.CONSUMER_MAX_REQUEST_BATCH_EXCEEDED.error(limit=server.max_request_batch)


def _check_pending(
    config: ConsumerConfig, stream: StreamConfig, server: JetStreamCeilings, account: JetStreamLimits
) -> None:
    for limit in (server.max_ack_pending, account.max_ack_pending, stream.consumer_limits.max_ack_pending):
        if 0 < limit < config.max_ack_pending:
            raise ApiError.CONSUMER_MAX_PENDING_ACK_EXCESS.error(limit=limit)
    longest = stream.consumer_limits.inactive_threshold
    if 0 < longest < config.inactive_threshold:
        raise ApiError.CONSUMER_INACTIVE_THRESHOLD_EXCESS.error(limit=shown_duration(longest))
    if config.direct:
        if not config.is_push:
            raise ApiError.CONSUMER_DIRECT_REQUIRES_PUSH.error()
        if config.durable_name:
            raise ApiError.CONSUMER_DIRECT_REQUIRES_EPHEMERAL.error()


def _check_filters(config: ConsumerConfig) -> None:
    if config.filter_subject and config.filter_subjects:
        raise ApiError.CONSUMER_DUPLICATE_FILTER_SUBJECTS.error()
    if config.filter_subject and not is_valid(config.filter_subject):
        raise _invalid("invalid subject")
    if "" in config.filter_subjects:
        raise ApiError.CONSUMER_EMPTY_FILTER.error()
    for position, subject in enumerate(config.filters):
        if not is_valid(subject):
            raise _invalid("invalid subject")
        for other in (*config.filters[:position], *config.filters[position + 1 :]):
            if contains(other, subject):
                raise ApiError.CONSUMER_OVERLAPPING_SUBJECT_FILTERS.error()


_SEQUENCE: Final = "start sequence"
_TIME: Final = "start time"


def _check_start(config: ConsumerConfig) -> None:
    """Checks that where to begin is said just as far as the policy wants it."""
    policy = config.deliver_policy
    said = {_SEQUENCE: config.opt_start_seq > 0, _TIME: config.opt_start_time is not None}
    wanted = {DeliverPolicy.BY_START_SEQUENCE: _SEQUENCE, DeliverPolicy.BY_START_TIME: _TIME}.get(policy)
    shown = policy.value.replace("_", " ")
    if wanted is not None and not said[wanted]:
        raise _policy(f"consumer delivery policy is deliver {shown}, but optional {wanted} is not set")
    for what, is_said in said.items():
        if is_said and what != wanted:
            named = what if policy is DeliverPolicy.BY_START_TIME else what.removeprefix("start ")
            raise _policy(f"consumer delivery policy is deliver {shown}, but optional start {named} is also set")
    if policy is DeliverPolicy.LAST_PER_SUBJECT and not config.filters:
        raise _policy(f"consumer delivery policy is deliver {shown}, but optional filter subject is not set")


def _check_rest(config: ConsumerConfig) -> None:
    if config.sample_freq:
        text = config.sample_freq.removesuffix("%")
        if not _SAMPLE.fullmatch(text) or int(text) < 0:
            raise ApiError.CONSUMER_INVALID_SAMPLING.error(err=_number_problem(text))
    if config.flow_control and not config.idle_heartbeat:
        raise ApiError.CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS.error()
    if config.durable_name and config.name and config.name != config.durable_name:
        raise ApiError.CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH.error()
    if metadata.length(config.metadata) > metadata.MAXIMUM_LENGTH:
        raise ApiError.CONSUMER_METADATA_LENGTH.error(limit=f"{metadata.MAXIMUM_LENGTH // 1024}KB")
    if config.priority_policy is not PriorityPolicy.NONE:
        if config.is_push:
            raise ApiError.CONSUMER_PUSH_WITH_PRIORITY_GROUP.error()
        if not config.priority_groups:
            raise ApiError.CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP.error()
        for group in config.priority_groups:
            check_group(group)
    elif config.priority_groups:
        raise ApiError.CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE.error()
    elif config.priority_timeout > 0:
        raise ApiError.CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE.error()


def check_group(group: str) -> None:
    """Checks the name of a priority group (ADR-42). Raises JetStreamError."""
    if not group:
        raise ApiError.CONSUMER_EMPTY_GROUP_NAME.error()
    if not _GROUP.fullmatch(group):
        raise ApiError.CONSUMER_INVALID_GROUP_NAME.error()


def check_name_length(name: str) -> None:
    """Checks how long a durable name is. Raises JetStreamError."""
    if size(name) > MAXIMUM_NAME:
        raise ApiError.CONSUMER_NAME_TOO_LONG.error(max=MAXIMUM_NAME)


def _number_problem(text: str) -> str:
    """What Go says of a text that is no number; of a negative one nothing is wrong with its writing."""
    return "<nil>" if _SAMPLE.fullmatch(text) else f'strconv.Atoi: parsing "{text}": invalid syntax'


def _invalid(text: str) -> JetStreamError:
    return ApiError.STREAM_INVALID_CONFIG.error(err=text)


def _policy(text: str) -> JetStreamError:
    return ApiError.CONSUMER_INVALID_POLICY.error(err=text)
