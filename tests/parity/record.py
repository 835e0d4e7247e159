"""Records the shapes of situations from a nats-server: ``python -m tests.parity.record PATH [SITUATION ...]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.parity.catalogue import SITUATIONS, played, store
from tests.support.certificates import make_certificates
from tests.support.servers import Target


def main(binary: str, *names: str) -> None:
    """Plays each situation, or those that are named, to the server."""
    target = Target("reference", (str(Path(binary).resolve()),))
    with tempfile.TemporaryDirectory() as directory:
        certificates = make_certificates(Path(directory))
        for name in names or SITUATIONS:
            with tempfile.TemporaryDirectory() as place:
                store(name, played(name, target, certificates, Path(place)))
                print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
