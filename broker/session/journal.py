"""Log lines about one connection: who it is, as nats-server labels it, and the same in parts for other formats."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from auth.evidence import ConnectionType
from auth.principal import Method
from broker.log import About
from broker.log.text import quoted

if TYPE_CHECKING:
    from auth.principal import Principal
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions

_KINDS: Final = {Method.NKEY: "nkey", Method.JWT: "jwt", Method.SENTINEL: "jwt"}


def address(session: Session) -> str:
    """Where it comes from, behind what a proxy says of that."""
    peer = session.address
    named = session.arrival.forwarded_for
    if not named:
        return peer
    return f"[{named}]/{peer}" if ":" in named else f"{named}/{peer}"


def label(session: Session) -> str:
    """Address, connection, and once it is known what the client calls itself and who it proved to be."""
    kind = "wid" if session.arrival.connection_type is ConnectionType.WEBSOCKET else "cid"
    text = f"{address(session)} - {kind}:{session.cid}"
    principal = session.principal
    if principal is None:
        return text
    program = _program(session.connect)
    if program:
        text += f" - {quoted(program)}"
    if principal.method is not Method.NONE:
        text += f" - {quoted(f'{_account(principal)}/{_identity(principal)}')}"
    return text


def about(session: Session, denial: str = "") -> About:
    """The same for formats that name the parts."""
    account, user = account_and_user(session)
    return About(
        label=label(session),
        cid=session.cid,
        address=session.address,
        account=account,
        user=user,
        denial=denial,
    )


def account_and_user(session: Session) -> tuple[str, str]:
    """The names of the account and of who it proved to be; both empty while that is not known."""
    principal = session.principal
    if principal is None or principal.method is Method.NONE:
        return "", ""
    return principal.account.name, _identity(principal)


def write(
    logger: logging.Logger, level: int, session: Session, text: str, *arguments: object, denial: str = ""
) -> None:
    """Logs a line about the session. `text` is a format; what comes from the wire belongs into the arguments."""
    if logger.isEnabledFor(level):
        whom = about(session, denial)
        logger.log(level, f"%s - {text}", whom.label, *arguments, extra={"about": whom})


def _program(connect: ConnectOptions) -> str:
    version = f"v{connect.version}" if connect.version else ""
    return ":".join(part for part in (version, connect.lang, connect.name) if part)


def _account(principal: Principal) -> str:
    account = principal.account
    return account.name if account.label == account.name else f"{account.name}/{account.label}"


def _identity(principal: Principal) -> str:
    if principal.method is Method.TOKEN:
        return "token"
    return f"{_KINDS.get(principal.method, 'user')}:{principal.lasting_name}"
