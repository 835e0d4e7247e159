"""Subjects as people type them: what cannot be one is refused, and what a shell may have taken out of it is named.

Outside single quotes a shell puts a variable's value, mostly nothing, in place of ``$SYS`` or ``$1``; make takes ``$S``
out of ``$SYS``. What is left of such a subject has an empty token, or begins like one of the system without being one.
Nothing is ever put back: only whoever typed it knows what it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from auth.claims.base import subject_issues
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags
from tools.nsk.report import Report

_SYSTEM: Final = ("REQ", "ACCOUNT", "SERVER", "LATENCY")
_JETSTREAM: Final = ("API", "ACK", "FC", "EVENT", "ADVISORY")
_FAMILIES: Final = {**dict.fromkeys(_SYSTEM, "$SYS"), **dict.fromkeys(_JETSTREAM, "$JS")}
"""The families of subjects by the tokens that come second in them."""

_REMAINS: Final = {"SYS": "$SYS", "YS": "$SYS", "JS": "$JS", "S": "$JS"}
"""What is left of the first token when its ``$`` is lost, or the letter behind it as well."""


def refuse_unless_subject(subject: str, *, renames: bool = False) -> None:
    """Refuse what cannot be a subject, whatever its wildcards.

    One that ``renames`` may refer to wildcards of another, such as ``$1``. Raises NskError, which tells of the shell.
    """
    for issue in subject_issues(subject):
        raise NskError(issue.description + shell_hint(subject, renames=renames))


def required(flags: Flags, name: str, error: str, *, show_usage: bool = True) -> None:
    """Refuse the absence of a flag with that error, and tell of the shell if it was given as nothing.

    Raises NskError.
    """
    if not flags.text(name):
        raise NskError(error + (shell_hint("") if flags.given(name) else ""), show_usage=show_usage)


def shell_hint(subject: str, *, renames: bool = False) -> str:
    """What to append to an error about a subject out of which the shell may have taken something, else nothing."""
    first, *rest = subject.split(".")
    if not first:
        family = _FAMILIES.get(rest[0], "$NAME") if rest else "$SYS.>"
        example = family + subject
    elif renames and "" in rest:
        example = ".".join(token or "$1" for token in (first, *rest))
    else:
        return ""
    return f" - the shell replaces $ and the word behind it outside single quotes: write '{example}' if that was meant"


def warn_of_lost_dollars(report: Report, subjects: Iterable[str]) -> None:
    """Tell of subjects that look like those of the system but for a ``$``."""
    for subject in dict.fromkeys(subjects):
        first, _, rest = subject.partition(".")
        family = _REMAINS.get(first)
        if family and _FAMILIES.get(rest.partition(".")[0]) == family:
            report.warn(
                f'subject "{subject}" is none of the system\'s, which begin with {family}: if the shell took the $, '
                f"write '{family}.{rest}' in single quotes"
            )
