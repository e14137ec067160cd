"""What was predicted against what came: spend by tenths, probabilities as a calibration plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream_app.backtest.report.figure import Column, DataTable, Plot, empty, figure
from stream_app.backtest.report.formats import compact, money, percent, whole
from stream_app.backtest.report.lines_chart import DASHES, spot
from stream_app.backtest.report.markup import Markup, join, tag

_EXPECTED: Final = "method-last-horizon-spend"
_CAME: Final = "method-scores"
_PERCENT_MARKS: Final = ((0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %"))
_SPOT_PX: Final = (5.0, 16.0)
Rows = Sequence[Sequence[float]]


def spend_against_expectation(predictions: Mapping[str, Any], currency: str) -> Markup:
    """Draw mean expected and mean actual spend by tenths of what was expected."""
    title = "Expected spend against what came"
    rows: Rows = predictions["prequential"]["tables"]["spend_by_expectation"]
    count, expected, came = (sum(row[column] for row in rows) for column in range(3))
    if not count or came <= 0.0 or expected <= 0.0:
        return empty(title, "No customer whose outcome is known has bought anything.")
    means = [(row[1] / row[0], row[2] / row[0]) if row[0] else (0.0, 0.0) for row in rows]
    positive = [value for pair in means for value in pair if value > 0.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    # Ten thousand to one is as far as a reader can compare; smaller means lie on the floor.
    low, high = max(low, high - 4), max(high, low + 1)
    parts = []
    for place, pair in enumerate(means):
        x = 10 * place + 5
        heights = [100 - 100 * _height(value, low, high) for value in pair]
        at = {"x1": f"{x:.2f}", "x2": f"{x:.2f}", "y1": f"{heights[0]:.2f}", "y2": f"{heights[1]:.2f}"}
        parts.append(tag("line", **at, class_="span"))
        parts.append(spot(x, heights[0], _EXPECTED, 11.0))
        parts.append(spot(x, heights[1], _CAME, 7.0))
    table = [
        (
            (place + 0.5) / 10,
            [
                str(place + 1),
                money(mean[0], currency),
                money(mean[1], currency),
                f"{row[1] / row[2]:.2f}" if row[2] > 0.0 else "\u2013",
                whole(row[0]),
            ],
        )
        for place, (mean, row) in enumerate(zip(means, rows, strict=True))
    ]
    days = predictions["horizon_days"]
    columns = [Column("Tenth"), Column("expected a customer", _EXPECTED), Column("came", _CAME)]
    return figure(
        f"{percent(expected / came)} of the spend that came was expected",
        f"Mean spend of a customer over {days} days: what was expected at the time, and what came, by tenths of the "
        "customers from the highest expectation to the lowest; the scale is logarithmic. Ranks can be right where "
        "sums are off: a season moves everybody at once.",
        Plot(
            join(*parts),
            260,
            [((place + 0.5) / 10, str(place + 1)) for place in range(10)],
            [((power - low) / (high - low), compact(10.0**power)) for power in range(low, high + 1)],
        ),
        DataTable(
            [*columns, Column("expected / came"), Column("predictions")], table, "One row for each tenth of predictions"
        ),
        legend=[Column("expected", _EXPECTED), Column("came", _CAME)],
    )


def calibration_plot(rows: Rows, what: str, verb: str) -> Markup:
    """Draw how often came true what was given a probability.

    Parameters
    ----------
    rows
        Number of predictions, sum of probabilities, and how many came true, by tenths of the probability.
    what, verb
        What the probability is of, and what happened, in words: `buying` and `bought`.
    """
    title = f"Probability of {what} against how many {verb}"
    count = sum(row[0] for row in rows)
    if not count:
        return empty(title, "No outcome is known yet.")
    error = sum(abs(row[1] - row[2]) for row in rows) / count
    low, high = _SPOT_PX
    parts = [tag("line", x1="0", x2="100", y1="100", y2="0", class_="zero", style=DASHES)]
    table: list[tuple[float | None, list[str]]] = []
    for place, (number, predicted, came) in enumerate(rows):
        if not number:
            continue
        x, y = predicted / number, came / number
        size = low + (high - low) * math.sqrt(number / count)
        parts.append(spot(100 * x, 100 - 100 * y, _CAME, size))
        label = f"{10 * place} to {10 * place + 10}\u00a0%"
        table.append((x, [label, percent(x), percent(y), whole(number)]))
    return figure(
        f"Probability of {what}: off by {100 * error:.1f} points on average",
        f"Each dot holds the predictions of one tenth of the scale, larger where there are more: left to right the "
        f"mean probability, upward the share who {verb}. On the dashed line a probability means what it says.",
        Plot(join(*parts), 260, [(0.0, "0 %"), *_PERCENT_MARKS], _PERCENT_MARKS),
        DataTable(
            [Column("Probability"), Column("mean"), Column(f"share who {verb}", _CAME), Column("predictions")],
            table,
            "One row for each tenth of the probability",
        ),
        legend=[],
    )


def _height(value: float, low: int, high: int) -> float:
    """Give the place on a logarithmic scale, in [0, 1]."""
    if value <= 0.0:
        return 0.0
    return min(max((math.log10(value) - low) / (high - low), 0.0), 1.0)
