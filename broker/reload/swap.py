"""The moment of a reload: the new configuration takes the place of the old one, and every session is held to it.

The swap runs in one piece in the loop and cannot fail. Sessions for which nothing changed are passed over; they get
principals that name the places of the new file in `refresh`, a few at a time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from auth.errors import AuthError
from broker.control import audit
from broker.control.equipment import set_ceilings
from broker.control.review import close_surplus, forget_accounts, review
from broker.session.states import State
from broker.wire.errors import CloseReason, ErrorText
from tls.identity import CertificateFormatError
from tls.pins import PinMismatchError

if TYPE_CHECKING:
    from auth.evidence import Evidence
    from auth.principal import Principal
    from broker.config.options import Options
    from broker.control.control import Control
    from broker.net.connection import Connection
    from broker.net.service import Service
    from broker.reload.prepare import Prepared
    from broker.session.session import Session
    from broker.wire.info import ServerInfo

REFRESHED_A_TURN: Final = 64
"""Sessions that get a new principal in one turn of the loop, where nothing else changes for them."""

ProofKey = tuple[str, str, str | None, str | None, str | None]
Proofs = dict[ProofKey, "Principal | AuthError"]
"""What came of comparing passwords again, by what was compared."""


@dataclass(slots=True)
class Effects:
    """What became of the sessions."""

    closed: int = 0
    trimmed: int = 0
    """Subscriptions that their sessions lost."""
    surplus: int = 0
    """Connections closed because the server takes fewer now."""
    unpinned: int = 0
    """Connections closed because their certificate is not pinned."""
    unchanged: list[tuple[Session, Principal]] = field(default_factory=list)


async def prove(service: Service, prepared: Prepared) -> Proofs:
    """Compares the passwords of live sessions with hashes that are new, in the thread for that."""
    proofs: Proofs = {}
    control, loop = service.control, asyncio.get_running_loop()
    while True:
        waiting: dict[ProofKey, tuple[Principal, Evidence]] = {}
        for connection in service.connections.values():
            session, principal = connection.session, connection.session.principal
            if session.state is not State.ACTIVE or principal is None or prepared.standing.holds(principal):
                continue
            evidence = control.evidence(session, session.connect)
            key = _key(principal, evidence)
            if key not in proofs and prepared.authenticator.readmission_is_slow(principal, evidence, prepared.earlier):
                waiting[key] = principal, evidence
        # Who logs in meanwhile with a password that was not compared yet, is compared in the next round.
        if not waiting:
            return proofs
        for key, (principal, evidence) in waiting.items():
            work = partial(_readmit, prepared, principal, evidence)
            proofs[key] = await loop.run_in_executor(service.verifier(), work)


def _key(principal: Principal, evidence: Evidence) -> ProofKey:
    user, password, token = evidence.unverified_user, evidence.unverified_password, evidence.unverified_token
    return principal.account.name, principal.method.value, user, password, token


def _readmit(prepared: Prepared, principal: Principal, evidence: Evidence) -> Principal | AuthError:
    try:
        return prepared.authenticator.readmit(principal, evidence, time.time(), prepared.earlier)
    except AuthError as problem:
        return problem


def swap(service: Service, prepared: Prepared, info: ServerInfo, proofs: Proofs) -> Effects:
    """Puts the new configuration in place and holds every session to it."""
    control, old, new = service.control, service.options, prepared.options
    was_required, had_nonce = control.authenticator.required, control.authenticator.nonce_required
    service.options = control.options = new
    service.tls_context = prepared.tls_context
    control.authenticator = prepared.authenticator
    control.server_info = info
    is_stricter = (control.authenticator.required and not was_required) or (
        control.authenticator.nonce_required and not had_nonce
    )
    # What crosses walls changes first, so that nobody is heard by the old rules who is held to the new ones.
    control.wiring.refresh()
    effects = Effects()
    for connection in list(service.connections.values()):
        session = connection.session
        _set_clocks(session, new)
        session.lane.maximum_control_line = new.max_control_line
        principal = session.principal
        if session.state is State.ACTIVE and principal is not None:
            if new.max_payload != old.max_payload:
                set_ceilings(session, principal, new.max_payload)
            if prepared.standing.holds(principal):
                effects.unchanged.append((session, principal))
            else:
                evidence = control.evidence(session, session.connect)
                verdict = proofs.get(_key(principal, evidence)) or _readmit(prepared, principal, evidence)
                _hold(control, session, verdict, effects)
        elif session.state is not State.CLOSED:
            session.lane.maximum_payload = new.max_payload
            if is_stricter and session.state is State.GREETED:
                _turn_away(connection, is_open=new.tls is None or session.secured)
                effects.closed += 1
    forget_accounts(control)
    close_surplus(control)
    _check_pins(service, old, effects)
    if new.logging != old.logging:
        service.retrace()
    _close_surplus(service, effects)
    service.flush_dirty()
    forget_accounts(control)
    return effects


def _set_clocks(session: Session, options: Options) -> None:
    """The running timers end as they were set; the next ones have the new length."""
    session.liveness.interval = options.ping_interval
    session.liveness.maximum = options.ping_max


def _hold(control: Control, session: Session, verdict: Principal | AuthError, effects: Effects) -> None:
    """Lets a session go on as who it is now, or ends it."""
    if isinstance(verdict, AuthError):
        audit.authentication_failed(session, verdict)
        reason = CloseReason(verdict.closed_reason)
        if verdict.client_text:
            session.fail(verdict.client_text, reason)
        else:
            session.close(reason)
    else:
        effects.trimmed += review(control, session, verdict)
    effects.closed += session.state is State.CLOSED


def _turn_away(connection: Connection, *, is_open: bool) -> None:
    """Ends a connection that was greeted by rules that do not hold any more; it may come again."""
    if is_open:
        connection.session.fail(ErrorText.AUTHORIZATION_VIOLATION, CloseReason.AUTHENTICATION_FAILURE)
    else:
        # Before its handshake a client takes no text.
        connection.client.discard()
        connection.session.close(CloseReason.AUTHENTICATION_FAILURE)


def _check_pins(service: Service, old: Options, effects: Effects) -> None:
    """Ends connections whose certificate is not among those that are pinned now."""
    pinned = frozenset() if service.options.tls is None else service.options.tls.pinned_certs
    if not pinned or (old.tls is not None and pinned == old.tls.pinned_certs):
        return
    for connection in list(service.connections.values()):
        session, channel = connection.session, connection.channel
        if channel is None or not session.secured or session.state is State.CLOSED:
            continue
        try:
            service.check_peer(channel.connection)
        except (CertificateFormatError, PinMismatchError):
            session.close(CloseReason.TLS_HANDSHAKE_FAILURE)
            effects.unpinned += 1


def _close_surplus(service: Service, effects: Effects) -> None:
    """Ends the newest connections where there are more than the server takes."""
    ceiling = service.options.max_connections
    living = [one.session for one in service.connections.values() if one.session.state is not State.CLOSED]
    if not 0 <= ceiling < len(living):
        return
    living.sort(key=lambda session: session.cid)
    for session in living[ceiling:]:
        session.fail(ErrorText.CONNECTIONS_EXCEEDED, CloseReason.MAXIMUM_CONNECTIONS)
        effects.surplus += 1


async def refresh(service: Service, prepared: Prepared, effects: Effects) -> None:
    """Gives sessions that only the places of declarations changed for principals that name the new places."""
    control = service.control
    left = iter(effects.unchanged)
    while some := list(islice(left, REFRESHED_A_TURN)):
        if control.authenticator is not prepared.authenticator:
            return
        for session, principal in some:
            if session.state is State.ACTIVE and session.principal is principal:
                evidence = control.evidence(session, session.connect)
                _hold(control, session, _readmit(prepared, principal, evidence), effects)
        service.flush_dirty()
        await asyncio.sleep(0)
