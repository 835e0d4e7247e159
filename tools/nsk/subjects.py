"""Subjects as people type them: what cannot be one is refused, and what a shell may have taken out of it is named.

Outside single quotes a shell puts a variable's value, which is mostly nothing, in place of ``$SYS`` or ``$1``; make takes
``$S`` out of ``$SYS``. What is left of such a subject has an empty token, or begins like a subject of the system without
being one. Nothing is ever put back: only whoever typed it knows what it was.
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


def refuse_unless_subject(subject: str) -> None:
    """Refuse what cannot be a subject, whatever its wildcards. Raises NskError, which tells what the shell may have done."""
    for issue in subject_issues(subject):
        raise NskError(issue.description + shell_hint(subject))


def subject_given(flags: Flags, name: str) -> str:
    """The subject of a flag, empty when the flag was not given. Raises NskError for what cannot be a subject."""
    subject = flags.text(name)
    if subject or flags.given(name):
        refuse_unless_subject(subject)
    return subject


def required(flags: Flags, name: str, error: str) -> None:
    """Refuse the absence of a flag with that error, usage text included, and tell of the shell if it was given as nothing.

    Raises NskError.
    """
    if not flags.text(name):
        raise NskError(error + (shell_hint("") if flags.given(name) else ""), show_usage=True)


def shell_hint(subject: str) -> str:
    """What to append to an error about a subject that has an empty token, and nothing for one that has none."""
    tokens = subject.split(".")
    if "" not in tokens:
        return ""
    if tokens[0]:
        example = ".".join(token or "$1" for token in tokens)
    elif len(tokens) > 1:
        example = _FAMILIES.get(tokens[1], "$NAME") + subject
    else:
        example = "$SYS.>"
    return f" - the shell replaces $ and the word behind it except in single quotes, so write '{example}' if that was meant"


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
