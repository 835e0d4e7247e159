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

    from broker.net.certificates import Finding as CertificateFinding

LOGGER: Final = logging.getLogger("natskeep.monitor")

NOT_READY: Final = "failed to be ready for connections after 1ms: server"
"""The reference's words for a server that starts, stops, or is a lame duck."""

CERTIFICATE: Final = "CERTIFICATE"
"""The type of what is found about certificates."""

_SWITCHES: Final = ("js-enabled", "js-enabled-only", "js-server-only", "js-meta-only")
"""Which parts of JetStream to look at; without JetStream there is nothing to find in any of them."""


class Finding(msgspec.Struct, omit_defaults=True):
    """One reason not to be healthy."""

    type: str
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
    tls: bool = False
    """Whether what is only worth a warning is to be an error; natskeep's own."""

    @classmethod
    def read(cls, query: Query) -> HealthOptions:
        """From the parameters of a request. Raises QueryError."""
        for name in _SWITCHES:
            query.boolean(name)
        return cls(
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
) -> tuple[HTTPStatus, Health]:
    """The verdict and its status: 200, 400 for a question that makes no sense, 500 when no clients are accepted.

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
        return _failed(HTTPStatus.SERVICE_UNAVAILABLE, text, options, "unavailable", CERTIFICATE)
    return HTTPStatus.OK, Health(status="ok", warnings=found)


def _failed(
    status: HTTPStatus, text: str, options: HealthOptions, word: str = "error", kind: str = "CONNECTION"
) -> tuple[HTTPStatus, Health]:
    LOGGER.warning("Healthcheck failed: %s", quote(text))
    if options.details:
        kind = "BAD_REQUEST" if status is HTTPStatus.BAD_REQUEST else kind
        return status, Health(status="error", errors=[Finding(kind, text)])
    return status, Health(status=word, error=text)
