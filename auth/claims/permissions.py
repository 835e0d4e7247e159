"""Permissions and limits of a user, as user claims, account defaults and scoped signing keys hold them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import msgspec

from auth.claims.base import Int64, Issue, error, subject_issues
from auth.claims.extension import UserExtension
from auth.gojson import quote

CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]", re.ASCII)

CONNECTION_TYPES: Final = ("STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS")


class Permission(msgspec.Struct, omit_defaults=True):
    """Subjects for one direction. Entries for subscribing may name a queue after a space."""

    allow: list[str] = msgspec.field(default_factory=list)
    deny: list[str] = msgspec.field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is allowed or denied by name."""
        return not self.allow and not self.deny

    def issues(self, *, queues: bool) -> Iterator[Issue]:
        """Findings about every entry."""
        for entry in (*self.allow, *self.deny):
            parts = entry.split(" ")
            if len(parts) > 2:
                yield error(f'Permission Subject "{entry}" contains too many spaces')
                continue
            for part in parts:
                yield from subject_issues(part)
            if len(parts) == 2 and not queues:
                yield error(f'Permission Subject "{entry}" is not allowed to contain queue')


class ResponsePermission(msgspec.Struct):
    """The right to publish to reply subjects of received messages. ``ttl`` is in nanoseconds."""

    maximum: Int64 = msgspec.field(name="max", default=0)
    ttl: Int64 = 0


class Permissions(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What may be published and subscribed to."""

    publish: Permission = msgspec.field(name="pub", default_factory=Permission)
    subscribe: Permission = msgspec.field(name="sub", default_factory=Permission)
    responses: ResponsePermission | None = msgspec.field(name="resp", default=None)

    @property
    def has_no_permissions(self) -> bool:
        """Whether there is no entry and no response permission."""
        return self.publish.is_empty and self.subscribe.is_empty and self.responses is None

    def permission_issues(self) -> Iterator[Issue]:
        """Findings about every entry."""
        yield from self.subscribe.issues(queues=True)
        yield from self.publish.issues(queues=False)


class TimeRange(msgspec.Struct, omit_defaults=True):
    """A daily window, ``HH:MM:SS`` on both sides; it crosses midnight when the end comes first."""

    start: str = ""
    end: str = ""

    def issues(self) -> Iterator[Issue]:
        """Findings about the clock texts."""
        for side, text in (("start", self.start), ("end", self.end)):
            if not text:
                article = "a" if side == "start" else "an"
                yield error(f"time ranges {side} must contain {article} {side}")
            elif not CLOCK.fullmatch(text):
                yield error(f"{side} in time range is invalid {quote(text)}")


class UserPermissionLimits(Permissions, omit_defaults=True, kw_only=True):
    """Everything that user claims, or the template of a scoped signing key, grant and limit.

    A numeric limit that is absent in a token is 0, not unlimited; -1 means unlimited.
    """

    source_networks: list[str] = msgspec.field(name="src", default_factory=list)
    times: list[TimeRange] = msgspec.field(default_factory=list)
    times_location: str = ""
    subscriptions: Int64 = msgspec.field(name="subs", default=0)
    data: Int64 = 0
    payload: Int64 = 0
    bearer_token: bool = False
    proxy_required: bool = False
    allowed_connection_types: list[str] = msgspec.field(default_factory=list)
    natskeep: UserExtension | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is set, as the claims of a scoped user must be."""
        return (
            self.has_no_permissions
            and not self.source_networks
            and not self.times
            and not self.times_location
            and not self.subscriptions
            and not self.data
            and not self.payload
            and not self.bearer_token
            and not self.proxy_required
            and not self.allowed_connection_types
            and self.natskeep is None
        )

    def issues(self) -> Iterator[Issue]:
        """Findings about networks, windows, zone and permissions."""
        yield from self.permission_issues()
        if self.natskeep is not None:
            yield from self.natskeep.issues()
        for network in self.source_networks:
            if not is_network(network):
                yield error(f"invalid cidr {quote(network)} in user src limits")
        for window in self.times:
            yield from window.issues()
        if self.times_location and not is_zone(self.times_location):
            yield error(f"could not parse iana time zone by name: unknown time zone {self.times_location}")


def is_network(text: str) -> bool:
    """Whether a text is an IP network in CIDR form (RFC 4632); host bits may be set, a mask must be given."""
    _, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_zone(name: str) -> bool:
    """Whether a name is in the IANA time zone database."""
    try:
        import_module("zoneinfo").ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def split_source_networks(nats: dict[str, Any]) -> None:
    """Older tokens hold the source networks as one text with commas; make it a list, in place."""
    networks = nats.get("src")
    if isinstance(networks, str):
        parts = (part.strip() for part in networks.lower().split(","))
        nats["src"] = [part for part in parts if part]
