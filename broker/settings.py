"""From options to what the verifier is told: the one place where both vocabularies meet."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from accounts.account import GLOBAL_ACCOUNT, SYSTEM_ACCOUNT, Account
from accounts.callout import EVERY_ACCOUNT, Callout
from accounts.limits import EVERY_TIER, AccountLimits, JetStreamLimits, UserLimits
from auth.certificate import LOCAL, parse_local
from auth.resolver.directory import DirectoryResolver
from auth.resolver.index import Index
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings, NkeyEntry, SettingsError, SingleCredentials, UserEntry
from broker.config.options import DEFAULT_CACHE_LIMIT, AuthorizationOptions, ResolverKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.permissions import Permissions
    from auth.resolver import AccountResolver
    from broker.config.options import CalloutOptions, Options, UserOptions, WebSocketOptions


def account_resolver(options: Options) -> AccountResolver | None:
    """The account resolver that options ask for; a directory is not looked at before it is opened."""
    resolver = options.resolver
    if resolver is None or not (options.operators or options.trusted_keys):
        return None
    if not resolver.is_directory:
        return MemoryResolver(options.resolver_preload)
    evicts = resolver.kind is ResolverKind.CACHE
    limit = resolver.limit or (DEFAULT_CACHE_LIMIT if evicts else 0)
    index = Index(limit=limit, evicts=evicts, ttl=resolver.ttl)
    return DirectoryResolver(resolver.directory, index, keeps_all=not evicts)


def auth_settings(options: Options, resolver: AccountResolver | None = None) -> AuthSettings:
    """The verifier's settings for a server's options; ``resolver`` goes on from earlier ones."""
    authorization = options.authorization
    users: list[UserEntry] = []
    nkeys: list[NkeyEntry] = []
    _add_users(users, nkeys, authorization.users, GLOBAL_ACCOUNT, authorization.default_permissions)
    system = options.system_account or SYSTEM_ACCOUNT
    accounts: dict[str, Account] = {}
    unlimited = {EVERY_TIER: JetStreamLimits()}
    # A server that names no accounts has one for all its clients, whose streams they are.
    named = options.operators or options.trusted_keys or any(entry.name != system for entry in options.accounts)
    keeps = options.jetstream is not None and not named
    if options.mappings or keeps:
        accounts[GLOBAL_ACCOUNT] = Account(
            GLOBAL_ACCOUNT, origin="built-in", mappings=options.mappings, jetstream=unlimited if keeps else {}
        )
    for entry in options.accounts:
        accounts[entry.name] = Account(
            entry.name,
            display_name=entry.name,
            limits=entry.limits or AccountLimits(),
            default_permissions=entry.default_permissions,
            is_system=entry.name == system,
            origin=entry.origin,
            exports=entry.exports,
            imports=entry.imports,
            mappings=entry.mappings,
            sender_identity=entry.sender_identity,
            trace=entry.trace,
            jetstream={} if entry.jetstream is None else {EVERY_TIER: entry.jetstream},
        )
        _add_users(users, nkeys, entry.users, entry.name, entry.default_permissions)
    callout = authorization.callout
    if callout is not None and (callout.account in accounts or callout.account == GLOBAL_ACCOUNT):
        service = accounts.get(callout.account) or Account(GLOBAL_ACCOUNT, origin="built-in")
        accounts[callout.account] = replace(service, callout=_callout(callout))
    return AuthSettings(
        operators=tuple(operator.token for operator in options.operators),
        trusted_keys=options.trusted_keys,
        resolver=resolver or account_resolver(options),
        bootstraps=options.resolver is not None and options.resolver.kind is not ResolverKind.MEMORY,
        needs_system_account=options.resolver is not None and options.resolver.is_directory,
        preload=options.resolver_preload,
        system_account=options.system_account,
        pinned_accounts=options.resolver_pinned_accounts,
        default_sentinel=options.default_sentinel,
        accounts=accounts,
        users=tuple(users),
        nkeys=tuple(nkeys),
        user=authorization.user,
        password=authorization.password,
        token=authorization.token,
        no_auth_user=options.no_auth_user,
        authorization_block=authorization.declared or authorization != AuthorizationOptions(),
        websocket=_own_credentials(options.websocket),
        peer_mapping=options.unix.verify_and_map,
        system_users=_system_users(user.name for user in users) if options.unix.verify_and_map else {},
        certificate_mapping=any(tls is not None and tls.verify_and_map for tls in (options.tls, options.websocket.tls)),
        proxy_required=authorization.proxy_required,
        callout_account="" if callout is None else callout.account,
        break_glass=frozenset() if callout is None else frozenset(callout.break_glass),
        authenticate=options.authenticator,
    )


def _system_users(names: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """The system users that users of the configuration are known by, by their numbers.

    They are looked up here, where it may take its time, and not while clients wait. Raises SettingsError for one that
    this machine does not have.
    """
    found: dict[int, tuple[str, ...]] = {}
    for name in names:
        if not name.startswith(LOCAL):
            continue
        try:
            user = parse_local(name)
        except ValueError as problem:
            raise SettingsError(str(problem)) from None
        if isinstance(user, str):
            try:
                number = import_module("pwd").getpwnam(user).pw_uid
            except KeyError:
                raise SettingsError(f"user {name}: this machine has no user {user}; make it, or name another") from None
            found[number] = (*found.get(number, ()), user)
    return found


def _callout(options: CalloutOptions) -> Callout:
    return Callout(
        issuer=options.issuer,
        users=frozenset(options.users),
        allowed_accounts=frozenset(options.allowed_accounts or (EVERY_ACCOUNT,)),
        xkey=options.xkey,
    )


def _own_credentials(websocket: WebSocketOptions) -> SingleCredentials | None:
    if not websocket.port or not websocket.has_own_credentials:
        return None
    return SingleCredentials(
        user=websocket.user,
        password=websocket.password,
        token=websocket.token,
        no_auth_user=websocket.no_auth_user,
    )


def _add_users(
    users: list[UserEntry],
    nkeys: list[NkeyEntry],
    entries: Iterable[UserOptions],
    account: str,
    default_permissions: Permissions | None,
) -> None:
    for entry in entries:
        permissions = entry.permissions if entry.permissions is not None else default_permissions
        if entry.nkey:
            nkeys.append(
                NkeyEntry(
                    public_key=entry.nkey,
                    account=account,
                    permissions=permissions,
                    connection_types=entry.allowed_connection_types,
                    proxy_required=entry.proxy_required,
                    limits=UserLimits(message_rate=entry.message_rate, byte_rate=entry.byte_rate),
                    origin=entry.origin,
                )
            )
        else:
            users.append(
                UserEntry(
                    name=entry.user,
                    password=entry.password,
                    account=account,
                    permissions=permissions,
                    connection_types=entry.allowed_connection_types,
                    proxy_required=entry.proxy_required,
                    limits=UserLimits(message_rate=entry.message_rate, byte_rate=entry.byte_rate),
                    origin=entry.origin,
                )
            )
