"""The plain server: ``python -m broker``, and what the ``natskeep`` command does unless asked for the quickstart.

The console script enters through tools.command, which knows the quickstart too; the broker itself knows no tools. A
link named nats-server makes the program speak in that name, for scripts that read what it prints.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from auth.settings import SettingsError
from broker.checked import check
from broker.collection import uncollected
from broker.config.errors import ConfigError
from broker.config.options import Options
from broker.flags import FlagError, Flags, parse, usage
from broker.identity import VERSION
from broker.log import LogError
from broker.net.listener import ListenError
from broker.overrides import SECTIONS, apply
from broker.pid_file import PidFileError
from broker.process import run
from broker.signals import SignalError, send
from broker.wire.info import PROVIDED_RELEASE
from tls.policy import TLSSettingsError
from tls.revocation.settings import StapleError

if TYPE_CHECKING:
    from broker.config.load import LoadedConfig

NATSKEEP: Final = "natskeep"
NATS_SERVER: Final = "nats-server"
DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130

LOGGER: Final = logging.getLogger("natskeep.main")


class CommandError(Exception):
    """What was asked for cannot be done; the text says why."""


def main(arguments: Sequence[str] | None = None, *, more_usage: str = "") -> int:
    """Runs one command line, by default that of the process, and returns the exit code.

    ``more_usage`` stands above the flags in the help text.
    """
    program = program_name(sys.argv[0])
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(program, words, more_usage)
    except FlagError as error:
        print(f"{program}: {error}\nUse {program} --help for the flags there are.", file=sys.stderr)
    except StapleError as error:
        LOGGER.critical("%s", error)
    except (CommandError, ConfigError, SettingsError, TLSSettingsError) as error:
        print(f"{program}: {error}", file=sys.stderr)
    except (ListenError, PidFileError) as error:
        # By now there is a log, and who only reads the log must find the reason there.
        LOGGER.critical("%s", error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter must not fail once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def program_name(path: str) -> str:
    """The name that the program goes by: its own, or nats-server where it is started under that name."""
    return NATS_SERVER if PurePath(path).stem == NATS_SERVER else NATSKEEP


def version_text(program: str) -> str:
    """What ``--version`` prints; under the name nats-server, the release whose behaviour it has, and nothing else."""
    if program == NATS_SERVER:
        return f"{NATS_SERVER}: v{PROVIDED_RELEASE}"
    return f"{NATSKEEP} {VERSION} ({NATS_SERVER} {PROVIDED_RELEASE})"


def usage_text(program: str, more_usage: str = "") -> str:
    """What ``--help`` prints."""
    return f"\nUsage: {program} [options]\n{more_usage}\n{usage(SECTIONS)}"


def _run(program: str, words: list[str], more_usage: str) -> int:
    flags = parse(SECTIONS, words)
    if flags.is_on("version"):
        print(version_text(program))
        return DONE
    if flags.is_on("help"):
        print(usage_text(program, more_usage))
        return DONE
    if flags.is_on("help_tls"):
        print(import_module("broker.tls_help").text())
        return DONE
    if flags.words:
        return _word(program, flags.words[0], more_usage)
    if flags.asks_for("signal"):
        _signal(program, flags.text("signal"))
        return DONE
    # What is read lives as long as the process.
    with uncollected(lasting=True):
        options, warnings = _options(flags)
    if flags.is_on("check"):
        return _check(program, options, warnings)
    if "reload_preview" in flags:
        return _preview(flags, options)
    for warning in warnings:
        print(f"{program}: {warning}", file=sys.stderr)
    try:
        run(options, program=program, read_again=partial(_read_again, flags) if options.config_file else None)
    except LogError as error:
        raise CommandError(str(error)) from error
    return DONE


def _word(program: str, word: str, more_usage: str) -> int:
    match word:
        case "version":
            print(version_text(program))
        case "help":
            print(usage_text(program, more_usage))
        case _:
            raise CommandError(f'unrecognized command: "{word}"')
    return DONE


def _signal(program: str, request: str) -> None:
    try:
        send(program, request)
    except SignalError as error:
        raise CommandError(str(error)) from error


def _options(flags: Flags) -> tuple[Options, list[str]]:
    """The options of file and flags, and the warnings of the file."""
    path = flags.text("config")
    if not path:
        return apply(flags, Options()), []
    loaded = _load(path)
    return apply(flags, loaded.options), [str(warning) for warning in loaded.warnings]


def _load(path: str) -> LoadedConfig:
    """Reads a file. The grammar is imported here, since a server that only has flags starts sooner without it."""
    loaded: LoadedConfig = import_module("broker.config.load").load(path)
    return loaded


def _read_again(flags: Flags) -> Options:
    """The options of the same command line as the file is now; its warnings go to the log."""
    options, warnings = _options(flags)
    for warning in warnings:
        LOGGER.warning("%s", warning)
    return options


def _preview(flags: Flags, options: Options) -> int:
    """Says what a server with these options would do if its file became another one."""
    if not options.config_file:
        raise CommandError("must specify [-c, --config] option: the file that the server runs with now")
    new = apply(flags, _load(flags.text("reload_preview")).options)
    running = import_module("broker.reload.running")
    try:
        sessions = running.running_sessions(options)
    except running.RunningError as error:
        print(f"sessions and subscriptions are not told: {error}", file=sys.stderr)
        sessions = []
    found = import_module("broker.reload.preview").preview(options, new, sessions)
    print("\n".join(found.lines()))
    return FAILED if found.is_refused else DONE


def _check(program: str, options: Options, warnings: list[str]) -> int:
    if not options.config_file:
        raise CommandError("must specify [-c, --config] option to check configuration file syntax")
    check(options)
    if warnings:
        raise CommandError("\n".join(warnings))
    print(f"{program}: configuration file {options.config_file} is valid ({options.config_digest})", file=sys.stderr)
    if program == NATSKEEP:
        # Who starts nats-server compares its output; who starts natskeep wants to know what will change.
        _tell_differences(program, options)
    return DONE


def _tell_differences(program: str, options: Options) -> None:
    text = import_module("broker.migration").report(program, options)
    if text:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
