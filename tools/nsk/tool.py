"""Small clients over nats-py: publish, subscribe, ask, answer, and measure the way to the server and back.

They are for trying things out by hand. Each connects once and does not reconnect: what the server says goes
to the person who asked, at once and in the server's words.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from auth import jwt
from auth.claims import UserClaims
from auth.creds import CredsError, parse_creds
from auth.nkey import KeyPair
from tools.nsk.errors import NskError
from tools.nsk.private_inbox import SHARED_INBOX, inbox_prefix

Result = TypeVar("Result")

_CLOSE_SECONDS = 0.5
_GRACE_SECONDS = 0.1
_FLUSH_EVERY = 1000
_CLOSED = "the server closed the connection"
_SERVER_TEXTS = (
    "Permissions Violation for Publish with Reply of",
    "Permissions Violation for Publish to",
    "Permissions Violation for Subscription to",
    "User Authentication Revoked",
    "User Authentication Expired",
    "Account Authentication Expired",
    "Authentication Timeout",
    "Authorization Violation",
    "Maximum Payload Violation",
    "Maximum Connections Exceeded",
    "Slow Consumer",
    "_INBOX.",
)


class UnreachableError(NskError):
    """There is no server where one was looked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which server to connect to, and as whom: ``identity`` is a user's JWT and key, ``creds`` the file of them.

    ``curves`` are those that TLS may use, by the names of OpenSSL; the first one is used, since Python takes no more.
    ``timeout`` in seconds is for connecting and for replies.
    """

    urls: Sequence[str]
    creds: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    curves: tuple[str, ...] = ()
    tls_first: bool = False
    timeout: float = 5.0
    name: str = "nsk"
    identity: tuple[str, KeyPair] | None = field(default=None, repr=False)

    def tls_context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, with the system's authorities unless another is named. Raises NskError."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.curves:
                context.set_ecdh_curve(self.curves[0])
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except FileNotFoundError as error:
            missing = error.filename or self.ca or self.certificate
            raise NskError(f"`{missing}` does not exist - it was to be used for TLS") from None
        except (ssl.SSLError, OSError) as error:
            used = ", ".join(f"`{path}`" for path in (self.ca, self.certificate, self.key) if path)
            raise NskError(f"{used} cannot be used for TLS: {error}") from None
        return context

    def credentials(self) -> tuple[str, KeyPair] | None:
        """The user's JWT and key. Raises NskError."""
        if self.identity is not None or self.creds is None:
            return self.identity
        try:
            token, seed = parse_creds(self.creds.read_text("utf-8"))
            return token, KeyPair.from_seed(seed)
        except FileNotFoundError:
            raise NskError(f"stat {self.creds}: no such file or directory: `{self.creds}`") from None
        except (CredsError, ValueError) as error:
            raise NskError(f"`{self.creds}` is no credentials file: {error}") from None


class Link:
    """A connection, and the first thing that went wrong on it."""

    def __init__(self, target: Target) -> None:
        self.client = Client()
        self._target = target
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reason = ""

    async def open(self) -> None:
        """Connect. Raises NskError with the server's words, or the reason why no server was reached."""
        # asyncio warns of each TLS stream that ends while nats-py reads it; that is no news for a person.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        target = self._target
        credentials, context = target.credentials(), target.tls_context()
        token_callback: Callable[[], bytes] | None = None
        signature_callback: Callable[[str], bytes] | None = None
        prefix = ""
        if credentials is not None:
            token, pair = credentials
            token_callback, signature_callback = token.encode, partial(self._sign, pair)
            prefix = _inbox_prefix(token)
        try:
            await self.client.connect(
                list(target.urls),
                name=target.name,
                dont_randomize=True,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=max(1, round(target.timeout)),
                tls=context,
                tls_handshake_first=target.tls_first,
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                user_jwt_cb=token_callback,
                signature_cb=signature_callback,
                inbox_prefix=prefix or SHARED_INBOX,
            )
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            await self.close()
            kind = UnreachableError if isinstance(error, nats.errors.NoServersError | OSError) else NskError
            raise kind(self._why(error)) from None
        except NskError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection, or what there is of it."""
        # After a TLS handshake that failed, nats-py would wait forever for the end of a connection that is gone.
        with suppress(TimeoutError):
            await asyncio.wait_for(self.client.close(), _CLOSE_SECONDS)

    def _sign(self, pair: KeyPair, nonce: str) -> bytes:
        # A tls:// URL is a demand. Whoever stands in between could have taken TLS out of the server's INFO.
        secure = any(urlsplit(url).scheme == "tls" for url in self._target.urls)
        if secure and not self._target.tls_first and not self.client._server_info.get("tls_required"):
            raise NskError("the server does not offer TLS, which tls:// demands - nothing was sent to it")
        return base64.b64encode(pair.sign(nonce.encode()))

    def _why(self, error: Exception) -> str:
        where = ", ".join(self._target.urls)
        if isinstance(error, nats.errors.NoServersError):
            return f"cannot reach {where}: {self._reason or 'no server answers'}"
        if isinstance(error, TimeoutError):
            return f"{where} does not answer within {self._target.timeout:g} s"
        if isinstance(error, ssl.SSLError | ssl.CertificateError):
            hint = "" if self._target.ca else " - name its authority with --ca FILE"
            return f"TLS with {where} failed: {getattr(error, 'verify_message', '') or error}{hint}"
        if isinstance(error, nats.errors.Error):
            return f"{where} refused: {self.words(error)}"
        return f"cannot reach {where}: {_reason(error)}"

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.Error):
            self.fail(self.words(error))
        elif not isinstance(error, nats.errors.NoServersError):
            self._reason = _reason(error)

    async def _on_closed(self) -> None:
        last = self.client.last_error
        self.fail(self.words(last) if last else _CLOSED)

    def fail(self, text: str) -> None:
        """Note what went wrong first."""
        if not self._failure.done():
            self._failure.set_result(text)

    @staticmethod
    def words(error: Exception, *subjects: str) -> str:
        """What the server said. nats-py makes it lower case; what is known of it gets its letters back."""
        if isinstance(error, nats.errors.AuthorizationError):
            return "Authorization Violation"
        if isinstance(error, nats.errors.UnexpectedEOF):
            return _CLOSED
        text = str(error).removeprefix("nats: ").strip().strip("'")
        for known in (*_SERVER_TEXTS, *(f'"{subject}"' for subject in subjects)):
            text = text.replace(known.lower(), known)
        return text

    async def done(self, work: Awaitable[Result], *subjects: str) -> Result:
        """Wait for the work, or for the first failure, which is raised as NskError; so are errors but timeouts."""
        task = asyncio.ensure_future(work)
        try:
            waiting: set[asyncio.Future[Any]] = {task, self._failure}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                # What was refused may still be answered; nats-py stumbles when nobody waits for that any more.
                await asyncio.wait({task}, timeout=_GRACE_SECONDS)
            self.check(*subjects)
            return await task
        except nats.errors.TimeoutError:
            raise
        except nats.errors.Error as error:
            raise NskError(str(error)) from None
        finally:
            task.cancel()
            await asyncio.wait({task})
            # Looked at, so that asyncio does not report it as forgotten.
            _ = task.cancelled() or task.exception()

    def check(self, *subjects: str) -> None:
        """Raise NskError when something has gone wrong."""
        if self._failure.done():
            raise NskError(self.words(nats.errors.Error(self._failure.result()), *subjects))

    async def flush(self, *subjects: str) -> None:
        """Wait until the server has seen everything, and raise what it found wrong."""
        try:
            await self.done(self.client.flush(max(1, round(self._target.timeout))), *subjects)
        except nats.errors.TimeoutError:
            raise NskError(f"the server does not answer within {self._target.timeout:g} s") from None
        self.check(*subjects)


@asynccontextmanager
async def linked(target: Target) -> AsyncIterator[Link]:
    """A connection that is closed at the end. Raises NskError when there is none to be had."""
    link = Link(target)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def publish(
    target: Target, subject: str, payload: bytes, *, count: int = 1, progress: Callable[[int], None] | None = None
) -> float:
    """Publish a message as often as asked; the seconds it took until the server had them all. Raises NskError."""
    async with linked(target) as link:
        begin = time.perf_counter()
        for number in range(1, count + 1):
            try:
                await link.client.publish(subject, payload)
            except nats.errors.Error as error:
                raise NskError(str(error)) from None
            if number % _FLUSH_EVERY == 0:
                await link.flush(subject)
                if progress:
                    progress(number)
        await link.flush(subject)
        if progress:
            progress(count)
        return time.perf_counter() - begin


async def subscribe(
    target: Target,
    subject: str,
    receive: Callable[[Msg], Awaitable[None]],
    *,
    queue: str = "",
    maximum: int = -1,
    ready: Callable[[], None] | None = None,
) -> None:
    """Hand every message to ``receive`` until there have been ``maximum``, or forever. Raises NskError."""
    async with linked(target) as link:
        subscription = await link.done(link.client.subscribe(subject, queue=queue), subject, queue)
        await link.flush(subject, queue)
        if ready:
            ready()
        seen = 0
        while seen != maximum:
            message = await link.done(subscription.next_msg(timeout=None), subject, queue)
            seen += 1
            await receive(message)
            link.check(subject, queue)
        await link.flush(subject, queue)


async def request(target: Target, subject: str, payload: bytes, *, count: int = 1) -> AsyncIterator[Msg]:
    """The replies to a request that is sent as often as asked, one after the other. Raises NskError."""
    async with linked(target) as link:
        for _ in range(count):
            try:
                yield await link.done(link.client.request(subject, payload, timeout=target.timeout), subject)
            except nats.errors.TimeoutError:
                raise NskError("request timed out") from None


async def round_trip(target: Target) -> tuple[str, float]:
    """The server that answered, and the seconds for a PING to it and its PONG back. Raises NskError."""
    async with linked(target) as link:
        connected = link.client.connected_url
        begin = time.perf_counter()
        await link.flush()
        return connected.geturl() if connected else "", time.perf_counter() - begin


def _inbox_prefix(token: str) -> str:
    """Where a user with a private inbox receives replies; nothing where that is not known from its JWT."""
    try:
        claims = jwt.decode_unverified(token)
    except jwt.JwtError:
        return ""
    return inbox_prefix(claims) if isinstance(claims, UserClaims) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused - is a server running there?"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
