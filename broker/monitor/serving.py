"""The glue to aiohttp; imported only where a monitoring port is asked for."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from broker.monitor.access import Access
from broker.monitor.endpoints import METHODS, NOT_ALLOWED, UNAUTHORIZED, answer, below, is_page, page
from broker.monitor.loading import load
from broker.net.certificates import MONITORING
from broker.net.failures import described
from broker.net.listener import BACKLOG
from broker.net.stream import SecuredStreams

if TYPE_CHECKING:
    from broker.monitor.ui.pages import Pages
    from broker.monitor.watched import Watched

LOGGER: Final = logging.getLogger("natskeep.monitor")
MOST_CONNECTIONS: Final = 64
"""Connections at one time; for one more, the one that came first goes. They are among the few descriptors that are kept
from clients, whom nobody at this port may shut out."""

_NOWHERE: Final = logging.Logger("requests", logging.CRITICAL)
"""Requests are not logged."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long a request that is being answered may hold up the end of the server."""

KEEP_ALIVE_SECONDS: Final = 5.0
"""Seconds that a connection may go without a whole request, as the reference gives it."""

STREAMED_FROM: Final = 64 * 1024
"""Bytes from which a page is sent in pieces: to hand over megabytes at once would hold up the loop."""

TURN_SECONDS: Final = 0.002
"""How long parts of a page are made before others have a turn: each turn of the loop costs, and so does waiting."""

_PAGES: Final = "broker.monitor.ui.pages"


async def serve(watched: Watched, listening: socket.socket, *, secure: bool) -> web.AppRunner:
    """Answers requests on the socket until the runner is cleaned up; only over TLS where it is to be secure."""

    access = Access()
    made: list[Pages] = []

    async def pages() -> Pages:
        module = await load(_PAGES)
        if not made:
            made.append(module.Pages(watched))
        return made[0]

    async def respond(request: web.Request) -> web.StreamResponse:
        monitor = watched.options.monitor
        authorization = request.headers.get("Authorization", "")
        viewer = await access.viewer(monitor.access, authorization, below(monitor.base_path, request.path))
        found = UNAUTHORIZED
        if viewer is not None and is_page(watched, below(monitor.base_path, request.path)):
            found = page(watched, await pages(), request.method, request.path, request.query, viewer=viewer)
        elif viewer is not None:
            found = answer(watched, request.method, request.path, request.query, viewer)
        headers = {"Content-Type": found.content_type, **dict(found.headers)}
        if monitor.access is not None:
            headers["Cache-Control"] = "no-store"
        if found is UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Basic realm="natskeep", Bearer realm="natskeep"'
        if found.is_open and monitor.access is None:
            headers["Access-Control-Allow-Origin"] = "*"
        else:
            headers["X-Content-Type-Options"] = "nosniff"
        if found is NOT_ALLOWED:
            headers["Allow"] = ", ".join(METHODS)
        if isinstance(found.body, bytes):
            return web.Response(status=found.status, body=found.body, headers=headers)
        return await _in_parts(request, found.status, found.body, headers)

    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", respond)
    application.on_response_prepare.append(_hide_library)
    runner = web.AppRunner(application, shutdown_timeout=SHUTDOWN_SECONDS)
    service = watched.service
    accepting: SecuredStreams | asyncio.Server

    async def close(_: web.Application) -> None:
        accepting.close()

    application.on_shutdown.append(close)
    await runner.setup()
    if secure:
        # It is asked for each time: a reload, or a renewal, may have put another one in place.
        context = partial(service.certificates.context, MONITORING)
        accepting = SecuredStreams(service, listening, context, lambda: _Requests(runner, service.loop))
        accepting.start()
    else:
        accepting = await service.loop.create_server(
            lambda: _Requests(runner, service.loop), sock=listening, backlog=BACKLOG
        )
    return runner


class _Requests(web.RequestHandler):
    """What answers on one connection. What the library says of requests may quote them, and the secrets in them."""

    __slots__ = ("_server",)

    def __init__(self, runner: web.AppRunner, loop: asyncio.AbstractEventLoop) -> None:
        server = runner.server
        if server is None:
            raise RuntimeError("the server of the monitoring port is gone")
        super().__init__(server, loop=loop, keepalive_timeout=KEEP_ALIVE_SECONDS, access_log=_NOWHERE)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more is there; where there are too many, the first one goes."""
        super().connection_made(transport)
        first, *others = self._server.connections
        if len(others) >= MOST_CONNECTIONS:
            first.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or could not be answered."""
        if isinstance(exc, HttpProcessingError):
            LOGGER.debug("monitoring: %s - bad request: %s", request.remote, type(exc).__name__)
        else:
            self.log_exception(exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("a part of the answer is sent already")
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n", headers={"Server": ""})
        response.force_close()
        return response

    def log_exception(self, *_: object, exc_info: object = None, **__: object) -> None:
        """Writes the kind of a failure that nobody foresaw, and where it was."""
        what = described(exc_info) if isinstance(exc_info, Exception) else "in the monitoring port"
        LOGGER.error("Internal error: %s", what)


async def _in_parts(
    request: web.Request, status: int, parts: Iterator[bytes], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Lets others have a turn when parts have taken their time; what is long is sent as it is made."""
    begun = bytearray()
    end = time.monotonic() + TURN_SECONDS
    for part in parts:
        begun += part
        if time.monotonic() >= end:
            await asyncio.sleep(0)
            end = time.monotonic() + TURN_SECONDS
        if len(begun) >= STREAMED_FROM and request.method != "HEAD":
            break
    else:
        return web.Response(status=status, body=bytes(begun), headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    for part in parts:
        begun += part
        if time.monotonic() >= end:
            await response.write(begun)
            begun = bytearray()
            await asyncio.sleep(0)
            end = time.monotonic() + TURN_SECONDS
    await response.write(begun)
    await response.write_eof()
    return response


async def _hide_library(_: web.Request, response: web.StreamResponse) -> None:
    """Nobody outside needs to know what this is built on."""
    response.headers.popall("Server", None)
