"""What is told of a login to whoever decides about it: the claims of an authorization request, or a Login."""

from __future__ import annotations

import math
from base64 import b64encode
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from auth.claims.authorization import (
    REQUEST_AUDIENCE,
    AuthorizationRequestClaims,
    AuthorizationRequestData,
    ClientFacts,
    ConnectFacts,
    EncryptionFacts,
    ServerFacts,
)
from auth.login import Login
from broker.session.record import REDACTED
from broker.wire.info import PROVIDED_RELEASE
from tls.names import suite_name, version_name

if TYPE_CHECKING:
    from auth.callout import Delegation
    from broker.control.control import Control
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions
    from tls.identity import Secured

XKEY_HEADER: Final = "Nats-Server-Xkey"
"""The header that names the server's public curve key, where the request is encrypted."""

_PEM_LINE: Final = 64
"""Characters in a line of PEM (RFC 7468, section 2)."""


def request_claims(
    control: Control,
    session: Session,
    connect: ConnectOptions,
    delegation: Delegation,
    *,
    secured: Secured | None,
    user_key: str,
    now: float,
) -> AuthorizationRequestClaims:
    """The claims of a request, not yet signed. ``user_key`` is the key that the answer has to be about.

    ``now`` is in Unix seconds, and the request holds as long as the login may take.
    """
    info, options, callout = control.server_info, control.options, delegation.callout
    signature = connect.unverified_signature
    return AuthorizationRequestClaims(
        audience=REQUEST_AUDIENCE,
        subject="" if callout is None else callout.issuer,
        expires_at=math.ceil(now + options.authorization_timeout),
        nats=AuthorizationRequestData(
            server_id=ServerFacts(
                name=info.server_name,
                host=info.host,
                id=info.server_id,
                version=PROVIDED_RELEASE,
                tags=list(options.server_tags),
                xkey=control.identity.curve.public if callout is not None and callout.xkey else "",
            ),
            user_nkey=user_key,
            client_info=ClientFacts(
                host=session.source,
                id=session.cid,
                user=_claimed(connect, delegation),
                name=connect.name,
                tags=list(delegation.tags),
                name_tag=delegation.name,
                kind="Client",
                type=session.arrival.shown_type,
                nonce=session.nonce if signature else "",
            ),
            connect_opts=ConnectFacts(
                jwt=delegation.token or connect.unverified_jwt,
                nkey=connect.unverified_nkey,
                signature=signature,
                token=connect.unverified_token,
                user=connect.unverified_user,
                password=connect.unverified_password,
                name=connect.name,
                lang=connect.lang,
                version=connect.version,
                protocol=connect.protocol,
            ),
            client_tls=None if secured is None else _encryption(secured),
        ),
    )


def _claimed(connect: ConnectOptions, delegation: Delegation) -> str:
    """Who the client says to be, or else the user of its JWT."""
    token = REDACTED if connect.unverified_token else ""
    return connect.unverified_nkey or connect.unverified_user or delegation.public_key or token


def _encryption(secured: Secured) -> EncryptionFacts:
    return EncryptionFacts(
        version=version_name(secured.version),
        cipher=suite_name(secured.suite),
        verified_chains=[[_pem(der) for der in secured.chain]] if secured.chain else [],
    )


def _pem(der: bytes) -> str:
    body = "\n".join(wrap(b64encode(der).decode("ascii"), _PEM_LINE))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def login_of(session: Session, connect: ConnectOptions, secured: Secured | None) -> Login:
    """The same for a function of the embedding program."""
    return Login(
        user=connect.unverified_user,
        password=connect.unverified_password,
        token=connect.unverified_token,
        jwt=connect.unverified_jwt,
        nkey=connect.unverified_nkey,
        signature=connect.unverified_signature,
        nonce=session.nonce,
        client_name=connect.name,
        language=connect.lang,
        version=connect.version,
        remote_ip=session.remote_ip,
        connection_type=session.arrival.connection_type,
        tls=None if secured is None else (secured.version, secured.suite),
        certificate=secured.chain[0] if secured is not None and secured.chain else None,
    )
