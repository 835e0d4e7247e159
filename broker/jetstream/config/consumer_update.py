"""What may change in a consumer that exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.jetstream.config.consumer_check import check_backoff
from broker.jetstream.errors import ApiError

if TYPE_CHECKING:
    from broker.jetstream.config.consumer import ConsumerConfig

_FIXED: Final = (
    ("deliver_policy", "deliver policy can not be updated"),
    ("mem_storage", "storage type can not be updated"),
    ("direct", "direct can not be updated"),
    ("sourcing", "sourcing can not be updated"),
    ("opt_start_seq", "start sequence can not be updated"),
    ("opt_start_time", "start time can not be updated"),
    ("ack_policy", "ack policy can not be updated"),
    ("replay_policy", "replay policy can not be updated"),
    ("idle_heartbeat", "heart beats can not be updated"),
    ("flow_control", "flow control can not be updated"),
)


def check_update(old: ConsumerConfig, new: ConsumerConfig, has_interest: Callable[[str], bool]) -> None:
    """Checks that a consumer may become what ``new`` says, defaults included.

    ``has_interest`` tells whether somebody listens to a subject. Raises JetStreamError.
    """
    for name, text in _FIXED:
        if getattr(old, name) != getattr(new, name):
            raise ApiError.CONSUMER_CREATE.error(err=text)
    if old.deliver_subject != new.deliver_subject:
        if not old.is_push:
            raise ApiError.CONSUMER_CREATE.error(err="can not update pull consumer to push based")
        if not new.is_push:
            raise ApiError.CONSUMER_CREATE.error(err="can not update push consumer to pull based")
        if has_interest(old.deliver_subject):
            raise ApiError.CONSUMER_NAME_EXIST.error()
    if old.max_waiting != new.max_waiting:
        raise ApiError.CONSUMER_CREATE.error(err="max waiting can not be updated")
    check_backoff(new)
