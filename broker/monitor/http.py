"""The monitoring port of a server: started only where one is asked for, and only then is an HTTP library loaded.

The port is open when the server is ready, but the library loads while clients connect already; whoever asks meanwhile
waits for his answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Final

from auth.settings import SettingsError
from broker.monitor.watched import Watched
from broker.net.listener import ListenError, open_socket
from tls.context import server_context

if TYPE_CHECKING:
    import socket
    import ssl

    from aiohttp import web

    from broker.app import Server
    from broker.net.service import Service

_SERVING: Final = "broker.monitor.serving"


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """A thread for one piece of work; nobody waits for its end."""
    executor = ThreadPoolExecutor(1, "natskeep-monitor")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


class Monitor:
    """HTTP or HTTPS monitoring in the running event loop. Certificates of clients are not asked for."""

    def __init__(self, server: Server, service: Service) -> None:
        self._server = server
        self._service = service
        options = service.options.monitor
        self.is_secure = bool(options.https_port)
        self.host = options.host or service.options.host
        self.port = options.https_port or options.port
        self._serving: asyncio.Task[web.AppRunner] | None = None

    async def start(self) -> None:
        """Opens the port. Raises SettingsError, TLSSettingsError and ListenError; nothing is left behind then."""
        context = self._context()
        try:
            listening = open_socket(self.host, self.port, "-ms" if self.is_secure else "-m")
        except ListenError as error:
            raise ListenError(f"can't listen to the monitor port: {error}") from error
        self.port = int(listening.getsockname()[1])
        self._listening = listening
        self._serving = asyncio.get_running_loop().create_task(self._serve(self._watched(), listening, context))

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

    async def _serve(
        self, watched: Watched, listening: socket.socket, context: ssl.SSLContext | None
    ) -> web.AppRunner:
        if _SERVING not in sys.modules:
            with _thread() as thread:
                await asyncio.get_running_loop().run_in_executor(thread, import_module, _SERVING)
        runner: web.AppRunner = await import_module(_SERVING).serve(watched, listening, context)
        return runner

    def _context(self) -> ssl.SSLContext | None:
        options = self._service.options
        if not self.is_secure:
            return None
        if options.monitor.port:
            raise SettingsError(
                f"can't specify both HTTP ({options.monitor.port}) and HTTPs ({options.monitor.https_port}) ports"
            )
        if options.tls is None:
            raise SettingsError("TLS cert and key required for HTTPS")
        return server_context(replace(options.tls, verify=False, verify_and_map=False))

    def _watched(self) -> Watched:
        service = self._service
        return Watched(
            identity=self._server.identity,
            started_at=self._server.started_at,
            service=service,
            is_serving=lambda: self._server.is_ready and not service.control.is_lame_duck,
            http_host=self.host,
            http_port=0 if self.is_secure else self.port,
            https_port=self.port if self.is_secure else 0,
        )
