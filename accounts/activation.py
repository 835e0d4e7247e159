"""Activations: what an exporting account has signed to let one other account import from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accounts.subject import contains

if TYPE_CHECKING:
    from accounts.account import Account
    from accounts.imports import Import

ALL_ACCOUNTS: Final = "*"
"""The key in the revocations of an export that stands for every account."""


@dataclass(frozen=True, slots=True)
class Activation:
    """The facts of an activation token whose own signature was verified; whom its signer may speak for is not.

    ``kind`` is ``stream`` or ``service``, ``subject`` what is granted, ``importer`` the account it is granted to.
    ``issuer`` is the key that signed, ``issuer_account`` the account that a signing key signed for. ``issued_at`` is a
    Unix second, 0 where the token has none; so are ``expires_at`` and ``not_before``, None where nothing limits.
    """

    kind: str
    subject: str
    importer: str
    issuer: str
    issuer_account: str = ""
    issued_at: int = 0
    expires_at: int | None = None
    not_before: int | None = None
    token_id: str = ""

    def flaw(self, exporter: Account, importer: str, found: Import, revocations: Mapping[str, int]) -> str | None:
        """Why it does not let ``importer`` make that import from ``exporter`` at any time; None where it does.

        A key whose scope says what its users may do says nothing of other accounts, so a scoped signing key activates
        nothing. Source of the rules: NATS ADR-14; the times are left to the caller.
        """
        if self.issuer_account not in ("", exporter.name):
            return f"its activation speaks for another account, {self.issuer_account}"
        if self.issuer != exporter.name:
            if self.issuer not in exporter.signing_keys:
                return f"its activation is signed by {self.issuer}, which is no key of {exporter.label}"
            if exporter.signing_keys[self.issuer] is not None:
                return f"its activation is signed by {self.issuer}, a scoped signing key of {exporter.label}"
            if not self.issuer_account:
                return f"its activation is signed by {self.issuer} and does not say for which account"
        if self.importer != importer:
            return f"its activation was made for another account, {self.importer}"
        if self.kind != found.kind:
            return f"its activation is for a {self.kind}"
        if not contains(self.subject, found.subject):
            return f"its activation covers {self.subject}"
        for key in (importer, ALL_ACCOUNTS):
            if key in revocations and self.issued_at <= revocations[key]:
                return "its activation is revoked"
        return None
