"""The glue to aiohttp; imported only where a monitoring port is asked for."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from aiohttp import web

from broker.monitor.endpoints import METHODS, NOT_ALLOWED, answer
from broker.net.listener import BACKLOG

if TYPE_CHECKING:
    from broker.monitor.watched import Watched

SHUTDOWN_SECONDS: Final = 1.0
"""How long a request that is being answered may hold up the end of the server."""

KEEP_ALIVE_SECONDS: Final = 75.0


async def serve(watched: Watched, listening: socket.socket, context: ssl.SSLContext | None) -> web.AppRunner:
    """Answers requests on the socket until the runner is cleaned up."""

    async def respond(request: web.Request) -> web.Response:
        found = answer(watched, request.method, request.path, request.query)
        headers = {"Content-Type": found.content_type}
        if found.is_open:
            headers["Access-Control-Allow-Origin"] = "*"
        else:
            headers["X-Content-Type-Options"] = "nosniff"
        if found is NOT_ALLOWED:
            headers["Allow"] = ", ".join(METHODS)
        return web.Response(status=found.status, body=found.body, headers=headers)

    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", respond)
    application.on_response_prepare.append(_hide_library)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=KEEP_ALIVE_SECONDS
    )
    await runner.setup()
    await web.SockSite(runner, listening, ssl_context=context, backlog=BACKLOG).start()
    return runner


async def _hide_library(_: web.Request, response: web.StreamResponse) -> None:
    """Nobody outside needs to know what this is built on."""
    response.headers.popall("Server", None)
