"""An auth callout service for tests: a nats-py client that answers as a test tells it to."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.msg import Msg

from auth import jwt
from auth.claims import AuthorizationRequestClaims, AuthorizationResponseClaims, UserClaims
from auth.nkey import KeyKind, KeyPair

ISSUER = KeyPair(KeyKind.ACCOUNT, bytes([61]) * 32)
OTHER_ISSUER = KeyPair(KeyKind.ACCOUNT, bytes([62]) * 32)
CURVE = KeyPair(KeyKind.CURVE, bytes([63]) * 32)
SUBJECT = "$SYS.REQ.USER.AUTH"
XKEY_HEADER = "Nats-Server-Xkey"


def payload_of(token: str) -> dict[str, Any]:
    """What a token says, as plain JSON."""
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


@dataclass
class Asked:
    """A request as the service got it, with answers to it that a test can bend."""

    claims: AuthorizationRequestClaims
    token: str
    message: Msg
    server_key: str = ""
    signer: KeyPair = field(default_factory=lambda: ISSUER)
    user_signer: KeyPair = field(default_factory=lambda: ISSUER)
    placed: str = "APP"

    @property
    def user(self) -> str:
        """The name that the client gave."""
        return self.claims.nats.connect_opts.user

    def claimed_user(self, **changes: Any) -> UserClaims:
        """The user that is asked for, in the account of the test."""
        claims = UserClaims.new(self.claims.nats.user_nkey)
        claims.name, claims.audience = self.user, self.placed
        for name, value in changes.items():
            setattr(claims if name in claims.__struct_fields__ else claims.nats, name, value)
        return claims

    def admitting(self, user: UserClaims | str | None = None, **changes: Any) -> AuthorizationResponseClaims:
        """The answer that admits a user."""
        token = user if isinstance(user, str) else jwt.encode(user or self.claimed_user(), self.user_signer)
        return self.answer(jwt=token, **changes)

    def answer(self, *, jwt: str = "", error: str = "", **changes: Any) -> AuthorizationResponseClaims:
        """An answer to this request."""
        claims = AuthorizationResponseClaims.new(self.claims.nats.user_nkey)
        claims.audience = self.claims.nats.server_id.id
        claims.nats.jwt, claims.nats.error = jwt, error
        for name, value in changes.items():
            setattr(claims if name in claims.__struct_fields__ else claims.nats, name, value)
        return claims

    def sealed(self, claims: AuthorizationResponseClaims) -> bytes:
        """The answer as it goes to the server: signed, and encrypted where the request was."""
        payload = jwt.encode(claims, self.signer).encode()
        return CURVE.seal(payload, self.server_key) if self.server_key else payload


Decide = Callable[[Asked], Awaitable[bytes | None]]
"""What the service answers; None is nothing at all."""


async def admit(asked: Asked) -> bytes:
    """Everybody is who he says to be."""
    return asked.sealed(asked.admitting())


async def refuse(asked: Asked) -> bytes:
    """Nobody is."""
    return asked.sealed(asked.answer(error="no such user"))


async def keep_silent(asked: Asked) -> None:
    """Says nothing."""


@dataclass
class Service:
    """A running service, and what it has been asked."""

    client: nats.NATS
    decide: Decide
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, message: Msg) -> None:
        """Answers one request."""
        server_key = (message.headers or {}).get(XKEY_HEADER, "")
        data = CURVE.open(message.data, server_key) if server_key else message.data
        claims = AuthorizationRequestClaims.from_token(data.decode())
        assert claims.validate(time.time()) == []
        asked = Asked(claims, data.decode(), message, server_key)
        self.asked.append(asked)
        answer = await self.decide(asked)
        if answer is not None:
            await message.respond(answer)


@asynccontextmanager
async def service(url: str, decide: Decide = admit, **options: Any) -> AsyncIterator[Service]:
    """Serves the requests of one server until the block ends."""
    client = await nats.connect(url, allow_reconnect=False, **({"user": "auth", "password": "pw"} | options))
    made = Service(client, decide)
    await client.subscribe(SUBJECT, cb=made.handle)
    await client.flush()
    try:
        yield made
    finally:
        await client.close()
