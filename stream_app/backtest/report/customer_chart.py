"""One customer's history: purchases as stems, the held tier as a band, and the reason of each change in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream_app.backtest.report.colours import fill, tier_colour
from stream_app.backtest.report.data import ExampleCustomer
from stream_app.backtest.report.figure import (
    Column,
    DataTable,
    Plot,
    data_table,
    plot_area,
    rectangle,
    swatch,
)
from stream_app.backtest.report.formats import compact, date, money, nice_marks, parse_time_ms, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.domain.policy import AxisPolicy, Policy

STEMS_MAX: Final = 240
"""More purchases than these are added up by equal spans of time."""
CHANGES_SHOWN: Final = 5
"""The first ones; the others are folded away."""
CHANGES_MAX: Final = 60
BANDS_MAX: Final = 300
"""Spans of held tiers that can be seen side by side."""
_BAND_HEIGHT: Final = 9.0
CAUSE_WORDS: Final = {
    "first_rated": "first rating",
    "event": "by an event",
    "time": "by time alone",
    "cut_point": "because the cut point moved",
    "merge": "by merged customers",
}

Span = tuple[int, int]


def customer_card(example: ExampleCustomer, policy: Policy, span_ms: Span) -> Markup:
    """Tell one customer's history.

    Parameters
    ----------
    example
        The customer.
    policy
        For axes, tiers and the currency.
    span_ms
        Beginning and end of the log: all customers are drawn on one scale of time.

    Returns
    -------
    Markup
    """
    changes = sorted(example.changes, key=lambda change: change.get("sequence") or 0)
    currency = policy.reporting_currency
    total = sum(amount for _, amount in example.purchases)
    count = len(example.purchases)
    facts = f"{whole(count)} {'purchase' if count == 1 else 'purchases'}, {money(total, currency)} in all"
    plot, table = _history(example, changes, policy, span_ms)
    items = [_change_item(change, policy) for change in changes[:CHANGES_MAX]]
    left_out = len(changes) - len(items)
    rest: Markup | None = None
    count_more = len(changes) - CHANGES_SHOWN
    if len(items) > CHANGES_SHOWN:
        more = [tag("p", f"{whole(left_out)} further changes are in changes.jsonl.")] if left_out else []
        rest = tag(
            "details",
            tag("summary", "1 more change" if count_more == 1 else f"{whole(count_more)} more changes"),
            tag("ol", *items[CHANGES_SHOWN:], class_="story", start=str(CHANGES_SHOWN + 1)),
            *more,
        )
    return tag(
        "article",
        tag("h3", example.headline),
        tag("p", "Customer ", tag("bdi", short_id(example.customer_id), class_="id"), f" \u00b7 {facts}", class_="who"),
        plot_area(
            plot, f"History of this customer: {facts}, {len(changes)} changes. The table below has the purchases."
        ),
        tag("ol", *items[:CHANGES_SHOWN], class_="story") if items else tag("p", "No change of tier.", class_="empty"),
        rest,
        tag("details", tag("summary", "Purchases as a table"), data_table(table)),
        class_="chart customer",
    )


def _history(
    example: ExampleCustomer, changes: Sequence[Mapping[str, Any]], policy: Policy, span_ms: Span
) -> tuple[Plot, DataTable]:
    start_ms, end_ms = span_ms
    length_ms = max(end_ms - start_ms, 1)
    stems = _stems(example.purchases, span_ms)
    marks = nice_marks(max((amount for _, amount, _ in stems), default=0.0), 2)
    bands = _BAND_HEIGHT * len(policy.axes)
    scale = (100 - bands - 4) / marks[-1]
    parts = []
    for place, axis in enumerate(policy.axes):
        bottom = 100 - _BAND_HEIGHT * (len(policy.axes) - place) + 1
        band = []
        for tier, from_ms, to_ms in held_spans(changes, axis, end_ms):
            x, width = 100 * (from_ms - start_ms) / length_ms, 100 * (to_ms - from_ms) / length_ms
            band.append(rectangle(x, bottom, width, _BAND_HEIGHT - 2, fill(tier_colour(tier))))
        parts.append(tag("g", *band, class_=f"tiers-{len(axis.tiers)}"))
    base = 100 - bands - 2
    rows: list[tuple[float | None, list[str]]] = []
    for time_ms, amount, count in stems:
        fraction = (time_ms - start_ms) / length_ms
        left, head = f"{100 * fraction:.2f}", f"{base - scale * amount:.2f}"
        parts.append(tag("line", x1=left, x2=left, y1=f"{base:.2f}", y2=head, class_="stem"))
        parts.append(tag("line", x1=left, x2=left, y1=head, y2=head, class_="dot"))
        rows.append((fraction, [date(time_ms), money(amount, policy.reporting_currency), whole(count)]))
    y_marks = [((bands + 2 + scale * mark) / 100, compact(mark)) for mark in marks[1:] if stems]
    plot = Plot(join(*parts), 170, time_marks(start_ms, end_ms), y_marks)
    return plot, DataTable([Column("Day"), Column("amount"), Column("purchases")], rows)


def _stems(purchases: Sequence[tuple[int, float]], span_ms: Span) -> list[tuple[int, float, int]]:
    """Give time, amount and number of purchases of each stem."""
    if len(purchases) <= STEMS_MAX:
        return [(time_ms, amount, 1) for time_ms, amount in purchases]
    start_ms, end_ms = span_ms
    step_ms = max((end_ms - start_ms) // STEMS_MAX, 1)
    times_ms = np.array([time_ms for time_ms, _ in purchases], dtype=np.int64)
    bins, places = np.unique((times_ms - start_ms) // step_ms, return_inverse=True)
    sums = np.bincount(places, [amount for _, amount in purchases])
    counts = np.bincount(places)
    stems = zip(bins.tolist(), sums.tolist(), counts.tolist(), strict=True)
    return [(start_ms + bin_ * step_ms, amount, count) for bin_, amount, count in stems]


def held_spans(changes: Sequence[Mapping[str, Any]], axis: AxisPolicy, end_ms: int) -> list[tuple[int, int, int]]:
    """Give the tiers held on an axis: tier, from, to."""
    found: list[tuple[int, int, int]] = []
    tier, since_ms = -1, 0
    for change in changes:
        time_ms = parse_time_ms(change.get("effective_at"))
        if change.get("axis") != axis.name or time_ms is None or change.get("to_tier") not in axis.tiers:
            continue
        if tier >= 0:
            found.append((tier, since_ms, time_ms))
        tier, since_ms = axis.tiers.index(change["to_tier"]), time_ms
    if tier >= 0:
        found.append((tier, since_ms, max(end_ms, since_ms)))
    return found if len(found) <= BANDS_MAX else _sampled(found)


def _sampled(held: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Look at so many moments only as can be seen side by side."""
    starts = np.array([from_ms for _, from_ms, _ in held])
    moments = np.linspace(starts[0], held[-1][2], BANDS_MAX, endpoint=False).astype(np.int64)
    tiers = [held[place][0] for place in np.searchsorted(starts, moments, side="right") - 1]
    ends = [*moments[1:].tolist(), held[-1][2]]
    return list(zip(tiers, moments.tolist(), ends, strict=True))


def _change_item(change: Mapping[str, Any], policy: Policy) -> Markup:
    time_ms = parse_time_ms(change.get("effective_at"))
    axis_name = str(change.get("axis"))
    axis = next((axis for axis in policy.axes if axis.name == axis_name), None)
    cause = CAUSE_WORDS.get(str(change.get("cause")), str(change.get("cause")))
    treatment = change.get("treatment")
    action = None
    if isinstance(treatment, Mapping):
        action = tag("p", tag("b", f"{treatment.get('channel')}: "), treatment.get("action"), class_="treatment")
    reasons = [reason.get("text") for reason in change.get("reasons") or () if isinstance(reason, Mapping)]
    named = f"{axis_name}: " if len(policy.axes) > 1 else None
    from_tier = change.get("from_tier")
    return tag(
        "li",
        tag(
            "p",
            tag("time", "" if time_ms is None else date(time_ms)),
            " ",
            named,
            join(tier_pill(axis, from_tier), " \u2192 ") if from_tier is not None else None,
            tier_pill(axis, change.get("to_tier")),
            tag("span", f" {cause}", class_="cause"),
        ),
        tag("ul", *(tag("li", reason) for reason in reasons if reason), class_="reasons") if any(reasons) else None,
        action,
    )


def tier_pill(axis: AxisPolicy | None, tier: object) -> Markup:
    """Name a tier with its colour; a state that is none of the axis's tiers, without one."""
    if axis is None or tier not in axis.tiers:
        return tag("span", tier, class_="pill")
    mark = swatch(tier_colour(axis.tiers.index(str(tier))))
    return tag("span", mark, tier, class_=f"pill tiers-{len(axis.tiers)}")


def short_id(identifier: str) -> str:
    """Cut an id in the middle when it is too long for a line."""
    return identifier if len(identifier) <= 80 else f"{identifier[:60]}\u2026{identifier[-12:]}"
