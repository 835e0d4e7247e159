"""What a reload would change, key by key, and what it would be refused for; nothing is touched here."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final, cast

from broker.config.options import Options
from broker.config.reloading import RULES, Rule, Takes, value_at

_RESOLVER: Final = "config reload does not support moving to or from an account resolver"


class ReloadError(Exception):
    """The configuration cannot take the place of the running one; the text says why. Nothing has changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One option that differs."""

    rule: Rule
    old: object
    new: object

    @property
    def line(self) -> str:
        """What the log says of it."""
        shown = "" if self.rule.show is None else self.rule.show(self.new)
        return self.rule.line.format(name=self.rule.name, value=shown)

    @property
    def refusal(self) -> str:
        """What the log says where a reload does not take it."""
        show = self.rule.show
        if self.rule.refuses is not None:
            return f"config reload not supported for {self.rule.refuses(self.old, self.new)}"
        if show is None:
            return _RESOLVER
        return f"config reload not supported for {self.rule.name}: old={show(self.old)}, new={show(self.new)}"


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Every option that differs, in nats-server's order."""

    changes: tuple[Change, ...] = ()
    """What a reload takes."""
    refused: tuple[Change, ...] = ()
    """What needs a restart. One is enough for the whole reload to be refused."""

    def check(self) -> None:
        """Raises ReloadError with the first option that a reload does not take."""
        if self.refused:
            raise ReloadError(self.refused[0].refusal)


def plan_reload(old: Options, new: Options) -> ReloadPlan:
    """What turns the one configuration into the other.

    Where something is declared is no difference. A `no_auth_user` may go together with the user that it names, and
    operators may change as long as there are some before and after. What JetStream keeps to does not change where it
    is switched on or off.
    """
    changes, refused = [], []
    is_switched = old.jetstream is None or new.jetstream is None
    for rule in RULES:
        before, after = value_at(old, rule.path), value_at(new, rule.path)
        if is_alike(before, after) or (is_switched and rule.path.startswith("jetstream.")):
            continue
        is_refused = rule.refuses is not None and rule.refuses(before, after)
        if is_refused or (rule.path == "operators" and not (before and after)):
            refused.append(Change(rule, before, after))
        elif rule.takes is not Takes.RESTART:
            changes.append(Change(rule, before, after))
        elif rule.path != "no_auth_user" or new.no_auth_user or old.no_auth_user in _user_names(new):
            refused.append(Change(rule, before, after))
    return ReloadPlan(tuple(changes), tuple(refused))


def _user_names(options: Options) -> set[str]:
    lists = (options.authorization.users, *(account.users for account in options.accounts))
    return {user.key for users in lists for user in users}


def is_alike(one: object, other: object) -> bool:
    """Whether two values are the same but for the places where their parts were declared.

    Nothing large is made of them on the way, for that would have to be freed in one long step.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return one == other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(is_alike, one, other))
    if is_dataclass(one) and not isinstance(one, type):
        return all(is_alike(getattr(one, name), getattr(other, name)) for name in _compared(type(one)))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_alike(item, other[key]) for key, item in one.items())
    return one == other


@cache
def _compared(kind: Hashable) -> tuple[str, ...]:
    """The fields of a dataclass that say more than a place."""
    return tuple(field.name for field in fields(cast("Any", kind)) if field.name != "origin")
