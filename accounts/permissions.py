"""What a user may say and hear: allow and deny lists, queue forms, and permission to answer.

These are the claims as an operator wrote them. ``accounts.compile`` turns them into a ``PolicyTable``, which decides.
Source of the rules: the NATS documentation on authorization, NATS ADR-14 and ADR-15 for the claims.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from accounts import subject as subjects

DEFAULT_RESPONSES = 1
"""How many responses one request permits when the setting names no number."""

DEFAULT_RESPONSE_SECONDS = 120.0
"""How long a response is permitted, in seconds, when the setting names no time."""

_SUBJECT_AND_QUEUE = re.compile(r"([^ \t\r\n]++)[ \t\r\n]++([^ \t\r\n]++)")


class InvalidPermissionError(ValueError):
    """A permission that cannot be read. ``origin`` names the place it was written at, and may be empty."""

    def __init__(self, message: str, origin: str = "") -> None:
        super().__init__(message)
        self.origin = origin


@dataclass(frozen=True, slots=True)
class Grant:
    """One entry of an allow or deny list.

    ``subject`` is a pattern, in the raw template of a scoped signing key still with its ``{{functions}}``; ``queue`` a
    name or pattern of queue groups, for subscriptions only; ``origin`` the place that wrote it: a claim, or
    ``file:line``.
    """

    subject: str
    queue: str | None = None
    origin: str = ""

    def validate(self) -> None:
        """Raise ``InvalidPermissionError`` unless subject and queue are valid."""
        if not subjects.is_valid(self.subject):
            raise InvalidPermissionError(f"subject {quoted(self.subject)} is not a valid subject", self.origin)
        if self.queue is not None and not subjects.is_valid(self.queue):
            raise InvalidPermissionError(f"queue {quoted(self.queue)} is not a valid queue", self.origin)

    def __str__(self) -> str:
        return self.subject if self.queue is None else f"{self.subject} {self.queue}"


@dataclass(frozen=True, slots=True)
class SubjectRules:
    """The allow and deny list of one direction; an empty allow list allows everything that is not denied."""

    allow: tuple[Grant, ...] = ()
    deny: tuple[Grant, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the lists restrict nothing."""
        return not self.allow and not self.deny

    def and_allow(self, more: SubjectRules) -> SubjectRules:
        """These lists with the allows of others besides."""
        known = {(grant.subject, grant.queue) for grant in self.allow}
        return replace(self, allow=(*self.allow, *(one for one in more.allow if (one.subject, one.queue) not in known)))


@dataclass(frozen=True, slots=True)
class ResponsePermission:
    """Permission to publish to the reply subject of each message that was delivered.

    ``max_messages`` responses within ``expires`` seconds of the delivery. Zero takes the default of the setting (1
    message, 120 seconds), a negative number means without limit.
    """

    max_messages: int = DEFAULT_RESPONSES
    expires: float = DEFAULT_RESPONSE_SECONDS

    def __post_init__(self) -> None:
        if self.max_messages == 0:
            object.__setattr__(self, "max_messages", DEFAULT_RESPONSES)
        if self.expires == 0:
            object.__setattr__(self, "expires", DEFAULT_RESPONSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Permissions:
    """All permissions of a user, or the defaults of an account."""

    publish: SubjectRules = SubjectRules()
    subscribe: SubjectRules = SubjectRules()
    responses: ResponsePermission | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is restricted. In a user JWT such permissions do not count as the user's own."""
        return self.publish.is_empty and self.subscribe.is_empty and self.responses is None

    def and_allow(self, more: Permissions) -> Permissions:
        """These permissions with the allows of others besides. An entry that is there already keeps its origin."""
        publish, subscribe = self.publish.and_allow(more.publish), self.subscribe.and_allow(more.subscribe)
        return replace(self, publish=publish, subscribe=subscribe)

    def validate(self) -> None:
        """Raise ``InvalidPermissionError`` at the first unusable entry; a queue in a publish list is one."""
        for grant in (*self.publish.allow, *self.publish.deny):
            if grant.queue is not None:
                raise InvalidPermissionError(f"subject {quoted(str(grant))} is not a valid subject", grant.origin)
            grant.validate()
        for grant in (*self.subscribe.allow, *self.subscribe.deny):
            grant.validate()


def parse_grant(text: str, origin: str = "", *, queue_allowed: bool = True) -> Grant:
    """Read one entry of a permission list: ``"subject"``, or ``"subject queue"`` for subscriptions.

    Subject and queue may be apart by any run of blanks, but nothing may stand before or after them. Raises
    ``InvalidPermissionError`` that quotes what is wrong; ``origin`` goes along with it and with the grant.
    """
    pair = _SUBJECT_AND_QUEUE.fullmatch(text) if queue_allowed else None
    grant = Grant(text, None, origin) if pair is None else Grant(pair[1], pair[2], origin)
    grant.validate()
    return grant


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """Put ``text`` between double quotes and escape what cannot be printed, so that a message stays one clean line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
