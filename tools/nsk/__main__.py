"""The ``nsk`` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath
from typing import Any

import click

from tools.nsk.commands import ROOT
from tools.nsk.errors import NskError

_INTERRUPTED = 130
_ADVICE = "NSK_REMEDIES"
"""Variable that shows remedies, when it is ``always``, also where no terminal does."""
_PATH = "check the path, and who may read and write there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line. The exit code: 0 when it was done, 1 when not, 130 when it was interrupted.

    Commands that answer a question end with 1 when the answer is no, and with 2 when there is none.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A link named nsc stands in for nsc.
    if PurePath(sys.argv[0]).name == "nsc":
        words.insert(0, "--nsc-compatible-output")
    compatible = "--nsc-compatible-output" in words
    structured = any(word in ("--json", "--json=true") for word in words) and not compatible
    try:
        # Besides what a command returns, this is the code with which one ended early.
        outcome = ROOT.main(words, prog_name="nsc" if compatible else "nsk", standalone_mode=False)
    except NskError as error:
        if structured:
            print(_document(error))
            return error.exit_code
        print(f"Error: {error.text}", file=sys.stderr)
        if error.remedy and not compatible:
            _advise(error.remedy)
        if error.usage:
            print(error.usage, file=sys.stderr)
        return error.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _refuse(error.format_message(), structured)
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _refuse(_describe(error), structured, remedy="" if compatible else _PATH)
    return outcome if isinstance(outcome, int) else 0


def _refuse(text: str, structured: bool, remedy: str = "") -> int:
    if structured:
        try:
            print(_document(NskError(text, remedy=remedy)), flush=True)
        except OSError:
            # It is stdout that takes nothing, such as a file on a full disk.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print(f"Error: {text}", file=sys.stderr)
    else:
        print(f"Error: {text}", file=sys.stderr)
        if remedy:
            _advise(remedy)
    return 1


def _advise(remedy: str) -> None:
    """Tells a person what to do. Scripts that compare nsc's texts read no further line unless they ask for it."""
    if sys.stderr.isatty() or os.environ.get(_ADVICE) == "always":
        print(f"  \u2192 {remedy}", file=sys.stderr)


def _document(error: NskError) -> str:
    # Imported when it is needed only, as everything that a fast start can do without.
    document: Any = import_module("tools.nsk.document")
    return str(document.failed(error))


def _describe(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename else reason


if __name__ == "__main__":
    sys.exit(main())
