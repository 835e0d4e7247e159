"""Turns the figures of all rounds into medians, ratios and verdicts, and prints them as a table or as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.bench.rows import Metric, Row
from tools.bench.workers import Figures

DECIMAL = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}
SMALL = {"": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}
BINARY = {"Gi": 1024.0**3, "Mi": 1024.0**2, "Ki": 1024.0, "": 1.0}


@dataclass(slots=True)
class ServerResult:
    """What one server did in one row. `processors` is how many processors it kept busy, for each round."""

    rounds: list[Figures] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)
    generator_processors: list[float] = field(default_factory=list)
    peak_memory: int = 0
    error: str = ""

    def values(self, metric: Metric) -> list[float]:
        """The metric's figure of each round."""
        return [max(metric.floor, figures[metric.key]) for figures in self.rounds if metric.key in figures]


@dataclass(slots=True)
class RowResult:
    """What all servers did in one row. The first server is the one under test, the second the reference."""

    row: Row
    servers: dict[str, ServerResult]
    ceiling: Figures = field(default_factory=dict)
    ceiling_error: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    metric: Metric
    medians: dict[str, float]
    ratios: tuple[float, ...]
    ceiling: float | None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of all rounds."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        """`pass`, `falls short`, or nothing where nothing is wanted, or there is no ratio to judge."""
        if self.metric.at_most is not None:
            # The first server is the one under test.
            own = next(iter(self.medians.values()), None)
            return "" if own is None else "pass" if own <= self.metric.at_most else "falls short"
        if self.ratio is None or self.metric.wanted is None:
            return ""
        return "pass" if self.metric.passes(self.ratio) else "falls short"


def lines_of(result: RowResult) -> list[Line]:
    """The lines of a row: medians of each server, and the ratio first ÷ second of each round."""
    lines = []
    for metric in result.row.metrics:
        values = {name: server.values(metric) for name, server in result.servers.items()}
        columns = list(values.values())
        ratios: tuple[float, ...] = ()
        if len(columns) == 2 and len(columns[0]) == len(columns[1]):
            ratios = tuple(a / b for a, b in zip(*columns, strict=True) if b)
        medians = {name: statistics.median(column) for name, column in values.items() if column}
        lines.append(Line(metric, medians, ratios, result.ceiling.get(metric.key)))
    return lines


def amount(value: float, unit: str) -> str:
    """A figure with three significant digits and a prefix that fits its unit."""
    prefixes = {"s": SMALL, "B": BINARY}.get(unit, DECIMAL)
    prefix = next((prefix for prefix, scale in prefixes.items() if abs(value) >= scale), list(prefixes)[-1])
    scaled = value / prefixes[prefix]
    decimals = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    number = f"{scaled:.{decimals}f} {prefix}"
    return number + unit if unit in {"s", "B"} else f"{number} {unit}".replace("  ", " ")


def table(results: Sequence[RowResult], names: Sequence[str]) -> str:
    """The table as text: one line for each metric, with the peak memory and processors on a row's first line."""
    ratio = " ÷ ".join(names) if len(names) == 2 else "ratio"
    header = ["work", *names, ratio, "wanted", "verdict", "generator's ceiling"]
    header += ["peak memory", "CPUs (server + generator)"]
    body = []
    failures = []
    for result in results:
        for number, line in enumerate(lines_of(result)):
            cells = [line.metric.title]
            cells += [amount(line.medians[n], line.metric.unit) if n in line.medians else "failed" for n in names]
            cells.append("" if line.ratio is None else f"{line.ratio:.2f}")
            cells.append(_wanted(line.metric))
            cells.append(line.verdict)
            cells.append("" if line.ceiling is None else amount(line.ceiling, line.metric.unit))
            servers = [result.servers[name] for name in names]
            cells.append("" if number else " / ".join(amount(server.peak_memory, "B") for server in servers))
            cells.append("" if number else " / ".join(_processors(server) for server in servers))
            body.append(cells)
        failures += [f"{result.row.key}: {n}: {s.error}" for n, s in result.servers.items() if s.error]
        if result.ceiling_error:
            failures.append(f"{result.row.key}: the generator's own ceiling: {result.ceiling_error}")
    return "\n".join([*align([header, *body]), *([""] if failures else []), *failures])


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns under their header: the first column flush left, the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def as_json(results: Sequence[RowResult]) -> list[dict[str, object]]:
    """Everything that was measured, round by round, in SI units (bytes, seconds, per second)."""
    return [
        {
            "row": result.row.key,
            "tls": result.row.tls,
            "ceiling": result.ceiling,
            "servers": {
                name: {
                    "rounds": server.rounds,
                    "processors": server.processors,
                    "generator_processors": server.generator_processors,
                    "peak_memory": server.peak_memory,
                    "error": server.error,
                }
                for name, server in result.servers.items()
            },
            "lines": [
                {
                    "title": line.metric.title,
                    "figure": line.metric.key,
                    "unit": line.metric.unit,
                    "medians": line.medians,
                    "ratios": line.ratios,
                    "ratio": line.ratio,
                    "wanted": line.metric.wanted,
                    "at_most": line.metric.at_most,
                    "more_is_better": line.metric.more_is_better,
                    "verdict": line.verdict,
                }
                for line in lines_of(result)
            ],
        }
        for result in results
    ]


def _wanted(metric: Metric) -> str:
    if metric.at_most is not None:
        return f"≤ {amount(metric.at_most, metric.unit)}"
    if metric.wanted is None:
        return ""
    return f"{'≥' if metric.more_is_better else '≤'} {metric.wanted:g}"


def _processors(server: ServerResult) -> str:
    if not server.processors:
        return "-"
    return f"{statistics.median(server.processors):.2f} + {statistics.median(server.generator_processors):.2f}"
