"""Template functions in the permissions of scoped signing keys, expanded for one user.

``{{name()}}``, ``{{subject()}}``, ``{{account-name()}}``, ``{{account-subject()}}``, ``{{tag(x)}}`` and
``{{account-tag(x)}}``. A tag with several values makes several subjects, of all combinations. What cannot be
expanded fails closed: an allow entry is dropped, a deny entry refuses the user, and an allow list that loses its last
entry denies everything.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from accounts.permissions import Grant, InvalidPermissionError, Permissions, SubjectRules

MAXIMUM_SUBJECTS: Final = 4096
"""Subjects that one list may expand to."""

_FUNCTION: Final = re.compile(r"\{\{(.*?)\}\}")
_ENTRY: Final = re.compile(r"((?:\{\{.*?\}\}|[^ ])+) ((?:\{\{.*?\}\}|[^ ])+)")


class TemplateError(ValueError):
    """A template that must not be expanded for this user."""


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """What the functions stand for. Tags are ``key:value`` texts."""

    name: str
    subject: str
    account_name: str
    account_subject: str
    tags: tuple[str, ...] = ()
    account_tags: tuple[str, ...] = ()


def split_entry(entry: str) -> tuple[str, str | None]:
    """Subject and queue of an entry ``"subject queue"``; blanks inside braces separate nothing."""
    pair = _ENTRY.fullmatch(entry)
    return (pair[1], pair[2]) if pair else (entry, None)


def expand(permissions: Permissions, facts: TemplateFacts) -> Permissions:
    """The permissions of one user. Raises TemplateError."""
    return replace(
        permissions,
        publish=_expand_rules(permissions.publish, facts),
        subscribe=_expand_rules(permissions.subscribe, facts),
    )


def _expand_rules(rules: SubjectRules, facts: TemplateFacts) -> SubjectRules:
    allow = _expand_list(rules.allow, facts, droppable=True)
    deny = _expand_list(rules.deny, facts, droppable=False)
    if rules.allow and not allow:
        deny = (*deny, Grant(">", origin=rules.allow[0].origin))
    return SubjectRules(allow, deny)


def _expand_list(grants: Sequence[Grant], facts: TemplateFacts, *, droppable: bool) -> tuple[Grant, ...]:
    expanded: list[Grant] = []
    for grant in grants:
        for subject, queue in _combinations(grant, facts, MAXIMUM_SUBJECTS - len(expanded), droppable=droppable):
            made = Grant(subject, queue, grant.origin)
            try:
                made.validate()
            except InvalidPermissionError as problem:
                if not droppable:
                    raise TemplateError(f"generated invalid subject: {problem}") from None
            else:
                expanded.append(made)
    return tuple(expanded)


def _combinations(
    grant: Grant, facts: TemplateFacts, room: int, *, droppable: bool
) -> Iterator[tuple[str, str | None]]:
    text = grant.subject if grant.queue is None else f"{grant.subject}\n{grant.queue}"
    values = [_values(call, facts) for call in _FUNCTION.findall(text)]
    if not all(values):
        if droppable:
            return
        raise TemplateError(f"generated no subject for {grant}: no such tag")
    if math.prod(len(found) for found in values) > room:
        raise TemplateError(f"generated more than {MAXIMUM_SUBJECTS} subjects")
    literals = _FUNCTION.split(text)[::2]
    for chosen in itertools.product(*values):
        if any("\n" in value for value in chosen):
            raise TemplateError("a value holds a line feed")
        made = literals[0] + "".join(value + literal for value, literal in zip(chosen, literals[1:], strict=True))
        subject, separator, queue = made.partition("\n")
        yield subject, queue if separator else None


_SIMPLE: Final[dict[str, Callable[[TemplateFacts], str]]] = {
    "name()": lambda facts: facts.name,
    "subject()": lambda facts: facts.subject,
    "account-name()": lambda facts: facts.account_name,
    "account-subject()": lambda facts: facts.account_subject,
}


def _values(call: str, facts: TemplateFacts) -> Sequence[str]:
    """What a function stands for; nothing for a tag that is not there. Raises TemplateError for no function."""
    call = call.strip()
    simple = _SIMPLE.get(call.lower())
    if simple is not None:
        return (simple(facts),)
    for opening, tags in (("tag(", facts.tags), ("account-tag(", facts.account_tags)):
        if call.lower().startswith(opening) and call.endswith(")"):
            if not call.startswith(opening):
                # Only the lower-case spelling of the function ever finds a tag.
                return ()
            key = call[len(opening) : -1] + ":"
            return tuple(tag.removeprefix(key) for tag in tags if tag.startswith(key))
    raise TemplateError(f"template operation in {call!r} is not defined")
