"""The chart of the score distribution with its cut points and the hysteresis bands around them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.report.colours import fill, tier_colour
from stream_app.backtest.report.figure import Column, DataTable, Plot, empty, figure, rectangle
from stream_app.backtest.report.formats import compact, marks_between, nice_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import AxisResult

BINS_MAX: Final = 90
_SPIKE: Final = 2.5
"""A bar this many times higher than the next is cut off, so that the others can be seen."""


def score_chart(axis: AxisResult) -> Markup:
    """Draw how scores are distributed at the end, and where the lines lie."""
    title = "Where the scores lie, and the lines between the tiers"
    if not axis.histogram_counts.sum():
        return empty(title, "Nobody has a score yet.")
    cut_points = np.empty(0) if axis.lines is None else axis.lines.cut_points
    edges, counts = _rebinned(axis)
    low, high = float(edges[0]), float(edges[-1])
    span = high - low
    marks, is_cut_off = _height_marks(counts)
    width = 100 / len(counts)
    bars = [*_bands(axis, low, span)]
    for place, count in enumerate(counts.tolist()):
        tier = int(np.searchsorted(cut_points, (edges[place] + edges[place + 1]) / 2, side="right"))
        colour = tier_colour(tier) if len(cut_points) else "unrated"
        height = min(100 * count / marks[-1], 100)
        bars.append(rectangle(width * place, 100 - height, width * 0.92, height, fill(colour)))
    for line in cut_points.tolist():
        x = f"{100 * (line - low) / span:.2f}"
        bars.append(tag("line", x1=x, x2=x, y1="0", y2="100", class_="cut"))
    notes = [
        ((line - low) / span, 0.97, tag("b", f"{axis.tiers[edge + 1]} from {line:.2f}"))
        for edge, line in enumerate(cut_points.tolist())
    ]
    x_marks = [((mark - low) / span, compact(mark)) for mark in marks_between(low, high, 6) if low <= mark <= high]
    rows = [
        ((place + 0.5) / len(counts), [f"{edges[place]:.2f} to {edges[place + 1]:.2f}", whole(count)])
        for place, count in enumerate(counts.tolist())
    ]
    cut_off = " The highest bar is cut off; the table has its count." if is_cut_off else ""
    return figure(
        title,
        _description(axis) + cut_off,
        Plot(join(*bars), 260, x_marks, [(mark / marks[-1], compact(mark)) for mark in marks[1:]], _spread(notes)),
        DataTable([Column("Score"), Column("Customers")], rows, "Rated customers by score, at the end"),
        legend=[Column(name, tier_colour(tier)) for tier, name in enumerate(axis.tiers)] if len(cut_points) else [],
    )


def _rebinned(axis: AxisResult) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Add the histogram's bins up to as many as can be seen, from the lowest to the highest score or line."""
    edges, counts = axis.histogram_edges, axis.histogram_counts
    used = np.flatnonzero(counts)
    low, high = float(edges[used[0]]), float(edges[used[-1] + 1])
    if axis.lines is not None:
        lines = np.concatenate([axis.lines.promote_lines, axis.lines.demote_lines, axis.lines.cut_points])
        low, high = min(low, float(lines.min())), max(high, float(lines.max()) * 1.001)
    per_bin = max(1, -(-(used[-1] + 1 - used[0]) // BINS_MAX))
    bin_width = per_bin * float(edges[1] - edges[0])
    first = float(edges[used[0]]) - np.ceil((float(edges[used[0]]) - low) / bin_width) * bin_width
    bin_count = max(1, int(np.ceil((high - first) / bin_width - 1e-9)))
    if bin_count > 4 * BINS_MAX:
        bin_count, bin_width = BINS_MAX, (high - first) / BINS_MAX
    middles = (edges[:-1] + edges[1:])[used] / 2
    bins = np.clip((middles - first) // bin_width, 0, bin_count - 1).astype(np.int64)
    totals = np.bincount(bins, counts[used], minlength=bin_count).astype(np.int64)
    return first + bin_width * np.arange(bin_count + 1), totals


def _height_marks(counts: NDArray[np.int64]) -> tuple[list[float], bool]:
    ordered = np.sort(counts)[::-1]
    is_cut_off = len(ordered) > 2 and ordered[0] > _SPIKE * ordered[1] > 0
    return nice_marks(1.15 * float(ordered[1] if is_cut_off else ordered[0])), bool(is_cut_off)


def _bands(axis: AxisResult, low: float, span: float) -> list[Markup]:
    if axis.lines is None:
        return []
    pairs = zip(axis.lines.demote_lines.tolist(), axis.lines.promote_lines.tolist(), strict=True)
    return [
        rectangle(100 * (demote - low) / span, 0, 100 * (promote - demote) / span, 100, "fill:var(--band)")
        for demote, promote in pairs
    ]


def _spread(notes: list[tuple[float, float, Markup]]) -> list[tuple[float, float, Markup]]:
    """Put labels that would cover each other on lines of their own."""
    return [(x, y - 0.09 * (place % 4), content) for place, (x, y, content) in enumerate(notes)]


def _description(axis: AxisResult) -> str:
    if axis.lines is None:
        return "Rated customers by score at the end. There are no cut points, so nobody has a tier."
    return (
        "Rated customers by score at the end. Solid lines are the cut points; the shaded band around each is the "
        "hysteresis: one rises only beyond its right edge and falls only below its left one, so that nobody flickers."
    )
