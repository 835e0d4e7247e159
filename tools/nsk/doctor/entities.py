"""Operator and accounts: their times, who signed them, the system account, and rotations that are overdue."""

from __future__ import annotations

from collections.abc import Iterator

from auth.claims import AccountClaims, Claims
from auth.gojson import quote
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.provision import SYSTEM_ACCOUNT
from tools.nsk.rotation.records import Stage
from tools.nsk.values import format_date, format_distance

RENEWED = "1y"
"""How long what is renewed lives from then on."""


def entity_findings(examined: Examined) -> Iterator[Finding]:
    """What is wrong with the operator and its accounts themselves."""
    place = f"operator {quote(examined.store.name)}"
    if not examined.store.managed:
        renew = examined.run("edit", "operator", "--expiry", RENEWED)
        yield from time_findings(examined, "operator", place, examined.operator, renew)
        yield from _system_account(examined, place)
    for name, claims in examined.accounts.items():
        place = f"account {quote(name)}"
        renew = examined.run("edit", "account", "--name", name, "--expiry", RENEWED)
        if not _is_leaving(examined, name):
            yield from time_findings(examined, "account", place, claims, renew)
        yield from _signature(examined, name, claims)
    yield from _overdue(examined)


def _is_leaving(examined: Examined, name: str) -> bool:
    return any(name == rotation.kept_as for rotation in examined.rotations)


def time_findings(examined: Examined, what: str, place: str, claims: Claims, renew: str) -> Iterator[Finding]:
    """Whether claims have expired, or do before long."""
    end, now = claims.expires_at, examined.now
    if not end or end > now + examined.within:
        return
    moment = f"{format_date(end)}, {format_distance(end, now)}"
    if end <= now:
        yield Finding(f"{what}-expired", Severity.ERROR, place, f"expired at {moment}", renew)
    else:
        yield Finding(f"{what}-expiring", Severity.WARNING, place, f"expires at {moment}", renew)


def _system_account(examined: Examined, place: str) -> Iterator[Finding]:
    name = examined.system_account
    if name is None and examined.lacks_accounts:
        return
    if name is None:
        existing = next((name for name in examined.accounts if name.upper() == SYSTEM_ACCOUNT), None)
        choose = examined.run("edit", "operator", "--system-account", existing or SYSTEM_ACCOUNT)
        yield Finding(
            "system-account-missing",
            Severity.WARNING,
            place,
            "names no system account of this store, so nobody can ask servers, push accounts or end connections",
            choose if existing else f"{examined.run('add', 'account', '--name', SYSTEM_ACCOUNT)} && {choose}",
        )
        return
    limits = examined.accounts[name].nats.limits
    if limits.is_jetstream_enabled:
        yield Finding(
            "system-account-jetstream",
            Severity.ERROR,
            f"account {quote(name)}",
            "is the system account and has JetStream, which servers refuse",
            examined.run("edit", "account", "--name", name, "--js-disable"),
        )


def _signature(examined: Examined, name: str, claims: AccountClaims) -> Iterator[Finding]:
    if examined.operator.did_sign(claims) or (examined.store.managed and claims.is_self_signed):
        return
    yield Finding(
        "account-foreign",
        Severity.ERROR,
        f"account {quote(name)}",
        f"is signed by {claims.issuer}, which is no key of the operator now: servers refuse the account",
        # What it is described by already: nothing changes but the signature.
        examined.run("edit", "account", "--name", name, "--description", claims.nats.description),
    )


def _overdue(examined: Examined) -> Iterator[Finding]:
    for rotation in examined.rotations:
        if rotation.stage is not Stage.RETIRED and 0 < rotation.retire_after <= examined.now:
            yield Finding(
                "rotation-overdue",
                Severity.WARNING,
                f"rotation {rotation.id}",
                f"the old key of the {rotation.what} was to be retired at {format_date(rotation.retire_after)}",
                examined.run("rotate", "continue", rotation.id),
            )
