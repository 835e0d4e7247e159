"""Denials in a server's log: each refusal has an id, under which its line is found again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tools.nsk.errors import NskError

_TEXT: Final = r'"((?:[^"\\]|\\.)*)"'
_PUBLISH: Final = re.compile(rf"Publish Violation - (Subject|Reply) {_TEXT}")
_SUBSCRIBE: Final = re.compile(rf"Subscription Violation - Subject {_TEXT}(?:, Queue: {_TEXT})?")
_LOGINS: Final = ("authentication error", "TLS handshake error", "client certificate revoked")
"""What lines hold that are about who may connect."""
_HANDSHAKE: Final = re.compile(r"TLS handshake error: (.*) - denial ([0-9a-f]+)$")
_WHO: Final = re.compile(r'- "([^"]*)/((?:user|nkey|jwt):[^"]*|token)" - ')
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_SHORT: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_FIRST_BYTE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Denial:
    """One refusal. ``action`` is ``publish``, ``reply``, ``subscribe`` or ``connect``, ``reason`` is the log's.

    ``account`` is the account's name for servers, and ``user`` the user's name or key; both are empty where nobody was
    known.
    """

    id: str
    action: str
    reason: str
    subject: str = ""
    queue: str | None = None
    account: str = ""
    user: str = ""


def find_denial(lines: Iterable[str], denial: str) -> Denial:
    """The refusal of that id in a log of either format. Raises NskError where there is none."""
    for line in lines:
        if denial not in line:
            continue
        message, account, user = _parts(line, denial)
        handshake = _HANDSHAKE.search(message.rstrip())
        if handshake and handshake[2] == denial:
            return Denial(denial, "connect", handshake[1])
        place = message.find(f"denial {denial}: ")
        if place < 0:
            continue
        reason = message[place:].partition(": ")[2].strip()
        if publish := _PUBLISH.search(message):
            action = "publish" if publish[1] == "Subject" else "reply"
            return Denial(denial, action, reason, _unquoted(publish[2]), None, account, user)
        if subscribe := _SUBSCRIBE.search(message):
            queue = None if subscribe[2] is None else _unquoted(subscribe[2])
            return Denial(denial, "subscribe", reason, _unquoted(subscribe[1]), queue, account, user)
        if any(words in message for words in _LOGINS):
            return Denial(denial, "connect", reason)
    raise NskError(f"the log has no denial {denial}")


def _parts(line: str, denial: str) -> tuple[str, str, str]:
    """Message, account and user of a line."""
    if line.startswith("{"):
        try:
            fields = json.loads(line)
        except ValueError:
            return "", "", ""
        if not isinstance(fields, dict) or fields.get("denial") != denial:
            return "", "", ""
        return str(fields.get("message", "")), str(fields.get("account", "")), _name(str(fields.get("user", "")))
    who = _WHO.search(line)
    if who is None:
        return line, "", ""
    # Where people call the account otherwise, that name follows a slash.
    return line, who[1].partition("/")[0], _name(who[2])


def _name(identity: str) -> str:
    return identity.partition(":")[2]


def _unquoted(text: str) -> str:
    """What was quoted, with its escapes undone."""
    return _ESCAPE.sub(_meaning, text)


def _meaning(escape: re.Match[str]) -> str:
    if escape[4]:
        return _SHORT.get(escape[4], escape[4])
    number = int(next(group for group in escape.groups() if group), 16)
    # A byte that was no UTF-8 stands for itself.
    return chr(number + 0xDC00) if escape[1] and number >= _FIRST_BYTE else chr(number)
