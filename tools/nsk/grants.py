"""Grants of users and of roles: what the flags say becomes plain allows, and the grants stay beside them to be read.

The allows are what servers go by. The names are kept under ``natskeep`` in the claims, where other readers pass them
over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from accounts.grants import KINDS, SHARED_INBOX, InvalidGrantError, NamedGrant, parse_named_grant, permissions_of
from auth.claims.extension import UserExtension
from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, strings
from tools.nsk.private_inbox import SHARED_INBOX as INBOX
from tools.nsk.roles import EVERYTHING, close_unused

if TYPE_CHECKING:
    from auth.claims import UserPermissionLimits
    from tools.nsk.report import Report

GRANT_FLAG = strings("grant", "", f'grant what is named, such as "kv:read CONFIG": {", ".join(KINDS)}', beyond=True)
REMOVAL_FLAG = strings("rm-grant", "", "take a grant away", beyond=True)


def read_grants(texts: Iterable[str]) -> list[NamedGrant]:
    """The grants that texts name. Raises NskError."""
    found: dict[str, NamedGrant] = {}
    for text in texts:
        try:
            grant = parse_named_grant(text)
        except InvalidGrantError as error:
            raise NskError(str(error), remedy="docs/grants.md shows how each is written") from None
        found.setdefault(grant.text, grant)
    return list(found.values())


def kept_grants(limits: UserPermissionLimits) -> list[str]:
    """The grants that stand in claims."""
    return [] if limits.natskeep is None else list(limits.natskeep.grants)


def add_grants(limits: UserPermissionLimits, grants: Sequence[NamedGrant]) -> list[str]:
    """Adds what grants expand to, and their names; the entries that are new, in words.

    Raises NskError where a denial would leave nothing of them.
    """
    if not grants:
        return []
    for label, permission in (("publish", limits.publish), ("subscribe", limits.subscribe)):
        if EVERYTHING in permission.deny:
            raise NskError(
                f"everything is denied to {label}, and no grant lifts that",
                remedy=f"take the denial away as well: --rm '{EVERYTHING}'",
            )
    if not (limits.publish.allow or any(grant.publish for grant in grants)):
        raise NskError("an inbox alone leaves publishing open", remedy="name a grant that says what to ask for as well")
    expanded = permissions_of(grants)
    own_inbox = any(entry.startswith(f"{INBOX}_") for entry in limits.subscribe.allow)
    added: list[str] = []
    for label, permission, rules in (
        ("pub", limits.publish, expanded.publish),
        ("sub", limits.subscribe, expanded.subscribe),
    ):
        entries = {str(one) for one in rules.allow if not (own_inbox and one.subject == SHARED_INBOX)}
        added += [f"added {label} {quote(entry)}" for entry in sorted(entries.difference(permission.allow))]
        permission.allow = sorted({*permission.allow, *entries})
    extension = limits.natskeep or UserExtension()
    extension.grants = [*extension.grants, *(one.text for one in grants if one.text not in extension.grants)]
    limits.natskeep = extension
    return added


def tell_grants(grants: Iterable[NamedGrant], report: Report) -> None:
    """Says what is granted, and where another server would let more be reached by it."""
    for grant in grants:
        report.ok(f"granted {quote(grant.text)}")
        if grant.is_narrow:
            report.warn("a nats-server lets it read all of the stream: it does not look at what payloads name")


def remove_grants(limits: UserPermissionLimits, texts: Sequence[str], report: Report) -> None:
    """Takes grants away, with the allows that no other grant gives. Raises NskError for one that is not there."""
    extension = limits.natskeep
    if not texts:
        return
    gone = _named(texts, kept_grants(limits))
    left = [text for text in kept_grants(limits) if text not in gone]
    kept = permissions_of(_parsed(left))
    dropped = permissions_of(_parsed(gone))
    for permission, before, after in (
        (limits.publish, dropped.publish, kept.publish),
        (limits.subscribe, dropped.subscribe, kept.subscribe),
    ):
        entries = {str(one) for one in before.allow} - {str(one) for one in after.allow}
        permission.allow = [entry for entry in permission.allow if entry not in entries]
    if extension is not None:
        extension.grants = left
        limits.natskeep = None if extension == UserExtension() else extension
    for text in gone:
        report.ok(f"took the grant {quote(text)} away")


def _named(texts: Sequence[str], kept: Sequence[str]) -> list[str]:
    found = []
    for text in texts:
        written = " ".join(text.split())
        if written not in kept:
            given = f"it has: {', '.join(map(quote, kept))}" if kept else "it has none"
            raise NskError(f"there is no grant {quote(written)} to take away", remedy=given)
        found.append(written)
    return found


def _parsed(texts: Iterable[str]) -> list[NamedGrant]:
    """The grants that can still be read."""
    found = []
    for text in texts:
        try:
            found.append(parse_named_grant(text))
        except InvalidGrantError:
            continue
    return found


def edit_grants(flags: Flags, limits: UserPermissionLimits, report: Report) -> None:
    """Applies the flags of grants. Raises NskError, before anything is changed."""
    added, removed = read_grants(flags.strings("grant")), flags.strings("rm-grant")
    remove_grants(limits, removed, report)
    lines = add_grants(limits, added)
    tell_grants(added, report)
    for line in lines:
        report.ok(line)
    if removed:
        # Without any allow everything would be open.
        close_unused(limits)


def shown_grants(limits: UserPermissionLimits) -> list[str]:
    """The grants in claims, each with what is the matter where its allows are not all there."""
    found = []
    publish, subscribe = set(limits.publish.allow), set(limits.subscribe.allow)
    for text in kept_grants(limits):
        try:
            grant = parse_named_grant(text)
        except InvalidGrantError:
            found.append(f"{text} (not known to this nsk)")
            continue
        is_whole = publish.issuperset(grant.publish) and subscribe.issuperset(grant.subscribe)
        found.append(text if is_whole else f"{text} (not in full: some of its entries were removed)")
    return found
