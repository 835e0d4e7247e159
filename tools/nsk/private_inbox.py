"""Private inboxes: a user receives replies below a subject of its own, which no other user of the account may read.

Requests name an inbox below ``_INBOX.`` for their reply, and who may subscribe to ``_INBOX.>`` reads the replies of
everyone. A user with a private inbox may subscribe below ``_INBOX_<user>.`` only; clients are told that prefix
(``inbox_prefix`` of nats-py and of a context of the nats command line tool).
"""

from __future__ import annotations

from urllib.parse import quote

from auth.claims import Permissions, UserClaims

SHARED_INBOX = "_INBOX"
_KEPT = "!\"#$&'()+,-/:;<=@[\\]^_`{|}~"
"""Characters that a token of a subject may hold beside letters and digits; the percent sign begins what may not."""


def private_prefix(user: str) -> str:
    """The inbox prefix of a user's own: one token, and another one for every other name.

    Dots, wildcards, blanks and what is not ASCII become ``%`` and two hexadecimal digits a byte. A name with a dot
    would otherwise have its inbox inside that of another user: ``a.b`` below ``a``.
    """
    return f"{SHARED_INBOX}_{quote(user, safe=_KEPT).replace('.', '%2E')}"


def grant_private_inbox(permissions: Permissions, user: str) -> list[str]:
    """Let a user subscribe to its own inbox in place of everyone's; the entries that were taken away."""
    own = f"{private_prefix(user)}.>"
    allowed = permissions.subscribe.allow
    removed = [entry for entry in allowed if _is_shared(entry)]
    permissions.subscribe.allow = sorted({*allowed, own}.difference(removed))
    return removed


def withdraw_private_inbox(permissions: Permissions, user: str) -> bool:
    """Let a user use everyone's inbox again. False when it had none of its own."""
    own = f"{private_prefix(user)}.>"
    allowed = permissions.subscribe.allow
    if own not in allowed:
        return False
    permissions.subscribe.allow = sorted({*allowed, f"{SHARED_INBOX}.>"}.difference({own}))
    return True


def _is_shared(entry: str) -> bool:
    subject = entry.partition(" ")[0]
    return subject == SHARED_INBOX or subject.startswith(f"{SHARED_INBOX}.")


def inbox_prefix(claims: UserClaims) -> str:
    """The prefix that a client of the user must be given, or nothing where the usual one does."""
    prefix = private_prefix(claims.name)
    return prefix if f"{prefix}.>" in claims.nats.subscribe.allow else ""
