"""Ports for servers under test, taken from the system."""

from __future__ import annotations

import socket


def reserve_port() -> int:
    """A free TCP port of 127.0.0.1 that the system gives to nobody else for a while.

    One connection is made to the port and closed from the listening side. Its TIME_WAIT entry keeps the port from being
    handed out as an ephemeral one, yet a server that sets SO_REUSEADDR can bind it, as every TCP server does.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()
            client.recv(1)
    return port
