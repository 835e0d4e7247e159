"""The ports file: says where a server listens, for whoever started it with ports that the system chose."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module
from ipaddress import IPv6Address
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from broker.net.listener import EVERYWHERE

if TYPE_CHECKING:
    from broker.app import Server

LOGGER: Final = logging.getLogger("natskeep.process")

LOOPBACK: Final = "127.0.0.1"
IPV6_LOOPBACK: Final = "::1"
_INTERFACES: Final = Path("/proc/net/if_inet6")
"""Where Linux lists the addresses of IPv6, in hexadecimal at the beginning of each line (proc_net(5))."""
_SIOCGIFADDR: Final = 0x8915
"""Asks Linux for the address of a network interface (netdevice(7))."""


def ports_file_path(directory: str) -> Path:
    """The ports file of this process: the name it was started under, or natskeep for a module, and its id."""
    name = PurePath(sys.argv[0]).name
    if not name or name.endswith(".py"):
        name = "natskeep"
    return Path(directory, f"{name}_{os.getpid()}.ports")


class PortsFile:
    """The ports file of a running server, there while the block lasts. One that cannot be written is logged."""

    def __init__(self, directory: str, server: Server) -> None:
        self._directory = directory
        self._server = server

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def move(self, directory: str) -> None:
        """Takes the file to another directory; an empty one means that there is no file."""
        if directory != self._directory:
            self._remove()
            self._directory = directory
            self._write()

    def _write(self) -> None:
        if self._directory:
            write_ports(ports_file_path(self._directory), self._server)

    def _remove(self) -> None:
        if self._directory:
            remove_ports(ports_file_path(self._directory))


def write_ports(path: Path, server: Server) -> None:
    """Writes the file whole, so that who waits for it never reads a part."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(msgspec.json.encode(ports(server)))
        part.replace(path)
    except OSError as error:
        LOGGER.error("Error writing ports file (%s): open %s: %s", path, path, _reason(error))
        with suppress(OSError):
            part.unlink()


def remove_ports(path: Path) -> None:
    """Removes the file."""
    try:
        path.unlink()
    except OSError as error:
        LOGGER.error("Error cleaning up ports file %s: remove %s: %s", path, path, _reason(error))


def ports(server: Server) -> dict[str, list[str]]:
    """The URLs of each kind of listener; kinds that do not listen are absent."""
    options, monitor = server.options, server.options.monitor
    secure = options.tls is not None and not options.allow_non_tls
    found = {"nats": _urls("tls" if secure else "nats", options.host, server.port)}
    if server.monitor_port:
        scheme = "https" if monitor.https_port else "http"
        found["monitoring"] = _urls(scheme, monitor.host or options.host, server.monitor_port)
    if server.websocket_port:
        scheme = "ws" if options.websocket.tls is None else "wss"
        found["websocket"] = _urls(scheme, options.websocket.host, server.websocket_port)
    return found


def _urls(scheme: str, host: str, port: int) -> list[str]:
    hosts = _own_addresses() if host in EVERYWHERE else [_address(host)]
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]


def _address(host: str) -> str:
    """The address that a listener on this host has: of several the first one of IPv4, if there is one."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return host
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def _own_addresses() -> list[str]:
    """The addresses of this machine's interfaces, as far as the system tells, loopback first."""
    addresses = [LOOPBACK]
    if sys.platform == "linux":
        fcntl: Any = import_module("fcntl")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                # An interface without an address answers with an error.
                with suppress(OSError):
                    answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", os.fsencode(name)[:15]))
                    addresses.append(socket.inet_ntoa(answer[20:24]))
    if socket.has_dualstack_ipv6():
        addresses += _own_addresses_of_ipv6()
    return list(dict.fromkeys(addresses))


def _own_addresses_of_ipv6() -> list[str]:
    """Those of IPv6, loopback first; not those of one link, to which nobody can connect by the address alone."""
    found = [IPV6_LOOPBACK]
    with suppress(OSError):
        for line in _INTERFACES.read_text().splitlines():
            address = IPv6Address(bytes.fromhex(line.split()[0]))
            if not address.is_link_local:
                found.append(str(address))
    return found


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
