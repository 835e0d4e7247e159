"""The ``natskeep`` command: ``natskeep quickstart`` is a tool, everything else is the broker's own command line.

It stands above the broker, so that the broker needs to know no tools; ``python -m broker`` is the server alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import PurePath
from typing import Final

QUICKSTART: Final = "quickstart"
MORE_USAGE: Final = f"       natskeep {QUICKSTART} [options]   a demo broker with two tenants, ready to use\n"

_INTERRUPTED: Final = 130


def main() -> int:
    """Runs the command line of the process and returns the exit code."""
    words = sys.argv[1:]
    # What is not asked for is not imported, and an interrupt in the middle of an import is no reason for a traceback.
    try:
        if PurePath(sys.argv[0]).stem == "nats-server":
            code: int = import_module("broker.__main__").main(words)
        elif words[:1] == [QUICKSTART]:
            code = import_module("tools.quickstart.command").main(words[1:])
        else:
            code = import_module("broker.__main__").main(words, more_usage=MORE_USAGE)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
