"""Template functions in the permissions of scoped signing keys, expanded for one user.

``{{name()}}``, ``{{subject()}}``, ``{{account-name()}}``, ``{{account-subject()}}``, ``{{tag(x)}}`` and
``{{account-tag(x)}}``. A tag with several values makes several subjects, of all combinations. What cannot be
expanded fails closed: an allow entry is dropped, a deny entry refuses the user, and an allow list that loses its last
entry denies everything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from accounts.permissions import Grant, InvalidPermissionError, Permissions, SubjectRules

MAXIMUM_SUBJECTS: Final = 4096
"""Subjects that one list may expand to."""

_OPEN: Final = "{{"
_CLOSE: Final = "}}"


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
    literals, calls = _parse(entry)
    if sum(literal.count(" ") for literal in literals) != 1:
        return entry, None
    at = next(index for index, literal in enumerate(literals) if " " in literal)
    before, after = literals[at].split(" ")
    subject = _join([*literals[:at], before], calls[:at])
    queue = _join([after, *literals[at + 1 :]], calls[at:])
    return (subject, queue) if subject and queue else (entry, None)


def _parse(text: str) -> tuple[list[str], list[str]]:
    """The literal texts around the function calls, always one more than calls, and the calls.

    Braces that are not closed, or hold nothing, are literal. Linear in the length of the text.
    """
    literals, calls, position = [], [], 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start + len(_OPEN) + 1)
        if end < 0:
            break
        literals.append(text[position:start])
        calls.append(text[start + len(_OPEN) : end])
        position = end + len(_CLOSE)
    literals.append(text[position:])
    return literals, calls


def _join(literals: list[str], calls: list[str]) -> str:
    return _fill(literals, [f"{_OPEN}{call}{_CLOSE}" for call in calls])


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
    room = MAXIMUM_SUBJECTS
    for grant in grants:
        made = _expand_grant(grant, facts, room, droppable=droppable)
        if made != [grant]:
            room -= len(made)
        for candidate in made:
            try:
                candidate.validate()
            except InvalidPermissionError as problem:
                if not droppable:
                    raise TemplateError(f"generated invalid subject: {problem}") from None
            else:
                expanded.append(candidate)
    return tuple(expanded)


def _expand_grant(grant: Grant, facts: TemplateFacts, room: int, *, droppable: bool) -> list[Grant]:
    """All combinations of what the functions of one entry stand for."""
    subject_literals, subject_calls = _parse(grant.subject)
    queue_literals, queue_calls = _parse(grant.queue or "")
    values = [_values(call, facts) for call in (*subject_calls, *queue_calls)]
    if not values:
        return [grant]
    if not all(values):
        if droppable:
            return []
        raise TemplateError(f"generated no subject for {grant}: no such tag")
    if math.prod(len(found) for found in values) > room:
        raise TemplateError(f"generated more than {MAXIMUM_SUBJECTS} subjects")
    made = []
    for chosen in itertools.product(*values):
        subject = _fill(subject_literals, chosen[: len(subject_calls)])
        queue = None if grant.queue is None else _fill(queue_literals, chosen[len(subject_calls) :])
        made.append(Grant(subject, queue, grant.origin))
    return made


def _fill(literals: list[str], values: Sequence[str]) -> str:
    return literals[0] + "".join(value + literal for value, literal in zip(values, literals[1:], strict=True))


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
            key = call[len(opening) : -1].lower() + ":"
            return tuple(tag.removeprefix(key) for tag in tags if tag.startswith(key))
    raise TemplateError(f"template operation in {call!r} is not defined")
