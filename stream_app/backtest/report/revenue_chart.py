"""The argument for the tiers: share of customers against share of revenue, and revenue by state over time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.report.colours import fill, state_colour, tier_colour
from stream_app.backtest.report.figure import (
    Column,
    DataTable,
    Plot,
    data_table,
    empty,
    figure,
    rectangle,
    swatch,
)
from stream_app.backtest.report.formats import date, money, percent, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import STATE_COUNT, AxisResult, StatisticsResult
from stream_app.backtest.statistics import PERIOD_MS
from stream_app.backtest.summary import plain

PERIODS_MAX: Final = 90
"""More periods of 28 days than these are added up, several to a bar."""
_DAYS_PER_YEAR: Final = 365.25
_BAR_HEIGHT: Final = 20.0
_LABEL_SHARE: Final = 0.07
"""A smaller part of a bar has no room for its share."""


def revenue_argument(axis: AxisResult, currency: str) -> Markup:
    """Draw each tier's share of customers above its share of revenue, joined by ribbons."""
    title = "What each tier is worth"
    revenue_shares, customer_shares = axis.tier_revenue_shares, axis.tier_customer_shares
    if revenue_shares is None or customer_shares is None:
        return empty(title, "No customer who had a tier at a 00:00 UTC tick has bought anything since.")
    top = len(axis.tiers) - 1
    finding = (
        f"{axis.tiers[top]}: {percent(customer_shares[top])} of customers, {percent(revenue_shares[top])} of revenue"
    )
    upper, lower = _starts(customer_shares), _starts(revenue_shares)
    parts = []
    for tier in range(len(axis.tiers)):
        parts.append(_ribbon(tier, upper[tier : tier + 2], lower[tier : tier + 2]))
    for tier in range(len(axis.tiers)):
        style = fill(tier_colour(tier))
        parts.append(rectangle(100 * upper[tier], 0, 100 * customer_shares[tier], _BAR_HEIGHT, style))
        lower_y = 100 - _BAR_HEIGHT
        parts.append(rectangle(100 * lower[tier], lower_y, 100 * revenue_shares[tier], _BAR_HEIGHT, style))
    notes = _bar_labels(customer_shares, upper, 1 - _BAR_HEIGHT / 200)
    notes += _bar_labels(revenue_shares, lower, _BAR_HEIGHT / 200)
    svg = tag("svg", *parts, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    labels = [
        tag("span", share, class_="share", style=f"left:{100 * x:.2f}%;bottom:{100 * y:.2f}%") for x, y, share in notes
    ]
    label = f"{finding}. The figures are in the table below."
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", finding),
            tag(
                "p",
                "Above, how rated customers divide into tiers on an average day; below, who spent the money. Every "
                "purchase counts for the tier its customer held just before it, so no tier earns by hindsight.",
            ),
        ),
        tag("div", "Rated customers", class_="bar-name", aria_hidden="true"),
        tag("div", svg, *labels, class_="ribbons", role="img", aria_label=label),
        tag("div", "Their revenue", class_="bar-name", aria_hidden="true"),
        data_table(_tier_table(axis, currency)),
        _others(axis, currency),
        class_="chart",
    )


def revenue_over_time(axis: AxisResult, result: StatisticsResult, currency: str) -> Markup:
    """Draw how revenue divides into states, for each period of 28 days."""
    title = "Revenue by tier, period by period"
    if not axis.revenue.any():
        return empty(title, "The log has no purchase with an amount.")
    step = -(-len(axis.revenue) // PERIODS_MAX)
    starts = np.arange(0, len(axis.revenue), step)
    revenue, times_ms = np.add.reduceat(axis.revenue, starts, axis=0), result.period_times_ms[starts]
    totals = revenue.sum(axis=1)
    n_periods = len(totals)
    states = [state for state in range(len(axis.states)) if revenue[:, state].any()]
    shares = np.divide(revenue, totals[:, None], out=np.zeros_like(revenue), where=totals[:, None] > 0)
    width = 100 / n_periods
    bars = []
    for period in range(n_periods):
        below = 0.0
        for state in states:
            height = 100 * float(shares[period, state])
            bars.append(
                rectangle(
                    width * (period + 0.06), 100 - below - height, width * 0.88, height, fill(state_colour(state))
                )
            )
            below += height
    columns = [
        Column(f"{28 * step} days from"),
        *(Column(axis.states[s], state_colour(s)) for s in states),
        Column("all"),
    ]
    rows = []
    for period, time_ms in enumerate(times_ms.tolist()):
        cells = [f"{money(float(revenue[period, s]), currency)} ({percent(float(shares[period, s]))})" for s in states]
        rows.append(((period + 0.5) / n_periods, [date(time_ms), *cells, money(float(totals[period]), currency)]))
    return figure(
        title,
        "Share of gross purchases by what the customer was just before each: a first purchase counts as prospect. "
        "The last period may be incomplete.",
        Plot(
            join(*bars),
            240,
            time_marks(int(times_ms[0]), int(times_ms[-1]) + step * PERIOD_MS),
            [(0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")],
        ),
        DataTable(columns, rows, f"One row for each period of {28 * step} days"),
        legend=[Column(axis.states[s], state_colour(s)) for s in reversed(states)],
    )


def _starts(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(shares)])


def _ribbon(tier: int, upper: NDArray[np.float64], lower: NDArray[np.float64]) -> Markup:
    top, bottom, middle = _BAR_HEIGHT, 100 - _BAR_HEIGHT, 50.0
    (a, b), (c, d) = (100 * upper).tolist(), (100 * lower).tolist()
    outline = (
        f"M{a:.2f},{top}C{a:.2f},{middle} {c:.2f},{middle} {c:.2f},{bottom}L{d:.2f},{bottom}"
        f"C{d:.2f},{middle} {b:.2f},{middle} {b:.2f},{top}Z"
    )
    return tag("path", d=outline, style=f"{fill(tier_colour(tier))};opacity:.32")


def _bar_labels(shares: NDArray[np.float64], starts: NDArray[np.float64], y: float) -> list[tuple[float, float, str]]:
    middles = (starts[:-1] + starts[1:]) / 2
    return [
        (float(x), y, percent(float(share))) for x, share in zip(middles, shares, strict=True) if share >= _LABEL_SHARE
    ]


def _tier_table(axis: AxisResult, currency: str) -> DataTable:
    columns = [
        Column("Tier"),
        Column("of customers"),
        Column("of revenue"),
        Column("a customer spends a year"),
        Column("purchases a year"),
    ]
    revenue_shares, customer_shares = axis.tier_revenue_shares, axis.tier_customer_shares
    rows: list[tuple[float | None, list[str]]] = []
    for tier in reversed(range(len(axis.tiers))):
        years = float(axis.customer_days[:, tier + STATE_COUNT].sum()) / _DAYS_PER_YEAR
        spent = float(axis.revenue[:, tier + STATE_COUNT].sum())
        purchases = float(axis.purchase_counts[:, tier + STATE_COUNT].sum())
        cells = [
            percent(0.0 if customer_shares is None else float(customer_shares[tier])),
            percent(0.0 if revenue_shares is None else float(revenue_shares[tier])),
            money(spent / years, currency) if years else "\u2013",
            plain(purchases / years) if years else "\u2013",
        ]
        rows.append((None, [join(swatch(tier_colour(tier)), axis.tiers[tier]), *cells]))
    return DataTable(columns, rows)


def _others(axis: AxisResult, currency: str) -> Markup | None:
    """Say what was bought by customers without a tier."""
    totals = axis.revenue.sum(axis=0)
    parts = []
    for state, words in ((0, "first purchases"), (1, "purchases of buyers before there were cut points")):
        if totals[state]:
            share = percent(float(totals[state] / totals.sum()))
            parts.append(f"{money(float(totals[state]), currency)} ({share} of all revenue) in {words}")
    if not parts:
        return None
    counted = whole(int(axis.purchase_counts.sum()))
    return tag("p", f"Not in these shares: {' and '.join(parts)}. In all {counted} purchases.", class_="aside")
