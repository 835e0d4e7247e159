"""Many users at once: from a number, or from a file of comma-separated values.

The file's first line names the columns, which are flags of ``nsk add user``; a cell is read as the flag's value is.
Nothing is added when one line is wrong, and all wrong lines are told together.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.nsk.errors import NskError
from tools.nsk.flags import Flag, Flags
from tools.nsk.issuer import UserIssuer
from tools.nsk.names import given_or_random
from tools.nsk.new_users import plan_user
from tools.nsk.provision import IssuedUser, UserPlan, issue_user
from tools.nsk.report import Report
from tools.nsk.store import check_name

NAME = "name"
_SHOWN = 20
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: its number from 1, and the texts of its cells by column, without the empty ones."""

    line: int
    cells: dict[str, str]


def numbered(prefix: str, count: int) -> list[str]:
    """``count`` names with numbers of one length, from 1: ``sensor-001`` to ``sensor-250``."""
    width = len(str(count))
    return [f"{prefix}{number:0{width}}" for number in range(1, count + 1)]


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """The lines of a file. Raises NskError for a file that cannot be read, an unknown column and a ragged line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            head = [cell.strip().lower() for cell in next(reader, [])]
            _check_columns(path, head, columns)
            return list(_rows(path, reader, head))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise NskError(f"`{path}` cannot be read: {problem}") from None


def _check_columns(path: Path, head: Sequence[str], columns: Sequence[str]) -> None:
    known = f"the columns are: {', '.join((NAME, *columns))}"
    for column in head:
        if column not in (NAME, *columns):
            raise NskError(f"{path.name}:1: there is no column {column!r}", remedy=known)
        if head.count(column) > 1:
            raise NskError(f"{path.name}:1: the column {column} stands there twice", remedy=known)
    if NAME not in head:
        raise NskError(f"{path.name}:1: the first line has no column {NAME}", remedy=known)


def _rows(path: Path, reader: Any, head: Sequence[str]) -> Iterator[Row]:
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            if len(cells) != len(head):
                raise NskError(
                    f"{path.name}:{line}: {len(cells)} cells, where the first line has {len(head)} columns",
                    remedy="put lists into double quotes, and leave cells that do not apply empty",
                )
            filled = zip(head, map(str.strip, cells), strict=True)
            yield Row(line, {column: cell for column, cell in filled if cell})
        line = reader.line_num + 1


def plans_of_rows(path: Path, rows: Sequence[Row], flags: Sequence[Flag], issuer: UserIssuer) -> list[UserPlan]:
    """The users that the lines describe. Raises NskError, which names line and column of everything that is wrong."""
    by_name = {flag.long.removeprefix("--"): flag for flag in flags}
    plans: list[UserPlan] = []
    wrong: list[str] = []
    lines: dict[str, int] = {}
    for row in rows:
        try:
            plan = _plan(row, by_name, issuer)
        except _CellError as error:
            wrong.append(f"{path.name}:{row.line}: {error}")
            continue
        if plan.name in lines:
            wrong.append(f"{path.name}:{row.line}: {NAME}: {plan.name} stands in line {lines[plan.name]} already")
        lines.setdefault(plan.name, row.line)
        plans.append(plan)
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more lines"] if len(wrong) > _SHOWN else []
        raise NskError("\n".join(wrong[:_SHOWN] + more), remedy="mend these lines; no user was added")
    return plans


class _CellError(Exception):
    def __init__(self, column: str, error: NskError) -> None:
        super().__init__(f"{column}: {error.text}")


def _plan(row: Row, by_name: dict[str, Flag], issuer: UserIssuer) -> UserPlan:
    given: dict[str, Any] = {}
    for column, cell in row.cells.items():
        if column == NAME:
            continue
        flag = by_name[column]
        try:
            value = flag.type.convert(cell, flag, None)
        except NskError as error:
            raise _CellError(column, error) from None
        given[flag.name or ""] = (value,) if flag.multiple else value
    try:
        name = check_name(given_or_random(row.cells.get(NAME, "")), "user")
        if issuer.store.has_user(issuer.account, name):
            raise NskError(f"the user {name} already exists")
    except NskError as error:
        raise _CellError(NAME, error) from None
    try:
        return plan_user(Flags(by_name.values(), given), name, issuer, Report())
    except NskError as error:
        raise _CellError(_blamed(row, by_name, name, issuer), error) from None


def _blamed(row: Row, by_name: dict[str, Flag], name: str, issuer: UserIssuer) -> str:
    """The column without which a line would be right, else the one that is wrong by itself, else all of them."""
    columns = [column for column in row.cells if column != NAME]
    values = {column: by_name[column].type.convert(row.cells[column], by_name[column], None) for column in columns}

    def right(*chosen: str) -> bool:
        given = {by_name[one].name or "": (values[one],) if by_name[one].multiple else values[one] for one in chosen}
        try:
            plan_user(Flags(by_name.values(), given), name, issuer, Report())
        except NskError:
            return False
        return True

    for column in columns:
        if right(*(other for other in columns if other != column)):
            return column
    return next((column for column in columns if not right(column)), ", ".join(columns))


def issue_users(issuer: UserIssuer, plans: Sequence[UserPlan], progress: Progress | None = None) -> list[IssuedUser]:
    """Make the users, with creds files and contexts. ``progress`` is told how many there are so far.

    Raises StoreError, and then nothing has happened when the caller holds a transaction.
    """
    made = []
    for number, plan in enumerate(plans, 1):
        made.append(issue_user(issuer, plan))
        if progress is not None:
            progress(number)
    return made
