"""Every check, in the order in which people read the findings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain

from tools.nsk.doctor.entities import entity_findings
from tools.nsk.doctor.files import file_findings
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.doctor.imports import import_findings
from tools.nsk.doctor.keys import key_findings
from tools.nsk.doctor.revocations import revocation_findings
from tools.nsk.doctor.users import user_findings
from tools.nsk.rotation.records import Book
from tools.nsk.store import Store

MONTH_SECONDS = 30 * 24 * 3600


def examine(
    store: Store,
    *,
    severity: Severity = Severity.INFO,
    within: float = MONTH_SECONDS,
    now: float | None = None,
    program: str = "nsk",
) -> list[Finding]:
    """What is wrong with an operator and everything below it, the worst first.

    ``within`` are the seconds in which an end is near, ``now`` Unix seconds, ``program`` the beginning of the commands
    that findings name. Raises StoreError for a file that cannot be read.
    """
    examined = Examined(store, time.time() if now is None else now, within, program)
    examined.rotations = Book(store).rotations()
    checks = (
        entity_findings,
        user_findings,
        import_findings,
        revocation_findings,
        key_findings,
        file_findings,
    )
    found = chain.from_iterable(check(examined) for check in checks)
    return sorted((one for one in found if one.severity >= severity), key=lambda one: -one.severity)


def mend(store: Store, findings: Sequence[Finding]) -> list[Finding]:
    """Mend the findings that can be mended without a thought, all or none, and return them. Raises NskError."""
    with store.transaction():
        safe = [finding for finding in findings if finding.mend is not None]
        for finding in safe:
            assert finding.mend is not None
            finding.mend()
    return safe
