"""The table of all figures, in Markdown: readable in a terminal and in the documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measurement import Measurement

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN = "<!-- table: begin -->"
END = "<!-- table: end -->"
HEADINGS = ("benchmark", "what", "best", "median", "floor", "goal", "x reference", "verdict", "notes")
_SMALL = 100.0


def render(rows: Sequence[Measurement], machine: str, *, is_full: bool) -> str:
    """Write the machine's description and one line for each measurement.

    Parameters
    ----------
    rows
        The measurements.
    machine
        Its description.
    is_full
        The sizes are those of the promises; otherwise there is no verdict.
    """
    cells = [HEADINGS, *(_cells(row, is_full=is_full) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(HEADINGS))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([f"Machine: {machine}", "", *lines])


def update_document(table: str, path: Path = DOCUMENT) -> None:
    """Put the table into the document in place of the last one.

    Parameters
    ----------
    table
        As `render` gave it.
    path
        A document that holds the two marks between which the table stands.
    """
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def _cells(row: Measurement, *, is_full: bool) -> tuple[str, ...]:
    sign = "<= " if row.is_ceiling else ">= "
    return (
        row.name,
        row.what,
        "-" if row.value is None else f"{_number(row.value)} {row.unit}",
        _number(row.middle),
        "-" if row.floor is None else sign + _number(row.floor),
        "-" if row.goal is None else sign + _number(row.goal),
        "-" if row.baseline_ratio is None else f"{row.baseline_ratio:.0f}",
        row.verdict if is_full or row.value is None else "not judged",
        row.notes or "-",
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= _SMALL else f"{value:.3g}"
