"""The moment of a reload: the new configuration takes the place of the old one, and every session is held to it.

``survey`` looks for the sessions for which something changes, and compares their passwords where that is slow. ``swap``
is one step of the loop and cannot fail: from then on whoever comes is judged by the new configuration. ``judge`` and
``refresh`` go through the sessions of before in turns of a few milliseconds, between which the loop delivers: first
those that may have lost something, then those to which only the places of the new file are new. A session is under its
old policy or its new one, never in between, and none is forgotten: a reload that is called off judges the rest at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from auth.errors import AuthError
from broker.control.equipment import set_ceilings
from broker.control.review import close_surplus, forget_accounts, review
from broker.net.service import room_for_connections
from broker.session.states import State
from broker.wire.errors import CloseReason, ErrorText
from tls.identity import CertificateFormatError
from tls.pins import PinMismatchError

if TYPE_CHECKING:
    from auth.evidence import CertificateFacts, Evidence, LocalPeer
    from auth.principal import Principal
    from broker.config.options import Options, TLSOptions
    from broker.control.control import Control
    from broker.net.connection import Connection
    from broker.net.service import Service
    from broker.reload.prepare import Prepared
    from broker.session.session import Session
    from broker.wire.info import ServerInfo

TURN_SECONDS: Final = 0.003
"""How long sessions are worked on before the loop has its turn."""

ItemT = TypeVar("ItemT")
ProofKey = tuple[
    str, str, str, str | None, str | None, str | None, str | None, "CertificateFacts | None", "LocalPeer | None"
]
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
    changed: list[Connection] = field(default_factory=list)
    """Connections that have to be judged."""
    unchanged: list[tuple[Session, Principal]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Infos:
    """What INFO says from then on: to clients of the port, of the WebSocket port, and of the Unix socket."""

    clients: ServerInfo
    websocket: ServerInfo
    unix: ServerInfo


@dataclass(slots=True)
class Survey:
    """What was found out about the sessions before anything is changed."""

    seen: dict[Session, Principal | None] = field(default_factory=dict)
    """Sessions with who they were when they were looked at."""
    unchanged: dict[Session, Principal] = field(default_factory=dict)
    """Those of them for which nothing changes."""
    proofs: Proofs = field(default_factory=dict)


async def in_turns(service: Service, items: Iterable[ItemT], work: Callable[[ItemT], None]) -> None:
    """Does work on each item, in turns with everything else that the loop has to do.

    Where it is called off, all that is left is done at once.
    """
    left = deque(items)
    try:
        while left:
            end = time.perf_counter() + TURN_SECONDS
            while left and time.perf_counter() < end:
                work(left.popleft())
            service.flush_dirty()
            await asyncio.sleep(0)
    finally:
        while left:
            work(left.popleft())
        service.flush_dirty()


async def survey(service: Service, prepared: Prepared) -> Survey:
    """Looks at the live sessions, and compares passwords with hashes that are new, in the thread for that."""
    found = Survey()
    loop = asyncio.get_running_loop()
    while True:
        waiting: dict[ProofKey, tuple[Principal, Evidence]] = {}
        new = [one for one in service.connections.values() if _is_new(found, one)]
        if not new:
            return found
        # Who logs in meanwhile is looked at in the next round; the last one finds nobody, and nobody can come after it.
        await in_turns(service, new, partial(_look, service.control, prepared, found, waiting))
        for key, (principal, evidence) in waiting.items():
            work = partial(_readmit, prepared, principal, evidence)
            found.proofs[key] = await loop.run_in_executor(service.verifier(), work)


def _is_new(found: Survey, connection: Connection) -> bool:
    """Whether somebody is logged in there who has not been looked at."""
    session = connection.session
    principal = session.principal
    if session.state is not State.ACTIVE or principal is None:
        return False
    return found.seen.get(session) is not principal


def _look(
    control: Control,
    prepared: Prepared,
    found: Survey,
    waiting: dict[ProofKey, tuple[Principal, Evidence]],
    connection: Connection,
) -> None:
    session = connection.session
    principal = found.seen[session] = session.principal
    if session.state is not State.ACTIVE or principal is None:
        return
    if prepared.standing.holds(principal):
        found.unchanged[session] = principal
        return
    evidence = control.evidence(session, session.connect)
    key = _key(principal, evidence)
    if key not in found.proofs and prepared.authenticator.readmission_is_slow(principal, evidence, prepared.earlier):
        waiting[key] = principal, evidence


def _key(principal: Principal, evidence: Evidence) -> ProofKey:
    """Everything that the verdict depends on: what one session proves must not be said of another."""
    return (
        principal.account.name,
        principal.user,
        principal.method.value,
        principal.proxy_key,
        evidence.unverified_user,
        evidence.unverified_password,
        evidence.unverified_token,
        evidence.certificate,
        evidence.peer,
    )


def _readmit(prepared: Prepared, principal: Principal, evidence: Evidence) -> Principal | AuthError:
    try:
        return prepared.authenticator.readmit(principal, evidence, time.time(), prepared.earlier)
    except AuthError as problem:
        return problem


def swap(service: Service, prepared: Prepared, infos: Infos, found: Survey) -> Effects:
    """Puts the new configuration in place; those who logged in before are left to ``judge`` and ``refresh``."""
    control, old, new = service.control, service.options, prepared.options
    was_required, had_nonce = control.authenticator.required, control.authenticator.nonce_required
    service.options = control.options = new
    service.admission.adopt(new.admission, room_for_connections(new.max_connections))
    service.certificates.put(prepared.served)
    control.authenticator = prepared.authenticator
    control.server_info = infos.clients
    control.websocket_info = infos.websocket
    control.unix_info = infos.unix
    is_stricter = (control.authenticator.required and not was_required) or (
        control.authenticator.nonce_required and not had_nonce
    )
    has_new_sizes = new.max_payload != old.max_payload
    has_new_limits = has_new_sizes or _clocks(new) != _clocks(old)
    # What crosses walls changes first, so that nobody is heard by the old rules who is held to the new ones.
    control.wiring.refresh(prepared.changed_accounts)
    for name, tenant in control.tenants.items():
        # Those that mean the same need no new wiring, only what names their places in the new file.
        account = control.authenticator.account(name) if name in prepared.standing.accounts else None
        if account is not None:
            tenant.account = account
    effects = Effects()
    for connection in list(service.connections.values()):
        session = connection.session
        if has_new_limits:
            _set_limits(connection, new)
        principal = session.principal
        if principal is not None and session.state is State.ACTIVE:
            if has_new_sizes:
                set_ceilings(session, principal, new.max_payload)
            if found.unchanged.get(session) is principal:
                effects.unchanged.append((session, principal))
            else:
                effects.changed.append(connection)
        elif session.state is not State.CLOSED:
            session.lane.maximum_payload = new.max_payload
            if is_stricter and session.state is State.GREETED:
                _turn_away(connection)
                effects.closed += 1
    if new.logging != old.logging:
        service.retrace()
    service.flush_dirty()
    return effects


async def judge(service: Service, prepared: Prepared, old: Options, found: Survey, effects: Effects) -> None:
    """Holds those who were admitted by the earlier settings to the new ones."""
    control = service.control

    def hold(connection: Connection) -> None:
        session = connection.session
        principal = session.principal
        if session.state is State.ACTIVE and principal is not None:
            evidence = control.evidence(session, session.connect)
            verdict = found.proofs.get(_key(principal, evidence)) or _readmit(prepared, principal, evidence)
            _hold(control, session, verdict, effects)

    forget_accounts(control)
    try:
        await in_turns(service, effects.changed, hold)
    finally:
        close_surplus(control)
        _close_surplus(service, effects)
        service.flush_dirty()
        forget_accounts(control)
        await in_turns(service, _newly_unpinned(service, old), partial(_check_pin, service, effects))


def _clocks(options: Options) -> tuple[float, int, int]:
    return options.ping_interval, options.ping_max, options.max_control_line


def _set_limits(connection: Connection, options: Options) -> None:
    """The running timers end as they were set; the next ones have the new length."""
    session = connection.session
    session.liveness.interval = connection.ping_interval_of(options)
    session.liveness.maximum = options.ping_max
    session.lane.maximum_control_line = options.max_control_line


def _hold(control: Control, session: Session, verdict: Principal | AuthError, effects: Effects) -> None:
    """Lets a session go on as who it is now, or ends it."""
    if isinstance(verdict, AuthError):
        control.trail.authentication_failed(session, verdict)
        reason = CloseReason(verdict.closed_reason)
        if verdict.client_text:
            session.fail(verdict.client_text, reason)
        else:
            session.close(reason)
    else:
        effects.trimmed += review(control, session, verdict)
    effects.closed += session.state is State.CLOSED


def _turn_away(connection: Connection) -> None:
    """Ends a connection that was greeted by rules that do not hold any more; it may come again."""
    if connection.takes_text:
        connection.session.fail(ErrorText.AUTHORIZATION_VIOLATION, CloseReason.AUTHENTICATION_FAILURE)
    else:
        # Before its handshake a client takes no text.
        connection.client.discard()
        connection.session.close(CloseReason.AUTHENTICATION_FAILURE)


def _newly_unpinned(service: Service, old: Options) -> list[Connection]:
    """Connections whose certificate may not be pinned any more."""
    pairs = ((service.options.tls, old.tls), (service.options.websocket.tls, old.websocket.tls))
    if all(_pins(new) in (frozenset(), _pins(before)) for new, before in pairs):
        return []
    return list(service.connections.values())


def _pins(tls: TLSOptions | None) -> frozenset[str]:
    return frozenset() if tls is None else tls.pinned_certs


def _check_pin(service: Service, effects: Effects, connection: Connection) -> None:
    """Ends a connection whose certificate is not among those that are pinned now."""
    session, sealed = connection.session, connection.sealed
    if sealed is None or not session.secured or session.state is State.CLOSED:
        return
    try:
        service.check_peer(sealed.connection, connection.tls_options)
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

    def renew(unchanged: tuple[Session, Principal]) -> None:
        session, principal = unchanged
        if session.state is State.ACTIVE and session.principal is principal:
            evidence = control.evidence(session, session.connect)
            _hold(control, session, _readmit(prepared, principal, evidence), effects)

    await in_turns(service, effects.unchanged, renew)
