"""Going on with a rotation: step after step, as far as servers and their users allow, and again after an interruption.

Before a step whose claims servers must know, they are told or asked; after it, it is on the disk. So an interruption
anywhere leaves a rotation that goes on from the step that it was at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from auth.gojson import quote
from tools.nsk.live import Servers
from tools.nsk.rotation.records import Book, Rotation, Stage
from tools.nsk.rotation.steps import adopt, finish, retire
from tools.nsk.rotation.usage import Usage, is_gone, usage_of
from tools.nsk.store import Store


class Retirement(Enum):
    """Whether the old key may go now."""

    LATER = "not yet"
    UNUSED = "when nobody uses it any more, or its date has come"
    FORCED = "whoever uses it"


@dataclass(slots=True)
class Progress:
    """What came of going on: what was done, what it waits for now (empty when it is over), and who uses the old key."""

    rotation: Rotation
    done: list[str] = field(default_factory=list)
    waiting: str = ""
    usage: Usage | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return not self.waiting


def advance(
    store: Store,
    rotation: Rotation,
    servers: Servers | None,
    retirement: Retirement = Retirement.LATER,
    *,
    by_hand: bool = False,
) -> Progress:
    """Take all steps that can be taken now.

    ``by_hand`` says that somebody has brought the JWTs to the servers, and that nobody there uses what is old; it
    stands for what servers that are not reached would say. Raises NskError; what was done until then stays done.
    """
    progress = Progress(rotation)
    with store.transaction():
        if is_gone(store, rotation):
            Book(store).forget(rotation)
            progress.done.append(f"account {quote(rotation.account)} is not in the store any more")
            return progress
        while _step(store, progress, servers, retirement, by_hand=by_hand):
            # On the disk before servers, or whoever reads the creds files, learn of it.
            store.files.commit()
    return progress


def _step(store: Store, progress: Progress, servers: Servers | None, retirement: Retirement, *, by_hand: bool) -> bool:
    """One step; whether there may be another one."""
    rotation = progress.rotation
    if rotation.unpushed:
        progress.waiting = _push(store, progress, servers, by_hand=by_hand)
        return not progress.waiting
    if rotation.kind.is_operators and rotation.stage is not Stage.ADOPTED:
        progress.waiting = _operator_unknown(store, rotation, servers, by_hand=by_hand)
        if progress.waiting:
            return False
    match rotation.stage:
        case Stage.ISSUED:
            progress.done += adopt(store, rotation, force=retirement is Retirement.FORCED)
        case Stage.ADOPTED:
            progress.usage = usage_of(store, rotation, servers)
            progress.waiting = _still_used(rotation, progress.usage, retirement, by_hand=by_hand)
            if progress.waiting:
                return False
            progress.done += [
                f"{one} was deleted here, and servers still hold it: 'nsk push --prune' has them forget it"
                for one in progress.usage.deleted
            ]
            progress.done += retire(store, rotation)
        case Stage.RETIRED:
            progress.done += finish(store, rotation)
            store.files.commit()
            return False
    return True


def _push(store: Store, progress: Progress, servers: Servers | None, *, by_hand: bool) -> str:
    """Hand out account JWTs; what that waits for, or nothing."""
    rotation = progress.rotation
    names = [name for name in rotation.unpushed if store.has_account(name)]
    listed = ", ".join(map(quote, names))
    if servers is not None:
        keys = {store.account(name).subject: name for name in names}
        problems = servers.push({key: store.account_token(name) for key, name in keys.items()})
        taken = [name for key, name in keys.items() if key not in problems]
        if taken:
            progress.done.append(
                f"pushed {'account' if len(taken) == 1 else 'accounts'} {', '.join(map(quote, taken))}"
            )
        rotation.unpushed = [name for key, name in keys.items() if key in problems]
        Book(store).save(rotation)
        if problems and not by_hand:
            reasons = "; ".join(f"account {quote(keys[key])}: {problem}" for key, problem in problems.items())
            return f"servers must take {', '.join(map(quote, rotation.unpushed))} first: {reasons}"
    elif names and not by_hand:
        return (
            f"servers must have the JWTs of {listed} first: name a server with --nats, or bring them there yourself "
            f"and go on with --by-hand"
        )
    rotation.unpushed = []
    Book(store).save(rotation)
    return ""


def _operator_unknown(store: Store, rotation: Rotation, servers: Servers | None, *, by_hand: bool) -> str:
    """Which servers do not have the operator's JWT as it is now; nothing when all have it."""
    how = (
        f"put `{store.operator_path}` (or the output of 'nsk generate config') into the configuration of "
        "{servers} and reload it; nats-server needs a restart for that"
    )
    if rotation.stage is Stage.RETIRED and rotation.old_stays:
        return ""
    if servers is None:
        return "" if by_hand else how.format(servers="every server") + ", then go on with --nats, or with --by-hand"
    wanted = store.operator()
    behind = [
        trust.server
        for trust in servers.trust()
        if wanted.subject not in trust.operators
        or not trust.keys.issuperset(wanted.trusted_keys())
        or (rotation.stage is Stage.RETIRED and rotation.old in trust.keys)
    ]
    return how.format(servers=", ".join(behind)) if behind else ""


def _still_used(rotation: Rotation, usage: Usage, retirement: Retirement, *, by_hand: bool) -> str:
    """Why the old key does not go now; nothing when it goes."""
    if retirement is Retirement.FORCED:
        return ""
    go_on = f"'nsk rotate continue {rotation.id}'"
    if retirement is Retirement.LATER:
        return f"the old key holds until {go_on} finds that nobody uses it any more"
    if rotation.retire_after and time.time() >= rotation.retire_after:
        return ""
    if usage.stored:
        return f"the old key is used by {_few(usage.stored)}"
    if usage.live:
        return f"the old key is used by {_few(usage.live)}"
    if usage.live is None and not by_hand:
        return "no server was asked who uses the old key: name one with --nats, or go on with --by-hand"
    return ""


def _few(items: list[str]) -> str:
    shown, more = items[:5], len(items) - 5
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def describe_next(store: Store, rotation: Rotation) -> str:
    """What a rotation does next, in words."""
    if is_gone(store, rotation):
        return "end, since its account is not in the store any more"
    if rotation.unpushed:
        return f"push {', '.join(rotation.unpushed)}"
    if rotation.stage is Stage.ISSUED:
        return "have servers learn of the new key" if rotation.kind.is_operators else "sign with the new key"
    if rotation.stage is Stage.ADOPTED:
        return "retire the old key"
    return "have servers forget the old key" if rotation.kind.is_operators else "forget the old key"
