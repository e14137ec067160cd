"""Customers under two policies: how many have another tier, which way, and what both say of some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from stream_app.backtest.comparison.crossing import Crossing
from stream_app.backtest.comparison.glance import policy_colour
from stream_app.backtest.comparison.results import ComparedRun, Example, ExampleView, PolicyPair
from stream_app.backtest.report.colours import fill, tier_colour
from stream_app.backtest.report.customer_chart import CAUSE_WORDS, held_spans, short_id, tier_pill
from stream_app.backtest.report.figure import Column, DataTable, Plot, data_table, empty, plot_area, rectangle, swatch
from stream_app.backtest.report.formats import date, money, parse_time_ms, percent, time_marks, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.domain.durations import format_duration
from stream_app.domain.policy import AxisPolicy
from stream_app.domain.scores import SCORES, build_functions

CHANGES_SHOWN_MAX: Final = 60
_BAND: Final = 100.0
Span = tuple[int, int]


def crossing_figure(crossing: Crossing, pair: PolicyPair) -> Markup:
    """Draw the matrix from the tiers under the first policy to those under the second."""
    first, second = pair.first.name, pair.second.name
    share = crossing.differing_share
    if share is None:
        return empty(f"From {first} to {second}", "Nobody has a tier under both policies.")
    finding = f"{percent(share)} of rated customers have another tier under {second}"
    way = ""
    if crossing.is_ordered:
        way = f" {whole(crossing.higher_count)} a higher one, {whole(crossing.lower_count)} a lower one."
    rows_used = [row for row in range(len(crossing.first_states)) if crossing.counts[row].any()]
    columns_used = [column for column in range(len(crossing.second_states)) if crossing.counts[:, column].any()]
    heads = [_state(crossing.second_tiers, crossing.second_states, column) for column in columns_used]
    rows = []
    for row in rows_used:
        total = int(crossing.counts[row].sum())
        cells = [
            _cell(int(crossing.counts[row, column]), total, is_same=_is_same(crossing, row, column))
            for column in columns_used
        ]
        head = tag("th", _state(crossing.first_tiers, crossing.first_states, row), scope="row")
        rows.append(tag("tr", head, *cells, tag("td", whole(total), class_="sum")))
    corner = f"{first} \u2192 {second}"
    head_row = tag("tr", *(tag("th", head, scope="col") for head in [corner, *heads, "all"]))
    table = tag("table", tag("thead", head_row), tag("tbody", *rows), class_="matrix")
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", finding),
            tag(
                "p",
                f"Customers at the end by their state under {first} (rows) and {second} (columns), with shares of the "
                f"row. {whole(crossing.differing_count)} of {whole(crossing.rated_count)} differ.{way}",
            ),
        ),
        tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=finding),
        class_="chart crossing",
    )


def example_cards(pair: PolicyPair, places: tuple[int, int]) -> Markup | None:
    """Tell of some customers whose tier differs.

    Parameters
    ----------
    pair
        The two policies.
    places
        Theirs in the comparison, for the colours.
    """
    if not pair.examples:
        return None
    span = pair.first.summary["time_span"]
    start_ms, end_ms = parse_time_ms(span["output_from"] or span["first_event"]), parse_time_ms(span["last_event"])
    assert start_ms is not None
    assert end_ms is not None
    span_ms = (start_ms, max(end_ms, start_ms + 1))
    cards = [_card(example, pair, places, span_ms) for example in pair.examples]
    return tag(
        "section",
        tag("h2", f"Customers who differ: {pair.first.name} and {pair.second.name}"),
        tag(
            "p",
            "Of each pair of different tiers with many customers the one who spent most. The bands show the tier held "
            "under each policy.",
            class_="lead",
        ),
        tag("div", join(*cards), class_="cards"),
    )


def _card(example: Example, pair: PolicyPair, places: tuple[int, int], span_ms: Span) -> Markup:
    who = example.who
    runs, views = (pair.first, pair.second), (example.first, example.second)
    count = "one customer" if who.customer_count == 1 else f"{whole(who.customer_count)} customers"
    spans, rows = [], []
    for place, run, view in zip(places, runs, views, strict=True):
        axis = _axis(run, who.axis)
        spans.append((place, run, axis, held_spans(view.changes, axis, span_ms[1])))
        rows.extend(_change_rows(run, place, view, axis))
    return tag(
        "article",
        tag("h3", f"{who.first_tier} under {runs[0].name}, {who.second_tier} under {runs[1].name}"),
        tag(
            "p",
            "Customer ",
            tag("bdi", short_id(who.customer_id), class_="id"),
            " \u00b7 ",
            _facts(example, pair),
            class_="who",
        ),
        tag("p", f"{count} with these tiers on the axis {who.axis}", class_="who"),
        *(_band(place, run, axis, held, span_ms) for place, run, axis, held in spans),
        _scale(span_ms),
        tag(
            "ul",
            *(_view_item(place, run, view, who.axis) for place, run, view in zip(places, runs, views, strict=True)),
            class_="story",
        ),
        tag(
            "details",
            tag("summary", "Changes as a table"),
            data_table(
                DataTable([Column("Policy"), Column("day"), Column("from"), Column("to"), Column("cause")], rows)
            ),
        ),
        class_="chart customer",
    )


def _facts(example: Example, pair: PolicyPair) -> str:
    """Say what the customer has bought; by the first policy, if it knows the customer."""
    run, row = (pair.first, example.first.row) if example.first.row else (pair.second, example.second.row)
    count = int(row.get("purchase_count") or 0)
    facts = f"{whole(count)} {'purchase' if count == 1 else 'purchases'}"
    facts += f", {money(float(row.get('gross_spend') or 0.0), run.policy.reporting_currency)} in all"
    last = row.get("last_purchase_at")
    return facts + (f", the last on {date(_ms(last))}" if isinstance(last, datetime) else "")


def _band(
    place: int, run: ComparedRun, axis: AxisPolicy, held: Sequence[tuple[int, int, int]], span_ms: Span
) -> Markup:
    start_ms, length_ms = span_ms[0], span_ms[1] - span_ms[0]
    parts = [
        rectangle(
            100 * (from_ms - start_ms) / length_ms,
            0,
            100 * (to_ms - from_ms) / length_ms,
            _BAND,
            fill(tier_colour(tier)),
        )
        for tier, from_ms, to_ms in held
    ]
    label = f"Tiers held under {run.name} over time; the changes are in the table below."
    return tag(
        "div",
        tag("span", join(swatch(policy_colour(place)), run.name), class_="band-name"),
        plot_area(Plot(tag("g", *parts), 14), label),
        class_=f"band tiers-{len(axis.tiers)}",
    )


def _scale(span_ms: Span) -> Markup:
    """Draw one scale of time under both bands."""
    marks = time_marks(*span_ms)
    labels = [
        tag(
            "span",
            name,
            class_="x minor" if place % 2 else "x",
            style=f"left:{100 * x:.2f}%",
            data_edge="end" if x > 0.94 else "start" if x < 0.06 else None,
        )
        for place, (x, name) in enumerate(marks)
    ]
    return tag("div", *labels, class_="x-scale", aria_hidden="true")


def _view_item(place: int, run: ComparedRun, view: ExampleView, axis_name: str) -> Markup:
    """Say what one policy holds the customer for, since when and why, and what it does about it."""
    axis = _axis(run, axis_name)
    last = next((change for change in reversed(view.changes) if change.get("axis") == axis_name), None)
    since = " from before what is shown here"
    reasons: list[object] = []
    if last is not None:
        time_ms = parse_time_ms(last.get("effective_at"))
        cause = CAUSE_WORDS.get(str(last.get("cause")), str(last.get("cause")))
        since = f" since {'' if time_ms is None else date(time_ms)}, {cause}"
        reasons = [reason.get("text") for reason in last.get("reasons") or () if isinstance(reason, Mapping)]
    channel, action = view.row.get("treatment_channel"), view.row.get("treatment_action")
    treatment = None if channel is None else tag("p", tag("b", f"{channel}: "), action, class_="treatment")
    return tag(
        "li",
        tag(
            "p",
            join(swatch(policy_colour(place)), f"{run.name}: "),
            tier_pill(axis, view.row.get(f"{axis_name}_tier")),
            tag("span", since, class_="cause"),
        ),
        tag("ul", *(tag("li", reason) for reason in reasons if reason), class_="reasons") if any(reasons) else None,
        tag("p", _standing(run, axis, view.row), class_="standing"),
        treatment,
    )


def _standing(run: ComparedRun, axis: AxisPolicy, row: Mapping[str, Any]) -> str:
    """Say how far the score is from the lines at which the tier would change."""
    own, score = run.axis_result(axis.name), row.get(f"{axis.name}_score")
    tier = row.get(f"{axis.name}_tier")
    if own is None or own.lines is None or score is None or tier not in axis.tiers:
        return "No lines that a score could cross."
    place = axis.tiers.index(tier)
    shown = build_functions(run.policy, SCORES)[axis.name].shown
    promote, demote = shown(own.lines.promote_lines), shown(own.lines.demote_lines)
    parts = []
    if place < len(axis.tiers) - 1:
        parts.append(_upward(axis, place, float(score), float(promote[place])))
    if place > 0:
        parts.append(_downward(axis, place, float(score), float(demote[place - 1])))
    return f"Score {_written(float(score))} at the end: {', '.join(parts)}."


def _upward(axis: AxisPolicy, place: int, score: float, line: float) -> str:
    if not np.isfinite(line):
        return f"no score reaches {axis.tiers[place + 1]} for now"
    if score >= line:
        return f"past the line to {axis.tiers[place + 1]} at {_written(line)}{_waits(axis)}"
    return f"{axis.tiers[place + 1]} begins at {_written(line)}"


def _downward(axis: AxisPolicy, place: int, score: float, line: float) -> str:
    if not np.isfinite(line):
        return f"no score falls out of {axis.tiers[place]} for now"
    if score < line:
        return f"below the line of {axis.tiers[place]} at {_written(line)}{_waits(axis)}"
    return f"{axis.tiers[place]} holds down to {_written(line)}"


def _waits(axis: AxisPolicy) -> str:
    if axis.confirmation_ms:
        return f", but not yet for {format_duration(axis.confirmation_ms)}"
    return " since the last re-score"


def _written(score: float) -> str:
    return f"{score:.3f}"


def _change_rows(
    run: ComparedRun, place: int, view: ExampleView, axis: AxisPolicy
) -> list[tuple[float | None, list[str]]]:
    rows: list[tuple[float | None, list[str]]] = []
    for change in [each for each in view.changes if each.get("axis") == axis.name][-CHANGES_SHOWN_MAX:]:
        time_ms = parse_time_ms(change.get("effective_at"))
        cause = str(change.get("cause"))
        cells = [
            join(swatch(policy_colour(place)), run.name),
            "" if time_ms is None else date(time_ms),
            str(change.get("from_tier") or "\u2013"),
            str(change.get("to_tier")),
            CAUSE_WORDS.get(cause, cause),
        ]
        rows.append((None, cells))
    return rows


def _axis(run: ComparedRun, name: str) -> AxisPolicy:
    axis = run.axis_policy(name)
    assert axis is not None, name
    return axis


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _state(tiers: tuple[str, ...], states: tuple[str, ...], place: int) -> Markup:
    if place >= len(tiers):
        return tag("span", states[place])
    return tag("span", join(swatch(tier_colour(place)), states[place]), class_=f"tiers-{len(tiers)}")


def _is_same(crossing: Crossing, row: int, column: int) -> bool:
    return crossing.first_states[row] == crossing.second_states[column]


def _cell(count: int, whole_row: int, *, is_same: bool) -> Markup:
    share = count / whole_row if whole_row else 0.0
    shown = tag("small", percent(share)) if count else None
    return tag(
        "td", tag("b", whole(count)), shown, class_="same" if is_same else None, style=f"--heat:{100 * share:.0f}%"
    )
