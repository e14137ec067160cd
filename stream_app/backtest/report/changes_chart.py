"""The chart of changes over time: promotions upward, demotions downward, by cause."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.report.figure import Column, DataTable, Plot, empty, figure, rectangle
from stream_app.backtest.report.formats import MINUS, compact, date, nice_marks, percent, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import AxisResult, ChangeKind, StatisticsResult
from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_DAY

BARS_MAX: Final = 130
_BAR_DAYS: Final = (1, 7, 28, 91, 364)
_BAR_NAMES: Final = {1: "day", 7: "week", 28: "28 days", 91: "91 days", 364: "364 days"}
CAUSE_WORDS: Final = {
    Cause.FIRST_RATED: "first rating",
    Cause.EVENT: "an event",
    Cause.TIME: "time alone",
    Cause.CUT_POINT: "a moved cut point",
    Cause.MERGE: "merged customers",
}


def changes_chart(axis: AxisResult, result: StatisticsResult) -> Markup:
    """Draw promotions and demotions over time."""
    title = "Up and down, over time"
    if not axis.change_count:
        return empty(title, f"Nobody changed tier. First ratings: {whole(int(axis.first_ratings.sum()))}.")
    step, times_ms, counts = _grouped(axis.changes_by_day, result.change_times_ms)
    causes = [cause for cause in Cause if counts[:, 1:, cause].any()]
    promotions, demotions = counts[:, ChangeKind.PROMOTION], counts[:, ChangeKind.DEMOTION]
    up, down = float(promotions.sum(axis=1).max()), float(demotions.sum(axis=1).max())
    marks = nice_marks(max(up, down), 4)
    span = up + down
    zero, scale, width = 100 * up / span, 100 / span, 100 / len(counts)
    bars = []
    for bar in range(len(counts)):
        above = below = zero
        for cause in causes:
            style = f"fill:var(--cause-{cause.name.lower().replace('_', '-')})"
            height = scale * float(promotions[bar, cause])
            if height:
                bars.append(rectangle(width * (bar + 0.1), above - height, width * 0.8, height, style))
            above -= height
            height = scale * float(demotions[bar, cause])
            if height:
                bars.append(rectangle(width * (bar + 0.1), below, width * 0.8, height, style))
            below += height
    bars.append(tag("line", x1="0", x2="100", y1=f"{zero:.2f}", y2=f"{zero:.2f}", class_="zero"))
    y_marks = [((down + mark) / span, f"+{compact(mark)}") for mark in marks[1:] if mark <= up]
    y_marks += [((down - mark) / span, f"{MINUS}{compact(mark)}") for mark in marks[1:] if mark <= down]
    end_ms = int(times_ms[-1]) + step * MS_PER_DAY
    return figure(
        title,
        f"Each bar is one {_BAR_NAMES[step]}: promotions above the line, demotions below, coloured by their cause. "
        f"{_finding(axis)}",
        Plot(join(*bars), 280, time_marks(int(times_ms[0]), end_ms), y_marks),
        _table(step, times_ms, counts, causes),
        legend=[Column(f"by {CAUSE_WORDS[cause]}", _colour(cause)) for cause in causes],
    )


def _table(step: int, times_ms: NDArray[np.int64], counts: NDArray[np.int64], causes: list[Cause]) -> DataTable:
    columns = [Column("Day" if step == 1 else f"{_BAR_NAMES[step].capitalize()} from")]
    columns += [Column(f"up by {CAUSE_WORDS[cause]}", _colour(cause)) for cause in causes]
    columns += [Column(f"down by {CAUSE_WORDS[cause]}", _colour(cause)) for cause in causes]
    columns.append(Column("first ratings"))
    rows = []
    for bar, time_ms in enumerate(times_ms.tolist()):
        cells = [date(time_ms)]
        cells += [whole(counts[bar, ChangeKind.PROMOTION, cause]) for cause in causes]
        cells += [whole(counts[bar, ChangeKind.DEMOTION, cause]) for cause in causes]
        cells.append(whole(counts[bar, ChangeKind.FIRST_RATING].sum()))
        rows.append(((bar + 0.5) / len(times_ms), cells))
    return DataTable(columns, rows, f"One row for each {_BAR_NAMES[step]}")


def _grouped(
    counts: NDArray[np.int64], times_ms: NDArray[np.int64]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Add days up to so many bars as can be seen: days of a bar, times and shape `(n_bars, 3, n_causes)`."""
    step = next((days for days in _BAR_DAYS if len(counts) <= days * BARS_MAX), _BAR_DAYS[-1])
    starts = np.arange(0, len(counts), step)
    return step, times_ms[starts], np.add.reduceat(counts, starts, axis=0)


def _finding(axis: AxisResult) -> str:
    by_time = int(axis.changes_by_day[:, ChangeKind.DEMOTION, Cause.TIME].sum())
    parts = f"{whole(axis.promotion_count)} promotions, {whole(axis.demotion_count)} demotions"
    if not axis.demotion_count:
        return f"In all {parts}."
    return f"In all {parts}; {percent(by_time / axis.demotion_count)} of the demotions came because time passed."


def _colour(cause: Cause) -> str:
    return f"cause-{cause.name.lower().replace('_', '-')}"
