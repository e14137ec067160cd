"""What a reader of a comparison could misread, in plain words: what is not comparable, and why."""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.backtest.comparison.policies import ComparedPolicy
from stream_app.backtest.comparison.results import ComparedRun
from stream_app.backtest.comparison.watch import MARK_DAYS
from stream_app.domain.policy import AxisPolicy, CutRule, Policy

_NOBODY = ("", "unassigned")
"""What the default policy has for an owner, and no owner at all."""
_MONEY = ("reporting_currency", "currency_rates", "amount_max")
_EVENTS = ("event_rules", "default_event_type")
_SCALE = ("horizon_periods", "half_lives_days", "behaviour_half_life_days")


def write_notes(runs: Sequence[ComparedRun]) -> tuple[str, ...]:
    """Say what has to be borne in mind when the runs are held against each other.

    Parameters
    ----------
    runs
        All of them; the others are held against the first.
    """
    first, others = runs[0], runs[1:]
    notes = [note for note in first.summary["notes"] if all(note in run.summary["notes"] for run in others)]
    for run in runs:
        if run.policy.owner.strip().casefold() in _NOBODY:
            notes.append(f"Nobody owns {run.name}: say in its [policy] who answers for it before it ships.")
    for other in others:
        notes.extend(_of_policies(first.compared, other.compared))
        notes.extend(_of_runs(first, other))
    if not any(tally.rated_count for run in runs for tally in run.watched.hysteresis):
        notes.append(
            f"Nothing can be said of what hysteresis costs: that takes two looks at everybody, {MARK_DAYS} days apart, "
            "and tiers at the first."
        )
    return tuple(notes)


def _of_policies(first: ComparedPolicy, other: ComparedPolicy) -> list[str]:
    pair = f"{first.name} and {other.name}"
    if first.policy.content_hash == other.policy.content_hash:
        return [f"{pair} say the same: nothing can differ."]
    notes = []
    if first.policy.name == other.policy.name and first.policy.owner == other.policy.owner:
        notes.append(
            f"{pair} both call themselves \u201c{first.policy.name}\u201d of {first.policy.owner}; give the new one a "
            "name of its own before it ships."
        )
    notes.extend(_of_axes(first, other))
    if _differ(first.policy, other.policy, _MONEY):
        notes.append(f"{pair} count money differently: amounts are not comparable, shares of revenue are.")
    if _differ(first.policy, other.policy, _EVENTS):
        notes.append(f"{pair} understand events differently: what counts as revenue or as a customer may differ.")
    if _differ(first.policy, other.policy, _SCALE):
        notes.append(f"{pair} look back or ahead by other spans: tiers are comparable, scores are not.")
    if first.policy.rates_everyone != other.policy.rates_everyone:
        notes.append(f"One of {pair} rates everybody, the other one buyers only: shares are of different populations.")
    return notes


def _of_axes(first: ComparedPolicy, other: ComparedPolicy) -> list[str]:
    notes = []
    own = {axis.name: axis for axis in first.policy.axes}
    others = {axis.name: axis for axis in other.policy.axes}
    if not own.keys() & others.keys():
        notes.append(f"{first.name} and {other.name} have no axis in common: no customer can be compared.")
    for name in [*own, *(each for each in others if each not in own)]:
        if name not in others or name not in own:
            has, lacks = (first, other) if name in own else (other, first)
            notes.append(f"Only {has.name} has the axis {name}, {lacks.name} has not: it stands alone.")
        else:
            notes.extend(_of_axis(own[name], others[name], (first.name, other.name)))
    return notes


def _of_axis(own: AxisPolicy, others: AxisPolicy, names: tuple[str, str]) -> list[str]:
    notes = []
    if own.tiers != others.tiers:
        tiers = [" < ".join(axis.tiers) for axis in (own, others)]
        notes.append(
            f"The tiers of the axis {own.name} are {tiers[0]} in {names[0]} and {tiers[1]} in {names[1]}: customers "
            "are counted across, but nobody is called higher or lower."
        )
    if own.score != others.score:
        notes.append(
            f"The axis {own.name} measures {own.score} in {names[0]} and {others.score} in {names[1]}: its tiers mean "
            "different things."
        )
    if (own.cut_rule is CutRule.ABSOLUTE) != (others.cut_rule is CutRule.ABSOLUTE):
        notes.append(
            f"The cuts of the axis {own.name} are quantiles in one of {names[0]} and {names[1]}, and absolute in the "
            "other: only with quantiles does a tier keep its share of customers."
        )
    return notes


def _of_runs(first: ComparedRun, other: ComparedRun) -> list[str]:
    notes = []
    own, others = first.summary["rows"], other.summary["rows"]
    if (own["applied"], own["ignored"], own["dead_letters"]) != (
        others["applied"],
        others["ignored"],
        others["dead_letters"],
    ):
        notes.append(
            f"{first.name} applied {own['applied']:,} of {own['read']:,} rows, {other.name} {others['applied']:,} of "
            f"{others['read']:,}: the two runs saw different events."
        )
    return notes


def _differ(first: Policy, other: Policy, fields: Sequence[str]) -> bool:
    return any(getattr(first, name) != getattr(other, name) for name in fields)
