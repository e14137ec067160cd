"""The words and tables at the top of a comparison: who the policies are of, what differs, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from stream_app.backtest.comparison.policies import Difference
from stream_app.backtest.comparison.results import ComparedRun, ComparisonResult, PolicyPair
from stream_app.backtest.report.figure import Column, DataTable, data_table, empty, swatch
from stream_app.backtest.report.formats import MINUS, date, parse_time_ms, percent, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import STATE_COUNT, AxisResult
from stream_app.backtest.run import REPORT_NAME
from stream_app.backtest.summary import plain

NOTHING: Final = "\u2013"
"""Stands where there is no figure."""
_TREATMENTS_SHOWN_MAX: Final = 5
"""More treatments that differ are folded away: policies with other tiers differ in all of them."""
_COLOURS: Final = (
    "accent",
    "cause-merge",
    "cause-time",
    "good",
    "bad",
    "cause-cut-point",
    "cause-event",
    "cause-first-rated",
)

Show = Callable[[float], str]


def policy_colour(place: int) -> str:
    """Name the colour of a policy by its place in the comparison."""
    return _COLOURS[place % len(_COLOURS)]


def policy_columns(result: ComparisonResult) -> list[Column]:
    """Give one column for each policy, with its colour."""
    return [Column(run.name, policy_colour(place)) for place, run in enumerate(result.runs)]


def policy_heads(result: ComparisonResult) -> list[Column]:
    """Give one column for each policy in a table that no chart stands above."""
    return [Column(join(swatch(policy_colour(place)), run.name)) for place, run in enumerate(result.runs)]


def header(result: ComparisonResult) -> Markup:
    """Say what was compared, what changes for customers, and what to bear in mind."""
    runs = result.runs
    summary = runs[0].summary
    span = summary["time_span"]
    parts = [f"{whole(summary['events']['applied'])} events of {whole(summary['customers']['total'])} customers"]
    first_ms, last_ms = parse_time_ms(span["first_event"]), parse_time_ms(span["last_event"])
    if first_ms is not None and last_ms is not None:
        parts.append(f"{date(first_ms)} to {date(last_ms)}")
    output_from_ms = parse_time_ms(span["output_from"])
    if output_from_ms is not None:
        parts.append(f"shown from {date(output_from_ms)}")
    tiles = [
        tag("div", tag("dt", label), tag("dd", tag("b", value), tag("span", words)))
        for label, value, words in _tiles(result)
    ]
    notes = [tag("li", note) for note in result.notes]
    return tag(
        "header",
        tag("p", "Comparison of policies", class_="kicker"),
        tag("h1", _title(result)),
        tag("p", " \u00b7 ".join(parts), class_="lead"),
        tag("dl", *tiles, class_="tiles some") if tiles else None,
        tag("aside", tag("h2", "Bear in mind"), tag("ul", *notes), class_="notes") if notes else None,
    )


def policies_section(result: ComparisonResult) -> Markup:
    """Say whose the policies are, what they are for, where their reports are, and in which settings they differ."""
    runs = result.runs
    rows: list[tuple[float | None, Sequence[str]]] = [
        (None, ["Owner", *(run.policy.owner or NOTHING for run in runs)]),
        (None, ["Objective", *(run.policy.objective or NOTHING for run in runs)]),
        (None, ["Calls itself", *(run.policy.name for run in runs)]),
        (None, ["File", *(str(run.compared.path) for run in runs)]),
        (None, ["Version", *(run.policy.content_hash for run in runs)]),
        (None, ["Its own report", *(_link(run) for run in runs)]),
    ]
    about = DataTable([Column("Policy"), *policy_heads(result)], rows)
    return tag(
        "section",
        tag("h2", "What differs between the policies"),
        tag("div", data_table(about), class_="settings"),
        tag("h3", "Settings that differ"),
        _differences(result),
        class_="card",
        id="policies",
    )


def _differences(result: ComparisonResult) -> Markup:
    if not result.differences:
        return tag("p", "None: the policies say the same, whatever they are called.", class_="empty")
    treatments = [each for each in result.differences if each.is_treatment]
    if len(treatments) <= _TREATMENTS_SHOWN_MAX:
        treatments = []
    others = [each for each in result.differences if each not in treatments]
    words = (
        "As they stand in the policy files, what a file leaves to the default included. Everything else is the same. "
        f"{NOTHING}: the policy has no such setting."
    )
    folded = None
    if treatments:
        summary = tag("summary", f"{len(treatments)} treatments that differ")
        folded = tag("details", summary, _settings_table(result, treatments))
    return join(tag("p", words), _settings_table(result, others) if others else None, folded)


def _settings_table(result: ComparisonResult, differences: Sequence[Difference]) -> Markup:
    rows = [
        (None, [each.setting, *(NOTHING if value is None else value for value in each.values)]) for each in differences
    ]
    return tag("div", data_table(DataTable([Column("Setting"), *policy_heads(result)], rows)), class_="settings")


def glance_table(result: ComparisonResult, axis: str) -> Markup:
    """Show how much moves on one axis under each policy, with what changes from the first to the others."""
    runs = result.runs
    figures: list[tuple[str, Show, Show, list[float | None]]] = [
        ("Customers with a tier at the end", whole, _signed(whole), _each(runs, axis, _rated)),
        ("Changes of tier a day", plain, _signed(plain), _each(runs, axis, _changes_per_day)),
        ("Promotions", whole, _signed(whole), _each(runs, axis, lambda run, own: own.promotion_count)),
        ("Demotions", whole, _signed(whole), _each(runs, axis, lambda run, own: own.demotion_count)),
        (
            "Changes a rated customer and year",
            plain,
            _signed(plain),
            _each(runs, axis, lambda run, own: own.changes_per_customer_year),
        ),
        ("Undone within 28 days", whole, _signed(whole), _each(runs, axis, lambda run, own: own.flap_count)),
        ("Share of changes undone", percent, points, _each(runs, axis, lambda run, own: own.flap_ratio)),
        (
            "Candidates given up before they were confirmed",
            whole,
            _signed(whole),
            _each(runs, axis, lambda run, own: own.suppressed_count),
        ),
    ]
    rows = [(None, [label, *_cells(values, show, show_change)]) for label, show, show_change, values in figures]
    first = runs[0].name
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", "How much moves"),
            tag("p", f"First ratings are no changes. The small figures say what is different from {first}."),
        ),
        data_table(DataTable([Column("Figure"), *policy_heads(result)], rows)),
        class_="chart glance",
    )


def predictions_figure(result: ComparisonResult, document: Mapping[str, Any]) -> Markup:
    """Show how good the predictions under the tiers were, for each policy."""
    told = [document["predictions"][run.name] for run in result.runs]
    title = "How good the predictions are"
    if not any(own["cutoffs"] for own in told):
        return empty(title, "The log is too short: that takes a horizon after a day on which customers were scored.")
    figures: list[tuple[str, str, Show, Show]] = [
        ("normalized_gini", "Ranking of spend (nGini)", _three, _signed(_three)),
        ("cap20", "Spend of the best 20 % by score", percent, points),
        ("held_cap20", "The same by held tier, then score", percent, points),
        ("hit20", "Best spenders found among the best 20 %", percent, points),
        ("buy_auc", "Telling buyers from others (AUC)", _three, _signed(_three)),
        ("growth_auc", "Telling who spends more (AUC)", _three, _signed(_three)),
        ("growth_lift10", "Growth among the best 10 % by growth score, lift", _two, _signed(_two)),
    ]
    rows: list[tuple[float | None, Sequence[str]]] = [
        (None, [label, *_cells([own[name] for own in told], show, show_change)])
        for name, label, show, show_change in figures
    ]
    horizons = [NOTHING if own["horizon_days"] is None else f"{own['horizon_days']} days" for own in told]
    rows.append((None, ["Looking ahead", *horizons]))
    alarms = [NOTHING if not own["drift_alarms"] else whole(sum(own["drift_alarms"].values())) for own in told]
    rows.append((None, ["Alarms that predictions became worse", *alarms]))
    words = (
        "What was predicted every four weeks, held against what came, as in each policy's own report. Policies that "
        "look equally far ahead can be compared."
    )
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("p", words)),
        data_table(DataTable([Column("Predictions"), *policy_heads(result)], rows)),
        class_="chart glance",
        id="predictions",
    )


def _two(value: float) -> str:
    return f"{value:.2f}"


def _three(value: float) -> str:
    return f"{value:.3f}"


def points(share: float) -> str:
    """Write a difference of two shares in percentage points, with its sign and two or three telling digits."""
    return _signed(_written_points)(100 * share) + "\u00a0points"


def _written_points(value: float) -> str:
    digits = 0 if value >= 9.95 else 1 if value >= 0.995 else 2
    return f"{value:.{digits}f}"


def _signed(show: Show) -> Show:
    def write(value: float) -> str:
        written = show(abs(value))
        if written.strip("0.,") == "":
            return f"\u00b1{written}"
        return f"{'+' if value > 0 else MINUS}{written}"

    return write


def _cells(values: Sequence[float | None], show: Show, show_change: Show) -> list[str]:
    """Write each value, and beside those after the first what is different."""
    cells: list[str] = []
    for place, value in enumerate(values):
        if value is None:
            cells.append(NOTHING)
        elif place == 0 or values[0] is None:
            cells.append(show(value))
        else:
            cells.append(join(show(value), " ", tag("small", show_change(value - values[0]))))
    return cells


def _each(
    runs: Sequence[ComparedRun], axis: str, figure: Callable[[ComparedRun, AxisResult], float | None]
) -> list[float | None]:
    found = [(run, run.axis_result(axis)) for run in runs]
    return [None if own is None else figure(run, own) for run, own in found]


def _rated(_: ComparedRun, own: AxisResult) -> float:
    return int(own.populations_end[STATE_COUNT:].sum())


def _changes_per_day(run: ComparedRun, own: AxisResult) -> float | None:
    return own.change_count / run.days if run.days else None


def _title(result: ComparisonResult) -> str:
    names = [f"\u201c{run.name}\u201d" for run in result.runs]
    if len(names) == 2:
        return f"What changes from policy {names[0]} to {names[1]}"
    return f"Policies {', '.join(names[:-1])} and {names[-1]}, side by side"


def _tiles(result: ComparisonResult) -> list[tuple[str, str, str]]:
    """Choose the figures that tell the most: label, figure, words."""
    if len(result.pairs) > 1:
        return [tile for pair in result.pairs for tile in _differing_tiles(pair)[:1]]
    pair = result.pairs[0]
    tiles = _differing_tiles(pair)[:2]
    first, second = pair.first, pair.second
    if pair.crossings:
        axis = pair.crossings[0].axis
        changes = _each((first, second), axis, _changes_per_day)
        if changes[0] is not None and changes[1] is not None:
            tiles.append((f"Changes a day ({axis})", plain(changes[1]), f"instead of {plain(changes[0])}"))
        flaps = _each((first, second), axis, lambda run, own: own.flap_ratio)
        if flaps[0] is not None and flaps[1] is not None:
            tiles.append((f"Undone within 28 days ({axis})", percent(flaps[1]), f"instead of {percent(flaps[0])}"))
    words = f"customers at the end, instead of {whole(first.human_end)}"
    return [*tiles, ("Human attention for", whole(second.human_end), words)]


def _differing_tiles(pair: PolicyPair) -> list[tuple[str, str, str]]:
    tiles = []
    for crossing in pair.crossings:
        share = crossing.differing_share
        if share is None:
            continue
        words = f"{whole(crossing.differing_count)} of {whole(crossing.rated_count)} rated customers"
        if crossing.is_ordered and crossing.differing_count:
            words += f": {whole(crossing.higher_count)} higher, {whole(crossing.lower_count)} lower"
        tiles.append((f"Another {crossing.axis} tier under {pair.second.name}", percent(share), words))
    return tiles


def _link(run: ComparedRun) -> Markup:
    # A relative reference whose first part could be read as a scheme begins with a dot.
    return tag("a", f"{run.name}/{REPORT_NAME}", href=f"./{quote(run.name)}/{REPORT_NAME}")
