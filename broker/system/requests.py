"""What a request to the system account asks for: JSON read into options, and whether this server is meant at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from broker.monitor.connections import ConnzOptions, Listed
from broker.monitor.health import HealthOptions
from broker.monitor.jetstream import JszOptions, Shown
from broker.monitor.query import QueryError
from broker.monitor.subscriptions import SubszOptions
from broker.wire.values import readable

if TYPE_CHECKING:
    from broker.monitor.watched import Watched

_OFFSET: Final = re.compile(r"\(byte ([0-9]+)\)")
_TRUNCATED: Final = "unexpected end of JSON input"


class RequestError(ValueError):
    """A request that cannot be understood; the text is the answer's description."""


class Filters(msgspec.Struct, kw_only=True):
    """Which servers are asked; the others stay silent. Every request may have these."""

    server_name: str = ""
    cluster: str = ""
    host: str = ""
    exact_match: bool = False
    """Whether name, cluster and host are meant as they stand; else it is enough when they are part of the server's."""
    tags: list[str] = msgspec.field(default_factory=list)
    """All of which the server must have, in whatever case."""
    domain: str = ""

    def mean(self, watched: Watched) -> bool:
        """Whether this server is asked."""
        info = watched.service.control.server_info
        for wanted, own in ((self.server_name, info.server_name), (self.cluster, ""), (self.host, info.host)):
            if wanted and (wanted != own if self.exact_match else wanted not in own):
                return False
        tags = {tag.lower() for tag in watched.options.server_tags}
        return self.domain in ("", info.domain) and all(tag.lower() in tags for tag in self.tags)


class ConnzRequest(Filters, kw_only=True):
    """Connections."""

    sort: str = ""
    auth: bool = False
    subscriptions: bool = False
    subscriptions_detail: bool = False
    offset: int = 0
    limit: int = 0
    cid: int = 0
    mqtt_client: str = ""
    state: int = 0
    """0 open, 1 closed, 2 all."""
    user: str = ""
    acc: str = ""
    filter_subject: str = ""

    def options(self, account: str = "") -> ConnzOptions:
        """The listing, of one account where one is given. Raises QueryError for a state that there is not."""
        if not 0 <= self.state < len(_STATES):
            raise QueryError(f"Error decoding state for {self.state}")
        return ConnzOptions(
            sort=self.sort,
            auth=self.auth,
            subscriptions=self.subscriptions,
            subscriptions_detail=self.subscriptions_detail,
            offset=self.offset,
            limit=self.limit,
            cid=self.cid,
            listed=_STATES[self.state],
            user=self.user,
            account=account or self.acc,
            mqtt_client=self.mqtt_client,
            filter_subject=self.filter_subject,
        )


_STATES: Final = (Listed.OPEN, Listed.CLOSED, Listed.ALL)


class SubszRequest(Filters, kw_only=True):
    """Subscriptions."""

    offset: int = 0
    limit: int = 0
    subscriptions: bool = False
    account: str = ""
    test: str = ""

    def options(self, account: str = "") -> SubszOptions:
        """The listing; of one account it always shows the subscriptions."""
        return SubszOptions(
            subscriptions=self.subscriptions or bool(account),
            offset=self.offset,
            limit=self.limit,
            account=account or self.account,
            test=self.test,
        )


class AccountzRequest(Filters, kw_only=True):
    """Accounts."""

    account: str = ""


class StatzRequest(Filters, kw_only=True):
    """What accounts have sent and received."""

    accounts: list[str] = msgspec.field(default_factory=list)
    include_unused: bool = False


class HealthzRequest(Filters, kw_only=True):
    """Health."""

    account: str = ""
    stream: str = ""
    consumer: str = ""
    details: bool = False
    tls: bool = False
    js_enabled: bool = msgspec.field(name="js-enabled", default=False)
    js_enabled_only: bool = msgspec.field(name="js-enabled-only", default=False)
    js_server_only: bool = msgspec.field(name="js-server-only", default=False)

    def options(self) -> HealthOptions:
        """What is asked about."""
        return HealthOptions(
            account=self.account,
            stream=self.stream,
            consumer=self.consumer,
            details=self.details,
            tls=self.tls,
            server_only=self.js_enabled or self.js_enabled_only or self.js_server_only,
        )


class JszRequest(Filters, kw_only=True):
    """Streams."""

    account: str = ""
    accounts: bool = False
    streams: bool = False
    consumer: bool = False
    direct_consumer: bool = False
    config: bool = False
    leader_only: bool = False
    stream_leader_only: bool = False
    raft: bool = False
    offset: int = 0
    limit: int = 0

    def mean(self, watched: Watched) -> bool:
        """Whether this server is asked; one without streams leads none."""
        return super().mean(watched) and not (self.leader_only and watched.jetstream() is None)

    @property
    def shown(self) -> Shown:
        """How much of each account."""
        return Shown(
            streams=self.streams,
            consumers=self.consumer,
            direct_consumers=self.direct_consumer,
            config=self.config,
        )

    def options(self) -> JszOptions:
        """What is asked for."""
        return JszOptions(
            account=self.account,
            accounts=self.accounts,
            shown=self.shown,
            raft=self.raft,
            offset=self.offset,
            limit=self.limit,
        )


class ProfilezRequest(Filters, kw_only=True):
    """A profile of the process."""

    name: str = ""
    debug: int = 0
    duration: int = 0
    """Nanoseconds."""


class KeyRequest(Filters, kw_only=True):
    """The data key of one account."""

    account: str = ""


class ClientRequest(Filters, kw_only=True):
    """Something to be done to one connection."""

    cid: int = 0


class CountRequest(msgspec.Struct, kw_only=True):
    """How many subscriptions of an account a subject has."""

    acc: str = ""
    subject: str = ""
    queue: str | None = None


class ConnectionsRequest(msgspec.Struct, kw_only=True):
    """How many connections an account has."""

    acc: str = ""


RequestT = TypeVar("RequestT", bound=msgspec.Struct)


def read(kind: type[RequestT], payload: bytes) -> RequestT:
    """The request in a payload, all defaults in an empty one.

    Names match in any case, unknown ones are ignored, and null stands for the default. Raises RequestError.
    """
    if not payload:
        return kind()
    try:
        found = msgspec.json.decode(payload, type=dict[str, object] | None) or {}
        given = {name.lower(): value for name, value in found.items() if value is not None}
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise RequestError(str(error)) from None
    except UnicodeDecodeError:
        raise RequestError("invalid UTF-8 in string") from None
    except msgspec.DecodeError as error:
        raise RequestError(_why(payload, str(error))) from None
    except RecursionError:
        raise RequestError("exceeded max depth") from None


def _why(payload: bytes, problem: str) -> str:
    """Why a payload is not JSON, as far as that is known in the reference's words."""
    place = _OFFSET.search(problem)
    if place is None:
        return _TRUNCATED if "truncated" in problem else problem
    # What is too much is reported one byte late.
    where, late = ("after top-level value", 1) if "trailing" in problem else ("looking for beginning of value", 0)
    found = payload[int(place[1]) - late :]
    return f"invalid character {_quoted(readable(found[:4])[:1])} {where}" if found else _TRUNCATED


def _quoted(character: str) -> str:
    return r"'\''" if character == "'" else repr(character)
