"""Charts that hold policies against each other on one axis: worth of the tiers, changes and customers over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.comparison.document import revenue_lifts
from stream_app.backtest.comparison.glance import NOTHING, points, policy_colour, policy_columns
from stream_app.backtest.comparison.results import ComparedRun, ComparisonResult
from stream_app.backtest.comparison.watch import MARK_DAYS
from stream_app.backtest.report.colours import tier_colour
from stream_app.backtest.report.figure import (
    Column,
    DataTable,
    Plot,
    data_table,
    empty,
    figure,
    legend_of,
    path_of,
    swatch,
)
from stream_app.backtest.report.formats import compact, date, nice_marks, percent, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.report.population_chart import thinned
from stream_app.backtest.results import STATE_COUNT, AxisResult
from stream_app.backtest.summary import plain
from stream_app.domain.events import MS_PER_DAY

POINTS_MAX: Final = 130
_GROUP_DAYS: Final = (7, 28, 91, 364)
_DASHES: Final = ("none", "9 3", "3 3", "12 3 3 3")
"""Of the lines, in turn: where two policies agree, the one beneath still shows."""
_LABEL_SHARE: Final = 0.08
"""A smaller part of a bar has no room for its share."""

Series = Mapping[int, float]
"""Time in milliseconds to a value."""


def worth_figure(result: ComparisonResult, axis: str) -> Markup:
    """Draw, for each policy, how rated customers and their revenue divide into tiers."""
    found = [(run, own) for run in result.runs if (own := run.axis_result(axis)) is not None]
    title = "What each tier is worth"
    if all(own.tier_revenue_shares is None or own.tier_customer_shares is None for _, own in found):
        return empty(title, "No customer who had a tier at a 00:00 UTC tick has bought anything since.")
    bars, rows = [], []
    for run, own in found:
        colour = policy_colour(result.runs.index(run))
        bars.append(tag("div", join(swatch(colour), run.name), class_="bar-name", aria_hidden="true"))
        for what, shares in (("customers", own.tier_customer_shares), ("revenue", own.tier_revenue_shares)):
            bars.append(_share_bar(f"{run.name}, {what}", what, own, shares))
        rows.extend(_tier_rows(run, own, colour))
    columns = ["Policy and tier", "customers at the end", "of customers", "of revenue", "revenue lift", "growth lift"]
    legends = [
        tag(
            "div",
            legend_of([Column(tier, tier_colour(place)) for place, tier in enumerate(tiers)]),
            class_=f"tiers-{len(tiers)}",
        )
        for tiers in dict.fromkeys(own.tiers for _, own in found)
    ]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", title),
            tag(
                "p",
                "How rated customers divide into tiers on an average day, and who spent the money: every purchase "
                "counts for the tier its customer held just before it. Revenue lift: a tier's share of revenue by its "
                "share of customers. Growth lift: how much more often than everybody its customers spent more over the "
                f"next {result.runs[0].policy.horizon_periods * MARK_DAYS} days than over the last.",
            ),
        ),
        *legends,
        *bars,
        data_table(DataTable([Column(name) for name in columns], rows)),
        class_="chart worth",
    )


def changes_lines(result: ComparisonResult, axis: str) -> Markup:
    """Draw the changes of tier a day under each policy, over time."""
    title = "Changes of tier over time"
    days = {run.name: _changes_by_day(run, axis) for run in result.runs}
    every = sorted({day for own in days.values() for day in own})
    if not every or not any(sum(own.values()) for own in days.values()):
        return empty(title, "Nobody changed tier under any of the policies.")
    first, count = every[0], every[-1] - every[0] + 1
    step = next((size for size in _GROUP_DAYS if count <= size * POINTS_MAX), _GROUP_DAYS[-1])
    series = []
    for run in result.runs:
        own: dict[int, float] = {}
        if run.axis_result(axis) is not None:
            for start in range(first, every[-1] + 1, step):
                length = min(step, every[-1] + 1 - start)
                total = sum(days[run.name].get(day, 0) for day in range(start, start + length))
                own[start * MS_PER_DAY] = total / length
        series.append(own)
    description = f"Promotions and demotions a day, averaged over {step} days each. First ratings are none."
    return _lines(title, description, policy_columns(result), series, plain)


def top_tier_lines(result: ComparisonResult, axis: str) -> Markup:
    """Draw how many customers hold the highest tier under each policy, over time."""
    series: list[Series] = []
    names = []
    for run in result.runs:
        own = run.axis_result(axis)
        if own is None:
            series.append({})
            continue
        names.append(own.tiers[-1])
        times_ms = run.statistics.population_times_ms.tolist()
        series.append(dict(zip(times_ms, own.populations[:, -1].tolist(), strict=True)))
    distinct = list(dict.fromkeys(names))
    title = f"Customers who are {' or '.join(distinct)}, over time"
    if not any(any(own.values()) for own in series):
        return empty(title, "Nobody has held the highest tier under any of the policies.")
    return _lines(title, "At 00:00 UTC of each day.", policy_columns(result), series, whole)


def human_lines(result: ComparisonResult) -> Markup:
    """Draw how many customers people attend to under each policy, over time."""
    title = "Customers whom people attend to, over time"
    series = [dict(run.human_at_marks) for run in result.runs]
    if max(map(len, series)) < 2 or not any(any(own.values()) for own in series):
        return empty(title, "There are too few marks to draw, or no customer has human attention at any of them.")
    description = f"Every {MARK_DAYS} days, by the treatment that the customer's segment has then."
    return _lines(title, description, policy_columns(result), series, whole)


def hysteresis_figure(result: ComparisonResult, axis: str) -> Markup:
    """Show what hysteresis costs in revenue that the tiers would have held, and which movement it saves."""
    title = "The price of hysteresis"
    rows: list[tuple[float | None, list[str]]] = []
    for place, run in enumerate(result.runs):
        at = run.axis_place(axis)
        if at is None:
            continue
        tally = run.watched.hysteresis[at]
        held, ranks = tally.held_shares, tally.rank_shares
        tiers = run.policy.axes[at].tiers
        for edge in reversed(range(len(tiers) - 1)):
            upper = tiers[edge + 1] if edge == len(tiers) - 2 else f"{tiers[edge + 1]} and above"
            shares = [NOTHING] * 3
            if held is not None and ranks is not None:
                price = points(float(held[edge] - ranks[edge]))
                shares = [percent(float(ranks[edge])), percent(float(held[edge])), price]
            rows.append((None, [join(swatch(policy_colour(place)), f"{run.name}: {upper}"), *shares]))
    if not any(run.watched.hysteresis[at].rated_count for run, at in _with_axis(result, axis)):
        return empty(title, f"That takes two looks at everybody, {MARK_DAYS} days apart, and tiers at the first.")
    moved = []
    for run, at in _with_axis(result, axis):
        tally = run.watched.hysteresis[at]
        shares_moved = [tally.rank_moved_share, tally.held_moved_share, tally.off_share]
        cells = [NOTHING if share is None else percent(share) for share in shares_moved]
        moved.append((None, [join(swatch(policy_colour(result.runs.index(run))), run.name), *cells]))
    cost = ["Customers", "by score alone", "by held tier", "difference"]
    saved = ["Customers in another tier 28 days later", "by score alone", "with hysteresis", "off their score's tier"]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", title),
            tag(
                "p",
                f"Share of the revenue of the next {MARK_DAYS} days that customers above a cut point brought: those "
                "whom the score alone puts there, and as many customers taken by the tier they held. What is lost is "
                "the price; what it buys is below: fewer customers who are something else four weeks later.",
            ),
        ),
        data_table(DataTable([Column(name) for name in cost], rows)),
        data_table(DataTable([Column(name) for name in saved], moved)),
        class_="chart glance",
    )


def _with_axis(result: ComparisonResult, axis: str) -> list[tuple[ComparedRun, int]]:
    return [(run, at) for run in result.runs if (at := run.axis_place(axis)) is not None]


def _share_bar(label: str, what: str, own: AxisResult, shares: NDArray[np.float64] | None) -> Markup:
    known = [] if shares is None else list(zip(own.tiers, shares.tolist(), strict=True))
    parts = []
    for tier, (_, share) in enumerate(known):
        if share > 0:
            shown = tag("b", percent(share)) if share >= _LABEL_SHARE else None
            parts.append(tag("span", shown, style=f"flex-grow:{share:.6f};background:var(--{tier_colour(tier)})"))
    told = ", ".join(f"{name} {percent(share)}" for name, share in known)
    bar = tag("div", *parts, class_=f"bar tiers-{len(own.tiers)}", role="img", aria_label=f"{label}: {told or 'none'}")
    return tag("div", tag("span", what), bar, class_="share-bar")


def _tier_rows(run: ComparedRun, own: AxisResult, colour: str) -> list[tuple[float | None, list[str]]]:
    place = run.axis_place(own.name)
    assert place is not None
    lifts = revenue_lifts(run, own.name)
    growth = run.watched.growth[place].lifts
    customers, revenue = own.tier_customer_shares, own.tier_revenue_shares
    rows: list[tuple[float | None, list[str]]] = []
    for tier in reversed(range(len(own.tiers))):
        name = own.tiers[tier]
        cells = [
            whole(int(own.populations_end[STATE_COUNT + tier])),
            NOTHING if customers is None else percent(float(customers[tier])),
            NOTHING if revenue is None else percent(float(revenue[tier])),
            _lift(lifts[name]),
            _lift(growth[tier]),
        ]
        rows.append((None, [join(swatch(colour), f"{run.name}: {name}"), *cells]))
    return rows


def _lift(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _changes_by_day(run: ComparedRun, axis: str) -> dict[int, int]:
    """Count changes by day since 1970-01-01, first ratings apart."""
    own = run.axis_result(axis)
    if own is None:
        return {}
    totals = own.changes_by_day[:, 1:].sum(axis=(1, 2))
    days = (run.statistics.change_times_ms // MS_PER_DAY).tolist()
    return dict(zip(days, totals.tolist(), strict=True))


def _lines(
    title: str, description: str, columns: Sequence[Column], series: Sequence[Series], show: Callable[[float], str]
) -> Markup:
    """Draw one line for each policy on one scale; a line has gaps in the table only, where it has no value."""
    times_ms = sorted({time_ms for own in series for time_ms in own})
    start_ms, length_ms = times_ms[0], max(times_ms[-1] - times_ms[0], 1)
    marks = nice_marks(max(value for own in series for value in own.values()), 4)
    shown = [times_ms[place] for place in thinned(len(times_ms))]
    lines = []
    for place, (column, own) in enumerate(zip(columns, series, strict=True)):
        drawn = [
            (100 * (time_ms - start_ms) / length_ms, 100 - 100 * own[time_ms] / marks[-1])
            for time_ms in shown
            if time_ms in own
        ]
        if drawn:
            style = f"stroke:var(--{column.colour});stroke-dasharray:{_DASHES[place % len(_DASHES)]}"
            lines.append(tag("path", d=path_of(drawn), class_="line", style=style))
    rows = [
        (
            (time_ms - start_ms) / length_ms,
            [date(time_ms), *(show(own[time_ms]) if time_ms in own else NOTHING for own in series)],
        )
        for time_ms in shown
    ]
    thinning = f"{len(shown)} of {len(times_ms)} days, evenly spaced" if len(shown) < len(times_ms) else ""
    plot = Plot(
        join(*lines),
        200,
        time_marks(times_ms[0], times_ms[-1]),
        [(mark / marks[-1], compact(mark)) for mark in marks[1:]],
    )
    return figure(title, description, plot, DataTable([Column("From"), *columns], rows, thinning))
