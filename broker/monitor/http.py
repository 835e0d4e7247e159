"""The monitoring port of a server: started only where one is asked for, and only then is an HTTP library loaded.

The port is open when the server is ready, but the library loads while clients connect already; whoever asks meanwhile
waits for his answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from auth.settings import SettingsError
from broker.monitor.loading import load
from broker.monitor.watched import Watched
from broker.net.listener import ListenError, open_socket

if TYPE_CHECKING:
    import socket

    from aiohttp import web


_SERVING: Final = "broker.monitor.serving"


class Monitor:
    """HTTP or HTTPS monitoring in the running event loop. Certificates of clients are not asked for."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        options = watched.options.monitor
        self.is_secure = bool(options.https_port)
        self.host = watched.http_host
        self.port = options.https_port or options.port
        self._serving: asyncio.Task[web.AppRunner] | None = None

    async def start(self) -> None:
        """Opens the port. Raises SettingsError and ListenError; nothing is left behind then."""
        self._check()
        try:
            listening = open_socket(self.host, self.port, "-ms" if self.is_secure else "-m")
        except ListenError as error:
            raise ListenError(f"can't listen to the monitor port: {error}") from error
        self.port = int(listening.getsockname()[1])
        self._listening = listening
        if self.is_secure:
            self._watched.https_port = self.port
        else:
            self._watched.http_port = self.port
        self._serving = asyncio.get_running_loop().create_task(self._serve(listening))

    async def stop(self) -> None:
        """Ends its connections and frees the port. May be called twice."""
        serving, self._serving = self._serving, None
        if serving is None:
            return
        serving.cancel()
        await asyncio.wait([serving])
        if serving.cancelled():
            self._listening.close()
        else:
            await serving.result().cleanup()

    async def _serve(self, listening: socket.socket) -> web.AppRunner:
        module = await load(_SERVING)
        runner: web.AppRunner = await module.serve(self._watched, listening, secure=self.is_secure)
        return runner

    def _check(self) -> None:
        options = self._watched.options
        if not self.is_secure:
            return
        if options.monitor.port:
            raise SettingsError(
                f"can't specify both HTTP ({options.monitor.port}) and HTTPs ({options.monitor.https_port}) ports"
            )
        if options.tls is None:
            raise SettingsError("TLS cert and key required for HTTPS")
