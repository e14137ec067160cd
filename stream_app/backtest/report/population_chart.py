"""Charts over time of one axis: how many customers each state holds, and where its cut points lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from stream_app.backtest.report.colours import state_colour, tier_colour
from stream_app.backtest.report.figure import Column, DataTable, Plot, empty, figure, path_of
from stream_app.backtest.report.formats import compact, date, marks_between, nice_marks, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import AxisResult, StatisticsResult

POINTS_MAX: Final = 160
"""More days than these are thinned out evenly; the first and the last always stay."""
_PROSPECTS_MANY: Final = 0.6
_SWITCH_WORDS: Final = (
    " Upright lines are days on which what was learned came into force: every score changed, and the cut points with "
    "them, so that few changed tier for that alone."
)


def thinned(count: int, points_max: int = POINTS_MAX) -> list[int]:
    """Choose evenly spaced places of a sequence, the first and the last among them."""
    if count <= points_max:
        return list(range(count))
    return sorted({round(place * (count - 1) / (points_max - 1)) for place in range(points_max)})


def population_chart(axis: AxisResult, result: StatisticsResult) -> Markup:
    """Draw how many customers hold each tier over time, as stacked areas."""
    title = "Who is in which tier, day by day"
    if len(axis.populations) < 2 or not axis.populations.sum():
        return empty(title, "Populations are recorded at 00:00 UTC of each day; there are too few to draw.")
    days = thinned(len(axis.populations))
    times_ms = result.population_times_ms[days]
    populations = axis.populations[days]
    fractions = (times_ms - times_ms[0]) / (times_ms[-1] - times_ms[0])
    is_present = populations.sum(axis=0) > 0
    totals = axis.populations.sum(axis=0)
    are_prospects_left_out = totals[0] > _PROSPECTS_MANY * totals.sum() and totals[1:].any()
    drawn = [s for s in range(len(axis.states)) if is_present[s] and not (s == 0 and are_prospects_left_out)]
    marks = nice_marks(float(populations[:, drawn].sum(axis=1).max()), 5)
    scale = 100 / marks[-1]
    below = np.zeros(len(days))
    areas = []
    for state in drawn:
        above = below + populations[:, state]
        outline = [(100 * x, 100 - scale * y) for x, y in zip(fractions, above, strict=True)]
        outline += [(100 * x, 100 - scale * y) for x, y in zip(fractions[::-1], below[::-1], strict=True)]
        areas.append(tag("path", d=path_of(outline) + "Z", class_="area", style=f"fill:var(--{state_colour(state)})"))
        below = above
    shown = [s for s in range(len(axis.states)) if is_present[s]]
    columns = [Column("Day"), *(Column(axis.states[s], state_colour(s)) for s in shown)]
    rows = [
        (float(x), [date(int(t)), *(whole(counts[s]) for s in shown)])
        for x, t, counts in zip(fractions, times_ms, populations, strict=True)
    ]
    left_out = " Prospects, by far the most, are in the table only." if are_prospects_left_out else ""
    return figure(
        title,
        f"Customers in each state at 00:00 UTC; at the end {_ending(axis)}.{left_out}",
        Plot(
            join(*areas),
            280,
            time_marks(int(times_ms[0]), int(times_ms[-1])),
            [(mark / marks[-1], compact(mark)) for mark in marks[1:]],
        ),
        DataTable(columns, rows, _thinning(len(days), len(axis.populations))),
        legend=[Column(axis.states[s], state_colour(s)) for s in reversed(drawn)],
    )


def cut_point_chart(axis: AxisResult, result: StatisticsResult, switches_ms: Sequence[int] = ()) -> Markup | None:
    """Draw the cut points over time; None when there were none, or they never moved.

    Parameters
    ----------
    axis, result
        What the statistics found.
    switches_ms
        When another scoring was made, in milliseconds since 1970-01-01 UTC.
    """
    known = np.flatnonzero(~np.isnan(axis.cut_points).any(axis=1))
    if len(known) < 2 or not np.ptp(axis.cut_points[known], axis=0).any():
        return None
    days = known[thinned(len(known))]
    times_ms, values = result.population_times_ms[days], axis.cut_points[days]
    fractions = (times_ms - times_ms[0]) / (times_ms[-1] - times_ms[0])
    marks = marks_between(float(values.min()), float(values.max()))
    low, scale = marks[0], 100 / (marks[-1] - marks[0])
    start_ms, span_ms = int(times_ms[0]), int(times_ms[-1] - times_ms[0])
    inside = [(time_ms - start_ms) / span_ms for time_ms in switches_ms if start_ms < time_ms <= start_ms + span_ms]
    upright = [f"{100 * x:.2f}" for x in inside]
    lines = [tag("line", x1=x, x2=x, y1="0", y2="100", class_="switch") for x in upright]
    columns = [Column("Day")]
    for edge in range(values.shape[1]):
        points = [(100 * x, 100 - scale * (y - low)) for x, y in zip(fractions, values[:, edge], strict=True)]
        lines.append(tag("path", d=path_of(points), class_="line", style=f"stroke:var(--{tier_colour(edge + 1)})"))
        columns.append(Column(f"{axis.tiers[edge + 1]} from", tier_colour(edge + 1)))
    rows = [
        (float(x), [date(int(t)), *(f"{score:.3f}" for score in scores)])
        for x, t, scores in zip(fractions, times_ms, values, strict=True)
    ]
    return figure(
        "How the cut points moved",
        "The score from which a tier begins, renewed every day from the whole population: who stands still can be "
        "overtaken." + (_SWITCH_WORDS if inside else ""),
        Plot(
            join(*lines),
            180,
            time_marks(int(times_ms[0]), int(times_ms[-1])),
            [((mark - low) / (marks[-1] - low), compact(mark)) for mark in marks],
        ),
        DataTable(columns, rows, _thinning(len(days), len(known))),
    )


def _ending(axis: AxisResult) -> str:
    parts = [f"{whole(n)} {name}" for name, n in zip(axis.states, axis.populations_end, strict=True) if n]
    return ", ".join(parts) if parts else "nobody"


def _thinning(shown: int, count: int) -> str:
    return f"{shown} of {count} days, evenly spaced" if shown < count else "One row for each day"
