"""The block ``authorization``, and what it shares with accounts: users, nkeys and permissions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from accounts.grants import InvalidGrantError, NamedGrant, parse_named_grant, permissions_of
from accounts.permissions import (
    Grant,
    InvalidPermissionError,
    Permissions,
    ResponsePermission,
    SubjectRules,
    parse_grant,
)
from auth.nkey import KeyKind, is_public_key
from broker.config.errors import ConfigError, Position, Problem
from broker.config.options import CONNECTION_TYPES, AccountOptions, AuthorizationOptions, UserOptions
from broker.config.tree import Entry, Table, Value
from broker.config.values import (
    NOWHERE,
    Key,
    Keys,
    Problems,
    boolean,
    duration_text,
    fail,
    integer,
    keys,
    late,
    name,
    positioned_strings,
    rate,
    read_block,
    string,
    table,
    timeout,
)

_LONG_TIMEOUT: Final = 60.0
"""Seconds from which an authorization timeout looks like a mistake."""


def authorization(entry: Entry, problems: Problems) -> AuthorizationOptions:
    """Reads the top-level ``authorization`` block."""
    found = table(entry)
    fields = read_block(found, AUTHORIZATION, problems)
    fields.pop(NOWHERE, None)
    options = AuthorizationOptions(**fields, declared=True)
    has_users = any(item.key.lower() == "users" and item.value.content for item in found)
    if (options.user or options.password) and options.token:
        raise fail(entry, "Cannot have a user/pass and token")
    if options.password and not options.user:
        raise fail(entry, "authorization has a password but no user; add the user, or use token")
    if options.user and has_users:
        raise fail(entry, "Can not have a single user/pass and a users array")
    if options.token and has_users:
        raise fail(entry, "Can not have a token and a users array")
    return options


def check_users(
    authorization: AuthorizationOptions, accounts: Iterable[AccountOptions], positions: dict[str, Position]
) -> list[Problem]:
    """What the two blocks must not do together: single users beside accounts, or one user twice.

    Args:
        authorization: the one block.
        accounts: the other.
        positions: where each key of the top level stands, for users without a place of their own.
    """
    problems: list[Problem] = []
    here = positions.get("accounts", positions.get("authorization"))
    if any(account.users for account in accounts):
        if authorization.user:
            problems.append(Problem("Can not have a single user/pass and accounts", here))
        if authorization.token:
            problems.append(Problem("Can not have a token and accounts", here))
    seen: set[tuple[bool, str]] = set()
    for user in (*authorization.users, *(user for account in accounts for user in account.users)):
        key = (bool(user.nkey), user.key)
        if key in seen:
            kind = "nkey" if user.nkey else "user"
            problems.append(
                Problem(f'Duplicate {kind} "{user.key}" detected; its second entry is at {user.origin}', here)
            )
        seen.add(key)
    return problems


def users(entry: Entry, problems: Problems) -> tuple[UserOptions, ...]:
    """The entries of a ``users`` list."""
    content = entry.value.content
    if not isinstance(content, list):
        raise fail(entry, f"Expected users field to be an array, got {entry.value.kind}; put it in brackets")
    found = []
    for element in content:
        try:
            found.append(_user(element, problems))
        except ConfigError as error:
            problems.errors.extend(error.problems)
    return tuple(found)


def _user(element: Value, problems: Problems) -> UserOptions:
    if not isinstance(element.content, Table):
        raise ConfigError.at(element.position, f"Expected user entry to be a map/struct, got {element.kind}")
    fields = read_block(element.content, USER, problems)
    position = next((item.position for item in element.content), element.position)
    user = UserOptions(origin=position.origin, **fields)
    if user.nkey and (user.user or user.password):
        raise ConfigError.at(position, "Nkey users do not take usernames or passwords")
    # Where the name itself was wrong, that has been said already.
    named = any(item.key.lower() in {"user", "username", "nkey"} for item in element.content)
    if not user.key and not named:
        raise ConfigError.at(position, "User entry requires a user")
    return user


def _user_nkey(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not is_public_key(text, KeyKind.USER):
        raise fail(entry, "Not a valid public nkey for a user; it begins with U")
    return text


def _connection_types(entry: Entry, _: Problems) -> frozenset[str]:
    try:
        names = [text.upper() for text, _ in positioned_strings(entry)]
    except ConfigError:
        kind = entry.value.kind
        raise fail(entry, f"error parsing allowed connection types: unsupported type, {kind}") from None
    unknown = [text for text in names if text not in CONNECTION_TYPES]
    if unknown:
        listed = " ".join(f'"{text}"' for text in unknown)
        raise fail(entry, f"invalid connection types [{listed}]; use {', '.join(sorted(CONNECTION_TYPES))}")
    return frozenset(names)


def permissions(entry: Entry, problems: Problems) -> Permissions:
    """What a user may publish, subscribe to and answer."""
    found = entry.value.content
    if not isinstance(found, Table):
        raise fail(entry, f"Expected permissions to be a map/struct, got {entry.value.kind}")
    fields = read_block(found, PERMISSIONS, problems, 'Unknown field "{}" parsing permissions')
    named: dict[NamedGrant, str] = fields.pop("grants", {})
    written = Permissions(**fields)
    # Ten thousand users have permissions, and few of them grants.
    return written.and_allow(permissions_of(list(named), list(named.values()))) if named else written


def _named_grants(entry: Entry, problems: Problems) -> dict[NamedGrant, str]:
    """Grants by name, and where each is written."""
    try:
        texts = positioned_strings(entry)
    except ConfigError:
        kind = entry.value.kind
        raise fail(entry, f'Expected grants to be a list of texts, got {kind}; write ["kv:read BUCKET"]') from None
    if not texts:
        # Permissions without an entry would permit everything.
        raise fail(entry, "grants names none; leave it out, or name what the user may do")
    found: dict[NamedGrant, str] = {}
    for text, position in texts:
        try:
            found.setdefault(parse_named_grant(text), position.origin)
        except InvalidGrantError as error:
            problems.errors.append(Problem(str(error), position))
    if found and not any(grant.publish for grant in found):
        # Who has no allow for publishing may publish everything.
        raise fail(entry, "grants gives an inbox and nothing to ask for; name what the user may do as well")
    return found


def _rules(entry: Entry, problems: Problems, *, queues: bool) -> SubjectRules:
    content = entry.value.content
    if not isinstance(content, Table):
        return SubjectRules(allow=grants(entry, problems, queues=queues))
    known = _QUEUE_RULES if queues else _PLAIN_RULES
    unknown = "Unknown field name \"{}\" parsing subject permissions, only 'allow' or 'deny' are permitted"
    return SubjectRules(**read_block(content, known, problems, unknown))


def grants(entry: Entry, problems: Problems, *, queues: bool) -> tuple[Grant, ...]:
    """One subject or a list of them; ``queues`` says whether each may name a queue group."""
    try:
        texts = positioned_strings(entry)
    except ConfigError:
        kind = entry.value.kind
        raise fail(
            entry, f"Expected subject permissions to be a subject, or array of subjects, got {kind}; quote subjects"
        ) from None
    found = []
    for text, position in texts:
        try:
            found.append(parse_grant(text, position.origin, queue_allowed=queues))
        except InvalidPermissionError as error:
            problems.errors.append(Problem(str(error), position))
    return tuple(found)


def _responses(entry: Entry, problems: Problems) -> ResponsePermission | None:
    content = entry.value.content
    if isinstance(content, bool):
        return ResponsePermission() if content else None
    if not isinstance(content, Table):
        raise fail(entry, "error parsing response permissions, expected a boolean or a map")
    return ResponsePermission(**read_block(content, RESPONSES, problems, 'Unknown field "{}" parsing permissions'))


def _expires(entry: Entry, problems: Problems) -> float:
    if not isinstance(entry.value.content, str):
        raise fail(entry, f'error parsing {entry.key}, not a duration string; write it like "2m"')
    return duration_text(entry, problems)


def authorization_timeout(entry: Entry, problems: Problems) -> float | None:
    """Seconds in which a client must say who it is; None where 0 asks for the default."""
    seconds = timeout(entry, problems, "authorization")
    if seconds > _LONG_TIMEOUT:
        problems.warn(
            entry,
            f"timeout of {entry.value.content} ({seconds:f} seconds) is high, consider keeping it under 60 seconds. "
            "possibly caused by unquoted duration; use '1m' instead of 1m, for example",
        )
    return seconds or None


RESPONSES: Final[Keys] = {
    **keys(
        "max",
        "max_msgs",
        "max_messages",
        "max_responses",
        field="max_messages",
        read=integer,
        default="1",
        doc="Answers to one message; 0 is the default, negative is unlimited.",
    ),
    **keys(
        "expires",
        "expiration",
        "ttl",
        field="expires",
        read=_expires,
        kind="duration in quotes",
        default="2 min",
        doc="How long after the message they may be sent; 0 is the default, negative is unlimited.",
    ),
}
_PLAIN_RULES: Final = {name: Key(name, partial(grants, queues=False)) for name in ("allow", "deny")}
_QUEUE_RULES: Final = {name: Key(name, partial(grants, queues=True)) for name in ("allow", "deny")}
_SUBJECT_KIND: Final = "subject, list, or map with `allow` and `deny`"
PERMISSIONS: Final[Keys] = {
    **keys(
        "publish",
        "pub",
        "import",
        field="publish",
        read=partial(_rules, queues=False),
        kind=_SUBJECT_KIND,
        default="all",
        doc="Subjects that may be published to. Deny wins.",
    ),
    **keys(
        "subscribe",
        "sub",
        "export",
        field="subscribe",
        read=partial(_rules, queues=True),
        kind=_SUBJECT_KIND,
        default="all",
        doc="Subjects that may be subscribed to; `\"subject queue\"` holds for that queue group. Deny wins.",
    ),
    **keys(
        "allow_responses",
        "publish_allow_responses",
        field="responses",
        read=_responses,
        kind="boolean, or map",
        default="`false`",
        doc="Let a client answer the messages it gets, whatever their reply subject. Without `publish` it may publish "
        "nothing else.",
    ),
    **keys(
        "grants",
        field="grants",
        read=_named_grants,
        kind="list of texts",
        doc="natskeep's own: what the user may do with streams and buckets, such as `stream:read ORDERS`; each adds "
        "allows, see [grants](grants.md).",
    ),
}
USER: Final[Keys] = {
    **keys("user", "username", field="user", read=name, doc="Name of the user."),
    **keys("pass", "password", field="password", read=string, doc="Its password, plain or a bcrypt hash."),
    **keys(
        "nkey",
        field="nkey",
        read=_user_nkey,
        kind="public nkey, `U…`",
        doc="The user's key, in place of name and password.",
    ),
    **keys(
        "permissions",
        "permission",
        "authorization",
        field="permissions",
        read=permissions,
        kind="map",
        default="the default permissions",
        doc="What the user may do.",
    ),
    **keys(
        "allowed_connection_types",
        "connection_types",
        "clients",
        field="allowed_connection_types",
        read=_connection_types,
        kind="string or list",
        default="all",
        doc="`STANDARD`, `WEBSOCKET`, `LEAFNODE`, `LEAFNODE_WS`, `MQTT`, `MQTT_WS`, `IN_PROCESS`.",
    ),
    **keys(
        "proxy_required", field="proxy_required", read=boolean, default="`false`", doc="Only through a trusted proxy."
    ),
    **keys(
        "message_rate",
        field="message_rate",
        read=rate,
        default="-1",
        doc="Messages that all connections of the user publish in a second; -1 is unlimited. Who sends more is slowed.",
    ),
    **keys(
        "byte_rate",
        field="byte_rate",
        read=rate,
        kind="bytes",
        default="-1",
        doc="Bytes of headers and payloads that they publish in a second; -1 is unlimited. Who sends more is slowed.",
    ),
}
DEFAULT_PERMISSIONS: Final = Key(
    "default_permissions", permissions, "For users that have no permissions of their own.", "map", "all"
)
AUTHORIZATION: Final[Keys] = {
    **keys("user", "username", field="user", read=name, doc="A single user; excludes `token` and `users`."),
    **keys("pass", "password", field="password", read=string, doc="Its password, plain or a bcrypt hash."),
    **keys("token", field="token", read=name, doc="A single token, plain or a bcrypt hash."),
    **keys(
        "timeout",
        field="timeout",
        read=authorization_timeout,
        kind="seconds, or a duration",
        default="2 s; with TLS one more than its `timeout`",
        doc="How long a client has to show who it is.",
    ),
    **keys("users", field="users", read=users, kind="list of maps", doc="Users of the account `$G`."),
    **dict.fromkeys(("default_permissions", "default_permission", "permissions"), DEFAULT_PERMISSIONS),
    **keys("proxy_required", field="proxy_required", read=boolean, doc="All clients must come through a proxy."),
    **keys(
        "auth_callout",
        "auth_hook",
        field="callout",
        read=late("callout_block", "read"),
        kind="map",
        doc="Asks a service about clients that are no users of the configuration; see [auth-callout](auth-callout.md).",
    ),
}
