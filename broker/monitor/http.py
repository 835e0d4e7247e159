"""The HTTP side of monitoring: one small server in the broker's loop, started only where a port asks for it."""

from __future__ import annotations

import errno
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

    from broker.app import Server
    from broker.net.service import Service

BACKLOG: Final = 128


class MonitorListenError(OSError):
    """The address of monitoring cannot be listened on; the text says why and what to do."""


class Monitor:
    """The monitoring port of one server. aiohttp is imported on start: a server without monitoring never loads it."""

    def __init__(self, server: Server, service: Service) -> None:
        self.server = server
        self.service = service
        self.host = service.options.monitor.host or service.options.host
        self.port = service.options.monitor.https_port or service.options.monitor.port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begins to answer. Raises MonitorListenError."""
        web = import_module("aiohttp.web")
        listening = open_socket(self.host, self.port)
        self.port = int(listening.getsockname()[1])
        self._runner = web.AppRunner(web.Application(), access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        """Frees the port and ends open requests. May be called twice."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port -1 takes a free one. Raises MonitorListenError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, max(port, 0), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise MonitorListenError(
            f"cannot listen on {host} for monitoring: {error.strerror or error}; give an address of this machine"
        ) from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        why = "can't listen to the monitor port: listen tcp"
        if error.errno == errno.EADDRINUSE:
            raise MonitorListenError(
                f"{why} {host}:{port}: bind: address already in use; "
                "stop the process that holds the port, or choose another with -m"
            ) from error
        raise MonitorListenError(f"{why} {host}:{port}: {error.strerror or error}") from error
    return listening
