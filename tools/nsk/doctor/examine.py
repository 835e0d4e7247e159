"""Every check, in the order in which people read the findings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain

from tools.nsk.doctor.entities import entity_findings
from tools.nsk.doctor.files import file_findings, mode_findings
from tools.nsk.doctor.findings import Examined, Finding, Severity, UnreadableError
from tools.nsk.doctor.imports import import_findings
from tools.nsk.doctor.keys import key_findings
from tools.nsk.doctor.revocations import revocation_findings
from tools.nsk.doctor.users import user_findings
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
    that findings name. What cannot be read is a finding, and the rest is examined nevertheless.
    """
    try:
        examined = Examined(store, time.time() if now is None else now, within, program)
    except UnreadableError as problem:
        found = [problem.finding, *mode_findings(store)]
    else:
        found = [*examined.broken, *_checked(examined)]
    return sorted((one for one in found if one.severity >= severity), key=lambda one: -one.severity)


def _checked(examined: Examined) -> Iterator[Finding]:
    checks = (
        entity_findings,
        user_findings,
        import_findings,
        revocation_findings,
        key_findings,
        file_findings,
    )
    return chain.from_iterable(check(examined) for check in checks)


def mend(store: Store, findings: Sequence[Finding]) -> list[Finding]:
    """Mend the findings that can be mended without a thought, all or none, and return them. Raises NskError."""
    with store.transaction():
        safe = [finding for finding in findings if finding.mend is not None]
        for finding in safe:
            assert finding.mend is not None
            finding.mend()
    return safe
