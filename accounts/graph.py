"""Who reaches whom: which imports exports permit, and whether imports run in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accounts.exports import Export, deciding_exports
from accounts.permissions import quoted
from accounts.subject import REST, SINGLE, overlaps

if TYPE_CHECKING:
    from accounts.account import Account
    from accounts.imports import Import

CYCLE: Final = "import forms a cycle"
CYCLE_DEPTH: Final = "search cycle depth exhausted"
TWICE: Final = "{} import already exists"
UNAUTHORIZED: Final = "{} import not authorized"
ACCOUNT_MISSING: Final = "account missing"

MAXIMUM_CHAIN: Final = 1024
"""Imports of other accounts that are followed to find out whether one import runs in a circle."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """An import that cannot be, and why: ``reason`` in the words of nats-server, ``detail`` what led to it."""

    importer: str
    found: Import
    reason: str
    detail: str = ""
    is_unknown_account: bool = False

    @property
    def text(self) -> str:
        """What to tell who wrote the import, without the detail."""
        if self.is_unknown_account:
            return f"{quoted(self.found.account)} account not defined for {self.found.kind} import"
        return f"Error adding {self.found.kind} import {quoted(self.found.subject)}: {self.reason}"

    def __str__(self) -> str:
        return f"{self.text} ({self.detail})" if self.detail else self.text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an export says to an import.

    ``export`` is the one that permits it, None where it is refused: then ``reason`` and ``detail`` say why.
    ``changes_at`` is the Unix second at which time alone makes another verdict: that of expiry where it is permitted,
    that of a beginning where it is refused; None where time changes nothing.
    """

    export: Export | None
    reason: str = ""
    detail: str = ""
    changes_at: float | None = None


def judge(importer: str, found: Import, exporter: Account | None, now: float) -> Verdict:
    """Whether an import of the account ``importer`` is permitted by the account that it names, at a Unix second."""
    if exporter is None:
        return Verdict(None, ACCOUNT_MISSING, f"there is no account {found.account} that can be used")
    unauthorized = UNAUTHORIZED.format(found.kind)
    ended, begins, ends = _span(now, exporter.not_before, exporter.expires_at)
    if ended or begins is not None:
        detail = f"account {exporter.label} {'has expired' if ended else 'is not yet valid'}"
        return Verdict(None, unauthorized, detail, begins)
    deciding = deciding_exports(exporter.exports, found.kind, found.subject)
    if not deciding:
        return Verdict(None, unauthorized, f"{exporter.label} exports no {found.kind} that contains {found.subject}")
    details, changes = [], []
    for export in deciding:
        verdict = _ask(export, importer, found, exporter, now)
        if verdict.export is not None:
            until = [end for end in (ends, verdict.changes_at) if end is not None]
            return Verdict(export, changes_at=min(until, default=None))
        details.append(verdict.detail)
        changes.append(verdict.changes_at)
    starts = min((moment for moment in changes if moment is not None), default=None)
    return Verdict(None, unauthorized, "; ".join(details), starts)


def _ask(export: Export, importer: str, found: Import, exporter: Account, now: float) -> Verdict:
    """What one export says to an import that it contains."""
    where = f"{export.kind} export {export.subject} of {exporter.label}"
    if export.accounts is not None and importer not in export.accounts:
        return Verdict(None, detail=f"{where} is for other accounts")
    if not export.permits(importer, found.subject):
        position = export.account_token_position
        return Verdict(None, detail=f"{where} demands the importer's own name as token {position}")
    if not export.token_required:
        return Verdict(export)
    activation = found.activation
    if activation is None:
        return Verdict(None, detail=f"{where} demands an activation")
    flaw = activation.flaw(exporter, importer, found, export.revocations)
    if flaw is not None:
        return Verdict(None, detail=f"{where}: {flaw}")
    ended, begins, ends = _span(now, activation.not_before, activation.expires_at)
    if ended:
        return Verdict(None, detail=f"{where}: its activation has expired")
    if begins is not None:
        return Verdict(None, detail=f"{where}: its activation is not yet valid", changes_at=begins)
    return Verdict(export, changes_at=ends)


def _span(now: float, not_before: int | None, expires_at: int | None) -> tuple[bool, float | None, float | None]:
    """Whether a span of time is over, when it begins where that is still to come, and when it ends."""
    ended = expires_at is not None and now >= expires_at
    begins = float(not_before) if not ended and not_before is not None and now < not_before else None
    return ended, begins, None if expires_at is None else float(expires_at)


class Survey:
    """A look at the imports of accounts at one moment. Each import is judged once.

    ``consulted`` are the names of all accounts that were asked for, ``changes_at`` is the first moment at which time
    alone would show something else.
    """

    def __init__(self, lookup: Callable[[str], Account | None], now: float) -> None:
        self._lookup = lookup
        self._now = now
        self._accounts: dict[str, Account | None] = {}
        self._verdicts: dict[str, tuple[tuple[Import, Verdict], ...]] = {}
        self._allowed: dict[str, frozenset[int]] = {}
        self._open: dict[tuple[str, str, str], Verdict] = {}
        """Verdicts that hold for every importer, by exporter, kind and subject."""
        self._imports: dict[str, dict[tuple[str, str], list[Import]]] = {}
        """The imports of each account, by their kind and the first token of their subject here."""
        self.changes_at: float | None = None

    @property
    def consulted(self) -> frozenset[str]:
        """Accounts that what was found depends on."""
        return frozenset(self._accounts)

    def account(self, name: str) -> Account | None:
        """The account of that name, as it was when it was first asked for."""
        if name not in self._accounts:
            self._accounts[name] = self._lookup(name)
        return self._accounts[name]

    def verdicts(self, name: str) -> tuple[tuple[Import, Verdict], ...]:
        """The imports of an account, each with its verdict; of two with one subject only the first is permitted."""
        known = self._verdicts.get(name)
        if known is None:
            account = self.account(name)
            known = self._verdicts[name] = tuple(self._judged(account)) if account is not None else ()
        return known

    def _judged(self, account: Account) -> list[tuple[Import, Verdict]]:
        seen: set[tuple[str, str, str]] = set()
        judged = []
        for found in account.imports:
            verdict = self._judge(account.name, found)
            if verdict.changes_at is not None:
                moments = (self.changes_at, verdict.changes_at)
                self.changes_at = min(moment for moment in moments if moment is not None)
            if verdict.export is not None:
                # Two imports of a stream differ by what they take, two of a service by what is asked here.
                key = (found.kind, found.account, found.subject if found.kind == "stream" else found.local_subject)
                if key in seen:
                    verdict = Verdict(None, TWICE.format(found.kind), changes_at=verdict.changes_at)
                seen.add(key)
            judged.append((found, verdict))
        return judged

    def _judge(self, importer: str, found: Import) -> Verdict:
        """What :func:`judge` says, asked once for all who import one thing where no export makes a difference."""
        key = found.account, found.kind, found.subject
        known = self._open.get(key)
        if known is not None:
            return known
        verdict = judge(importer, found, self.account(found.account), self._now)
        if verdict.export is not None and not verdict.export.is_restricted:
            self._open[key] = verdict
        return verdict

    def _bringing(self, step: Import) -> Iterator[Import]:
        """The permitted imports of the exporting account that bring part of what is imported from it."""
        known = self._imports.get(step.account)
        if known is None:
            account = self.account(step.account)
            known = self._imports[step.account] = {}
            for found in () if account is None else account.imports:
                known.setdefault((found.kind, found.local_subject.partition(".")[0]), []).append(found)
        first = step.subject.partition(".")[0]
        firsts = {token for _, token in known} if first in (SINGLE, REST) else {first, SINGLE, REST}
        meeting = [
            found
            for token in firsts
            for found in known.get((step.kind, token), ())
            if overlaps(found.local_subject, step.subject)
        ]
        # Most exporters pass nothing on, and then nothing of theirs needs to be judged.
        yield from (found for found in meeting if id(found) in self._permitted(step.account))

    def _permitted(self, name: str) -> frozenset[int]:
        """The permitted imports of an account, by their identity."""
        known = self._allowed.get(name)
        if known is None:
            allowed = (id(found) for found, verdict in self.verdicts(name) if verdict.export is not None)
            known = self._allowed[name] = frozenset(allowed)
        return known

    def circle(self, importer: str, found: Import) -> str | None:
        """Why a permitted import must not be: what it brings comes, through other permitted imports, from itself.

        Two imports join where their subjects overlap in the account between them. The search ends after
        :data:`MAXIMUM_CHAIN` imports, and then the import is refused as well.
        """
        exporter = self.account(found.account)
        if exporter is None or not exporter.imports:
            return None
        waiting: list[Import] = [found]
        seen: set[tuple[str, Import]] = {(importer, found)}
        while waiting:
            step = waiting.pop()
            for further in self._bringing(step):
                if further is found and step.account == importer:
                    return CYCLE
                if (step.account, further) not in seen:
                    if len(seen) >= MAXIMUM_CHAIN:
                        return CYCLE_DEPTH
                    seen.add((step.account, further))
                    waiting.append(further)
        return None
