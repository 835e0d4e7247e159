"""/healthz: whether the server serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from auth.gojson import quote
from broker.monitor.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.monitor.jetstream import Streams
    from broker.net.certificates import Finding as CertificateFinding

LOGGER: Final = logging.getLogger("natskeep.monitor")

NOT_READY: Final = "failed to be ready for connections after 1ms: server"
"""The reference's words for a server that starts, stops, or is a lame duck."""

CERTIFICATE: Final = "CERTIFICATE"
"""The type of what is found about certificates."""

_SWITCHES: Final = ("js-enabled", "js-enabled-only", "js-server-only")
"""Which parts of JetStream to look at, in place of all accounts and streams."""

_OF_CLUSTERS: Final = "js-meta-only"
"""Leaves out accounts and streams where there is a cluster, and so nothing here."""

UNAVAILABLE: Final = "unavailable"
UNWRITTEN: Final = "JetStream cannot write what is published; the log of the server says where and why"


class Finding(msgspec.Struct, omit_defaults=True):
    """One reason not to be healthy."""

    type: str
    account: str = ""
    stream: str = ""
    consumer: str = ""
    error: str = ""


class Warned(msgspec.Struct):
    """Something that will make it so, though it is not yet; natskeep's own."""

    type: str
    listener: str
    warning: str


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The verdict; `errors` stands in place of `error` where details were asked for."""

    status: str
    status_code: int = 0
    """Where the answer has no status line."""
    error: str = ""
    errors: list[Finding] = msgspec.field(default_factory=list)
    warnings: list[Warned] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthOptions:
    """What is asked about."""

    account: str = ""
    stream: str = ""
    consumer: str = ""
    details: bool = False
    server_only: bool = False
    """Whether accounts, streams and consumers are not to be looked at."""
    tls: bool = False
    """Whether what is only worth a warning is to be an error; natskeep's own."""

    @classmethod
    def read(cls, query: Query) -> HealthOptions:
        """From the parameters of a request. Raises QueryError."""
        switches = [query.boolean(name) for name in _SWITCHES]
        query.boolean(_OF_CLUSTERS)
        return cls(
            server_only=any(switches),
            details=query.boolean("details"),
            tls=query.boolean("tls"),
            account=query.text("account"),
            stream=query.text("stream"),
            consumer=query.text("consumer"),
        )


def healthz(
    options: HealthOptions,
    *,
    is_serving: bool,
    audit_problem: str = "",
    certificates: Iterable[CertificateFinding] = (),
    jetstream: Streams | None = None,
) -> tuple[HTTPStatus, Health]:
    """The verdict and its status: 200, 400 for a question that makes no sense, 500 when no clients are accepted, 404
    where the stream that is asked about is not there.

    A server whose audit ledger cannot be written is not healthy either, though it may serve. Certificates that end or
    were not renewed are warnings, or 503 where they are asked about: to start a server anew helps with none of them,
    and costs it the connections that it has.
    """
    if options.stream and not options.account:
        return _failed(HTTPStatus.BAD_REQUEST, '"account" must not be empty when checking stream health', options)
    if options.consumer and not options.stream:
        return _failed(HTTPStatus.BAD_REQUEST, '"stream" must not be empty when checking consumer health', options)
    if not is_serving:
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, NOT_READY, options)
    if audit_problem:
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, f"audit ledger cannot be written: {audit_problem}", options)
    found = [Warned(CERTIFICATE, one.listener, one.brief) for one in certificates]
    if options.tls and found:
        text = "; ".join(one.warning for one in found)
        return _failed(HTTPStatus.SERVICE_UNAVAILABLE, text, options, UNAVAILABLE, Finding(CERTIFICATE))
    if jetstream is not None and not options.server_only:
        missing = _missing(options, jetstream) or _unwritten(options, jetstream)
        if missing is not None:
            return missing
    return HTTPStatus.OK, Health(status="ok", warnings=found)


def _missing(options: HealthOptions, jetstream: Streams) -> tuple[HTTPStatus, Health] | None:
    """What is asked about and is not there."""
    account, stream, consumer = options.account, options.stream, options.consumer
    if account and not jetstream.has(account):
        found = Finding("ACCOUNT", account)
        text = f"JetStream account {quote(account)} not found"
    elif stream and not jetstream.has(account, stream):
        found = Finding("STREAM", account, stream)
        text = f"JetStream stream {quote(stream)} not found on account {quote(account)}"
    elif consumer and not jetstream.has(account, stream, consumer):
        found = Finding("CONSUMER", account, stream, consumer)
        where = f"for stream {quote(stream)} on account {quote(account)}"
        text = f"JetStream consumer {quote(consumer)} not found {where}"
    else:
        return None
    return _failed(HTTPStatus.NOT_FOUND, text, options, UNAVAILABLE, found)


def _unwritten(options: HealthOptions, jetstream: Streams) -> tuple[HTTPStatus, Health] | None:
    """Accounts that cannot keep what is published; the log says which, not whoever may ask for the state."""
    if jetstream.is_writable():
        return None
    return _failed(HTTPStatus.SERVICE_UNAVAILABLE, UNWRITTEN, options, UNAVAILABLE, Finding("ACCOUNT"))


def _failed(
    status: HTTPStatus, text: str, options: HealthOptions, word: str = "error", found: Finding | None = None
) -> tuple[HTTPStatus, Health]:
    LOGGER.warning("Healthcheck failed: %s", quote(text))
    if options.details:
        found = found or Finding("BAD_REQUEST" if status is HTTPStatus.BAD_REQUEST else "CONNECTION")
        return status, Health(status="error", errors=[msgspec.structs.replace(found, error=text)])
    return status, Health(status=word, error=text)
