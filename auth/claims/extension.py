"""What natskeep adds to claims, under the vendor's own name ``natskeep`` in their ``nats`` section.

Readers that do not know the field pass it over. Rates are per second; -1, and an absent one, is unlimited.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from auth.claims.base import UNLIMITED, Int64, Issue, error


class RateExtension(msgspec.Struct, omit_defaults=True, kw_only=True):
    """How much may be published in a second: messages, and bytes of headers and payloads."""

    message_rate: Int64 = UNLIMITED
    byte_rate: Int64 = UNLIMITED

    def issues(self) -> Iterator[Issue]:
        """Findings about the rates."""
        for name, rate in (("message_rate", self.message_rate), ("byte_rate", self.byte_rate)):
            if rate != UNLIMITED and rate < 1:
                yield error(f"natskeep {name} must be 1 or more, or -1 for unlimited, not {rate}")


class UserExtension(RateExtension, omit_defaults=True, kw_only=True):
    """Rates of one user, all its connections together, and the grants that some of its permissions came from.

    Only the permissions count; the grants name them for whoever reads.
    """

    grants: list[str] = msgspec.field(default_factory=list)


class AccountExtension(RateExtension, omit_defaults=True, kw_only=True):
    """Rates of one account, all its users together, and whether messages tell who sent them."""

    sender_identity: bool = False
