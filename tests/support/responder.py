"""An OCSP responder for tests, that answers as it is told: right, wrong, late, or not at all."""

from __future__ import annotations

import asyncio
import base64
import datetime
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from tests.support.authorities import DER, Holder, now
from tests.support.ports import reserve_port

GOOD = ocsp.OCSPCertStatus.GOOD
REVOKED = ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN


@dataclass
class Script:
    """What is answered."""

    revoked: set[int] = field(default_factory=set)
    """Serial numbers."""
    unknown: set[int] = field(default_factory=set)
    since: datetime.timedelta = datetime.timedelta(minutes=-1)
    until: datetime.timedelta | None = datetime.timedelta(hours=1)
    """From now; None leaves the time of the next answer open."""
    delegate: Holder | None = None
    """Who signs in place of the authority."""
    about: Holder | None = None
    """Whom the answers are about in place of the one that was asked for."""
    status: int = 200
    """Of HTTP."""
    refusal: ocsp.OCSPResponseStatus | None = None
    """An answer that says nothing of any certificate."""
    body: bytes | None = None
    """What is sent in place of any answer."""
    methods: tuple[str, ...] = ("POST", "GET")
    redirect: str = ""
    gate: threading.Event | None = None
    """What every answer waits for."""


def answer(script: Script, holder: Holder, issuer: Holder) -> bytes:
    """What a responder with that script says of a certificate, in DER."""
    if script.refusal is not None:
        return ocsp.OCSPResponseBuilder.build_unsuccessful(script.refusal).public_bytes(DER)
    about = script.about or holder
    others = UNKNOWN if about.serial in script.unknown else GOOD
    status = REVOKED if about.serial in script.revoked else others
    signer = script.delegate or issuer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about.certificate,
            issuer=issuer.certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=now() + script.since,
            next_update=None if script.until is None else now() + script.until,
            revocation_time=now() if status is REVOKED else None,
            revocation_reason=x509.ReasonFlags.key_compromise if status is REVOKED else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if script.delegate is not None:
        builder = builder.certificates([script.delegate.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(DER)


@dataclass
class Responder:
    """A responder on a port of this machine. It knows the certificates that it was told of."""

    script: Script = field(default_factory=Script)
    port: int = field(default_factory=reserve_port)
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Method and serial number of each question."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set with each question."""
    _known: dict[int, Holder] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def issue(self, issuer: Holder, name: str, **more: Any) -> Holder:
        """A certificate that names this responder."""
        holder = issuer.issue(name, ocsp=[self.url], **more)
        self.know(holder)
        return holder

    def know(self, holder: Holder) -> None:
        self._known[holder.serial] = holder

    async def _handle(self, request: web.Request) -> web.Response:
        script = self.script
        if request.method == "GET":
            encoded = urllib.parse.unquote(request.raw_path.lstrip("/"))
            question = ocsp.load_der_ocsp_request(base64.b64decode(encoded))
        else:
            question = ocsp.load_der_ocsp_request(await request.read())
        self.asked.append((request.method, question.serial_number))
        self.arrived.set()
        if script.gate is not None:
            await asyncio.to_thread(script.gate.wait)
        if script.redirect:
            raise web.HTTPFound(script.redirect)
        if request.method not in script.methods:
            return web.Response(status=405)
        holder = self._known[question.serial_number]
        assert holder.issuer is not None
        body = script.body if script.body is not None else answer(script, holder, holder.issuer)
        return web.Response(status=script.status, body=body, content_type="application/ocsp-response")

    async def question(self) -> None:
        """Returns once somebody has asked since the last call."""
        await asyncio.to_thread(self.arrived.wait)
        self.arrived.clear()

    @contextmanager
    def open(self) -> Iterator[Responder]:
        """Answers as long as the block lasts, in a thread of its own."""
        ready = threading.Event()
        loop = asyncio.new_event_loop()
        done = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(ready, done),))
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            if self.script.gate is not None:
                self.script.gate.set()
            loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()

    async def _serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            ready.set()
            await done.wait()
        finally:
            ready.set()
            await runner.cleanup()
