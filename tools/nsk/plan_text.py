"""A plan in words: ``-`` before what would not work any more, ``+`` before what would begin to, else ``~``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tools.nsk.plan_model import (
    AccountChange,
    Deed,
    GrantChange,
    ImportChange,
    LiveChange,
    Plan,
    State,
    TermChange,
    UserChange,
)
from tools.nsk.render import printable
from tools.nsk.values import format_date

_DEEDS = {
    Deed.ADD: "new on the servers",
    Deed.CHANGE: "changes",
    Deed.REFRESH: "newer claims that mean the same",
    Deed.REMOVE: "goes from the servers",
    Deed.NONE: "not pushed, but concerned",
}


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan, line by line, with nothing in it that a terminal obeys."""
    yield from map(printable, _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"plan {plan.id} for {plan.url}"
    for note in plan.notes:
        yield f"  ~ {note}"
    for account in plan.accounts:
        yield ""
        yield f"account {account.account} ({account.public_key}): {_DEEDS[account.deed]}"
        yield from (f"  {line}" for line in _account(account))
    for stranger in plan.only_on_servers:
        yield ""
        since = "" if stranger.deleted_at is None else f", deleted here at {format_date(stranger.deleted_at)}"
        yield f"account {stranger.account} ({stranger.public_key}): only on the servers{since}"
        yield "  ~ stays there, with all that it allows: --prune removes it"
    yield ""
    if not plan.accounts:
        yield "nothing would change"
    else:
        yield "something would break" if plan.breaks else "nothing would break"


def _account(account: AccountChange) -> Iterator[str]:
    if account.refused:
        yield f"- servers would not take it: {account.refused}"
    for note in account.notes:
        yield f"~ {note}"
    yield from map(_term, account.terms)
    yield from map(_import, account.imports)
    for user in account.users:
        yield from _user(user)
    for live in account.live:
        yield from _live(live)


def _term(term: TermChange) -> str:
    return f"{'-' if term.breaks else '~'} {term.name}: {term.before} -> {term.after}"


def _import(change: ImportChange) -> str:
    local = "" if change.local_subject == change.subject else f" as {change.local_subject}"
    what = f"{change.kind} import {change.subject}{local} of {change.exporter}"
    if change.after is State.IN_FORCE:
        return f"+ {what} would begin to work"
    verb = "would cease to work" if change.before is State.IN_FORCE else "does not work"
    if change.after is State.ABSENT:
        return f"{'-' if change.breaks else '~'} {what} is removed"
    return f"{'-' if change.breaks else '~'} {what} {verb}: {change.reason}"


def _user(user: UserChange) -> Iterator[str]:
    who = f"user {user.name or user.public_key}" + ("" if user.stored else ", connected and not in the store")
    if user.refused_after:
        yield f"- {who}: would not be admitted any more: {user.refused_after}"
        return
    if user.refused_before:
        yield f"+ {who}: would be admitted"
        return
    yield f"{'-' if user.breaks else '~'} {who}"
    yield from (f"  {_term(term)}" for term in user.terms)
    yield from _grants("-", user.lost)
    yield from _grants("+", user.gained)


def _grants(sign: str, grants: Iterable[GrantChange]) -> Iterator[str]:
    for grant in grants:
        example = "" if grant.example == grant.subject else f", such as {grant.example}"
        reason = f": {grant.reason}" if sign == "-" else ""
        yield f"  {sign} {grant}{example}{reason}"


def _live(live: LiveChange) -> Iterator[str]:
    name = f" {live.client}" if live.client else ""
    who = f"connection {live.cid}{name} of user {live.user} on {live.server}"
    if live.closed:
        yield f"- {who} would be closed: {live.closed}"
        return
    for one in live.subscriptions:
        queue = "" if one.queue is None else f" queue {one.queue}"
        yield f"- {who} would lose its subscription to {one.subject}{queue}: {one.reason}"
