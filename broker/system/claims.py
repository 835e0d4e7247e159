"""Claims of accounts, pushed to a server and asked of it, by whoever may publish in the system account.

What is pushed is checked whole before it takes the place of anything: it must be about the account that it is pushed
for, signed by a trusted operator, without blocking findings, within its time, and its imports must compile. A directory
has it on the disk before it is in force; without one it holds until the configuration is read again. Accounts are
deleted only where an operator signed that they shall be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from accounts.exchange import compile_exchange
from auth.claims import AccountClaims, GenericClaims, blocking
from auth.envelope import JwtError
from auth.errors import AuthError, AuthFailure
from auth.nkey import KeyKind, is_public_key
from auth.resolver import StoreError
from broker.config.options import ResolverKind, ResolverOptions
from broker.control.live import update_account
from broker.log.text import printable
from broker.system.subjects import account_in

if TYPE_CHECKING:
    from accounts.account import Account
    from auth.trust import TrustedOperators
    from broker.control.control import Control
    from broker.control.internal import Received
    from broker.resolver.keeper import Keeper
    from broker.system.desk import Desk

LOGGER: Final = logging.getLogger("natskeep.system")

NO_ACCOUNT: Final = "n/a"
"""Stands in an answer for the account of what is no JWT of one."""

IN_FORCE: Final = "in force"
NOT_IN_FORCE: Final = "not in force"

PACK_SLICE: Final = 64
"""JWTs that are sent before everybody else has a turn."""

MOST_WAITING: Final = 65536
"""Requests that wait for the disk; what comes beyond is refused."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""What these may hold together: a request may have as many bytes as any message."""


@dataclass(frozen=True, slots=True)
class Words:
    """What one kind of resolver says of an update."""

    updated: str = "jwt updated"
    skipped: str = "jwt update skipped"
    failed: str = "jwt update resulted in error"
    invalid: str = "jwt update resulted in error"


WORDS: Final = {
    ResolverKind.MEMORY: Words(),
    ResolverKind.URL: Words(),
    ResolverKind.FULL: Words(invalid="jwt validation failed"),
    ResolverKind.CACHE: Words(
        "jwt updated cache",
        "jwt update cache skipped",
        "jwt update cache resulted in error",
        "jwt update cache validation failed",
    ),
}

EMPTY: Final = "jwt update error"


class ImportState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one import of a pushed account."""

    account: str
    subject: str
    state: str
    reason: str = ""
    """Why it is not in force."""


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a request. ``imports`` is natskeep's own."""

    account: str = ""
    code: int
    message: str
    imports: list[ImportState] = msgspec.field(default_factory=list)


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why a request was not fulfilled."""

    account: str = ""
    code: int
    description: str


class ClaimsError(ValueError):
    """A request that changes nothing: the account it is about, the kind of failure, and its cause."""

    def __init__(self, account: str, message: str, cause: str) -> None:
        super().__init__(f"{message} - {cause}")
        self.account = account


class Claims:
    """Takes requests about claims. ``keeper`` changes the directory of a server that has one."""

    def __init__(self, control: Control, desk: Desk, keeper: Keeper | None) -> None:
        self._control = control
        self._desk = desk
        self._keeper = keeper
        self._waiting: set[asyncio.Task[None]] = set()
        self._waiting_bytes = 0

    def handlers(self) -> dict[str, Callable[[Received], None]]:
        """What answers each of the services about claims; most of them need a directory."""
        found: dict[str, Callable[[Received], None]] = {
            "CLAIMS.UPDATE": lambda received: self._update(received, account_in(received.subject)),
        }
        if self._keeper is None:
            return found
        return found | {
            "CLAIMS.UPDATE ANY": lambda received: self._update(received, None),
            "CLAIMS.LOOKUP": self._lookup,
            "CLAIMS.LIST": self._list,
            "CLAIMS.DELETE": lambda received: self._later(received, self._delete(received)),
            "CLAIMS.PACK": lambda received: self._later(received, self._pack(received)),
        }

    def close(self) -> None:
        """Forgets what waits."""
        for task in self._waiting:
            task.cancel()

    @property
    def _options(self) -> ResolverOptions:
        return self._control.options.resolver or ResolverOptions()

    @property
    def _words(self) -> Words:
        return WORDS[self._options.kind]

    def _later(self, received: Received, work: Coroutine[object, object, None]) -> None:
        """Does what waits for the disk. Requests reach the directory in the order in which they came here."""
        size = len(received.payload)
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + size > MOST_BYTES:
            work.close()
            self._refuse(received, ClaimsError("", self._words.failed, "too many requests wait already"))
            return
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        self._waiting_bytes += size
        task.add_done_callback(partial(self._done_waiting, size))

    def _done_waiting(self, size: int, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        self._waiting_bytes -= size

    def _answer(self, received: Received, status: Status) -> None:
        LOGGER.debug("%s%s", status.message, f" - {printable(status.account)}" if status.account else "")
        if received.reply:
            self._desk.answer(received, status)

    def _refuse(self, received: Received, error: ClaimsError) -> None:
        LOGGER.error("Account %s: %s", printable(error.account or NO_ACCOUNT), printable(str(error)))
        if received.reply:
            code = HTTPStatus.INTERNAL_SERVER_ERROR
            self._desk.fail(received, Problem(account=error.account, code=code, description=str(error)))

    # Updates

    def _update(self, received: Received, name: str | None) -> None:
        """Puts the claims in the payload in place of those that the account has; of a given account, or of any."""
        if self._keeper is not None:
            self._later(received, self._keep(self._keeper, received, name))
            return
        try:
            token, claims = self._read(name, received.payload)
            if claims.subject not in self._control.tenants:
                self._answer(received, self._done(claims.subject, self._words.skipped))
                return
            account = self._check(token, claims)
            imports = self._imports(account)
            try:
                update_account(self._control, token, received.session)
            except AuthError as error:
                raise ClaimsError(claims.subject, self._words.failed, str(error)) from None
            self._answer(received, self._done(account.name, self._words.updated, imports))
        except ClaimsError as error:
            self._refuse(received, error)

    async def _keep(self, keeper: Keeper, received: Received, name: str | None) -> None:
        try:
            token, claims = self._read(name, received.payload)
            in_use = claims.subject in keeper.resolver or self._control.is_live(claims.subject)
            if self._options.kind is ResolverKind.CACHE and not in_use:
                self._answer(received, self._done(claims.subject, self._words.skipped))
                return
            account = self._check(token, claims)
            imports = self._imports(account)
            try:
                await keeper.keep(account.name, token, received.session)
            except StoreError as error:
                raise ClaimsError(account.name, self._words.failed, str(error)) from None
            self._answer(received, self._done(account.name, self._words.updated, imports))
        except ClaimsError as error:
            self._refuse(received, error)
        finally:
            self._control.after_call()

    def _done(self, account: str, message: str, imports: list[ImportState] | None = None) -> Status:
        return Status(account=account, code=HTTPStatus.OK, message=message, imports=imports or [])

    def _read(self, name: str | None, payload: bytes) -> tuple[str, AccountClaims]:
        """The claims in a payload, signed by whom they name. Raises ClaimsError."""
        words = self._words
        shown = NO_ACCOUNT if name is None or self._options.kind is ResolverKind.FULL else name
        if not payload and self._keeper is None:
            raise ClaimsError(shown, EMPTY, "request body is empty")
        try:
            token = payload.decode("ascii")
            claims = AccountClaims.from_token(token)
        except UnicodeDecodeError:
            raise ClaimsError(shown, words.failed, "token is not ASCII") from None
        except JwtError as error:
            raise ClaimsError(shown, words.failed, str(error)) from None
        if name is not None and claims.subject != name:
            raise ClaimsError(name, words.failed, "subject does not match jwt content")
        return token, claims

    def _check(self, token: str, claims: AccountClaims) -> Account:
        """The account that claims make, if they may replace others. Raises ClaimsError."""
        words, name = self._words, claims.subject
        trust = self._trust(name)
        try:
            return trust.check_update(token, name, time.time())
        except AuthError as error:
            if error.failure is AuthFailure.ACCOUNT_HAS_ISSUES:
                found = " ".join(str(issue) for issue in blocking(claims.validate(0.0)))
                raise ClaimsError(name, words.invalid, f"validation errors: [{found}]") from None
            cause = str(error)
            if error.failure is AuthFailure.ACCOUNT_NOT_TRUSTED and trust.demands_signing_key(claims.issuer):
                cause = "operator requires issuer to be a signing key"
            raise ClaimsError(name, words.failed, cause) from None

    def _trust(self, account: str) -> TrustedOperators:
        trust = self._control.authenticator.trust
        if trust is None:
            raise ClaimsError(account, self._words.failed, "the server trusts no operator")
        return trust

    def _imports(self, account: Account) -> list[ImportState]:
        """Which imports of an account are in force, and why the others are not."""
        exchange = compile_exchange(account, self._control.account, time.time())
        refused = {id(problem.found): problem for problem in exchange.refused}
        found = []
        for one in account.imports:
            problem = refused.get(id(one))
            state = IN_FORCE if problem is None else NOT_IN_FORCE
            reason = "" if problem is None else problem.detail or problem.reason
            found.append(ImportState(account=one.account, subject=one.subject, state=state, reason=reason))
        return found

    # What is asked of a directory

    def _lookup(self, received: Received) -> None:
        """The JWT of an account as it is, or nothing."""
        if not received.reply or self._keeper is None:
            return
        resolver, name = self._keeper.resolver, account_in(received.subject)
        filed = resolver.read(name) if resolver.index.is_current(name) else None
        self._desk.say(received.reply, b"" if filed is None else filed.token.encode("ascii"))

    def _list(self, received: Received) -> None:
        """The accounts of which there is a JWT that has not expired."""
        if received.reply and self._keeper is not None:
            index = self._keeper.resolver.index
            self._desk.answer(received, [name for name in index if index.is_current(name)])

    async def _pack(self, received: Received) -> None:
        """Everything that there is, one message for each account and an empty one behind them; that one alone for
        whoever has the same."""
        keeper = self._keeper
        if not received.reply or keeper is None:
            return
        await keeper.known.wait()
        digest, sent = keeper.resolver.index.digest, 0
        if received.payload != digest:
            async for name, content in keeper.contents():
                self._desk.say(received.reply, name.encode("ascii") + b"|" + content)
                sent += 1
                if sent % PACK_SLICE == 0:
                    self._control.after_call()
                    await asyncio.sleep(0)
        self._desk.say(received.reply, b"")
        LOGGER.debug("Pack request answered with %d accounts, hash %s", sent, digest.hex())
        self._control.after_call()

    # Deletion

    async def _delete(self, received: Received) -> None:
        try:
            await self._delete_all(received)
        except ClaimsError as error:
            self._refuse(received, error)
        finally:
            self._control.after_call()

    async def _delete_all(self, received: Received) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        names = self._deleted(received.payload)
        options = self._options
        softly = options.kind is ResolverKind.FULL and not options.hard_delete
        failures = await keeper.delete(names, softly=softly, by=received.session)
        message = f"deleted {len(names) - len(failures)} accounts"
        if failures:
            raise ClaimsError("", f"{message}, failed for {len(failures)}", "\n".join(failures))
        LOGGER.info("%s on request of an operator: %s", message, " ".join(names))
        self._answer(received, self._done("", message))

    def _deleted(self, payload: bytes) -> list[str]:
        """The accounts that an operator wants deleted. Raises ClaimsError for who is none, or may not."""
        subject = ""
        try:
            claims = GenericClaims.from_token(payload.decode("ascii", "replace"))
            subject = claims.subject
            issues = claims.time_issues()
            names = claims.nats.get("accounts")
            cause = ""
            if self._options.kind is ResolverKind.FULL and not self._options.allow_delete:
                cause = "delete must be enabled in server config"
            elif subject != claims.issuer:
                cause = "not self signed"
            elif subject not in self._trust("").trusted_keys:
                cause = "not trusted"
            elif issues:
                cause = str(issues[0])
            elif not isinstance(names, list) or not all(_is_account(name) for name in names):
                cause = "malformed request"
            elif self._control.system_account in names:
                cause = "not allowed to delete system account"
        except JwtError as error:
            cause = str(error)
            names = None
        if cause or names is None:
            raise ClaimsError("", f"delete accounts request by {subject} failed", cause)
        return [str(name) for name in dict.fromkeys(names)]


def _is_account(name: object) -> bool:
    return isinstance(name, str) and is_public_key(name, KeyKind.ACCOUNT)
