"""The outcome of a command that does several things: a tree of entries, each done, warned about or failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Status(Enum):
    """How an entry came out; the value is its label in the printed report."""

    OK = "[ OK ]"
    WARNING = "[WARN]"
    ERROR = "[ERR ]"
    MESSAGE = "> "


@dataclass(slots=True)
class Report:
    """One entry, with the entries below it. ``label`` is empty for the root, which prints its children only."""

    label: str = ""
    status: Status = Status.OK
    children: list[Report] = field(default_factory=list)
    is_group: bool = False
    """Whether the children are printed in its place, though they count as one."""

    def ok(self, text: str) -> None:
        """Something was done."""
        self.children.append(Report(text))

    def warn(self, text: str) -> None:
        """Something was done, or left undone, that deserves a look."""
        self.children.append(Report(text, Status.WARNING))

    def error(self, text: str) -> None:
        """Something failed; the command will fail."""
        self.children.append(Report(text, Status.ERROR))

    def message(self, text: str) -> None:
        """Advice that is no outcome."""
        self.children.append(Report(text, Status.MESSAGE))

    def section(self, label: str) -> Report:
        """A nested entry whose outcome is the worst of what is put below it."""
        child = Report(label)
        self.children.append(child)
        return child

    def group(self) -> Report:
        """Entries that count as one outcome and are printed as if they stood here themselves."""
        child = Report(is_group=True)
        self.children.append(child)
        return child

    @property
    def outcome(self) -> Status:
        """The entry's own status, or the worst of its children."""
        found = {self.status, *(child.outcome for child in self.children)}
        for status in (Status.ERROR, Status.WARNING):
            if status in found:
                return status
        return self.status

    @property
    def failed(self) -> bool:
        """Whether any entry is an error."""
        return self.outcome is Status.ERROR

    def count(self, status: Status) -> int:
        """How many direct children came out so. Groups without entries are left out."""
        return sum(child.outcome is status for child in self.children if child.children or not child.is_group)

    def lines(self) -> list[str]:
        """The printed form. Every level is indented by the width of a label."""
        entries = [self] if self.label else self.children
        return [line for entry in entries for line in entry._printed(0)]

    def _printed(self, depth: int) -> list[str]:
        if self.is_group:
            # nsc leaves a line empty for it where nothing was to be done.
            return [line for child in self.children for line in child._printed(depth)] or [""]
        indent, status = " " * 7 * depth, self.outcome
        if self.status is Status.MESSAGE:
            return [f"{indent}{status.value}{line}" for line in self.label.splitlines()]
        # Where a text goes on over several lines, they stand below its label.
        own = f"{status.value} {self.label}".replace("\n", f"\n{indent}") + (":" if self.children else "")
        return [f"{indent}{own}", *(line for child in self.children for line in child._printed(depth + 1))]

    def failure(self) -> str | None:
        """The command's error text when something failed, else None."""
        if not self.failed:
            return None
        failed, succeeded, warned = (self.count(status) for status in (Status.ERROR, Status.OK, Status.WARNING))
        if not succeeded and not warned:
            return "all jobs failed"
        return f"{_jobs(failed)} failed - {_jobs(succeeded)} succeeded and {warned} had warnings"

    def summary(self) -> str | None:
        """The closing line of a report that is summarised, else None: one lone success needs no summary."""
        succeeded, warned = self.count(Status.OK), self.count(Status.WARNING)
        if self.failed or succeeded + warned < 2:
            return None
        if not warned:
            return "all jobs succeeded"
        if not succeeded:
            return "all jobs had warnings"
        return f"{_jobs(succeeded)} succeeded - {warned} have warnings"


def _jobs(count: int) -> str:
    return f"{count} jobs" if count > 1 else f"{count} job"
