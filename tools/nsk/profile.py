"""Profiles: what a program needs to know about an operator, an account and a user, asked for by an ``nsc:`` URL.

    nsc://operator[/account[/user]][?names&keys&seeds&...]

Every part is a name, whatever its case, or a public key. What the query asks for is put into the profile; a prefix
(``operator``, ``account``, ``user``) names the entity, and without one it is the last of the path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_plus

import msgspec

from auth.claims import AccountClaims, Claims, OperatorClaims, UserScope
from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.store import Store

SCHEME = "nsc://"
_LEVELS = ("operator", "account", "user")


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """The parts of an ``nsc:`` URL; the query's names are in lower case."""

    operator: str
    account: str = ""
    user: str = ""
    query: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str) -> ProfileRequest:
        """Raises NskError for another scheme, and without an operator."""
        if not url.lower().startswith(SCHEME):
            raise NskError(f"error parsing {quote(url)}: invalid nsc url: expecting '{SCHEME}'")
        path, _, query = url[len(SCHEME) :].partition("?")
        parts = [unquote_plus(part) for part in path.split("/")]
        if not parts[0]:
            raise NskError(f"error parsing {quote(url)}: invalid nsc url: expecting an operator name")
        asked = {}
        for item in query.split("&"):
            name, _, value = item.partition("=")
            if name:
                asked[name.lower()] = unquote_plus(value)
        known = {"store", "keystore", *(f"{word}s" for word in _WORDS)}
        known |= {f"{level}{word}" for level in ("", *_LEVELS) for word in _WORDS}
        for name in asked:
            if name not in known:
                raise NskError(f"error parsing {quote(url)}: {quote(name)} cannot be asked for")
        operator, account, user, *_ = (*parts, "", "")
        return cls(operator, account, user, asked)

    def wants(self, level: str, word: str) -> bool:
        """Whether the query asks for the ``name``, ``key`` or ``seed`` of a level, which the path reaches."""
        path = self.path
        if level not in path:
            return False
        # Names and seeds without a prefix are those of the whole path, a key is the last one's.
        plain = word in self.query and (word != "key" or level == path[-1])
        return f"{level}{word}" in self.query or f"{word}s" in self.query or plain

    @property
    def path(self) -> tuple[str, ...]:
        """The levels that the URL names."""
        return tuple(level for level in _LEVELS if getattr(self, level))


_WORDS = ("name", "key", "seed")


class _Details(msgspec.Struct, omit_defaults=True):
    service: list[str] = msgspec.field(default_factory=list)
    name: str = ""
    seed: str = ""
    id: str = ""


class Profile(msgspec.Struct, omit_defaults=True):
    """The profile, in the form in which it is written. It holds seeds when the request asks for them."""

    user_creds: str = ""
    operator: _Details | None = None
    account: _Details | None = None
    user: _Details | None = None

    @property
    def has_seeds(self) -> bool:
        """Whether the profile is a secret."""
        return any(details is not None and details.seed for details in (self.operator, self.account, self.user))

    def __repr__(self) -> str:
        return f"Profile(user_creds={self.user_creds!r})"


def find_operator(stores: list[Store], given: str) -> Store | None:
    """The store whose operator has a name or a public key."""
    for store in stores:
        if store.name == given:
            return store
    return next((store for store in stores if given in (store.operator().name, store.operator().subject)), None)


def profile(store: Store, request: ProfileRequest) -> Profile:
    """The profile that was asked for from an operator's store. Raises StoreError and NskError."""
    claims: dict[str, Claims] = {"operator": store.operator()}
    account = user = ""
    if request.account:
        account = store.account_name(request.account)
        claims["account"] = store.account(account)
    if request.user:
        user = _user_name(store, account, request.user)
        claims["user"] = store.user(account, user)
    details = {level: _details(store, request, level, found) for level, found in claims.items()}
    details["operator"] = operator = details["operator"] or _Details()
    operator.service = store.operator().nats.operator_service_urls
    creds = store.creds_path(account, user)
    return Profile(user_creds=str(creds) if user and creds.is_file() else "", **details)


def _user_name(store: Store, account: str, given: str) -> str:
    if store.has_user(account, given):
        return given
    for name in store.users(account):
        claims = store.user(account, name)
        if given == claims.subject or given.lower() == name.lower():
            return name
    raise NskError(f"invalid user {quote(given)}: user was not found")


def _details(store: Store, request: ProfileRequest, level: str, claims: Claims) -> _Details | None:
    details = _Details()
    if request.wants(level, "name"):
        details.name = store.name if level == "operator" else claims.name
    if request.wants(level, "key"):
        details.id = claims.subject
    if request.wants(level, "seed"):
        details.seed = _seed(store, claims, request.query.get(f"{level}seed", "").upper())
    return details if details != _Details() else None


def _seed(store: Store, claims: Claims, wanted: str) -> str:
    keys = [claims.subject]
    if isinstance(claims, OperatorClaims):
        keys += claims.nats.signing_keys
    elif isinstance(claims, AccountClaims):
        keys += [item.key if isinstance(item, UserScope) else item for item in claims.nats.signing_keys]
    if wanted and wanted not in keys:
        raise NskError(f"{quote(wanted)} was not found")
    for key in [wanted] if wanted else keys:
        if (pair := store.keystore.key(key)) is not None:
            return pair.seed
    raise NskError(f"no seed was found for {quote(wanted or claims.subject)}")
