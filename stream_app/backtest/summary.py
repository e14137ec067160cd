"""The summary of a backtest: `summary.json`, and the five numbers that tell the most."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_app import __version__
from stream_app.backtest.prediction_notes import prediction_notes
from stream_app.backtest.results import AxisResult, ChangeKind, StatisticsResult
from stream_app.backtest.unrated import lack_of_cut_points, unrated
from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import AxisPolicy, CutRule, Policy

SCHEMA_VERSION: Final = 1
"""Raised when a key changes its meaning or goes away; new keys do not count."""
EVENT_STAGE: Final = "events"
"""Stage of `RunFacts.seconds_by_stage` in which the engine applies batches."""
TICK_STAGE: Final = "ticks"
"""Stage in which the engine applies ticks."""
_SHORT_LOG_DAYS: Final = 56
_MANY_DEAD_LETTERS: Final = 0.01
_MANY_DUPLICATES: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What only the driver of a backtest knows.

    Parameters
    ----------
    sources
        Names of the files read.
    rows_read
        Rows found in them.
    ignored
        Reason to the number of rows that were left out on purpose.
    dead_letters
        Reason code to the number of rows refused.
    merged_rows
        Line items that were added to another row of the same order.
    duplicate_merged_rows
        Those of them that belong to orders which the engine dropped as duplicates.
    copied_rows
        Line items that were left out as copies of another one.
    has_event_ids
        Whether the log names its events, so that duplicates can be told.
    first_event_ms, last_event_ms
        Earliest and latest time of the events applied; None without events.
    seconds_by_stage
        Stage to its duration in seconds, in the order of the run; `EVENT_STAGE` and `TICK_STAGE` give the rates.
    settings
        Options of the run worth telling, as `{"tick": "1h"}`.
    notes
        Further remarks in plain words.
    """

    sources: tuple[str, ...]
    rows_read: int
    ignored: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    merged_rows: int = 0
    duplicate_merged_rows: int = 0
    copied_rows: int = 0
    has_event_ids: bool = True
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def build_summary(
    policy: Policy, result: StatisticsResult, facts: RunFacts, predictions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Build the content of `summary.json`.

    Parameters
    ----------
    policy
        The policy of the run.
    result
        What the statistics found.
    facts
        What the driver knows.
    predictions
        How good the run's predictions were (`evaluation.Evaluation.as_document`); None: they were not judged.

    Returns
    -------
    dict[str, Any]
        Plain values with these keys, none of which is ever missing:

        - `schema_version`
        - `rows`: `read`, `applied`, `duplicates`, `ignored` and `dead_letters` by reason, `merged` (applied rows
          that are further line items of an order), `equation` in words
        - `time_span`: `first_event`, `last_event`, `output_from` (ISO 8601 or null), `days`
        - `events`: `applied`, `duplicates`, `by_family`
        - `customers`: `total`, `prospects`, `buyers`, `rated` (on the first axis)
        - `axes`: a list in the policy's order, see `_axis_summary`; `unrated`: how many buyers are, and why, or null
        - `predictions`: how good they were, with drift alarms and scoring switches, or null
        - `segments`: a list of `segment` (axis to state) and `customers`, most customers first
        - `rates`: `events_per_second`, `rescores_per_second`, `rows_per_second` (null where unknown), `rescores`
        - `duration_seconds`: by stage, and `total`
        - `versions`: `stream_app`, `policy_name`, `policy_hash`, `knowledge`, `knowledge_hash`, `python`, `numpy`
        - `settings`, `sources`, `notes`

    Raises
    ------
    ValueError
        When rows read are not applied + duplicates + ignored + dead letters: a bug of the driver.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "rows": _rows(result, facts),
        "time_span": _time_span(result, facts),
        "events": {
            "applied": result.applied_count,
            "duplicates": result.duplicate_count,
            "by_family": dict(result.events_by_family),
        },
        "customers": _customers(result),
        "axes": [
            _axis_summary(axis, axis_policy, result) | {"unrated": unrated(axis, axis_policy, policy)}
            for axis, axis_policy in zip(result.axes, policy.axes, strict=True)
        ],
        "predictions": None if predictions is None else dict(predictions),
        "segments": _segments(result),
        "rates": _rates(result, facts),
        "duration_seconds": {**facts.seconds_by_stage, "total": sum(facts.seconds_by_stage.values())},
        "versions": {
            "stream_app": __version__,
            "policy_name": policy.name,
            "policy_hash": policy.content_hash,
            "knowledge": result.knowledge_version,
            "knowledge_hash": result.knowledge_hash,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "settings": dict(facts.settings),
        "sources": list(facts.sources),
        "notes": [*_notes(policy, result, facts), *prediction_notes(predictions, iso_time(facts.last_event_ms))],
    }


def five_numbers(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Choose the five numbers that tell the most, of the first axis.

    Parameters
    ----------
    summary
        As made by `build_summary`.

    Returns
    -------
    list[tuple[str, str]]
        Five labels and values, in words where there is no number.
    """
    axis, customers = summary["axes"][0], summary["customers"]
    changes, flaps = axis["changes"], axis["flaps"]
    top = axis["tiers"][-1]
    revenue_share = axis["revenue"]["share_by_tier"]
    customer_share = axis["customer_share_by_tier"]
    held = "none yet"
    if revenue_share and customer_share:
        held = f"{percent(revenue_share[top])} by {percent(customer_share[top])} of rated customers"
    per_day = changes["per_day"]
    undone = "no change to undo" if flaps["ratio"] is None else f"{percent(flaps['ratio'])} of changes"
    by_time, demotions = changes["demotions_by_cause"]["time"], changes["demotions"]
    return [
        ("Customers segmented", f"{customers['rated']:,} of {customers['total']:,}"),
        (f"Revenue held by {top}", held),
        ("Tier changes", f"{changes['total']:,}" + ("" if per_day is None else f", {plain(per_day)} a day")),
        ("Undone within 28 days", undone),
        ("Demoted by time alone", f"{by_time:,} of {demotions:,} demotions"),
    ]


def percent(share: float) -> str:
    """Write a share as a percentage of two telling digits, as `38 %` or `2.5 %`."""
    value = 100 * share
    if value == 0 or value >= 9.95:
        return f"{value:.0f} %" if value < 99.5 or share == 1 else f"{min(value, 99.9):.1f} %"
    return f"{value:.1f} %" if value >= 0.1 else "< 0.1 %"


def plain(value: float) -> str:
    """Write a number with thousands separated, and with a decimal when it is small."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"


def iso_time(time_ms: int | None) -> str | None:
    """Write a time as ISO 8601 in UTC, to the second or, where needed, the millisecond."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds").replace("+00:00", "Z")


def _rows(result: StatisticsResult, facts: RunFacts) -> dict[str, Any]:
    ignored, refused = sum(facts.ignored.values()), sum(facts.dead_letters.values())
    parts = {
        "applied": result.applied_count + facts.merged_rows - facts.duplicate_merged_rows,
        "duplicates": _duplicate_rows(result, facts),
        "ignored": ignored,
        "dead letters": refused,
    }
    if facts.rows_read != sum(parts.values()):
        message = f"rows read = {facts.rows_read}, but they went to {parts}; every row must go to exactly one"
        raise ValueError(message)
    return {
        "read": facts.rows_read,
        "applied": parts["applied"],
        "duplicates": parts["duplicates"],
        "ignored": _plain_counts(facts.ignored),
        "dead_letters": _plain_counts(facts.dead_letters),
        "merged": facts.merged_rows - facts.duplicate_merged_rows,
        "equation": f"{facts.rows_read:,} read = " + " + ".join(f"{count:,} {name}" for name, count in parts.items()),
    }


def _duplicate_rows(result: StatisticsResult, facts: RunFacts) -> int:
    return result.duplicate_count + facts.duplicate_merged_rows + facts.copied_rows


def _time_span(result: StatisticsResult, facts: RunFacts) -> dict[str, Any]:
    days = None
    if facts.first_event_ms is not None and facts.last_event_ms is not None:
        days = (facts.last_event_ms - facts.first_event_ms) / MS_PER_DAY
    return {
        "first_event": iso_time(facts.first_event_ms),
        "last_event": iso_time(facts.last_event_ms),
        "output_from": iso_time(result.output_from_ms),
        "days": days,
    }


def _customers(result: StatisticsResult) -> dict[str, int]:
    populations = result.axes[0].populations_end
    return {
        "total": result.customer_count,
        "prospects": int(populations[0]),
        "buyers": int(populations[1:].sum()),
        "rated": int(populations[2:].sum()),
    }


def _axis_summary(axis: AxisResult, policy: AxisPolicy, result: StatisticsResult) -> dict[str, Any]:
    """Sum up one axis.

    Keys: `axis`, `tiers` (lowest first), `populations` (by state), `cut_points` (one for each edge, or null),
    `first_ratings`, `migrations` and `first_to_last` (from tier to tier), `changes`, `flaps`, `suppressed_changes`,
    `changes_per_customer_year`, `revenue`, `customer_share_by_tier`.
    """
    tiers, kinds = axis.tiers, axis.changes_by_day.sum(axis=0)
    days = len(result.population_times_ms)
    customer_shares = axis.tier_customer_shares
    return {
        "axis": axis.name,
        "tiers": list(tiers),
        "populations": _by_name(axis.states, axis.populations_end),
        "cut_points": _cut_points(axis, policy),
        "first_ratings": _by_name(tiers, axis.first_ratings),
        "migrations": {tier: _by_name(tiers, row) for tier, row in zip(tiers, axis.migrations, strict=True)},
        "first_to_last": {tier: _by_name(tiers, row) for tier, row in zip(tiers, axis.first_to_last, strict=True)},
        "changes": {
            "total": axis.change_count,
            "promotions": axis.promotion_count,
            "demotions": axis.demotion_count,
            "per_day": axis.change_count / days if days else None,
            "by_cause": _by_cause(kinds[ChangeKind.PROMOTION] + kinds[ChangeKind.DEMOTION]),
            "promotions_by_cause": _by_cause(kinds[ChangeKind.PROMOTION]),
            "demotions_by_cause": _by_cause(kinds[ChangeKind.DEMOTION]),
        },
        "flaps": {"count": axis.flap_count, "ratio": axis.flap_ratio, "window_days": 28},
        "suppressed_changes": axis.suppressed_count,
        "changes_per_customer_year": axis.changes_per_customer_year,
        "revenue": _revenue(axis),
        "customer_share_by_tier": None if customer_shares is None else _by_name(tiers, customer_shares),
    }


def _cut_points(axis: AxisResult, policy: AxisPolicy) -> list[dict[str, Any]] | None:
    if axis.lines is None:
        return None
    is_quantile = policy.cut_rule is CutRule.QUANTILES
    return [
        {
            "between": [axis.tiers[edge], axis.tiers[edge + 1]],
            "quantile": policy.cuts[edge] if is_quantile else None,
            "cut_point": _finite(axis.lines.cut_points[edge]),
            "promote_line": _finite(axis.lines.promote_lines[edge]),
            "demote_line": _finite(axis.lines.demote_lines[edge]),
        }
        for edge in range(len(axis.lines.cut_points))
    ]


def _revenue(axis: AxisResult) -> dict[str, Any]:
    totals = axis.revenue.sum(axis=0)
    shares = axis.tier_revenue_shares
    return {
        "total": float(totals.sum()),
        "by_state": _by_name(axis.states, totals),
        "purchases_by_state": _by_name(axis.states, axis.purchase_counts.sum(axis=0)),
        "share_by_tier": None if shares is None else _by_name(axis.tiers, shares),
    }


def _segments(result: StatisticsResult) -> list[dict[str, Any]]:
    names = [axis.name for axis in result.axes]
    ordered = sorted(result.segment_matrix.items(), key=lambda item: (-item[1], item[0]))
    return [{"segment": dict(zip(names, segment, strict=True)), "customers": int(count)} for segment, count in ordered]


def _rates(result: StatisticsResult, facts: RunFacts) -> dict[str, float | int | None]:
    seconds = facts.seconds_by_stage
    return {
        "events_per_second": _per_second(result.applied_count + result.duplicate_count, seconds.get(EVENT_STAGE, 0.0)),
        "rescores_per_second": _per_second(result.rescored_by_ticks, seconds.get(TICK_STAGE, 0.0)),
        "rows_per_second": _per_second(facts.rows_read, sum(seconds.values())),
        "rescores": result.rescored_by_events + result.rescored_by_ticks,
    }


def _notes(policy: Policy, result: StatisticsResult, facts: RunFacts) -> list[str]:
    """Say in plain words what a reader could otherwise misread."""
    notes = list(facts.notes)
    if not result.applied_count:
        notes.append("No event was applied: there is nothing to segment.")
    elif not result.events_by_family["purchase"]:
        notes.append("The log has no purchase: nobody is a buyer, and nothing is said of revenue.")
    if not facts.has_event_ids:
        notes.append("No event ids: duplicates cannot be recognised.")
    elif (duplicates := _duplicate_rows(result, facts)) > _MANY_DUPLICATES * facts.rows_read:
        notes.append(
            f"{percent(duplicates / facts.rows_read)} of all rows repeat an event id and were dropped; if they are "
            "line items of orders, name the order's column with --map order_id=COLUMN."
        )
    days = _time_span(result, facts)["days"]
    if days is not None and days < _SHORT_LOG_DAYS:
        notes.append(
            f"The log spans {days:.0f} days only: tiers are young, and few changes had the 28 days to be undone in."
        )
    refused = sum(facts.dead_letters.values())
    if refused > _MANY_DEAD_LETTERS * facts.rows_read:
        notes.append(f"{percent(refused / facts.rows_read)} of all rows were refused; see the dead letters.")
    for axis, axis_policy in zip(result.axes, policy.axes, strict=True):
        notes.extend(_axis_notes(axis, axis_policy, policy))
    return notes


def _axis_notes(axis: AxisResult, axis_policy: AxisPolicy, policy: Policy) -> list[str]:
    if (lack := lack_of_cut_points(axis, axis_policy, policy)) is not None:
        return [lack]
    return [] if axis.change_count else [f"Nobody changed tier on the axis {axis.name}."]


def _per_second(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _plain_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Turn reasons that are members of an enumeration into plain strings."""
    return {str(reason): int(count) for reason, count in counts.items()}


def _finite(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _by_name(names: tuple[str, ...], values: NDArray[Any]) -> dict[str, Any]:
    return dict(zip(names, values.tolist(), strict=True))


def _by_cause(counts: NDArray[np.int64]) -> dict[str, int]:
    return {cause.name.lower(): int(counts[cause]) for cause in Cause}
