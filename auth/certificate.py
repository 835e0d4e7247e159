"""From what is certain of a client to a user name (``verify_and_map``): a verified certificate, or a local process.

The names that a certificate holds are tried in this order: e-mail addresses, DNS names, URIs, then the subject as a
distinguished name (RFC 4514), first in the written order, then in any order. A subject matches as a whole only.

A process at the other end of a Unix socket is ``unix:uid=1000`` by the number of its user, and ``unix:user=alice`` by
the name. These names are nobody else's: no certificate holds them, whatever stands in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from auth.evidence import CertificateFacts, LocalPeer

Rdn = tuple[tuple[str, str], ...]

LOCAL: Final = "unix:"
"""How the names of local processes begin."""
_UID: Final = re.compile(r"uid=(0|[1-9][0-9]{0,9})")
_SYSTEM_USER: Final = re.compile(r"user=(\S+)")
_NO_UID: Final = 2**32 - 1
_ATTRIBUTE: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)\s*=")
_PLAIN_ATTRIBUTES: Final = ("SERIALNUMBER", "CN", "POSTALCODE", "STREET", "ST", "L", "OU", "O", "C")
_ESCAPED: Final = frozenset(',+"\\<>;# =')


def find_user(facts: CertificateFacts, names: Collection[str], is_allowed: Callable[[str], bool]) -> str | None:
    """The first of the configured names that the certificate proves and that may connect, or None."""
    for candidate in (*facts.emails, *facts.dns_names, *facts.uris):
        if candidate in names and not candidate.startswith(LOCAL) and is_allowed(candidate):
            return candidate
    if not facts.subject:
        return None
    written = {name: parsed for name in names if (parsed := parse_dn(name)) is not None and is_allowed(name)}
    ldap_order = tuple(reversed(facts.subject))
    for name, parsed in written.items():
        if _sorted(parsed) == _sorted(ldap_order):
            return name
    for name, parsed in written.items():
        if Counter(_sorted(parsed)) == Counter(_sorted(facts.subject)):
            return name
    for candidate in _subject_texts(facts.subject):
        if candidate in names and is_allowed(candidate):
            return candidate
    return None


def find_local_user(
    peer: LocalPeer,
    system_users: Mapping[int, Collection[str]],
    names: Collection[str],
    is_allowed: Callable[[str], bool],
) -> str | None:
    """The first of the configured names that a local process is known by and that may connect, or None.

    ``system_users`` are names of system users by their numbers.
    """
    known = (f"{LOCAL}user={name}" for name in system_users.get(peer.uid, ()))
    for candidate in (f"{LOCAL}uid={peer.uid}", *known):
        if candidate in names and is_allowed(candidate):
            return candidate
    return None


def parse_local(name: str) -> int | str:
    """The number or the name of the system user that a name of a local process stands for. Raises ValueError."""
    words = name.removeprefix(LOCAL)
    if (number := _UID.fullmatch(words)) and int(number[1]) < _NO_UID:
        return int(number[1])
    if named := _SYSTEM_USER.fullmatch(words):
        return named[1]
    raise ValueError(f"{name} is neither {LOCAL}uid= and a number nor {LOCAL}user= and the name of a system user")


def parse_dn(text: str) -> tuple[Rdn, ...] | None:
    """The relative distinguished names of a text by RFC 4514, or None when it is none."""
    rdns: list[Rdn] = []
    pairs: list[tuple[str, str]] = []
    position = 0
    while True:
        attribute = _ATTRIBUTE.match(text, position)
        if attribute is None:
            return None
        value, position = _value(text, attribute.end())
        if value is None:
            return None
        pairs.append((attribute[1].upper(), value))
        separator = text[position : position + 1]
        position += 1
        if separator != "+":
            rdns.append(tuple(pairs))
            pairs = []
        if not separator:
            return tuple(rdns)


def _value(text: str, position: int) -> tuple[str | None, int]:
    """The value that starts at a position, unescaped, and where it ends."""
    raw = bytearray()
    kept = 0
    while position < len(text) and text[position] == " ":
        position += 1
    while position < len(text) and text[position] not in ",+;":
        character = text[position]
        if character == "\\":
            following = text[position + 1 : position + 2]
            if following and following in _ESCAPED:
                raw += following.encode()
                position += 2
            elif re.fullmatch(r"[0-9A-Fa-f]{2}", text[position + 1 : position + 3]):
                raw.append(int(text[position + 1 : position + 3], 16))
                position += 3
            else:
                return None, position
            kept = len(raw)
        elif character in '"<>':
            return None, position
        else:
            raw += character.encode("utf-8", "surrogatepass")
            position += 1
            if character != " ":
                kept = len(raw)
    try:
        return bytes(raw[:kept]).decode("utf-8"), position
    except UnicodeDecodeError:
        return None, position


def _sorted(rdns: tuple[Rdn, ...]) -> tuple[Rdn, ...]:
    return tuple(tuple(sorted(rdn)) for rdn in rdns)


def _subject_texts(subject: tuple[Rdn, ...]) -> Iterator[str]:
    """The subject as Go writes it: known attributes in a fixed order, with and without domain components."""
    values: dict[str, list[str]] = {}
    for rdn in subject:
        for attribute, value in rdn:
            values.setdefault(attribute, []).append(value)
    parts = [
        "+".join(f"{attribute}={_escape(value)}" for value in values[attribute])
        for attribute in _PLAIN_ATTRIBUTES
        if attribute in values
    ]
    domains = [f"DC={_escape(value)}" for value in reversed(values.get("DC", []))]
    if domains:
        yield ",".join((*parts, *domains))
    yield ",".join(parts)


def _escape(value: str) -> str:
    escaped = "".join(f"\\{character}" if character in ',+"\\<>;' else character for character in value)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if escaped.endswith(" ") and len(escaped) > 1 else escaped
