"""What questions about policy are asked of: all accounts as a server would see them, and the user in question.

They come from the store of JWTs, or from a server's configuration file. Everything is verified and compiled by the code
that the server itself runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from accounts.account import GLOBAL_ACCOUNT, SYSTEM_ACCOUNT, Account
from accounts.explain import Who
from accounts.flow import World
from auth.appraise import appraise
from auth.creds import parse_decorated_jwt
from auth.errors import AuthError
from auth.gojson import quote
from auth.resolver import StoreError
from auth.resolver.directory import DirectoryResolver
from auth.resolver.memory import MemoryResolver
from auth.trust import TrustedOperators
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.remedies import one_of
from tools.nsk.session import Session

if TYPE_CHECKING:
    from auth.authenticate import Authenticator
    from auth.claims import OperatorClaims
    from auth.settings import AuthSettings, NkeyEntry, UserEntry
    from auth.user import Binding, SignedUser

SOURCE_FLAGS = (
    text("config", "c", "a server's configuration file, instead of the store"),
    boolean("json", "J", "print the answer as JSON"),
)
WHO_FLAGS = (
    text("account", "a", "account name"),
    text("user", "u", "user name"),
    text("creds", "", "credentials file, instead of a user of the store"),
    text("name", "n", "user of the configuration file, by name or nkey"),
)


class RefusedError(Exception):
    """The user is one that no server admits; the text says why."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The accounts of one moment. ``unusable`` says which accounts no server would use, and why."""

    world: World
    now: float
    unusable: tuple[str, ...] = ()
    _trust: TrustedOperators | None = None
    _entries: dict[str, Who] = field(default_factory=dict)

    def account(self, given: str) -> str:
        """The name by which the world knows an account that is named by name or key. Raises NskError."""
        if given in self.world.accounts:
            return given
        found = [name for name, account in self.world.accounts.items() if account.label == given]
        if len(found) > 1:
            raise NskError(f"several accounts are called {quote(given)}, name one by its key: {', '.join(found)}")
        if not found:
            reasons = "".join(f"\n{reason}" for reason in self.unusable)
            raise NskError(f"there is no account {quote(given)} that a server would use{reasons}")
        return found[0]

    def user_of_token(self, token: str) -> Who:
        """The user of a JWT. Raises RefusedError, and NskError where nothing here trusts JWTs."""
        return who_of(*self.appraised(token))

    def appraised(self, token: str) -> tuple[SignedUser, Binding]:
        """A user's JWT, and what the user has. Raises RefusedError, and NskError where nothing here trusts JWTs."""
        if self._trust is None:
            raise NskError("the configuration names no operators, so no JWT gives access; name a user with --name")
        try:
            return appraise(self._trust, token, self.now)
        except AuthError as problem:
            raise RefusedError(problem.log_text) from None

    def user_of_configuration(self, name: str) -> Who:
        """A user of the configuration file. Raises NskError."""
        who = self._entries.get(name)
        if who is None:
            known = f" There are: {', '.join(sorted(self._entries))}." if self._entries else ""
            raise NskError(f"the configuration has no user {quote(name)}.{known}")
        return who


def who_of(user: SignedUser, binding: Binding) -> Who:
    """A user of a JWT, as questions about policy are asked of it."""
    own = user.issuer == binding.account.name
    scope = binding.scope
    if scope is not None and not scope.permissions.is_empty:
        place = f"template of signing key {user.issuer}"
    elif binding.permissions is None and binding.account.default_permissions is not None:
        place = "default permissions of the account"
    else:
        place = "user JWT"
    return Who(
        name=f"{user.name} ({user.public_key})" if user.name else user.public_key,
        account=binding.account,
        policy=binding.policy,
        limits=binding.limits,
        signing_key="" if own else user.issuer,
        role="" if scope is None else scope.role,
        origin="user JWT",
        place=place,
    )


def load_scene(session: Session, flags: Flags) -> Scene:
    """The accounts that the flags ask for. Raises NskError."""
    now = time.time()
    if path := flags.text("config"):
        return _configured(path, now)
    return _stored(session, now)


def load_user(session: Session, flags: Flags, scene: Scene) -> Who:
    """The user that the flags ask for. Raises NskError and RefusedError."""
    if creds := flags.text("creds"):
        return scene.user_of_token(token_of_creds(creds))
    if flags.text("config"):
        name = flags.text("name") or flags.text("user")
        if not name:
            raise NskError("name a user with --name, or its credentials file with --creds")
        return scene.user_of_configuration(name)
    store = session.store
    account = session.account_name(flags.text("account"))
    user = flags.text("user") or flags.text("name")
    if not user:
        users = store.users(account)
        if len(users) != 1:
            raise NskError("a user is required", remedy=one_of(users, "--user"))
        user = users[0]
    return scene.user_of_token(store.user_token(account, user))


def token_of_creds(path: str) -> str:
    """The JWT of a credentials file. Raises NskError."""
    try:
        return parse_decorated_jwt(Path(path).expanduser().read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise NskError(f"`{path}` cannot be read: {problem}") from None


def _stored(session: Session, now: float) -> Scene:
    store = session.store
    operator = store.operator()
    return scene_of_tokens([operator], store.account_tokens(), now, system_account=operator.nats.system_account)


def scene_of_tokens(
    operators: Iterable[OperatorClaims], tokens: Mapping[str, str], now: float, *, system_account: str
) -> Scene:
    """The accounts of these JWTs by public key, as a server sees them that trusts the operators.

    ``now`` are Unix seconds.
    """
    trust = TrustedOperators(operators, (), resolver=MemoryResolver(tokens), system_account=system_account)
    accounts, unusable = _usable(tokens, trust)
    return Scene(World(accounts, now, system=system_account), now, unusable, trust)


def _usable(names: Iterable[str], trust: TrustedOperators) -> tuple[list[Account], tuple[str, ...]]:
    accounts, unusable = [], []
    for name in names:
        try:
            accounts.append(trust.account(name))
        except AuthError as problem:
            unusable.append(f"account {name}: {problem.log_text}")
    return accounts, tuple(unusable)


def _configured(path: str, now: float) -> Scene:
    # The server's own reader; it takes longer to import than all else here.
    authenticator, settings = _read(path)
    if authenticator.trust is not None:
        accounts, unusable = _usable(_known(authenticator.trust, settings), authenticator.trust)
        world = World(accounts, now, system=authenticator.system_account)
        return Scene(world, now, unusable, authenticator.trust)
    entries = {who.name: who for who in _entries(authenticator, settings)}
    names = dict.fromkeys((*settings.accounts, *(who.account.name for who in entries.values())))
    if not entries:
        # Without users everyone, or who knows the single password or token, is in the global account.
        names[GLOBAL_ACCOUNT] = None
    found = [account for name in names if (account := authenticator.account(name)) is not None]
    world = World(found, now, system=authenticator.system_account or SYSTEM_ACCOUNT)
    return Scene(world, now, (), None, entries)


def _known(trust: TrustedOperators, settings: AuthSettings) -> Iterable[str]:
    """The accounts that a server knows when it starts. Raises NskError where its directory cannot be read."""
    if not isinstance(trust.resolver, DirectoryResolver):
        return settings.preload
    try:
        return trust.resolver.look(settings.preload)
    except StoreError as problem:
        raise NskError(str(problem)) from None


def _read(path: str) -> tuple[Authenticator, AuthSettings]:
    load = import_module("broker.config.load")
    errors = import_module("broker.config.errors")
    settings_module = import_module("auth.settings")
    verifier: Callable[[AuthSettings], Authenticator] = import_module("auth.authenticate").Authenticator
    try:
        options = load.load(path).options
        settings: AuthSettings = import_module("broker.settings").auth_settings(options)
        return verifier(settings), settings
    except (errors.ConfigError, settings_module.SettingsError) as problem:
        raise NskError(str(problem)) from None


def _entries(authenticator: Authenticator, settings: AuthSettings) -> Iterator[Who]:
    named: list[tuple[str, UserEntry | NkeyEntry]] = [(entry.name, entry) for entry in settings.users]
    named += [(entry.public_key, entry) for entry in settings.nkeys]
    for name, entry in named:
        account, policy = authenticator.account(entry.account), authenticator.policy_of(name)
        if account is not None and policy is not None:
            place = f"user at {entry.origin}" if entry.origin else "user"
            yield Who(name, account, policy, entry.limits, origin=entry.origin, place=place)
