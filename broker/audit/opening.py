"""Opens the ledger that options ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.audit.ledger import Ledger, LedgerError, load_key
from broker.audit.recorder import Recorder

if TYPE_CHECKING:
    from auth.nkey import KeyPair
    from broker.config.options import AuditOptions

KEY_FILE: Final = "server.nk"
"""The key where the options name none."""


def recorder(options: AuditOptions) -> tuple[Recorder, KeyPair]:
    """The open ledger and the key that seals it. Raises LedgerError, for what the disk refuses too."""
    directory = Path(options.directory)
    try:
        key = load_key(Path(options.key) if options.key else directory / KEY_FILE)
        previous = load_key(Path(options.previous_key)) if options.previous_key else None
        ledger = Ledger(directory, key, maximum_bytes=options.maximum_file, keep=options.keep, previous=previous)
        opened = Recorder(ledger, seal_seconds=options.seal_interval, refuses=options.refuse_unrecorded)
        opened.open()
    except OSError as error:
        place = error.filename or directory
        raise LedgerError(f"the audit ledger cannot be opened: {place}: {error.strerror or error}") from None
    return opened, key
