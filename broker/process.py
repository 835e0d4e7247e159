"""The process around one server: its limits, its signals, its pid file.

Signals are those of nats-server: INT and TERM stop cleanly, USR2 lets the server leave as a lame duck, which TERM does
not hurry, USR1 opens the log file anew, and HUP reads the configuration again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Final

from broker.app import Server
from broker.checked import Checked, check
from broker.collection import uncollected
from broker.config.options import Options
from broker.log import LogError, configure, reopen
from broker.pid_file import PidFile
from broker.ports_file import PortsFile
from broker.reload.aside import aside, release
from broker.reload.plan import ReloadError
from broker.reload.requests import Requests

LOGGER: Final = logging.getLogger("natskeep.process")

COLLECTION_THRESHOLDS: Final = (50_000, 20, 50)
"""When Python looks for cycles: a broker makes many objects that live long and few cycles."""

_TRAPPED: Final = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGHUP: "hangup",
}
"""What nats-server calls its signals in the log."""


def run(
    options: Options,
    on_ready: Callable[[Server], None] | None = None,
    *,
    program: str = "nats-server",
    read_again: Callable[[], Options] | None = None,
) -> None:
    """Runs a server until a signal ends it. ``on_ready`` is called once clients can connect.

    ``program`` is the name that syslog gets to know; ``read_again`` reads the options anew for a reload, in a thread.

    Raises what broker.checked.check raises, broker.log.LogError when the log cannot be written, PidFileError, and
    broker.net.listener.ListenError for an address that cannot be had.
    """
    with uncollected(lasting=True):
        checked = check(options)
    configure(options.logging, program)
    limit_resources()
    name_process(program)
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        runner.run(_serve(checked, on_ready, program, read_again))


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed, else the loop of the standard library."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return factory


def limit_resources() -> None:
    """As many open files as the system allows, and no core dumps, since keys and passwords are in memory."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems name no highest number and then refuse it; what was allowed before stays so.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def name_process(program: str) -> None:
    """Lets the system show the program's name, not the interpreter's, so that ``-sl`` and an operator can find it."""
    # Only Linux has this file; elsewhere a process is found by its pid file.
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(program)


async def _serve(
    checked: Checked,
    on_ready: Callable[[Server], None] | None,
    program: str,
    read_again: Callable[[], Options] | None,
) -> None:
    options = checked.options
    server = Server(checked=checked, owns_process=True)
    pid_file, ports_file = PidFile(options.pid_file), PortsFile(options.ports_file_dir, server)

    def adopt(old: Options, new: Options) -> None:
        pid_file.move(new.pid_file)
        if new.logging != old.logging:
            try:
                configure(new.logging, program)
            except OSError:
                pid_file.move(old.pid_file)
                raise
        ports_file.move(new.ports_file_dir)

    async def reload_again() -> None:
        plan: list[object] = [await server.reload(read_again or _nothing_to_read, adopt)]
        await aside(partial(release, plan))

    async def reload() -> None:
        # A server without a file goes on; why it was not reloaded, or could not be, stands in the log.
        with suppress(ReloadError):
            await reload_again()

    server.reload_again = reload_again
    with _signals(server, Requests(reload)) as end, pid_file:
        async with server:
            stopped = asyncio.create_task(server.wait())
            # Whatever may end it: there is nothing left to wait for.
            stopped.add_done_callback(lambda _: end.set())
            # What exists now lives as long as the process, so no collection need look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTION_THRESHOLDS)
            with ports_file:
                if on_ready is not None:
                    on_ready(server)
                await end.wait()


def _nothing_to_read() -> Options:
    raise ReloadError("can only reload config when a file is provided using -c or --config")


@contextmanager
def _signals(server: Server, reloads: Requests) -> Iterator[asyncio.Event]:
    """Handles signals; the event is set when the server is to stop or has stopped."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    leaving: list[asyncio.Task[None]] = []

    def stop(number: signal.Signals) -> None:
        LOGGER.info('Trapped "%s" signal', _TRAPPED[number])
        if number is signal.SIGTERM and leaving:
            return
        if not end.is_set():
            LOGGER.info("Initiating Shutdown...")
        end.set()

    async def leave() -> None:
        server.begin_lame_duck()
        await server.wait()
        end.set()

    def lame_duck() -> None:
        LOGGER.info('Trapped "%s" signal', _TRAPPED[signal.SIGUSR2])
        if not leaving:
            leaving.append(loop.create_task(leave()))

    def reopen_log() -> None:
        LOGGER.info('Trapped "%s" signal', _TRAPPED[signal.SIGUSR1])
        try:
            has_file = reopen()
        except LogError as error:
            LOGGER.error("the log goes on in the old file: %s", error)
        else:
            LOGGER.info("File log re-opened" if has_file else "File log re-open ignored, not a file logger")

    def reload() -> None:
        LOGGER.info('Trapped "%s" signal', _TRAPPED[signal.SIGHUP])
        reloads.ask()

    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: lambda: stop(signal.SIGINT),
        signal.SIGTERM: lambda: stop(signal.SIGTERM),
        signal.SIGUSR1: reopen_log,
        signal.SIGUSR2: lame_duck,
        signal.SIGHUP: reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield end
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
        for task in leaving:
            task.cancel()
        reloads.cancel()
