"""A credentials file that others may have: whose it is, what its holder could do, and what servers tell that it did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from accounts.explain import Who, links_of
from accounts.flow import Requested, Stage, State, Streamed, World, anything, spread
from accounts.limits import UNLIMITED, effective_payload, effective_subscriptions
from accounts.policy import BUILT_IN, Rule
from accounts.subject import contains
from auth.claims import UserClaims
from auth.claims.account import ALL_USERS
from auth.creds import CredsError, parse_creds, parse_decorated_jwt
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyPair, NKeyError
from tools.nsk.errors import NskError, StoreError
from tools.nsk.live import Connected, Servers
from tools.nsk.scene import RefusedError, Scene
from tools.nsk.store import Store

_EVERYTHING: Final = ">"
_LINE: Final = re.compile(r"\[\d+\] (?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?) \[(?P<level>\w+)\] (?P<text>.*)")
_ADDRESS: Final = re.compile(r"(?P<address>\S+:\d+|unix:\S+) - cid:\d+")
_REFUSED: Final = " - denial "
_TOLD: Final = ("cid", "program", "method", "action", "target", "denial", "reason")
"""What is told of an entry of a ledger, beside its time, its kind and the client's address."""
_LOGIN: Final = "authentication error"


class Standing(StrEnum):
    """What a file is to an operator."""

    STORED = "stored"
    """Of a user of the store."""
    ISSUED = "issued"
    """Signed by a key of an account of the store for a user that the store does not have."""
    UNTRUSTED = "untrusted"
    """For an account of the store, signed by a key that is not, or no longer, one of its keys: servers refuse it."""
    FOREIGN = "foreign"
    """Of nobody here."""


@dataclass(frozen=True, slots=True)
class Leak:
    """What a file says. The seed is not kept: whether the file holds it is all that counts."""

    token: str = field(repr=False)
    claims: UserClaims
    standing: Standing
    account: str = ""
    """The store's name of the account, empty for one that it does not have."""
    user: str = ""
    """The store's name of the user."""
    holds_key: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether the operator's servers may let its holder in."""
        return self.standing in (Standing.STORED, Standing.ISSUED)


@dataclass(frozen=True, slots=True)
class Reach:
    """Subjects of another account that a user reaches, and the export and import on the way."""

    account: str
    subject: str
    """In the user's own account: what it publishes, or subscribes to."""
    there: str
    """In the other account."""
    way: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the holder of a file could do. ``refusal`` says why no server admits it now; then the rest is empty."""

    refusal: str = ""
    expires_at: int = 0
    is_admin: bool = False
    """Whether it is a user of the system account, who sees every account and ends connections."""
    publish: tuple[str, ...] = ()
    """What it may publish to; empty for nothing."""
    publish_except: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    subscribe_except: tuple[str, ...] = ()
    answers: bool = False
    """Whether it may answer requests on other subjects."""
    limits: tuple[str, ...] = ()
    sends_to: tuple[Reach, ...] = ()
    hears_from: tuple[Reach, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a log, or entry of a ledger, that is about the user."""

    time: str
    address: str
    text: str
    is_refusal: bool


def read_leak(store: Store, text: str) -> Leak:
    """Whose a credentials file is. Raises NskError for what holds no user's JWT.

    The text of an error never holds a seed or a JWT.
    """
    holds_key = False
    try:
        token, seed = parse_creds(text)
        claims = UserClaims.from_token(token)
        holds_key = KeyPair.from_seed(seed).public == claims.subject
    except (CredsError, NKeyError):
        token = parse_decorated_jwt(text)
        claims = _user_of(token)
    except JwtError as problem:
        raise NskError(f"the file holds no JWT of a user: {problem}") from None
    account = store.account_with_key(claims.issuer_account)
    if account is None:
        return Leak(token, claims, Standing.FOREIGN, holds_key=holds_key)
    user = _stored_user(store, account, claims.subject)
    if not store.account(account).did_sign(claims):
        standing = Standing.UNTRUSTED
    else:
        standing = Standing.STORED if user else Standing.ISSUED
    return Leak(token, claims, standing, account, user, holds_key)


def _stored_user(store: Store, account: str, public: str) -> str:
    """The store's name of a user. Another user whose JWT cannot be read must not hold up a revocation."""
    for name in store.users(account):
        with suppress(StoreError):
            if store.user(account, name).subject == public:
                return name
    return ""


def _user_of(token: str) -> UserClaims:
    try:
        return UserClaims.from_token(token)
    except JwtError:
        raise NskError("the file is no credentials file: it holds no JWT of a user") from None


# What it could do.


def abilities(leak: Leak, scene: Scene) -> Abilities:
    """What the holder of a file of ours could do, by the tables that servers enforce. Raises TooManyWaysError."""
    end = leak.claims.expires_at
    try:
        who = scene.user_of_token(leak.token)
    except RefusedError as problem:
        return Abilities(refusal=str(problem), expires_at=end)
    table = who.policy
    publish = _granted(table.publish_allow, closed=table.publish_is_closed)
    subscribe = _granted(table.subscribe_allow)
    return Abilities(
        expires_at=end,
        is_admin=who.account.is_system,
        publish=publish,
        publish_except=_entries(rule for rule in table.publish_deny if rule.origin != BUILT_IN),
        subscribe=subscribe,
        subscribe_except=_entries(table.subscribe_deny),
        answers=table.responses is not None,
        limits=tuple(_limits(leak, who)),
        sends_to=tuple(_sends_to(scene.world, who, publish)),
        hears_from=tuple(_hears_from(scene.world, who, subscribe)),
    )


def _granted(rules: Iterable[Rule], *, closed: bool = False) -> tuple[str, ...]:
    """What allow rules grant: everything where there is none."""
    return _entries(rules) or (() if closed else (_EVERYTHING,))


def _entries(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(rule.subject if rule.queue is None else f"{rule.subject} {rule.queue}" for rule in rules)


def _limits(leak: Leak, who: Who) -> Iterator[str]:
    subscriptions = effective_subscriptions(UNLIMITED, who.account.limits, who.limits)
    payload = effective_payload(UNLIMITED, who.account.limits, who.limits)
    if subscriptions != UNLIMITED:
        yield f"{subscriptions} subscriptions of a connection"
    if payload != UNLIMITED:
        yield f"messages of {payload} bytes"
    data = leak.claims.nats
    if data.source_networks:
        yield f"from {', '.join(data.source_networks)} only"
    if data.times:
        yield f"at times of day only ({', '.join(f'{span.start}-{span.end}' for span in data.times)})"
    if data.allowed_connection_types:
        yield f"as {', '.join(data.allowed_connection_types)} only"
    if not leak.holds_key and not data.bearer_token:
        yield "not at all with this file alone, since the private key is not in it"


def _sends_to(world: World, who: Who, granted: Iterable[str]) -> Iterator[Reach]:
    """Other accounts whose subscribers what the user publishes can come to."""
    own = who.account.name
    seen: set[tuple[str, str, str]] = set()
    for pattern in granted:
        # Permissions are about what mappings have made already.
        first = State(own, Stage.DELIVERED, anything(), anything()).matched(pattern)
        for state in spread(world, own, first.term, stage=Stage.DELIVERED) if first is not None else ():
            origin, there = state.origin.pattern, state.term.pattern
            denied = any(contains(rule.subject, origin) for rule in who.policy.publish_deny)
            if state.account == own or denied or not _is_declared(world, state):
                continue
            if (state.account, origin, there) not in seen:
                seen.add((state.account, origin, there))
                yield _reach(world, state, origin, there, state.account)


def _hears_from(world: World, who: Who, granted: Iterable[str]) -> Iterator[Reach]:
    """Other accounts whose messages can come to subscriptions of the user."""
    own = who.account.name
    seen: set[tuple[str, str, str]] = set()
    for name in world.accounts:
        if name == own:
            continue
        for state in spread(world, name, anything()):
            if state.account != own or not _is_declared(world, state):
                continue
            for pattern in granted:
                part = state.matched(pattern.partition(" ")[0])
                if part is None or not part.is_possible:
                    continue
                here, there = part.term.pattern, part.origin.pattern
                denied = any(rule.queue is None and contains(rule.subject, here) for rule in who.policy.subscribe_deny)
                if not denied and (name, here, there) not in seen:
                    seen.add((name, here, there))
                    yield _reach(world, part, here, there, name)


def _is_declared(world: World, state: State) -> bool:
    """Whether a way goes by imports that accounts declare, and by none that each has of the system account."""
    links = (step.link for step in state.path if isinstance(step, Streamed | Requested))
    return all(link.imported in world.accounts[link.importer].imports for link in links)


def _reach(world: World, state: State, here: str, there: str, account: str) -> Reach:
    way = tuple(f"{link.what} {link.text}" for link in links_of(world, state.path))
    return Reach(world.label(account), here, there, way)


# What it did.


def traces(lines: Iterable[str], public: str) -> Iterator[Trace]:
    """The lines of a server's log, in either format, that are about a user's connections and attempts to connect."""
    for line in lines:
        if public not in line:
            continue
        if line.startswith("{"):
            found = _structured(line, public)
            if found is not None:
                yield found
            continue
        parts = _LINE.match(line)
        text = parts["text"] if parts else line.rstrip("\n")
        if f'/jwt:{public}" - ' not in text and not _is_refused_login(text, public):
            continue
        address = _ADDRESS.search(text)
        yield Trace(parts["time"] if parts else "", address["address"] if address else "", text, _REFUSED in text)


def ledger_traces(entries: Iterable[Mapping[str, object]], public: str) -> Iterator[Trace]:
    """The entries of a server's audit ledger that are about a user: what it did, was refused, and had done to it."""
    for entry in entries:
        if not any(str(entry.get(name, "")).endswith(public) for name in ("user", "target", "reason")):
            continue
        shown = (f"{name}={value}" for name, value in entry.items() if name in _TOLD)
        text = " ".join((str(entry.get("event", "")), *shown))
        yield Trace(
            str(entry.get("time", "")), str(entry.get("address", "")), text, is_refusal=entry.get("event") == "denied"
        )


def _is_refused_login(text: str, public: str) -> bool:
    """Whether a line says that somebody came with a JWT of the user and was not let in."""
    return _LOGIN in text and text.endswith(f": {public}")


def _structured(line: str, public: str) -> Trace | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    text = str(fields.get("message", ""))
    if fields.get("user") != f"jwt:{public}" and not _is_refused_login(text, public):
        return None
    return Trace(str(fields.get("time", "")), str(fields.get("address", "")), text, bool(fields.get("denial")))


def connections(store: Store, leak: Leak, servers: Servers, *, ended: bool = False) -> list[Connected]:
    """Who is connected with the key of the file now, or was as far back as servers remember. Raises NskError."""
    account = store.account(leak.account).subject
    found = servers.connections(account, subscriptions=not ended, ended=ended)
    return [one for one in found if one.user == leak.claims.subject]


# What is done about it.


@dataclass(slots=True)
class Containment:
    """What was done about a leak. Each of the problems is something that is still to be done."""

    revoked_until: int = 0
    """Whatever was issued to the key until then (Unix seconds) is refused; 0 where nothing was revoked."""
    was_revoked: bool = False
    """Whether the account said so before."""
    pushed: bool = False
    disconnected: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def revoke(store: Store, leak: Leak, until: int, done: Containment) -> None:
    """Have the account refuse what its user was issued until a moment. Raises StoreError."""
    claims = store.account(leak.account)
    moments = [claims.nats.revocations.get(key, -1) for key in (leak.claims.subject, ALL_USERS)]
    done.revoked_until, done.was_revoked = max(until, *moments), max(moments) >= until
    if not done.was_revoked:
        claims.revoke(leak.claims.subject, until)
        store.sign_account(claims)


def push(store: Store, leak: Leak, servers: Servers, done: Containment) -> None:
    """Tell servers of the revocation, and end what is connected nevertheless. Raises NskError."""
    claims = store.account(leak.account)
    before = connections(store, leak, servers)
    problems = servers.push({claims.subject: store.account_token(leak.account)})
    done.pushed = not problems
    done.problems += [f"account {quote(leak.account)} is not everywhere: {problem}" for problem in problems.values()]
    # Servers that took the revocation have ended these themselves, apart from those with a newer JWT.
    left = [one for one in connections(store, leak, servers) if not _is_newer(one, done.revoked_until)]
    done.problems += servers.kick(left)
    after = {(one.server_id, one.cid) for one in connections(store, leak, servers)}
    done.disconnected = [_words(one) for one in before if (one.server_id, one.cid) not in after]
    done.problems += [f"still connected: {_words(one)}" for one in left if (one.server_id, one.cid) in after]


def _is_newer(one: Connected, moment: int) -> bool:
    try:
        return bool(one.token) and UserClaims.from_token(one.token).issued_at > moment
    except JwtError:
        return False


def _words(one: Connected) -> str:
    return f"{one.name or 'a client'} at {one.address} (cid {one.cid} on {one.server})"


def remove(store: Store, leak: Leak, done: Containment, *, key: bool, creds: bool) -> None:
    """Remove the private key and the creds file from the keystore."""
    if key and store.keystore.remove_key(leak.claims.subject):
        done.removed.append(f"private key of {leak.claims.subject}")
    if creds and leak.user and store.keystore.remove_creds(store.name, leak.account, leak.user):
        done.removed.append(f"creds file of user {quote(leak.user)}")
