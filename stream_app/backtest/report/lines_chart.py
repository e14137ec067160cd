"""A chart of figures over time: one line for each, with a dot where it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_app.backtest.report.figure import Column, DataTable, Plot, figure, path_of
from stream_app.backtest.report.formats import date, marks_between, time_marks
from stream_app.backtest.report.markup import Markup, join, tag

DASHES = "stroke-dasharray:5 4"
DOTS_MAX = 40
"""More points than these are joined without dots."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Parameters
    ----------
    name
        What it shows.
    colour
        Name of its colour.
    values
        One for each time; None where there is none.
    is_yardstick
        Drawn dashed, without dots.
    """

    name: str
    colour: str
    values: Sequence[float | None]
    is_yardstick: bool = False


@dataclass(frozen=True, slots=True)
class TimeScale:
    """When the values are of.

    Parameters
    ----------
    times_ms
        Rising, at least two.
    moments
        Times to mark by an upright line.
    row_name
        Heads the table's first column.
    """

    times_ms: Sequence[int]
    moments: Sequence[int] = ()
    row_name: str = "From"

    def place(self, time_ms: int) -> float:
        """Give the fraction from the left."""
        return (time_ms - self.times_ms[0]) / (self.times_ms[-1] - self.times_ms[0])


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around the lines: title, description, and what a table's row is."""

    title: str
    description: str
    caption: str


def lines_chart(
    words: Words,
    scale: TimeScale,
    series: Sequence[Series],
    further: Sequence[tuple[Column, Sequence[str]]] = (),
    write: Callable[[float], str] = "{:.3f}".format,
) -> Markup:
    """Draw lines over time.

    Parameters
    ----------
    words
        Around them.
    scale
        Of time.
    series
        At least one with a value.
    further
        Columns that only the table has.
    write
        Writes a value.

    Returns
    -------
    Markup
    """
    known = [value for one in series for value in one.values if value is not None]
    marks = marks_between(min(known), max(known))
    low, span = marks[0], marks[-1] - marks[0]
    fractions = [scale.place(time_ms) for time_ms in scale.times_ms]
    parts = []
    for moment in scale.moments:
        x = f"{100 * min(max(scale.place(moment), 0.0), 1.0):.2f}"
        parts.append(tag("line", x1=x, x2=x, y1="0", y2="100", class_="moment"))
    for one in series:
        points = [
            (100 * x, None if y is None else 100 - 100 * (y - low) / span)
            for x, y in zip(fractions, one.values, strict=True)
        ]
        parts.extend(_drawn(points, one))
    columns = [
        Column(scale.row_name),
        *(Column(one.name, one.colour) for one in series),
        *(head for head, _ in further),
    ]
    rows = []
    for place, time_ms in enumerate(scale.times_ms):
        values = [one.values[place] for one in series]
        cells = ["\u2013" if value is None else write(value) for value in values]
        rows.append((fractions[place], [date(time_ms), *cells, *(texts[place] for _, texts in further)]))
    return figure(
        words.title,
        words.description,
        Plot(
            join(*parts),
            220,
            time_marks(scale.times_ms[0], scale.times_ms[-1]),
            [((mark - low) / span, f"{mark:.4g}") for mark in marks],
        ),
        DataTable(columns, rows, words.caption),
        legend=[Column(f"{one.name} (dashed)" if one.is_yardstick else one.name, one.colour) for one in series],
    )


def _drawn(points: Sequence[tuple[float, float | None]], one: Series) -> list[Markup]:
    """Draw one series, in pieces where values are missing."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    style = f"stroke:var(--{one.colour})"
    parts = [
        tag("path", d=path_of(piece), class_="line", style=f"{style};{DASHES}" if one.is_yardstick else style)
        for piece in pieces
        if len(piece) > 1
    ]
    if not one.is_yardstick and len(points) <= DOTS_MAX:
        parts += [spot(x, y, one.colour) for piece in pieces for x, y in piece]
    return parts


def spot(x: float, y: float, colour: str, size_px: float = 6.0) -> Markup:
    """Draw a round dot of a size on screen, wherever the drawing is stretched to."""
    at = {"x1": f"{x:.2f}", "x2": f"{x:.2f}", "y1": f"{y:.2f}", "y2": f"{y:.2f}"}
    return tag("line", **at, class_="spot", style=f"stroke:var(--{colour});stroke-width:{size_px:.1f}px")
