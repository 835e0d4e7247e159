"""Tables keep their shape whatever they hold, and reports say how it went."""

from __future__ import annotations

import pytest

from tools.nsk.render import Table, bold, printable
from tools.nsk.report import Report, Status


def test_a_table() -> None:
    table = Table("Users", ("Name", "Key"))
    table.row("u", "U1")
    table.row(bold("longer"), "U2")
    assert table.render() == (
        "+--------------+\n"
        "|    Users     |\n"
        "+--------+-----+\n"
        "| Name   | Key |\n"
        "+--------+-----+\n"
        "| u      | U1  |\n"
        "| \x1b[1mlonger\x1b[0m | U2  |\n"
        "+--------+-----+\n"
    )


def test_a_long_title_widens_the_table() -> None:
    table = Table("A title that is long")
    table.row("x")
    lines = table.render().splitlines()
    assert len(set(map(len, lines))) == 1
    assert "A title that is long" in lines[1]


def test_cells_of_several_lines() -> None:
    table = Table()
    table.row("a\nb", "c")
    assert table.render() == "+---+---+\n| a | c |\n| b |   |\n+---+---+\n"


def test_text_of_others_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\x9b") == "a\\x1b[2Jb\\n\\x9b"


def _report(*statuses: Status) -> Report:
    report = Report()
    for status in statuses:
        report.children.append(Report("x", status))
    return report


@pytest.mark.parametrize(
    ("statuses", "summary", "failure"),
    [
        ([], None, None),
        ([Status.OK], None, None),
        ([Status.OK, Status.OK], "all jobs succeeded", None),
        ([Status.WARNING, Status.WARNING], "all jobs had warnings", None),
        ([Status.OK, Status.WARNING], "1 job succeeded - 1 have warnings", None),
        ([Status.ERROR], None, "all jobs failed"),
        ([Status.OK, Status.ERROR, Status.WARNING], None, "1 job failed - 1 job succeeded and 1 had warnings"),
    ],
)
def test_outcomes(statuses: list[Status], summary: str | None, failure: str | None) -> None:
    report = _report(*statuses)
    assert report.summary() == summary
    assert report.failure() == failure


def test_nested_entries_take_the_worst_outcome() -> None:
    report = Report()
    section = report.section("outer")
    section.ok("done")
    inner = section.section("inner")
    inner.warn("look")
    assert report.lines() == [
        "[WARN] outer:",
        "       [ OK ] done",
        "       [WARN] inner:",
        "              [WARN] look",
    ]


def test_messages_are_no_outcome() -> None:
    report = Report()
    report.ok("done")
    report.message("first\nsecond")
    assert report.lines() == ["[ OK ] done", "> first", "> second"]
    assert report.outcome is Status.OK
