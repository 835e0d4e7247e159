"""The chain of trust: an operator trusted by configuration signs accounts, an account signs its users.

An account is trusted only when its token is signed by an operator key that is trusted right now: the operator's own
key unless it demands signing keys, one of its signing keys, or a key trusted by configuration. The token must name
the account it was looked up for, must be free of blocking findings, and neither it nor its operator may be outside
its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from accounts.account import Account, SigningKeyScope
from auth.cache import BoundedCache
from auth.claims import AccountClaims, OperatorClaims, blocking
from auth.convert import account_of
from auth.envelope import JwtError
from auth.errors import AuthError, AuthFailure
from auth.resolver import AccountResolver
from auth.revocation import check_times

_REMEMBERED_ACCOUNTS = 16384


class TrustedOperators:
    """Verifies accounts against the operators and keys that the configuration trusts."""

    def __init__(
        self,
        operators: Iterable[OperatorClaims],
        trusted_keys: Iterable[str],
        *,
        resolver: AccountResolver,
        system_account: str,
        bootstraps: bool = False,
    ) -> None:
        """``bootstraps`` lets users into the system account that it signed itself, as long as its token is not known:
        somebody has to bring that token to a server whose resolver is empty."""
        operators = tuple(operators)
        signers: dict[str, OperatorClaims | None] = dict.fromkeys(trusted_keys)
        for claims in operators:
            for key in claims.trusted_keys():
                signers[key] = claims
        self._signers: Mapping[str, OperatorClaims | None] = MappingProxyType(signers)
        self._strict = frozenset(one.subject for one in operators if one.nats.strict_signing_key_usage)
        self.resolver = resolver
        self._system_account = system_account
        self._bootstrap: Account | None = None
        if bootstraps and system_account and len(operators) == 1:
            issuer = operators[0].subject
            self._bootstrap = Account(system_account, is_system=True, issuer=issuer, origin="bootstrap")
        self._accounts: BoundedCache[str, tuple[str, Account | AuthError]] = BoundedCache(_REMEMBERED_ACCOUNTS)

    @property
    def trusted_keys(self) -> frozenset[str]:
        """Every key that may sign accounts."""
        return frozenset(self._signers)

    def account(self, name: str) -> Account:
        """The verified account of a public key, as the resolver has it now. Times are not looked at.

        Raises AuthError.
        """
        token = self.resolver.lookup(name)
        if not token:
            if self._bootstrap is not None and name == self._system_account:
                return self._bootstrap
            raise AuthError(AuthFailure.ACCOUNT_UNKNOWN, name)
        known = self._accounts.find(name)
        if known is None or known[0] != token:
            known = (token, self._verdict(token, name))
            self._accounts.keep(name, known)
        verdict = known[1]
        if isinstance(verdict, AuthError):
            raise AuthError(verdict.failure, verdict.detail)
        return verdict

    def _verdict(self, token: str, name: str) -> Account | AuthError:
        """The account, or why it is none: remembered too, so that nobody can have it computed again and again."""
        try:
            return self.verify_account(token, name)
        except AuthError as problem:
            return problem

    def verify_account(self, token: str, name: str | None = None) -> Account:
        """The account of a token that a trusted operator signed, for the given public key. Times are not looked at.

        Raises AuthError.
        """
        try:
            claims = AccountClaims.from_token(token)
            claims.check_subject()
        except JwtError as problem:
            raise AuthError(AuthFailure.ACCOUNT_JWT_UNREADABLE, str(problem)) from None
        if name is not None and claims.subject != name:
            raise AuthError(AuthFailure.ACCOUNT_JWT_MISPLACED, f"the token for {name} is about {claims.subject}")
        if claims.issuer not in self._signers:
            raise AuthError(AuthFailure.ACCOUNT_NOT_TRUSTED, f"{claims.subject} is signed by {claims.issuer}")
        issues = blocking(claims.validate(0.0))
        if issues:
            raise AuthError(AuthFailure.ACCOUNT_HAS_ISSUES, f"{claims.subject}: {issues[0].description}")
        return account_of(claims, is_system=claims.subject == self._system_account)

    def update(self, token: str) -> Account:
        """Put a token in place of the one that is known of its account, if a trusted operator signed it.

        Raises AuthError; then nothing has changed.
        """
        account = self.verify_account(token)
        self.resolver.store(account.name, token)
        return self.account(account.name)

    def check_update(self, token: str, name: str | None, now: float) -> Account:
        """The account of a token that may take the place of another one: of the given account, trusted, and in force.

        Raises AuthError.
        """
        account = self.verify_account(token, name)
        self.check_account_times(account, now)
        return account

    def usable(self, token: str | None, name: str) -> Account | None:
        """The account of a token, None where there is none that can be used. Nothing is remembered of it."""
        try:
            return None if token is None else self.verify_account(token, name)
        except AuthError:
            return None

    def is_bootstrapped(self, name: str) -> bool:
        """Whether an account is the system account, and stands in for itself as long as its token is not known."""
        return self._bootstrap is not None and name == self._system_account and not self.resolver.lookup(name)

    def is_wanting(self, name: str, now: float) -> bool:
        """Whether no token is known of an account, or only one whose time is over."""
        try:
            account = self.account(name)
            self.check_account_times(account, now)
        except AuthError as problem:
            return problem.failure in (AuthFailure.ACCOUNT_UNKNOWN, AuthFailure.ACCOUNT_EXPIRED)
        return account is self._bootstrap

    def demands_signing_key(self, issuer: str) -> bool:
        """Whether a key is that of a trusted operator which signs with its signing keys alone."""
        return issuer in self._strict

    def check_account_times(self, account: Account, now: float) -> None:
        """Refuse an account outside its time, or whose operator is outside its own. Raises AuthError."""
        check_times(
            now,
            not_before=account.not_before,
            expires_at=account.expires_at,
            early=AuthFailure.ACCOUNT_NOT_YET_VALID,
            late=AuthFailure.ACCOUNT_EXPIRED,
            detail=account.name,
        )
        operator = self._signers.get(account.issuer)
        if operator is not None:
            check_times(
                now,
                not_before=operator.not_before,
                expires_at=operator.expires_at,
                early=AuthFailure.OPERATOR_NOT_YET_VALID,
                late=AuthFailure.OPERATOR_EXPIRED,
                detail=operator.subject,
            )

    def account_expiry(self, account: Account) -> float | None:
        """When (Unix seconds) the account ends: with its own token or with its operator's, whichever comes first."""
        operator = self._signers.get(account.issuer)
        ends = [account.expires_at, operator.expires_at if operator is not None else None]
        return min((float(end) for end in ends if end), default=None)

    def user_scope(self, account: Account, issuer: str) -> SigningKeyScope | None:
        """The scope under which a key signs users of an account; None when it is not scoped.

        Where the operator demands signing keys, the account's own key signs no users. Raises AuthError for a key that
        may not sign them.
        """
        if issuer == account.name:
            operator = self._signers.get(account.issuer)
            if operator is None or not operator.nats.strict_signing_key_usage or account is self._bootstrap:
                return None
        elif issuer in account.signing_keys:
            return account.signing_keys[issuer]
        raise AuthError(AuthFailure.USER_ISSUER_UNKNOWN, f"{issuer} signs no users of {account.name}")
