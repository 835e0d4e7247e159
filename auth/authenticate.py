"""The one place that decides who gets in.

``Authenticator.judge`` takes evidence and returns a Principal, or raises an AuthError that says why not; it
never answers yes or no. The methods are tried in the order of NATS: a trusted proxy's signature, then nothing where
nobody must prove anything, then the user JWT (which excludes all others), the nkey, the client certificate, user and
password, the token. A method that was chosen and fails is final: nothing falls through to a weaker one.

Where an auth callout or the embedding program decides about strangers, ``judge`` returns a Delegation for them, and
their answer comes back to ``admit`` or ``admit_as``, which hold it to the same conditions as a token of the client's.

What a token's signature and chain prove is remembered, in bounded caches. What depends on the moment or the connection
(times, revocation, source network, daily windows, the signature over the nonce) is looked at for every CONNECT.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from typing import Final

from accounts.account import GLOBAL_ACCOUNT, SYSTEM_ACCOUNT, Account, SigningKeyScope
from accounts.compile import compile_policy
from accounts.permissions import Grant, InvalidPermissionError, Permissions
from accounts.policy import PolicyTable
from auth import password
from auth.cache import BoundedCache
from auth.callout import Delegation, check_placement, placement
from auth.certificate import LOCAL, find_local_user, find_user
from auth.challenge import verify_signature
from auth.errors import AuthError, AuthFailure, StrangerError
from auth.evidence import CertificateFacts, ConnectionType, Evidence
from auth.gojson import quote
from auth.login import Admission
from auth.principal import Method, Principal, claim_minter
from auth.revocation import check_revocation
from auth.settings import (
    AuthSettings,
    NkeyEntry,
    SettingsError,
    SingleCredentials,
    UserEntry,
    check_settings,
    load_operators,
    load_sentinel,
    resolve_system_account,
)
from auth.standing import Standing
from auth.trust import TrustedOperators
from auth.user import Binding, SignedUser, bind_user, check_claims, read_user
from auth.windows import is_within

__all__ = ["Authenticator", "CertificateFacts", "ConnectionType", "Evidence"]

_REMEMBERED_USERS: Final = 4096
_RECENT_USERS: Final = 64
_REDACTED: Final = "[REDACTED]"

_MAPPED: Final = (Method.CERTIFICATE, Method.UNIX_PEER)
"""What proves a client without a word of its own."""

_mint = claim_minter()


class Authenticator:
    """Turns evidence into a Principal by fixed settings; new settings make a new one."""

    def __init__(self, settings: AuthSettings) -> None:
        """Raises SettingsError for settings that contradict themselves."""
        check_settings(settings)
        self._settings = settings
        operators = load_operators(settings)
        self.system_account: str = resolve_system_account(settings, operators)
        if settings.needs_system_account and not self.system_account:
            raise SettingsError(
                "using nats based account resolver - the system account needs to be specified in configuration or the "
                "operator jwt"
            )
        self._pinned = settings.pinned_accounts and settings.pinned_accounts | {self.system_account}
        self._sentinel = load_sentinel(settings)
        self._trust: TrustedOperators | None = None
        if settings.resolver is not None and settings.is_operator_mode:
            self._trust = TrustedOperators(
                operators,
                settings.trusted_keys,
                resolver=settings.resolver,
                system_account=self.system_account,
                bootstraps=settings.bootstraps,
            )
        self._known: BoundedCache[bytes, tuple[SignedUser, Binding]] = BoundedCache(_REMEMBERED_USERS)
        self._recent: BoundedCache[bytes, SignedUser] = BoundedCache(_RECENT_USERS)
        """Users whose tokens have just been verified, and whose accounts may not be known yet."""
        self._accounts = dict(settings.accounts)
        self._accounts.setdefault(GLOBAL_ACCOUNT, Account(GLOBAL_ACCOUNT, origin="built-in"))
        self._users: dict[str, UserEntry] = {entry.name: entry for entry in settings.users}
        self._nkeys: dict[str, NkeyEntry] = {entry.public_key: entry for entry in settings.nkeys}
        self._own = SingleCredentials(
            user=settings.user, password=settings.password, token=settings.token, no_auth_user=settings.no_auth_user
        )
        self._has_hidden_user = self._needs_hidden_user()
        if self._has_hidden_user:
            hidden = f"nats-{secrets.token_hex(4)}"
            self._own = dataclasses.replace(self._own, no_auth_user=hidden)
            self._users[hidden] = UserEntry(name=hidden, password=secrets.token_hex(16))
        self._entries: dict[str, UserEntry | NkeyEntry] = {**self._users, **self._nkeys}
        self._check_defaults()
        self._policies: dict[tuple[Permissions | None, bool, str], PolicyTable] = {}
        self._unrestricted = compile_policy(Permissions(), self._accounts[GLOBAL_ACCOUNT])
        # A password for names that do not exist is compared as slowly as those of names that do.
        self._decoy = next((e.password for e in settings.users if password.is_bcrypt(e.password)), "no such user")

    def _check_defaults(self) -> None:
        """Refuses default permissions that hold for a user and cannot be enforced; users' own have been checked."""
        checked: set[str] = set()
        for name, entry in self._entries.items():
            defaults = self._accounts[entry.account].default_permissions
            if entry.permissions is not None or defaults is None or entry.account in checked:
                continue
            checked.add(entry.account)
            try:
                defaults.validate()
            except InvalidPermissionError as problem:
                raise SettingsError(f"invalid permissions for user {quote(name)}: {problem}") from None

    def _policy(self, entry: UserEntry | NkeyEntry) -> PolicyTable:
        """What a user of the configuration may do, compiled when the first one with these permissions asks for it."""
        account = self._accounts[entry.account]
        chosen = self._chosen(entry)
        callout, name = account.callout, _name(entry)
        # Users of one account differ by their permissions alone, but where a callout is among them.
        key = (chosen, account.is_system, "" if callout is None else f"{account.name} {name in callout.users}")
        found = self._policies.get(key)
        if found is None:
            found = self._policies[key] = compile_policy(chosen, account, name)
        return found

    def _chosen(self, entry: UserEntry | NkeyEntry) -> Permissions | None:
        """The user's own permissions, or else those of the account."""
        return self._accounts[entry.account].default_permissions if entry.permissions is None else entry.permissions

    def _needs_hidden_user(self) -> bool:
        """Whether clients without credentials belong to ``$G``: only the system account has been configured."""
        settings = self._settings
        system = self.system_account or SYSTEM_ACCOUNT
        others = set(settings.accounts) - {GLOBAL_ACCOUNT}
        return (
            not settings.is_operator_mode
            and not settings.authorization_block
            and not settings.no_auth_user
            and not settings.is_delegating
            and others == {system}
            and self._has_credentials
        )

    @property
    def _has_credentials(self) -> bool:
        settings = self._settings
        return bool(settings.users or settings.nkeys or settings.user or settings.token)

    @property
    def trust(self) -> TrustedOperators | None:
        """The operators that accounts are verified against, in operator mode."""
        return self._trust

    def wanted_account(self, evidence: Evidence, now: float) -> str:
        """The account whose token has to be found before this evidence can be judged; empty where nothing is wanting.

        Only a user whose own token holds can make a server look for an account.
        """
        if self._trust is None:
            return ""
        try:
            user, _ = self._user_of(evidence)
            check_claims(user, now)
        except AuthError:
            return ""
        name = user.issuer_account
        if self._pinned and name not in self._pinned:
            return ""
        return name if self._trust.is_wanting(name, now) else ""

    def _single(self, kind: ConnectionType) -> SingleCredentials:
        """Those that count for a connection: its listener's own, or else the server's."""
        own = self._settings.websocket
        return own if own is not None and kind is ConnectionType.WEBSOCKET else self._own

    @property
    def required(self) -> bool:
        """Whether a client must prove who it is (INFO's ``auth_required``)."""
        return self._trust is not None or self._has_credentials or self._settings.is_delegating

    @property
    def is_delegating(self) -> bool:
        """Whether the configuration leaves strangers to somebody else; accounts of an operator may do so besides."""
        return self._settings.is_delegating

    def requires(self, kind: ConnectionType) -> bool:
        """The same for a client that is connected in that way: its listener may ask where the others do not."""
        return self.required or self._single(kind) is not self._own

    @property
    def nonce_required(self) -> bool:
        """Whether INFO must hold a nonce."""
        settings = self._settings
        return self._trust is not None or bool(self._nkeys) or bool(settings.trusted_proxies) or settings.is_delegating

    @property
    def has_no_auth_user(self) -> bool:
        """Whether clients without credentials get in as somebody; INFO then leaves ``auth_required`` out."""
        return bool(self._settings.no_auth_user)

    def is_slow(self, evidence: Evidence) -> bool:
        """Whether judging this evidence computes a bcrypt hash: better done in a thread."""
        if self._trust is not None or (evidence.unverified_nkey and self._nkeys):
            return False
        single = self._single(evidence.connection_type)
        stored = [single.password, single.token, "" if self._settings.is_delegating else self._decoy]
        if evidence.unverified_user in self._users:
            stored = [self._users[evidence.unverified_user].password]
        return any(password.is_bcrypt(text) for text in stored)

    def authenticate(self, evidence: Evidence, now: float) -> Principal:
        """The principal that the evidence proves by itself, at a time in Unix seconds.

        Raises AuthError, also for a login that somebody else decides about.
        """
        verdict = self.judge(evidence, now)
        if isinstance(verdict, Delegation):
            raise AuthError(AuthFailure.CALLOUT_NOT_ASKED)
        return verdict

    def judge(self, evidence: Evidence, now: float) -> Principal | Delegation:
        """The principal that the evidence proves, at a time in Unix seconds, or whom to ask about it.

        Users of the configuration come first: nobody else is asked about a client that names one of them, or that one
        of them is found for. Raises AuthError.
        """
        proxy_key = self._verify_proxy(evidence)
        if self._trust is not None:
            principal = self._by_jwt(self._trust, evidence, now, proxy_key)
            account, callout = principal.account, principal.account.callout
            if callout is None or principal.public_key in callout.users:
                return principal
            token = self._sentinel if principal.method is Method.SENTINEL else evidence.unverified_jwt or ""
            return Delegation(
                account=account,
                callout=callout,
                proxy_key=proxy_key,
                token=token,
                public_key=principal.public_key or "",
                name=principal.user_name,
                tags=principal.tags,
            )
        if not self.requires(evidence.connection_type):
            return self._nobody()
        try:
            return self._by_configuration(evidence, proxy_key)
        except StrangerError:
            if not self._settings.is_delegating or self._is_named(evidence):
                raise
        service = self._accounts.get(self._settings.callout_account)
        return Delegation(account=service, callout=service.callout if service else None, proxy_key=proxy_key)

    def _is_named(self, evidence: Evidence) -> bool:
        """Whether a client says to be a user of the configuration."""
        user, nkey = evidence.unverified_user, evidence.unverified_nkey
        single = self._single(evidence.connection_type)
        return user in self._users or nkey in self._nkeys or bool(user and user == single.user)

    def _by_configuration(self, evidence: Evidence, proxy_key: str | None) -> Principal:
        if evidence.unverified_nkey and self._nkeys:
            return self._by_nkey(evidence, proxy_key)
        if (evidence.certificate is not None or evidence.peer is not None) and self._users:
            return self._by_mapping(evidence, proxy_key)
        if self._single(evidence.connection_type).no_auth_user and not _has_evidence(evidence):
            return self._as_no_auth_user(evidence.connection_type, proxy_key)
        if self._users:
            return self._by_password(evidence, proxy_key)
        return self._by_single_credential(evidence, proxy_key)

    # Logins that somebody else decided about.

    def check_signer(self, delegation: Delegation, key: str) -> None:
        """Refuses a key that may not sign for the callout of a login. Raises AuthError."""
        if self._trust is not None and delegation.account is not None:
            self._trust.user_scope(self._trust.account(delegation.account.name), key)
        elif delegation.callout is None or key != delegation.callout.issuer:
            raise AuthError(AuthFailure.USER_ISSUER_UNKNOWN, f"{key} is not the issuer")

    def admit(self, delegation: Delegation, user: SignedUser, evidence: Evidence, now: float) -> Principal:
        """The principal of the user that a callout answered with, at a time in Unix seconds. Raises AuthError."""
        delegation = self._still_delegated(delegation, evidence, now)
        try:
            account, scope = self._placed(delegation, user, now)
            binding = bind_user(user, account, scope)
            needs_proxy = user.body.proxy_required or binding.proxy_required or self._settings.proxy_required
            if needs_proxy and delegation.proxy_key is None:
                raise AuthError(AuthFailure.PROXY_REQUIRED, user.public_key)
            _check_connection_type(binding, evidence)
            user_end = _check_moment(user, binding, evidence, now)
        except AuthError as problem:
            if problem.failure is AuthFailure.CALLOUT_ACCOUNT_NOT_ALLOWED:
                raise
            raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, str(problem)) from None
        service = delegation.account
        return _mint(
            account=account,
            user=user.name or evidence.unverified_nkey or evidence.unverified_user or user.public_key,
            method=Method.CALLOUT,
            policy=binding.policy,
            limits=binding.limits,
            permissions=binding.permissions,
            public_key=user.public_key,
            issuer_key=user.issuer if self._trust is not None else account.name,
            name_tag=account.label,
            tags=user.tags,
            scope=binding.scope,
            issued_at=user.issued_at,
            proxy_key=delegation.proxy_key,
            delegated_by="" if service is None else service.name,
            **self._ends(self._trust, account, user_end),
        )

    def _still_delegated(self, delegation: Delegation, evidence: Evidence, now: float) -> Delegation:
        """The login by what the account of the service says now, which may be other than when it was asked.

        Raises AuthError where the client's own token does not lead there any more.
        """
        if self._trust is None or delegation.account is None:
            return delegation
        name = delegation.account.name
        if self._trust.account(name) is delegation.account:
            return delegation
        verdict = self.judge(evidence, now)
        if not isinstance(verdict, Delegation):
            raise AuthError(AuthFailure.CALLOUT_ABSENT, name)
        return verdict

    def wanted_placement(self, delegation: Delegation, user: SignedUser, now: float) -> str:
        """The account that a callout puts a user in, where its token has to be found first; empty where it need not."""
        name = user.issuer_account
        if self._trust is None or delegation.callout is None or (self._pinned and name not in self._pinned):
            return ""
        if not delegation.callout.permits(name, is_system=name == self.system_account):
            return ""
        return name if self._trust.is_wanting(name, now) else ""

    def _placed(self, delegation: Delegation, user: SignedUser, now: float) -> tuple[Account, SigningKeyScope | None]:
        """The account that a callout puts a user in, and the scope of the key that signed it. Raises AuthError."""
        service, callout = delegation.account, delegation.callout
        if service is None or callout is None:
            raise AuthError(AuthFailure.CALLOUT_NOT_ASKED)
        name = placement(user, delegation, operator_mode=self._trust is not None)
        if self._trust is None:
            found = self._accounts.get(name)
            if found is None:
                raise AuthError(AuthFailure.ACCOUNT_UNKNOWN, name)
            check_placement(found, service, callout)
            return found, None
        if self._pinned and name not in self._pinned:
            raise AuthError(AuthFailure.ACCOUNT_NOT_PINNED, name)
        account = self._trust.account(name)
        check_placement(account, service, callout)
        self._trust.check_account_times(account, now)
        return account, self._trust.user_scope(account, user.issuer)

    def admit_as(self, delegation: Delegation, admission: Admission, evidence: Evidence, now: float) -> Principal:
        """The principal that a function of the embedding program decided on. Raises AuthError."""
        account = self._accounts.get(admission.account)
        if account is None or self._settings.authenticate is None:
            raise AuthError(AuthFailure.AUTHENTICATOR_FAILED, f"account {quote(admission.account)} is not defined")
        if self._settings.proxy_required and delegation.proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED)
        if admission.expires_at is not None and admission.expires_at <= now:
            raise AuthError(AuthFailure.AUTHENTICATOR_DENIED, "what it decided has expired")
        try:
            policy = compile_policy(admission.permissions, account)
        except InvalidPermissionError as problem:
            raise AuthError(AuthFailure.AUTHENTICATOR_FAILED, str(problem)) from None
        return _mint(
            account=account,
            user=admission.user or evidence.unverified_nkey or evidence.unverified_user or "",
            method=Method.AUTHENTICATOR,
            policy=policy,
            limits=admission.limits,
            permissions=admission.permissions,
            name_tag=account.label,
            tags=admission.tags,
            proxy_key=delegation.proxy_key,
            **self._ends(None, account, admission.expires_at),
        )

    def is_break_glass(self, principal: Principal) -> bool:
        """Whether it is a user of the configuration that is kept for when the callout is out of order."""
        is_own = principal.method in (Method.PASSWORD, Method.NKEY, *_MAPPED)
        return is_own and principal.user in self._settings.break_glass

    def no_auth_principal(self, connection_type: ConnectionType) -> Principal | None:
        """Who a client is that sends no CONNECT at all, or None when it must send one.

        A ``no_auth_user`` that is an nkey user serves only clients that send CONNECT.
        """
        if self._trust is not None:
            return None
        if not self.requires(connection_type):
            return self._nobody()
        if self._single(connection_type).no_auth_user not in self._users:
            return None
        try:
            return self._as_no_auth_user(connection_type, None)
        except AuthError:
            return None

    def recheck(self, principal: Principal, now: float) -> Principal:
        """The principal of a live connection by the account claims of now, with its policy compiled anew.

        Principals that no JWT proved are returned as they are. Raises AuthError with the texts for live connections.
        """
        if self._trust is None or principal.method not in (Method.JWT, Method.SENTINEL, Method.CALLOUT):
            return principal
        if principal.delegated_by:
            self._check_service(self._trust, principal)
        try:
            account = self._trust.account(principal.account.name)
            self._trust.check_account_times(account, now)
        except AuthError as problem:
            raise AuthError(AuthFailure.ACCOUNT_EXPIRED_LIVE, str(problem)) from None
        if principal.public_key and account.is_revoked(principal.public_key, principal.issued_at):
            raise AuthError(AuthFailure.USER_REVOKED_LIVE, principal.public_key)
        try:
            scope = self._trust.user_scope(account, principal.issuer_key or "")
        except AuthError as problem:
            raise AuthError(AuthFailure.SIGNING_KEY_CHANGED_LIVE, str(problem)) from None
        if scope != principal.scope:
            raise AuthError(AuthFailure.SIGNING_KEY_CHANGED_LIVE, principal.issuer_key or "")
        if principal.bearer and account.limits.disallow_bearer:
            raise AuthError(AuthFailure.BEARER_NOT_ALLOWED, account.name)
        return self._renewed(principal, account, name_tag=account.display_name)

    def _check_service(self, trust: TrustedOperators, principal: Principal) -> None:
        """Refuses a principal whose callout is no more, or may not put users in its account. Raises AuthError."""
        try:
            service, account = trust.account(principal.delegated_by), trust.account(principal.account.name)
            if service.callout is None:
                raise AuthError(AuthFailure.CALLOUT_ABSENT, service.name)
            check_placement(account, service, service.callout)
        except AuthError as problem:
            raise AuthError(AuthFailure.CALLOUT_CHANGED_LIVE, str(problem)) from None

    def _renewed(self, principal: Principal, account: Account, *, name_tag: str) -> Principal:
        """The same principal in its account as it is now. Raises AuthError."""
        try:
            policy = compile_policy(principal.permissions, account, principal.public_key or "")
        except InvalidPermissionError as problem:
            raise AuthError(AuthFailure.PERMISSIONS_NOT_VALID, str(problem)) from None
        fields = {field.name: getattr(principal, field.name) for field in dataclasses.fields(principal)}
        fields |= {"account": account, "policy": policy, "name_tag": name_tag}
        return _mint(**fields | self._ends(self._trust, account, principal.user_expires_at))

    # Settings that take the place of others while clients are connected.

    @property
    def user_names(self) -> frozenset[str]:
        """Names and nkeys of the users of the configuration."""
        return frozenset(self._entries) - ({self._own.no_auth_user} if self._has_hidden_user else set())

    @property
    def account_names(self) -> frozenset[str]:
        """Names of the accounts of the configuration, and of the one that there always is."""
        return frozenset(self._accounts)

    def account_of(self, user: str) -> str:
        """The account's name of a user of the configuration, empty for one that there is not."""
        entry = self._entries.get(user)
        return "" if entry is None else entry.account

    def policy_of(self, user: str) -> PolicyTable | None:
        """What a user of the configuration may do; None for one that there is not."""
        entry = self._entries.get(user)
        return None if entry is None else self._policy(entry)

    def has_same_secret(self, user: str, earlier: Authenticator) -> bool:
        """Whether a user of the configuration proves itself by what it did under earlier settings."""
        if user in self._nkeys:
            return user in earlier._nkeys
        kind = ConnectionType.STANDARD
        return self._stored_password(user, kind) == earlier._stored_password(user, kind)

    def account(self, name: str) -> Account | None:
        """The account of that name as these settings have it; None where there is none that can be used."""
        if self._trust is None:
            return self._accounts.get(name)
        try:
            return self._trust.account(name)
        except AuthError:
            return None

    def standing_since(self, earlier: Authenticator, changed: frozenset[str] = frozenset()) -> Standing:
        """What is the same as under earlier settings to those who are connected.

        ``changed`` are accounts whose tokens are others now in a resolver that both settings share.
        """
        old, new = earlier._settings, self._settings
        if self._trust is not None and (new.operators, new.trusted_keys) != (old.operators, old.trusted_keys):
            # Another operator, or one with other keys or dates, is a question to every account.
            same: frozenset[str] = frozenset()
        elif new.resolver is not None and new.resolver is old.resolver:
            same = frozenset(new.resolver.loaded()) - changed
        elif self._trust is not None:
            same = frozenset(name for name, token in new.preload.items() if old.preload.get(name) == token)
        else:
            known = earlier._accounts
            same = frozenset(name for name, found in self._accounts.items() if _is_same_account(found, known.get(name)))
        is_same_proxy = new.proxy_required == old.proxy_required
        is_same_single = (new.user, new.password) == (old.user, old.password) and is_same_proxy
        return Standing(
            users=frozenset(name for name in self._entries if is_same_proxy and self._is_same_user(name, earlier)),
            accounts=same,
            single=new.user if is_same_single else "",
            token=bool(new.token) and new.token == old.token and is_same_proxy,
            sentinel=new.default_sentinel == old.default_sentinel,
            nobody=not self.required and not earlier.required,
            hidden=self._has_hidden_user and earlier._has_hidden_user,
        )

    def _is_same_user(self, name: str, earlier: Authenticator) -> bool:
        entry, before = self._entries[name], earlier._entries.get(name)
        return (
            before is not None
            and type(entry) is type(before)
            and _secret(entry) == _secret(before)
            and entry.account == before.account
            and entry.connection_types == before.connection_types
            and entry.proxy_required == before.proxy_required
            and entry.limits == before.limits
            and self._accounts[entry.account].is_system == earlier._accounts[before.account].is_system
            and _decide_alike(self._chosen(entry), earlier._chosen(before))
        )

    def readmission_is_slow(self, principal: Principal, evidence: Evidence, earlier: Authenticator) -> bool:
        """Whether `readmit` computes a bcrypt hash: better done in a thread."""
        if self._trust is not None or self._is_proven(principal, evidence, earlier):
            return False
        return not self._was_delegated(principal, evidence) and self.is_slow(evidence)

    def _was_delegated(self, principal: Principal, evidence: Evidence) -> bool:
        """Whether somebody else decided about a client who is no user of the configuration now either."""
        return principal.method in (Method.CALLOUT, Method.AUTHENTICATOR) and not self._is_named(evidence)

    def readmit(self, principal: Principal, evidence: Evidence, now: float, earlier: Authenticator) -> Principal:
        """The principal of a live connection that `earlier` settings admitted, at a time in Unix seconds.

        What was proved then holds as long as the secret that it was compared with is the same. Raises AuthError, with
        no text for the client where its user is gone, or belongs to another account.
        """
        readmitted = self._readmit(principal, evidence, now, earlier)
        if readmitted.account.name != principal.account.name:
            raise AuthError(AuthFailure.USER_MOVED_LIVE, readmitted.account.name)
        return readmitted

    def _readmit(self, principal: Principal, evidence: Evidence, now: float, earlier: Authenticator) -> Principal:
        if self._trust is not None:
            if principal.method is Method.SENTINEL and self._sentinel != earlier._sentinel:
                return self.authenticate(evidence, now)
            self._trust.check_account_times(self._trust.account(principal.account.name), now)
            return self.recheck(principal, now)
        if self._was_delegated(principal, evidence):
            return self._readmit_delegated(principal, earlier)
        proxy_key = principal.proxy_key
        if proxy_key is not None and proxy_key not in self._settings.trusted_proxies:
            raise AuthError(AuthFailure.PROXY_NOT_TRUSTED)
        is_unasked = principal.method is Method.NO_AUTH_USER
        kind = evidence.connection_type
        if principal.method is Method.NONE and not self.requires(kind):
            return self._nobody()
        if is_unasked and self._has_hidden_user and earlier._has_hidden_user:
            return self._as_no_auth_user(kind, proxy_key)
        name = evidence.unverified_nkey or evidence.unverified_user or (principal.user if is_unasked else "")
        if principal.method in _MAPPED:
            # What the client calls itself did not count, and does not.
            name = ""
        entry = self._entries.get(name) if name else None
        if name and entry is None and (is_unasked or name != self._single(kind).user):
            raise AuthError(AuthFailure.USER_GONE_LIVE, name)
        if entry is not None and entry.account != principal.account.name:
            raise AuthError(AuthFailure.USER_MOVED_LIVE, entry.account)
        if entry is not None and (is_unasked or self._is_proven(principal, evidence, earlier)):
            self._check_entry(entry, kind, proxy_key)
            return self._of_entry(entry, principal.method, proxy_key)
        if self._is_proven(principal, evidence, earlier):
            if self._settings.proxy_required and proxy_key is None:
                raise AuthError(AuthFailure.PROXY_REQUIRED)
            return self._of_configuration(self._accounts[GLOBAL_ACCOUNT], principal.user, principal.method, proxy_key)
        try:
            return self.authenticate(evidence, now)
        except AuthError as problem:
            if name and entry is None:
                raise AuthError(AuthFailure.USER_GONE_LIVE, f"{name}: {problem}") from None
            raise

    def _readmit_delegated(self, principal: Principal, earlier: Authenticator) -> Principal:
        """Stands as long as the same function decides, or the same issuer for the same service, which may still put
        users in its account. Raises AuthError.
        """
        settings = self._settings
        account = self._accounts.get(principal.account.name)
        if account is None or settings.authenticate is not earlier._settings.authenticate:
            raise AuthError(AuthFailure.CALLOUT_CHANGED_LIVE, principal.account.name)
        if principal.method is Method.CALLOUT:
            self.check_admitted(account, principal.delegated_by, earlier)
        if settings.proxy_required and principal.proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED)
        if principal.proxy_key is not None and principal.proxy_key not in settings.trusted_proxies:
            raise AuthError(AuthFailure.PROXY_NOT_TRUSTED)
        return self._renewed(principal, account, name_tag=account.label)

    def check_admitted(self, account: Account, service_name: str, earlier: Authenticator) -> None:
        """Refuses those whom the callout of an account admitted under earlier settings to an account of these.

        Raises AuthError where they may not stay.
        """
        service, before = self._accounts.get(service_name), earlier._accounts.get(service_name)
        if service is None or service.callout is None or before is None or before.callout is None:
            raise AuthError(AuthFailure.CALLOUT_CHANGED_LIVE, service_name)
        if service.callout.issuer != before.callout.issuer:
            raise AuthError(AuthFailure.CALLOUT_CHANGED_LIVE, "another issuer")
        check_placement(account, service, service.callout)

    def _is_proven(self, principal: Principal, evidence: Evidence, earlier: Authenticator) -> bool:
        """Whether the evidence was compared with the very secret that counts now."""
        kind = evidence.connection_type
        match principal.method:
            case Method.NKEY:
                return evidence.unverified_nkey in self._nkeys
            case Method.TOKEN:
                token = self._single(kind).token
                return bool(token) and token == earlier._single(kind).token
            case Method.PASSWORD:
                name = evidence.unverified_user or ""
                stored = self._stored_password(name, kind)
                return stored is not None and stored == earlier._stored_password(name, kind)
        return False

    def _stored_password(self, name: str, kind: ConnectionType) -> str | None:
        if name in self._users:
            return self._users[name].password
        single = self._single(kind)
        return single.password if name and name == single.user else None

    def _nobody(self) -> Principal:
        account = self._accounts[GLOBAL_ACCOUNT]
        return self._of_configuration(account, "", Method.NONE, None)

    def _verify_proxy(self, evidence: Evidence) -> str | None:
        """The trusted proxy that signed the nonce, if one did. Raises AuthError for a signature of anyone else."""
        if not self._settings.trusted_proxies or not evidence.unverified_proxy_signature:
            return None
        for key in self._settings.trusted_proxies:
            try:
                verify_signature(key, evidence.nonce, evidence.unverified_proxy_signature)
            except AuthError:
                continue
            return key
        raise AuthError(AuthFailure.PROXY_NOT_TRUSTED)

    # Operator mode.

    def _by_jwt(self, trust: TrustedOperators, evidence: Evidence, now: float, proxy_key: str | None) -> Principal:
        """The checks of operator mode, in the order that NATS makes them."""
        user, method = self._user_of(evidence)
        if user.body.proxy_required and proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED, user.public_key)
        check_claims(user, now)
        if self._pinned and user.issuer_account not in self._pinned:
            raise AuthError(AuthFailure.ACCOUNT_NOT_PINNED, user.issuer_account)
        account = trust.account(user.issuer_account)
        binding = self._bind(trust, user, account)
        if binding.proxy_required and proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED, user.public_key)
        trust.check_account_times(account, now)
        if binding.bearer and account.limits.disallow_bearer:
            raise AuthError(AuthFailure.BEARER_NOT_ALLOWED, account.name)
        _check_connection_type(binding, evidence)
        if not binding.bearer:
            verify_signature(user.public_key, evidence.nonce, evidence.unverified_signature)
        user_end = _check_moment(user, binding, evidence, now)
        shown = evidence.unverified_user if method is Method.SENTINEL else None
        return _mint(
            account=account,
            user=shown or user.public_key,
            method=method,
            policy=binding.policy,
            limits=binding.limits,
            permissions=binding.permissions,
            public_key=user.public_key,
            issuer_key=user.issuer,
            name_tag=account.display_name,
            user_name=user.name,
            tags=user.tags,
            bearer=binding.bearer,
            scope=binding.scope,
            issued_at=user.issued_at,
            proxy_key=proxy_key,
            token="" if binding.bearer else user.token,
            **self._ends(trust, account, user_end),
        )

    def _user_of(self, evidence: Evidence) -> tuple[SignedUser, Method]:
        """The user whose token the client shows, or the default sentinel where it shows none that can be read."""
        token = evidence.unverified_jwt
        try:
            if not token:
                raise AuthError(AuthFailure.USER_JWT_MISSING)
            return self._read(token), Method.JWT
        except AuthError as problem:
            unreadable = problem.failure in (AuthFailure.USER_JWT_MISSING, AuthFailure.USER_JWT_UNREADABLE)
            if not self._sentinel or not unreadable:
                raise
        return self._read(self._sentinel), Method.SENTINEL

    def _read(self, token: str) -> SignedUser:
        digest = _digest(token)
        known = self._known.find(digest)
        user = known[0] if known is not None else self._recent.find(digest)
        if user is None:
            user = read_user(token)
            self._recent.keep(digest, user)
        return user

    def _bind(self, trust: TrustedOperators, user: SignedUser, account: Account) -> Binding:
        """What the user has in the account; remembered once the whole chain has been verified."""
        digest = _digest(user.token)
        known = self._known.find(digest)
        if known is not None and known[1].account is account:
            return known[1]
        binding = bind_user(user, account, trust.user_scope(account, user.issuer))
        self._known.keep(digest, (user, binding))
        return binding

    def _ends(self, trust: TrustedOperators | None, account: Account, user_end: float | None) -> dict[str, object]:
        """When a connection expires and with which texts: by the user's own end or by the account's."""
        account_end = None if trust is None else trust.account_expiry(account)
        ends, expiry = user_end, AuthFailure.USER_EXPIRED_LIVE
        if account_end is not None and (ends is None or account_end < ends):
            ends, expiry = account_end, AuthFailure.ACCOUNT_EXPIRED_LIVE
        return {
            "expires_at": ends,
            "expiry": expiry if ends is not None else None,
            "user_expires_at": user_end,
        }

    # Users of the configuration.

    def _by_nkey(self, evidence: Evidence, proxy_key: str | None) -> Principal:
        entry = self._nkeys.get(evidence.unverified_nkey or "")
        if entry is None:
            raise StrangerError(AuthFailure.NKEY_UNKNOWN)
        self._check_entry(entry, evidence.connection_type, proxy_key)
        verify_signature(entry.public_key, evidence.nonce, evidence.unverified_signature)
        return self._of_entry(entry, Method.NKEY, proxy_key)

    def _by_mapping(self, evidence: Evidence, proxy_key: str | None) -> Principal:
        """The user whom a certificate names, or else the process at the other end of a Unix socket."""
        kind = evidence.connection_type

        def is_allowed(name: str) -> bool:
            return _admits(self._users[name], kind)

        if evidence.certificate is not None:
            method, missing, who = Method.CERTIFICATE, AuthFailure.CERTIFICATE_NOT_MAPPED, ""
            name = find_user(evidence.certificate, self._users, is_allowed)
        else:
            assert evidence.peer is not None
            method, missing, who = Method.UNIX_PEER, AuthFailure.PEER_NOT_MAPPED, f"uid {evidence.peer.uid}"
            name = find_local_user(evidence.peer, self._settings.system_users, self._users, is_allowed)
        if name is None:
            raise StrangerError(missing, who)
        entry = self._users[name]
        self._check_entry(entry, kind, proxy_key)
        if entry.password and not password.matches(entry.password, evidence.unverified_password or ""):
            raise AuthError(AuthFailure.PASSWORD_WRONG, name)
        return self._of_entry(entry, method, proxy_key)

    def _by_password(self, evidence: Evidence, proxy_key: str | None) -> Principal:
        given = evidence.unverified_password or ""
        entry = self._users.get(evidence.unverified_user or "")
        if entry is None:
            if not self._settings.is_delegating:
                password.matches(self._decoy, given)
            raise StrangerError(
                AuthFailure.USER_UNKNOWN if evidence.unverified_user else AuthFailure.CREDENTIALS_MISSING
            )
        self._check_entry(entry, evidence.connection_type, proxy_key)
        if not entry.password and entry.name.startswith(LOCAL):
            raise AuthError(AuthFailure.PEER_NOT_MAPPED, f"{entry.name} is known by its process alone")
        if not entry.password and self._settings.certificate_mapping:
            raise AuthError(AuthFailure.CERTIFICATE_NOT_MAPPED, f"{entry.name} is known by its certificate alone")
        if not password.matches(entry.password, given):
            raise AuthError(AuthFailure.PASSWORD_WRONG, entry.name)
        return self._of_entry(entry, Method.PASSWORD, proxy_key)

    def _by_single_credential(self, evidence: Evidence, proxy_key: str | None) -> Principal:
        single = self._single(evidence.connection_type)
        if self._settings.proxy_required and proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED)
        account = self._accounts[GLOBAL_ACCOUNT]
        if single.token:
            if not evidence.unverified_token:
                raise StrangerError(AuthFailure.CREDENTIALS_MISSING)
            if not password.matches(single.token, evidence.unverified_token):
                raise StrangerError(AuthFailure.TOKEN_WRONG)
            return self._of_configuration(account, _REDACTED, Method.TOKEN, proxy_key)
        if not single.user or not evidence.unverified_user:
            raise StrangerError(AuthFailure.CREDENTIALS_MISSING)
        is_same_user = secrets.compare_digest(_encoded(single.user), _encoded(evidence.unverified_user))
        is_right = password.matches(single.password, evidence.unverified_password or "")
        if not is_same_user:
            raise StrangerError(AuthFailure.USER_UNKNOWN)
        if not is_right:
            raise AuthError(AuthFailure.PASSWORD_WRONG, single.user)
        return self._of_configuration(account, single.user, Method.PASSWORD, proxy_key)

    def _as_no_auth_user(self, connection_type: ConnectionType, proxy_key: str | None) -> Principal:
        wanted = self._single(connection_type).no_auth_user
        entry: UserEntry | NkeyEntry | None = self._users.get(wanted) or self._nkeys.get(wanted)
        if entry is None:
            raise AuthError(AuthFailure.CREDENTIALS_MISSING)
        self._check_entry(entry, connection_type, proxy_key)
        return self._of_entry(entry, Method.NO_AUTH_USER, proxy_key)

    def _check_entry(self, entry: UserEntry | NkeyEntry, kind: ConnectionType, proxy_key: str | None) -> None:
        if (entry.proxy_required or self._settings.proxy_required) and proxy_key is None:
            raise AuthError(AuthFailure.PROXY_REQUIRED)
        if not _admits(entry, kind):
            raise AuthError(AuthFailure.CONNECTION_TYPE_NOT_ALLOWED, kind.value)

    def _of_entry(self, entry: UserEntry | NkeyEntry, method: Method, proxy_key: str | None) -> Principal:
        account = self._accounts[entry.account]
        key = entry.public_key if isinstance(entry, NkeyEntry) else None
        return _mint(
            account=account,
            user=_name(entry),
            method=method,
            policy=self._policy(entry),
            limits=entry.limits,
            permissions=entry.permissions,
            public_key=key,
            name_tag=account.label,
            proxy_key=proxy_key,
        )

    def _of_configuration(self, account: Account, user: str, method: Method, proxy_key: str | None) -> Principal:
        """Single credentials, or nobody in particular: without restrictions, and without the account's defaults."""
        unrestricted = Permissions()
        return _mint(
            account=account,
            user=user,
            method=method,
            policy=self._unrestricted if account.callout is None else compile_policy(unrestricted, account, user),
            permissions=unrestricted,
            name_tag=account.label,
            proxy_key=proxy_key,
        )


def _check_connection_type(binding: Binding, evidence: Evidence) -> None:
    if binding.connection_types is not None and evidence.connection_type.value not in binding.connection_types:
        raise AuthError(AuthFailure.CONNECTION_TYPE_NOT_ALLOWED, evidence.connection_type.value)


def _check_moment(user: SignedUser, binding: Binding, evidence: Evidence, now: float) -> float | None:
    """When (Unix seconds) the user's connection ends, None for never.

    Raises AuthError for a user that may not come from there, or not at this time.
    """
    check_revocation(binding.account, user.public_key, user.issued_at)
    if binding.networks and not is_within(evidence.remote_ip, binding.networks):
        raise AuthError(AuthFailure.SOURCE_NOT_ALLOWED, evidence.remote_ip or "unknown")
    ends = [float(user.expires_at)] if user.expires_at else []
    if binding.windows is not None:
        window_end = binding.windows.closes_at(now)
        if window_end is None:
            raise AuthError(AuthFailure.OUTSIDE_CONNECT_TIMES, user.public_key)
        ends.append(window_end)
    return min(ends, default=None)


def _name(entry: UserEntry | NkeyEntry) -> str:
    """What names a user of the configuration: its nkey, or else its name."""
    return entry.public_key if isinstance(entry, NkeyEntry) else entry.name


def _decide_alike(one: Permissions | None, other: Permissions | None) -> bool:
    """Whether users of one account may do the same by both."""
    if one is other:
        return True
    one, other = one or Permissions(), other or Permissions()
    return one.responses == other.responses and all(
        _substance(before) == _substance(after)
        for before, after in (
            (one.publish.allow, other.publish.allow),
            (one.publish.deny, other.publish.deny),
            (one.subscribe.allow, other.subscribe.allow),
            (one.subscribe.deny, other.subscribe.deny),
        )
    )


def _substance(grants: tuple[Grant, ...]) -> set[tuple[str, str | None]]:
    return {(grant.subject, grant.queue) for grant in grants}


def _secret(entry: UserEntry | NkeyEntry) -> str:
    return entry.password if isinstance(entry, UserEntry) else entry.public_key


def _is_same_account(account: Account, before: Account | None) -> bool:
    """Whether both grant the same; the defaults of users have become part of their policies."""
    return before is not None and _without_places(account) == _without_places(before)


def _without_places(account: Account) -> Account:
    return dataclasses.replace(
        account,
        origin="",
        default_permissions=None,
        exports=tuple(dataclasses.replace(one, origin="") for one in account.exports),
        imports=tuple(dataclasses.replace(one, origin="") for one in account.imports),
        mappings=tuple(dataclasses.replace(one, origin="") for one in account.mappings),
    )


def _has_evidence(evidence: Evidence) -> bool:
    return bool(
        evidence.unverified_user
        or evidence.unverified_password
        or evidence.unverified_token
        or evidence.unverified_nkey
    )


def _admits(entry: UserEntry | NkeyEntry, kind: ConnectionType) -> bool:
    return not entry.connection_types or kind.value in entry.connection_types


def _digest(token: str) -> bytes:
    return hashlib.sha256(_encoded(token)).digest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
