"""Flags for what natskeep adds to claims. Help texts leave them out, since these are those of nsc."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from auth.claims.base import blocking
from auth.claims.extension import AccountExtension, RateExtension, UserExtension
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, number

if TYPE_CHECKING:
    from tools.nsk.report import Report

ExtensionT = TypeVar("ExtensionT", bound=RateExtension)

RATE_FLAGS = (
    number("message-rate", "set the messages that may be published in a second (-1 is unlimited)", hidden=True),
    number("byte-rate", "set the bytes that may be published in a second (-1 is unlimited)", hidden=True),
)
ACCOUNT_FLAGS = (
    *RATE_FLAGS,
    boolean("sender-identity", "", "let messages tell who sent them", hidden=True),
)


def edit_user(flags: Flags, extension: UserExtension | None, report: Report) -> UserExtension | None:
    """The extension of a user, or of a scoped signing key's template, after the flags; None where it says nothing.

    Raises NskError for a rate that cannot be.
    """
    return _told(_edit_rates(flags, extension or UserExtension(), report))


def edit_account(flags: Flags, extension: AccountExtension | None, report: Report) -> AccountExtension | None:
    """The extension of an account after the flags; None where it says nothing. Raises NskError as `edit_user` does."""
    edited = _edit_rates(flags, extension or AccountExtension(), report)
    if flags.given("sender-identity"):
        edited.sender_identity = flags.boolean("sender-identity")
        report.ok(f"changed sender identity to {str(edited.sender_identity).lower()}")
    return _told(edited)


def _edit_rates(flags: Flags, extension: ExtensionT, report: Report) -> ExtensionT:
    for flag, field in (("message-rate", "message_rate"), ("byte-rate", "byte_rate")):
        if flags.given(flag):
            setattr(extension, field, flags.number(flag))
            report.ok(f"changed {flag.replace('-', ' ')} to {flags.number(flag)}")
    issues = blocking(list(extension.issues()))
    if issues:
        raise NskError(issues[0].description)
    return extension


def _told(extension: ExtensionT) -> ExtensionT | None:
    return None if extension == type(extension)() else extension
