"""The content of `comparison.json`: everything a comparison found, without a time or a duration of the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from stream_app import __version__
from stream_app.backtest.comparison.crossing import Crossing, DifferingCustomer
from stream_app.backtest.comparison.hysteresis import HysteresisTally
from stream_app.backtest.comparison.results import ComparedRun, ComparisonResult, Example, ExampleView, PolicyPair
from stream_app.backtest.comparison.watch import MARK_DAYS
from stream_app.backtest.judging.judgement import SCORES
from stream_app.backtest.run import REPORT_NAME
from stream_app.backtest.summary import iso_time

PREDICTION_FIGURES: Final = (
    "normalized_gini",
    "cap20",
    "held_cap20",
    "hit20",
    "buy_auc",
    "growth_auc",
    "growth_lift10",
)
"""Figures of `judge` that hold policies against each other; see `docs/judging.md`."""
SCHEMA_VERSION: Final = 1
"""Raised when a key changes its meaning or goes away; new keys do not count."""


def build_document(result: ComparisonResult) -> dict[str, Any]:
    """Build the content of `comparison.json`.

    Parameters
    ----------
    result
        What the comparison found.

    Returns
    -------
    dict[str, Any]
        Plain values with these keys:

        - `schema_version`, `stream_app` (version)
        - `log`: `sources`, `first_event`, `last_event`, `output_from`, `settings` of the run
        - `policies`: for each `name` (short, unique here), `policy_name`, `owner`, `objective`, `policy_hash`,
          `report`, `customers`, `rows`
        - `differences`: `setting` and `values` (policy to text or null)
        - `axes`: for each axis `axis` and `policies` (policy to figures, see `_axis_figures`; null without that axis)
        - `treatments`: policy to `rules`, `human_customers` (`end`, `mean`), `handovers`
        - `predictions`: policy to `horizon_days`, `customers`, `cutoffs`, a figure for each name of
          `PREDICTION_FIGURES` (mean over the cutoffs, or null) and `drift_alarms`
        - `pairs`: `first`, `second`, `axes` (see `_crossing`), `examples`
        - `notes`

        The same for two runs on the same log, and for any number of shards.
    """
    runs = result.runs
    return {
        "schema_version": SCHEMA_VERSION,
        "stream_app": __version__,
        "log": _log(runs[0]),
        "policies": [_policy(run) for run in runs],
        "differences": [
            {
                "setting": each.setting,
                "values": dict(zip((run.name for run in runs), each.values, strict=True)),
            }
            for each in result.differences
        ],
        "axes": [
            {"axis": name, "policies": {run.name: _axis_figures(run, name) for run in runs}}
            for name in result.axis_names
        ],
        "treatments": {run.name: _treatments(run) for run in runs},
        "predictions": {run.name: _predictions(run) for run in runs},
        "pairs": [_pair(pair) for pair in result.pairs],
        "notes": list(result.notes),
    }


def _log(run: ComparedRun) -> dict[str, Any]:
    summary = run.summary
    span = summary["time_span"]
    # The number of shards changes nothing, and a policy's own sweep period is among the differences.
    told = {name: value for name, value in summary["settings"].items() if name not in ("shards", "sweep")}
    return {
        "sources": list(summary["sources"]),
        "first_event": span["first_event"],
        "last_event": span["last_event"],
        "output_from": span["output_from"],
        "settings": told,
    }


def _policy(run: ComparedRun) -> dict[str, Any]:
    policy, summary = run.policy, run.summary
    rows = summary["rows"]
    return {
        "name": run.name,
        "policy_name": policy.name,
        "owner": policy.owner,
        "objective": policy.objective,
        "policy_hash": policy.content_hash,
        "report": f"{run.name}/{REPORT_NAME}",
        "customers": dict(summary["customers"]),
        "rows": {name: rows[name] for name in ("read", "applied", "duplicates", "ignored", "dead_letters")},
    }


def _axis_figures(run: ComparedRun, name: str) -> dict[str, Any] | None:
    """Sum up one axis of one policy.

    Keys: `tiers`, `populations` (by state, at the end), `customer_share`, `revenue_share`, `revenue_lift` and
    `growth_lift` (by tier), `changes` (`total`, `per_day`, `promotions`, `demotions`, `by_cause`,
    `per_customer_year`), `flaps`, `suppressed_changes`, `hysteresis`.
    """
    place = run.axis_place(name)
    if place is None:
        return None
    axis, summary = run.statistics.axes[place], run.summary["axes"][place]
    return {
        "tiers": list(axis.tiers),
        "populations": summary["populations"],
        "customer_share": summary["customer_share_by_tier"],
        "revenue_share": summary["revenue"]["share_by_tier"],
        "revenue_lift": revenue_lifts(run, name),
        "growth_lift": dict(zip(axis.tiers, run.watched.growth[place].lifts, strict=True)),
        "changes": {
            **{key: summary["changes"][key] for key in ("total", "per_day", "promotions", "demotions", "by_cause")},
            "per_customer_year": summary["changes_per_customer_year"],
        },
        "flaps": summary["flaps"],
        "suppressed_changes": summary["suppressed_changes"],
        "hysteresis": _hysteresis(axis.tiers, run.watched.hysteresis[place]),
    }


def revenue_lifts(run: ComparedRun, name: str) -> dict[str, float | None]:
    """Give for each tier its share of revenue by its share of customers; None where it had no customers.

    Parameters
    ----------
    run
        One policy's.
    name
        An axis that it has.
    """
    axis = run.axis_result(name)
    assert axis is not None
    revenue, customers = axis.tier_revenue_shares, axis.tier_customer_shares
    if revenue is None or customers is None:
        return dict.fromkeys(axis.tiers)
    pairs = zip(axis.tiers, revenue.tolist(), customers.tolist(), strict=True)
    return {tier: held / share if share else None for tier, held, share in pairs}


def _hysteresis(tiers: Sequence[str], tally: HysteresisTally) -> dict[str, Any]:
    """Sum up what hysteresis costs and buys; shares are null while the log is too short."""
    held, ranks = tally.held_shares, tally.rank_shares
    edges = []
    for edge in range(len(tiers) - 1):
        with_it = None if held is None else float(held[edge])
        without_it = None if ranks is None else float(ranks[edge])
        edges.append(
            {
                "from_tier": tiers[edge + 1],
                "revenue_share_without": without_it,
                "revenue_share_with": with_it,
                "price": None if with_it is None or without_it is None else without_it - with_it,
            }
        )
    return {
        "marks": tally.mark_count,
        "days_between_marks": MARK_DAYS,
        "edges": edges,
        "customers_off_their_rank": tally.off_share,
        "customers_moved_with": tally.held_moved_share,
        "customers_moved_without": tally.rank_moved_share,
    }


def _treatments(run: ComparedRun) -> dict[str, Any]:
    busiest = run.busiest_day
    return {
        "rules": [
            {
                "segment": list(load.pattern),
                "channel": load.treatment.channel,
                "action": load.treatment.action,
                "customers_end": load.customers_end,
                "customers_mean": load.customers_mean,
            }
            for load in run.treatments
        ],
        "human_customers": {"end": run.human_end, "mean": run.human_mean},
        "handovers": {
            "to_people": run.handover_count,
            "to_people_per_day": run.handover_count / run.days if run.days else None,
            "back": run.hand_back_count,
            "busiest_day": None if busiest is None else {"day": iso_time(busiest[0]), "to_people": busiest[1]},
        },
    }


def _predictions(run: ComparedRun) -> dict[str, Any]:
    """Take how good the predictions of a run were from its summary; null where the log was too short to tell."""
    predictions = run.summary["predictions"] or {}
    methods = predictions.get("methods") or {}
    own = methods.get("means", {}).get(SCORES, {})
    figures = {name: own.get(name) for name in PREDICTION_FIGURES if name != "held_cap20"}
    return {
        "horizon_days": methods.get("horizon_days"),
        "customers": methods.get("customers"),
        "cutoffs": len(methods.get("cutoffs", ())),
        **figures,
        "held_cap20": methods.get("held_cap20"),
        "drift_alarms": {name: each["alarms"] for name, each in predictions.get("drift", {}).items()},
    }


def _pair(pair: PolicyPair) -> dict[str, Any]:
    return {
        "first": pair.first.name,
        "second": pair.second.name,
        "axes": [_crossing(crossing, found) for crossing, found in zip(pair.crossings, pair.differing, strict=True)],
        "examples": [_example(pair, example) for example in pair.examples],
    }


def _crossing(crossing: Crossing, found: Sequence[DifferingCustomer]) -> dict[str, Any]:
    """Tell how customers stand under two policies.

    Keys: `axis`, `rated_under_both`, `differing`, `differing_share`, `higher` and `lower` (null where the tiers are
    others), `matrix` (state under the first, then under the second), `differing_tiers` (most customers first).
    """
    return {
        "axis": crossing.axis,
        "rated_under_both": crossing.rated_count,
        "differing": crossing.differing_count,
        "differing_share": crossing.differing_share,
        "higher": crossing.higher_count if crossing.is_ordered else None,
        "lower": crossing.lower_count if crossing.is_ordered else None,
        "matrix": {
            state: dict(zip(crossing.second_states, row, strict=True))
            for state, row in zip(crossing.first_states, crossing.counts.tolist(), strict=True)
        },
        "differing_tiers": [
            {
                "first_tier": each.first_tier,
                "second_tier": each.second_tier,
                "customers": each.customer_count,
                "largest_customer_id": each.customer_id,
            }
            for each in found
        ],
    }


def _example(pair: PolicyPair, example: Example) -> dict[str, Any]:
    return {
        "customer_id": example.who.customer_id,
        "axis": example.who.axis,
        "first_tier": example.who.first_tier,
        "second_tier": example.who.second_tier,
        "policies": {
            pair.first.name: _view(pair.first, example.first, example.who.axis),
            pair.second.name: _view(pair.second, example.second, example.who.axis),
        },
    }


def _view(run: ComparedRun, view: ExampleView, axis: str) -> dict[str, Any]:
    last = next((change for change in reversed(view.changes) if change["axis"] == axis), None)
    return {
        "segment": {name: view.row.get(f"{name}_tier") for name in run.policy.axis_names},
        "score": view.row.get(f"{axis}_score"),
        "treatment": {"channel": view.row.get("treatment_channel"), "action": view.row.get("treatment_action")},
        "last_change": last,
    }
