"""New claims of an account, pushed to a server that keeps accounts in memory.

Whoever may publish in the system account may push, but what is pushed must be signed by a trusted operator, and be
about the account that it is pushed for. The claims hold until the configuration is read again.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from auth.claims import AccountClaims
from auth.envelope import JwtError
from auth.errors import AuthError
from broker.control.live import update_account
from broker.log.text import printable
from broker.system.subjects import account_in

if TYPE_CHECKING:
    from broker.control.control import Control
    from broker.control.internal import Received
    from broker.system.desk import Desk

LOGGER: Final = logging.getLogger("natskeep.system")

UPDATED: Final = "jwt updated"
SKIPPED: Final = "jwt update skipped"
EMPTY: Final = "jwt update error"
FAILED: Final = "jwt update resulted in error"


class Status(msgspec.Struct, kw_only=True):
    """What became of an update."""

    account: str
    code: int
    message: str


class Problem(msgspec.Struct, kw_only=True):
    """Why there was none."""

    account: str
    code: int
    description: str


class ClaimsError(ValueError):
    """Claims that do not take the place of others; ``message`` is the kind of failure."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(f"{message} - {cause}")


class Claims:
    """Takes updates."""

    def __init__(self, control: Control, desk: Desk) -> None:
        self._control = control
        self._desk = desk

    def update(self, received: Received) -> None:
        """Puts the claims in the payload in place of those that the account has."""
        name = account_in(received.subject)
        try:
            message = self._update(name, received.payload)
        except ClaimsError as error:
            LOGGER.error("Account %s: %s", printable(name), printable(str(error)))
            if received.reply:
                problem = Problem(account=name, code=HTTPStatus.INTERNAL_SERVER_ERROR, description=str(error))
                self._desk.fail(received, problem)
        else:
            LOGGER.debug("Account %s: %s", printable(name), message)
            if received.reply:
                self._desk.answer(received, Status(account=name, code=HTTPStatus.OK, message=message))

    def _update(self, name: str, payload: bytes) -> str:
        if not payload:
            raise ClaimsError(EMPTY, "request body is empty")
        try:
            token = payload.decode("ascii")
            subject = AccountClaims.from_token(token).subject
        except (UnicodeDecodeError, JwtError) as error:
            cause = str(error) if isinstance(error, JwtError) else "token is not ASCII"
            raise ClaimsError(FAILED, cause) from None
        if subject != name:
            raise ClaimsError(FAILED, "subject does not match jwt content")
        if name not in self._control.tenants:
            return SKIPPED
        try:
            update_account(self._control, token)
        except AuthError as error:
            raise ClaimsError(FAILED, str(error)) from None
        return UPDATED
