"""The frame of every chart: title, description, legend, plot with its scales, and the same figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stream_app.backtest.report.markup import Markup, join, tag


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a data table: its heading, and the colour of its series in the chart."""

    name: str
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class DataTable:
    """The figures behind a chart, from which its tooltips are read, too.

    Parameters
    ----------
    columns
        The first heads the rows.
    rows
        Place on the horizontal scale in [0, 1], and one text for each column.
    caption
        What the rows are, as `one row for each week`.
    """

    columns: Sequence[Column]
    rows: Sequence[tuple[float | None, Sequence[str]]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing in a square of 100 by 100 units, stretched to its place; y grows downward.

    Parameters
    ----------
    drawing
        Content of the SVG; strokes keep their width.
    height_px
        Height on screen.
    x_marks
        Fraction from the left and label.
    y_marks
        Fraction from the bottom and label; each gets a line across the plot.
    notes
        Labels inside the plot: fraction from the left, fraction from the bottom, content.
    """

    drawing: Markup
    height_px: int = 260
    x_marks: Sequence[tuple[float, str]] = ()
    y_marks: Sequence[tuple[float, str]] = ()
    notes: Sequence[tuple[float, float, Markup]] = field(default_factory=tuple)


def figure(
    title: str, description: str, plot: Plot, table: DataTable, *, legend: Sequence[Column] | None = None
) -> Markup:
    """Put a chart together.

    Parameters
    ----------
    title
        What the chart shows, best as a finding.
    description
        How to read it, in a sentence or two.
    plot
        The drawing.
    table
        The same figures; shown on demand.
    legend
        Colours and their names; None takes those of the table's columns.

    Returns
    -------
    Markup
    """
    keys = [column for column in (table.columns if legend is None else legend) if column.colour]
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("p", description)),
        legend_of(keys) if keys else None,
        plot_area(plot, f"{title}. {description} The figures are in the table below."),
        tag("details", tag("summary", "Figures as a table"), data_table(table)),
        class_="chart",
    )


def legend_of(keys: Sequence[Column]) -> Markup:
    """List names with their colours."""
    return tag("ul", *(tag("li", swatch(key.colour or ""), key.name) for key in keys), class_="legend")


def swatch(colour: str) -> Markup:
    """Draw a small patch of a named colour."""
    return tag("i", class_="swatch", style=f"background:var(--{colour})")


def plot_area(plot: Plot, label: str) -> Markup:
    """Draw the plot and its scales; it takes the focus, and arrow keys then move along it."""
    grid = [
        tag("line", x1="0", x2="100", y1=_number(100 - 100 * y), y2=_number(100 - 100 * y), class_="grid")
        for y, _ in plot.y_marks
    ]
    svg = tag(
        "svg",
        *grid,
        plot.drawing,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        aria_hidden="true",
        style=f"height:{plot.height_px}px",
    )
    y_labels = [tag("span", name, class_="y", style=f"bottom:{_number(100 * y)}%") for y, name in plot.y_marks]
    # Notes far to the right stand on the left of their place, so that they stay inside; on narrow screens more of them.
    notes = [
        tag(
            "span",
            content,
            class_="note",
            style=f"left:{_number(100 * x)}%;bottom:{_number(100 * y)}%",
            data_edge="end" if x > 0.85 else "far" if x > 0.6 else None,
        )
        for x, y, content in plot.notes
    ]
    x_labels = [
        tag(
            "span",
            name,
            class_="x minor" if place % 2 else "x",
            style=f"left:{_number(100 * x)}%",
            data_edge="end" if x > 0.94 else "start" if x < 0.06 else None,
        )
        for place, (x, name) in enumerate(plot.x_marks)
    ]
    return join(
        tag("div", svg, *y_labels, *notes, class_="plot", role="img", aria_label=label, tabindex="0"),
        tag("div", *x_labels, class_="x-scale", aria_hidden="true") if x_labels else None,
    )


def data_table(table: DataTable) -> Markup:
    """Draw a table whose first column heads the rows."""
    heads = [tag("th", column.name, scope="col", data_colour=column.colour) for column in table.columns]
    rows = [
        tag(
            "tr",
            tag("th", cells[0], scope="row"),
            *(tag("td", cell) for cell in cells[1:]),
            data_x=None if x is None else f"{x:.4f}",
        )
        for x, cells in table.rows
    ]
    caption = tag("caption", table.caption) if table.caption else None
    content = tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label="Figures as a table")


def empty(title: str, why: str) -> Markup:
    """Stand in for a chart that has nothing to show, and say why."""
    return tag("figure", tag("figcaption", tag("h3", title)), tag("p", why, class_="empty"), class_="chart")


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """Write points as an SVG path."""
    return "M" + "L".join(f"{_number(x)},{_number(y)}" for x, y in points)


def rectangle(x: float, y: float, width: float, height: float, style: str) -> Markup:
    """Draw a rectangle; sizes below zero become zero."""
    return tag(
        "rect",
        x=_number(x),
        y=_number(y),
        width=_number(max(width, 0.0)),
        height=_number(max(height, 0.0)),
        style=style,
    )


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
