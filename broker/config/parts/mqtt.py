"""The ``mqtt`` block: MQTT clients."""

from __future__ import annotations

from typing import Final

from broker.config.parts.common import block, listen_keys, names, tls
from broker.config.tree import Entry
from broker.config.values import Keys, Problems, boolean, duration, fail, integer, keys, read_block, string
from broker.config.websocket_block import simple_authorization

_MOST_PENDING: Final = 0xFFFF


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block asks for MQTT: without a port it is off."""
    read_block(block(entry, "mqtt to be a map"), KEYS, problems)
    return bool(names(entry) & {"port", "listen"})


def _max_ack_pending(entry: Entry, problems: Problems) -> None:
    number = integer(entry, problems)
    if not 0 <= number <= _MOST_PENDING:
        raise fail(entry, f"invalid value {number}, should in [0..65535] range")


def _consumer_replicas(entry: Entry, problems: Problems) -> None:
    problems.warn(entry, "consumer replicas setting ignored in this server version")


KEYS: Final[Keys] = {
    **listen_keys("none: the part is off"),
    **keys("tls", read=tls, kind="map", doc="TLS of this port."),
    **keys("authorization", "authentication", read=simple_authorization, kind="map", doc="Who clients must be."),
    **keys("no_auth_user", read=string, kind="name of a user", doc="Who a client is that shows no credentials."),
    **keys("ack_wait", "ackwait", read=duration, default="30 s", doc="Time until a message is sent again."),
    **keys("js_api_timeout", "api_timeout", read=duration, default="5 s", doc="How long JetStream may take."),
    **keys(
        *("max_ack_pending", "max_pending", "max_inflight"),
        read=_max_ack_pending,
        kind="0 to 65535",
        default="1024",
        doc="Messages of a subscription that wait for an acknowledgement.",
    ),
    **keys("js_domain", read=string, doc="JetStream domain."),
    **keys("stream_replicas", read=integer, default="by the size of the cluster", doc="Copies of streams."),
    **keys("consumer_replicas", read=_consumer_replicas, kind="number", doc="Without effect, with a warning."),
    **keys("consumer_memory_storage", read=boolean, default="`false`", doc="Keep consumers in memory."),
    **keys(
        "consumer_inactive_threshold",
        "consumer_auto_cleanup",
        read=duration,
        default="never",
        doc="When unused consumers go.",
    ),
    **keys("reject_qos2_publish", read=boolean, default="`false`", doc="Refuse messages of QoS 2."),
    **keys("downgrade_qos2_subscribe", read=boolean, default="`false`", doc="Treat subscriptions of QoS 2 as QoS 1."),
}
