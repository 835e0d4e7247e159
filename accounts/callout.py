"""Who answers for logins that a server cannot judge by itself (auth callout, NATS ADR-26)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REQUEST_SUBJECT: Final = "$SYS.REQ.USER.AUTH"
"""Where the service is asked, in the account that it belongs to."""

ANSWERS: Final = "$SYS._INBOX.>"
"""Where it answers."""

EVERY_ACCOUNT: Final = "*"
"""In ``allowed_accounts``: all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callout:
    """The service of an account that decides about logins.

    ``issuer`` is the public account key that its answers are about. ``users`` are the users of the service, by name or
    nkey: they never wait for it, and only they hear what it is asked. ``allowed_accounts`` are those that it may put
    users in; see `permits`. ``xkey`` is the public curve key that requests are encrypted for, empty for none.
    """

    issuer: str
    users: frozenset[str]
    allowed_accounts: frozenset[str] = frozenset()
    xkey: str = ""

    def permits(self, account: str, *, is_system: bool) -> bool:
        """Whether the service may put users in an account other than its own.

        The system account is meant only where it is named, since whoever is in it sees everything.
        """
        if account in self.allowed_accounts:
            return True
        return EVERY_ACCOUNT in self.allowed_accounts and not is_system
