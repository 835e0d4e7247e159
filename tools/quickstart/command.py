"""``natskeep quickstart``: makes the demo where it is missing, serves it, and says what to type next."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from auth.settings import SettingsError
from broker.app import Server
from broker.config.errors import ConfigError
from broker.config.load import load
from broker.config.options import DEFAULT_PORT, Options
from broker.flags import Flag, FlagError, Flags, Section, parse, port_value, switch_value, text_value, usage
from broker.net.listener import ListenError
from broker.process import run
from tls.policy import TLSSettingsError
from tools.nsk.errors import NskError
from tools.quickstart.demo import HOST, Demo, DemoError
from tools.quickstart.guide import Guide, command, displayed, made_text

DIRECTORY: Final = "natskeep-demo"
HTTP_PORT: Final = 8222
HIGHEST_PORT: Final = 65535
DONE: Final = 0
FAILED: Final = 1

SECTIONS: Final = (
    Section(
        "Options",
        (
            Flag("directory", ("directory",), text_value, f"Where the demo lies (default: {DIRECTORY})", "<dir>"),
            Flag("port", ("p", "port"), port_value, f"Port for clients (default: {DEFAULT_PORT})", "<port>"),
            Flag("http_port", ("m", "http_port"), port_value, f"Port for monitoring (default: {HTTP_PORT})", "<port>"),
            Flag("help", ("h", "help"), switch_value, "Show this message"),
        ),
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Runs ``natskeep quickstart`` with the arguments behind it, and returns the exit code."""
    try:
        flags = parse(SECTIONS, arguments)
        if flags.words:
            raise FlagError(f'unexpected word: "{flags.words[0]}"')
        if flags.is_on("help"):
            print(f"\nUsage: natskeep quickstart [options]\n\n{usage(SECTIONS)}")
            return DONE
        _start(flags)
    except FlagError as error:
        return _failed(f"{error}\nUse natskeep quickstart --help for the flags there are.")
    except (DemoError, NskError) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return DONE


def _start(flags: Flags) -> None:
    here = Path.cwd()
    demo = Demo(here / flags.text("directory", DIRECTORY))
    made = demo.ensure(flags.number("port") or DEFAULT_PORT, flags.number("http_port") or HTTP_PORT)
    print(made_text(made, here), flush=True)
    options = _options(demo, flags, here)

    def show_guide(server: Server) -> None:
        print(Guide(demo, server, here).text(), flush=True)

    try:
        run(options, show_guide)
    except (SettingsError, TLSSettingsError, ConfigError) as error:
        raise _unusable(demo, error, here) from error
    except ListenError as error:
        raise DemoError(_port_text(error, options, flags, here)) from error


def _options(demo: Demo, flags: Flags, here: Path) -> Options:
    """What the configuration says; a port that was asked for holds for this run."""
    try:
        options = load(str(demo.configuration)).options
    except ConfigError as error:
        raise _unusable(demo, error, here) from error
    for key in ("port", "http_port"):
        number = flags.number(key)
        configured = options.port if key == "port" else options.monitor.port
        if not number or number == configured:
            continue
        shown = displayed(demo.configuration, here)
        print(f"  {shown} has the {key} {configured}; {number} holds for this run", flush=True)
        if key == "port":
            options = replace(options, port=number)
        else:
            options = replace(options, monitor=replace(options.monitor, port=number))
    return options


def _unusable(demo: Demo, error: ValueError, here: Path) -> DemoError:
    shown = displayed(demo.configuration, here)
    return DemoError(f"{error}\nMend {shown}, or remove it and run this again: then it is written anew.")


def _port_text(error: ListenError, options: Options, flags: Flags, here: Path) -> str:
    """The reason why a port cannot be had, and what to type instead."""
    # The error of the monitoring port wraps that of the socket.
    is_monitor = isinstance(error.__cause__, ListenError)
    reason = error.__cause__.__cause__ if isinstance(error.__cause__, ListenError) else error.__cause__
    if not isinstance(reason, OSError) or reason.errno != errno.EADDRINUSE:
        return str(error)
    port, key = (options.monitor.port, "http_port") if is_monitor else (options.port, "port")
    host = (options.monitor.host if is_monitor else options.host) or HOST
    again = {name: flags.text(name) for name in ("directory",) if name in flags}
    again |= {name: str(flags.number(name)) for name in ("port", "http_port") if name in flags}
    again[key] = str(port + 1 if port < HIGHEST_PORT else port - 1)
    words = shlex.join(word for name, value in again.items() for word in (f"--{name}", value))
    other = f"{command('natskeep', here)} quickstart {words}"
    return f"port {port} of {host} is taken by another program: stop that, or take another port: {other}"


def _failed(text: str) -> int:
    print(f"natskeep: {text}", file=sys.stderr)
    return FAILED
