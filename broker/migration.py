"""What natskeep does differently with a configuration that was written for nats-server, and why.

The words are those of docs/differences.md; here each difference also knows which configurations it touches. Differences
that concern only what clients send, or the command line, are not told here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from accounts.permissions import Permissions
from auth.envelope import JwtError, open_unverified
from broker.config.options import Options

Condition: TypeAlias = "Callable[[Options], bool]"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what either server does, and the reason for the change."""

    reference: str
    natskeep: str
    why: str
    """Empty where natskeep is to do the same one day."""
    touches: Condition
    """Whether a configuration meets it."""

    def __str__(self) -> str:
        text = f"nats-server: {self.reference}\n   natskeep: {self.natskeep}"
        return f"{text}\n        why: {self.why}" if self.why else text


def touched(options: Options) -> list[Difference]:
    """The differences that a configuration meets."""
    return [difference for difference in DIFFERENCES if difference.touches(options)]


def report(program: str, options: Options) -> str:
    """What to tell an operator about a configuration; empty when nothing differs."""
    found = touched(options)
    if not found:
        return ""
    parts = "\n\n".join(map(str, found))
    return f"{program} does {len(found)} of the things that this file asks for differently:\n\n{parts}"


def _permissions(options: Options) -> Iterator[Permissions]:
    """Every set of permissions in the file."""
    authorization = options.authorization
    holders = [(authorization.default_permissions, authorization.users)]
    holders += [(account.default_permissions, account.users) for account in options.accounts]
    for default, users in holders:
        if default is not None:
            yield default
        yield from (user.permissions for user in users if user.permissions is not None)


def _has_wide_subscriptions(options: Options) -> bool:
    """Whether an allowed subscription ends in a wildcard that a wider one could reach around."""
    return any(
        "*" in grant.subject.split(".")
        for permissions in _permissions(options)
        for grant in permissions.subscribe.allow
    )


def _has_responses_beside_denies(options: Options) -> bool:
    return any(
        permissions.responses is not None and bool(permissions.publish.deny) for permissions in _permissions(options)
    )


def _has_dated_operator(options: Options) -> bool:
    claims = [_claims(operator.token) for operator in options.operators]
    return any(found.get("exp") or found.get("nbf") for found in claims)


def _claims(token: str) -> dict[str, Any]:
    """What a token says that the start has verified already; nothing where it cannot be read."""
    try:
        return open_unverified(token)
    except JwtError:
        return {}


def _uses_operators(options: Options) -> bool:
    return bool(options.operators or options.trusted_keys)


def _is_watched(options: Options) -> bool:
    return bool(options.monitor.port or options.monitor.https_port)


def _watches(condition: Condition) -> Condition:
    return lambda options: _is_watched(options) and condition(options)


def _asks_for_certificates(options: Options) -> bool:
    return options.tls is not None and (options.tls.verify or options.tls.verify_and_map)


def _has_pid_file(options: Options) -> bool:
    return bool(options.pid_file)


DIFFERENCES: Final = (
    Difference(
        '`subscribe: {allow: "foo.*"}` admits SUB `foo.>`, which then receives `foo.a.b`; `allow: "*"` admits SUB `>`',
        "A subscription must be contained in one allow entry",
        "What was not allowed would be delivered",
        _has_wide_subscriptions,
    ),
    Difference(
        "A response permission opens a reply subject that an explicit deny names",
        "Deny wins",
        "A deny that a client can lift by receiving a message denies nothing",
        _has_responses_beside_denies,
    ),
    Difference(
        "`exp` and `nbf` of the operator's own JWT are not looked at",
        "No login under an operator that is expired or not yet valid; connections end with `Account Authentication "
        "Expired` when it expires",
        "A date that its holder signed and that is then ignored protects nobody",
        _has_dated_operator,
    ),
    Difference(
        "Answers every HTTP method",
        "`GET` and `HEAD`; 405 for all others",
        "Monitoring changes nothing, and a page of another origin must not seem to",
        _is_watched,
    ),
    Difference(
        "`/connz?auth=1` shows the JWT of a login that failed",
        "The JWT of who was verified, and never a bearer token",
        "An unverified token may be somebody's credential for another server",
        _watches(_uses_operators),
    ),
    Difference(
        "`tls_peer_certs` holds the peer's whole chain",
        "The peer's own certificate, the first of the chain",
        "It is the one that identifies",
        _watches(_asks_for_certificates),
    ),
    Difference(
        "The pid file stays when the server ends",
        "Removed, unless another process has written its own id there",
        "The id of a process that is gone may soon be a stranger's",
        _has_pid_file,
    ),
)
"""In the order of docs/differences.md."""
