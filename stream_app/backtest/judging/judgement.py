"""Scores of a backtest judged by what customers did next, beside baselines that knew no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_text import format_time
from stream_app.backtest.judging.baselines import Question, simple_predictions
from stream_app.backtest.judging.changes import AxisChanges, judge_changes
from stream_app.backtest.judging.comparison import Comparison
from stream_app.backtest.judging.figures import (
    FIGURE_NAMES,
    MethodFigures,
    Prediction,
    mean_figures,
    mean_of,
    method_figures,
)
from stream_app.backtest.judging.outcomes import outcome_of
from stream_app.backtest.judging.purchase_log import PurchaseLog
from stream_app.backtest.judging.scores_table import ScoredCustomers, ScoresTable
from stream_app.backtest.judging.tiers import held_cap20, tier_places, tiers_off
from stream_app.domain.durations import format_duration
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import Policy

SCORES = "scores"
"""Name of the method that is judged: the columns of the scores file."""
VALUE, GROWTH = "value", "growth"
COUNTS_OFF_MAX = 0.001
"""Share of customers whose purchase count may differ from the log before it is mentioned."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedCutoff:
    """Everything found out at one cutoff.

    Parameters
    ----------
    cutoff_ms
        T.
    customer_count
        Customers with a purchase before T.
    methods
        Figures by method, the judged scores first.
    tiers_off
        By axis; see `tiers.tiers_off`.
    held_cap20
        See `tiers.held_cap20`.
    """

    cutoff_ms: int
    customer_count: int
    methods: dict[str, MethodFigures]
    tiers_off: dict[str, float]
    held_cap20: float


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Figures by cutoff, their means, and what there is to say of them.

    Parameters
    ----------
    horizon_ms
        H of the rankings.
    cutoffs
        In the order of time; at least one.
    changes
        By axis; None when no changes were given.
    notes
        What a reader should know.
    """

    horizon_ms: int
    cutoffs: tuple[JudgedCutoff, ...]
    changes: dict[str, AxisChanges] | None
    notes: tuple[str, ...]

    @property
    def method_names(self) -> tuple[str, ...]:
        """Methods that were judged, the scores first."""
        return tuple(self.cutoffs[0].methods)

    def means(self, method: str) -> MethodFigures:
        """Average the figures of a method over the cutoffs."""
        return mean_figures([cutoff.methods[method] for cutoff in self.cutoffs])

    def as_document(self) -> dict[str, Any]:
        """Give everything as plain values; null for what is no number."""
        changes = None
        if self.changes is not None:
            changes = {
                name: {
                    "change_count": axis.change_count,
                    "flap_ratio": axis.flap_ratio,
                    "changes_per_customer_year": axis.changes_per_customer_year,
                }
                for name, axis in self.changes.items()
            }
        axes = tuple(self.cutoffs[0].tiers_off)
        return {
            "horizon_days": self.horizon_ms // MS_PER_DAY,
            "means": {name: _plain(self.means(name)) for name in self.method_names},
            "tiers": {
                "rank_tiers_off": {
                    name: {
                        "mean": _number(mean_of([cutoff.tiers_off[name] for cutoff in self.cutoffs])),
                        "max": _number(_max_of([cutoff.tiers_off[name] for cutoff in self.cutoffs])),
                    }
                    for name in axes
                },
                "held_cap20": _number(mean_of([cutoff.held_cap20 for cutoff in self.cutoffs])),
            },
            "changes": changes,
            "cutoffs": [
                {
                    "cutoff": format_time(cutoff.cutoff_ms),
                    "customer_count": cutoff.customer_count,
                    "methods": {name: _plain(figures) for name, figures in cutoff.methods.items()},
                    "rank_tiers_off": {name: _number(share) for name, share in cutoff.tiers_off.items()},
                    "held_cap20": _number(cutoff.held_cap20),
                }
                for cutoff in self.cutoffs
            ],
            "notes": list(self.notes),
        }


@dataclass(slots=True, eq=False)
class Judge:
    """Holds scores against a log.

    Parameters
    ----------
    scores
        What is judged.
    log
        What customers did.
    policy
        The policy of the backtest.
    horizon_ms
        H of the rankings, whole days.
    comparison
        Models to fit beside the simple baselines; None: none.
    """

    scores: ScoresTable
    log: PurchaseLog
    policy: Policy
    horizon_ms: int
    comparison: Comparison | None = None
    _unknown_count: int = field(default=0, init=False)
    _miscounted_count: int = field(default=0, init=False)
    _row_count: int = field(default=0, init=False)

    def judge(self, changes: Path | None = None, on_cutoff: Callable[[int, int], None] | None = None) -> Judgement:
        """Judge every cutoff whose horizon the log covers.

        Parameters
        ----------
        changes
            A `changes.jsonl` of the same backtest.
        on_cutoff
            Told how many cutoffs are done, and of how many.

        Returns
        -------
        Judgement

        Raises
        ------
        SettingsError
            When no cutoff has a whole horizon, the customers are others than those of the log, or a file is none.
        """
        told = None if changes is None else judge_changes(changes, self.policy.axes, self.log.end_ms)
        covered = self._covered()
        judged = []
        for place, cutoff_ms in enumerate(covered):
            found = self._judge_cutoff(cutoff_ms)
            if found is not None:
                judged.append(found)
            if on_cutoff is not None:
                on_cutoff(place + 1, len(covered))
        self._require_same_customers()
        if not judged:
            message = (
                f"{self.scores.path}: nobody had bought before any of the {len(covered)} cutoffs; "
                "take later cutoffs with --score-from, or a --policy that maps the log's purchases"
            )
            raise SettingsError(message, code="no_buyers")
        return Judgement(self.horizon_ms, tuple(judged), told, self._notes(len(covered), judged))

    def _covered(self) -> list[int]:
        cutoffs_ms, end_ms = self.scores.cutoffs_ms, self.log.end_ms
        covered = [cutoff_ms for cutoff_ms in cutoffs_ms if cutoff_ms + self.horizon_ms <= end_ms]
        if not covered:
            message = (
                f"{self.scores.path}: no cutoff from {_day(cutoffs_ms[0])} to {_day(cutoffs_ms[-1])} has a whole "
                f"horizon of {format_duration(self.horizon_ms)} before the log ends on {_day(end_ms)}; take a shorter "
                "--horizon, earlier cutoffs, or a longer log"
            )
            raise SettingsError(message, code="no_whole_horizon")
        return covered

    def _judge_cutoff(self, cutoff_ms: int) -> JudgedCutoff | None:
        scored = self.scores.read(cutoff_ms)
        customers = self.log.find(scored.customer_ids)
        is_judged = (scored.purchase_counts > 0) & self._has_bought(customers, scored.purchase_counts, cutoff_ms)
        if not is_judged.any():
            return None
        question = Question(customers[is_judged], cutoff_ms, self.horizon_ms)
        outcome = outcome_of(self.log, question)
        own_days = scored.horizon_days()
        own_outcome = None
        if own_days is not None and cutoff_ms + own_days * MS_PER_DAY <= self.log.end_ms:
            own_question = Question(question.customers, cutoff_ms, own_days * MS_PER_DAY)
            own_outcome = outcome_of(self.log, own_question)
        methods = {SCORES: method_figures(_prediction(scored, is_judged), outcome, own_outcome)}
        predictions = simple_predictions(self.log, question)
        if self.comparison is not None:
            predictions |= self.comparison.predictions(question)
        methods |= {name: method_figures(each, outcome, outcome) for name, each in predictions.items()}
        return JudgedCutoff(
            cutoff_ms,
            int(is_judged.sum()),
            methods,
            self._tiers_off(scored),
            self._held_cap20(scored, is_judged, outcome.spend),
        )

    def _tiers_off(self, scored: ScoredCustomers) -> dict[str, float]:
        found = {}
        for axis in self.policy.axes:
            scores, ranks = scored.numbers.get(f"{axis.name}_score"), scored.tiers.get(f"{axis.name}_rank_tier")
            if scores is None or ranks is None:
                found[axis.name] = float("nan")
                continue
            found[axis.name] = tiers_off(scores, tier_places(ranks, axis), axis)
        return found

    def _held_cap20(self, scored: ScoredCustomers, is_judged: NDArray[np.bool_], spend: NDArray[np.float64]) -> float:
        held = scored.tiers.get(f"{VALUE}_tier")
        axes = [axis for axis in self.policy.axes if axis.name == VALUE]
        if held is None or not axes:
            return float("nan")
        places = tier_places(held, axes[0])
        return held_cap20(scored.numbers[f"{VALUE}_score"][is_judged], places[is_judged], spend)

    def _has_bought(
        self, customers: NDArray[np.int64], purchase_counts: NDArray[np.int64], cutoff_ms: int
    ) -> NDArray[np.bool_]:
        """Tell whom the log knows as a buyer before the cutoff, and take note of where log and scores differ."""
        before = self.log.baskets.between(0, cutoff_ms)
        counts = before.sums(self.log.customer_count, before.purchase_counts)
        is_known = customers >= 0
        found = np.where(is_known, counts[customers], 0.0)
        self._row_count += len(customers)
        self._unknown_count += int((~is_known).sum())
        self._miscounted_count += int((found[is_known] != purchase_counts[is_known]).sum())
        return found > 0.0

    def _require_same_customers(self) -> None:
        if self._row_count and self._unknown_count == self._row_count:
            message = (
                f"{self.scores.path}: none of its customers is in the events; give the events that the backtest read, "
                "with the same --map"
            )
            raise SettingsError(message, code="other_customers")

    def _notes(self, covered_count: int, judged: list[JudgedCutoff]) -> tuple[str, ...]:
        notes = []
        late = len(self.scores.cutoffs_ms) - covered_count
        if late:
            notes.append(f"{late} later cutoffs have no whole horizon in the log and are left out.")
        if self._unknown_count:
            notes.append(f"{self._unknown_count / self._row_count:.1%} of the customers scored are not in the events.")
        if self._miscounted_count > COUNTS_OFF_MAX * self._row_count:
            notes.append(
                f"{self._miscounted_count / self._row_count:.1%} of the purchase counts differ from the events: were "
                "files, --map, --policy and --timezone those of the backtest?"
            )
        without_before = sum(cutoff.cutoff_ms - self.horizon_ms < self.log.start_ms for cutoff in judged)
        if without_before:
            notes.append(f"{without_before} cutoffs are less than a horizon after the log began: no growth is judged.")
        if self.comparison is not None:
            notes.extend(self.comparison.notes)
        return tuple(notes)


def _prediction(scored: ScoredCustomers, is_judged: NDArray[np.bool_]) -> Prediction:
    def column(name: str) -> NDArray[np.float64] | None:
        values = scored.numbers.get(name)
        return None if values is None else values[is_judged]

    value, probability = column(f"{VALUE}_score"), column("buy_probability")
    has_probability = probability is not None and not np.isnan(probability).all()
    return Prediction(
        value=value,
        buy=probability if has_probability else value,
        growth=column(f"{GROWTH}_score"),
        expected_spend=column("expected_spend"),
        expected_purchases=column("expected_purchases"),
        buy_probability=probability,
    )


def _plain(figures: MethodFigures) -> dict[str, float | None]:
    return {name: _number(getattr(figures, name)) for name in FIGURE_NAMES}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _max_of(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return max(known) if known else float("nan")


def _day(time_ms: int) -> str:
    return format_time(time_ms)[:10]
