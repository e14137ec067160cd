"""The predictions of a run beside yardsticks that knew no more: the same customers, cutoffs and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.evaluation.cutoffs import CutoffPrediction
from stream_app.backtest.evaluation.sample import CustomerSample
from stream_app.backtest.judging.baselines import BASELINE_LABELS, Question, simple_predictions
from stream_app.backtest.judging.comparison import COMPARISON_LABELS, Comparison
from stream_app.backtest.judging.figures import Outcome, Prediction, method_figures
from stream_app.backtest.judging.judgement import SCORES, JudgedCutoff, Judgement
from stream_app.backtest.judging.outcomes import outcome_of
from stream_app.backtest.judging.purchase_log import PurchaseLog
from stream_app.backtest.judging.tiers import held_cap20
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.outcome_tables import by_rank
from stream_app.learning.prequential import has_grown

FloatArray = NDArray[np.float64]

PERIOD_DAYS: Final = 28
CUSTOMERS_MIN: Final = 50
"""A cutoff with fewer buyers says nothing."""
METHOD_LABELS: Final[Mapping[str, str]] = {SCORES: "these scores", **BASELINE_LABELS, **COMPARISON_LABELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSpan:
    """Of what time, and how far to look.

    Parameters
    ----------
    start_ms, end_ms
        00:00 UTC of the day of the first event, and after that of the last one.
    horizon_periods
        The policy's horizon in periods of 28 days.
    is_compared
        Whether to fit the batch models, too.
    """

    start_ms: int
    end_ms: int
    horizon_periods: int
    is_compared: bool = False


class _Lifts:
    """Shares by tenths of each method's ranking, averaged over cutoffs."""

    def __init__(self) -> None:
        self._value: dict[str, list[FloatArray]] = {}
        self._growth: dict[str, list[FloatArray]] = {}

    def add(self, name: str, prediction: Prediction, outcome: Outcome) -> None:
        nothing = np.zeros(len(outcome.spend))
        if prediction.value is not None and outcome.spend.sum() > 0.0:
            spend = by_rank(_ranking(prediction.value), nothing, outcome.spend)[:, 2]
            self._value.setdefault(name, []).append(spend / spend.sum())
        if prediction.growth is not None and outcome.previous_spend is not None:
            grew = has_grown(outcome.spend, outcome.previous_spend).astype(np.float64)
            if grew.any():
                table = by_rank(_ranking(prediction.growth), nothing, grew)
                self._growth.setdefault(name, []).append(table[:, 2] / np.maximum(table[:, 0], 1.0) / grew.mean())

    def as_document(self) -> dict[str, dict[str, list[float]]]:
        """Give the means as plain values."""
        return {
            "spend_share_by_tenth": {name: np.mean(parts, axis=0).tolist() for name, parts in self._value.items()},
            "growth_lift_by_tenth": {name: np.mean(parts, axis=0).tolist() for name, parts in self._growth.items()},
        }


def compare_methods(
    sample: CustomerSample,
    kept: Sequence[CutoffPrediction],
    span: ComparedSpan,
    on_cutoff: Callable[[int, int], None] | None = None,
) -> dict[str, Any] | None:
    """Judge what was predicted at each cutoff, beside RFM, decayed spend, last spend and, when asked for, batch models.

    Parameters
    ----------
    sample
        Customers and what they bought.
    kept
        What was predicted of them.
    span
        Of the log.
    on_cutoff
        Told how many cutoffs are judged, and of how many.

    Returns
    -------
    dict or None
        Plain values: `horizon_days`, `customers` and `sample_share`, `labels` of the methods, `means` and `cutoffs` as
        a judgement has them, `leads` (at how many cutoffs these scores were ahead, of how many), the shares by tenths,
        and `notes`. None when no cutoff has enough buyers and a whole period of 28 days after it.
    """
    sampled = sample.purchase_log(span.start_ms, span.end_ms)
    own = [each.take(np.isin(each.names, sampled.names)) for each in kept]
    own = [cutoff for cutoff in own if len(cutoff.names) >= CUSTOMERS_MIN]
    periods = _periods_covered(own, span)
    if not periods:
        return None
    horizon_ms = periods * PERIOD_DAYS * MS_PER_DAY
    covered = [cutoff for cutoff in own if cutoff.cutoff_ms + horizon_ms <= span.end_ms]
    comparison = Comparison(sampled.log) if span.is_compared else None
    lifts, judged = _Lifts(), []
    for place, cutoff in enumerate(covered):
        numbers = sampled.numbers_of(cutoff.names)
        order = np.argsort(numbers)
        question = Question(numbers[order], cutoff.cutoff_ms, horizon_ms)
        is_own_horizon = periods == span.horizon_periods
        judged.append(_judged(sampled.log, cutoff.take(order), question, comparison, (lifts, is_own_horizon)))
        if on_cutoff is not None:
            on_cutoff(place + 1, len(covered))
    judgement = Judgement(horizon_ms, tuple(judged), None, ())
    document = judgement.as_document()
    return {
        "horizon_days": document["horizon_days"],
        "customers": len(sampled.names),
        "sample_share": sample.share,
        "labels": {name: METHOD_LABELS[name] for name in judgement.method_names},
        "means": document["means"],
        "leads": {name: _leads(judgement, name) for name in judgement.method_names if name != SCORES},
        **lifts.as_document(),
        "held_cap20": document["tiers"]["held_cap20"],
        "cutoffs": [
            {key: cutoff[key] for key in ("cutoff", "customer_count", "methods", "held_cap20")}
            for cutoff in document["cutoffs"]
        ],
        "notes": _notes(span, periods, comparison),
    }


def _judged(
    log: PurchaseLog,
    cutoff: CutoffPrediction,
    question: Question,
    comparison: Comparison | None,
    more: tuple[_Lifts, bool],
) -> JudgedCutoff:
    lifts, is_own_horizon = more
    outcome = outcome_of(log, question)
    predictions = {SCORES: cutoff.prediction(), **simple_predictions(log, question)}
    if comparison is not None:
        predictions |= comparison.predictions(question)
    methods = {}
    for name, prediction in predictions.items():
        is_calibrated = is_own_horizon or name != SCORES
        methods[name] = method_figures(prediction, outcome, outcome if is_calibrated else None)
        lifts.add(name, prediction, outcome)
    held = held_cap20(cutoff.columns[0], cutoff.held_tiers, outcome.spend)
    return JudgedCutoff(cutoff.cutoff_ms, len(cutoff.names), methods, {}, held)


def _periods_covered(kept: Sequence[CutoffPrediction], span: ComparedSpan) -> int:
    """Give the longest horizon, in periods, that the log covers after some cutoff; 0 when it covers none."""
    if not kept:
        return 0
    first_ms = min(cutoff.cutoff_ms for cutoff in kept)
    return int(max(0, min(span.horizon_periods, (span.end_ms - first_ms) // (PERIOD_DAYS * MS_PER_DAY))))


def _leads(judgement: Judgement, name: str) -> dict[str, list[int]]:
    """Count the cutoffs at which these scores were ahead of a method, of those at which both have the figure."""
    found = {}
    for figure in ("normalized_gini", "cap20", "hit20", "buy_auc", "growth_auc"):
        pairs = [
            (getattr(cutoff.methods[SCORES], figure), getattr(cutoff.methods[name], figure))
            for cutoff in judgement.cutoffs
        ]
        known = [(own, other) for own, other in pairs if own == own and other == other]
        found[figure] = [sum(own > other for own, other in known), len(known)]
    return found


def _notes(span: ComparedSpan, periods: int, comparison: Comparison | None) -> list[str]:
    notes = [] if comparison is None else list(comparison.notes)
    if periods < span.horizon_periods:
        days, whole = periods * PERIOD_DAYS, span.horizon_periods * PERIOD_DAYS
        notes.append(
            f"No cutoff has {whole} days after it: rankings are judged over {days} days, and expected spend is not."
        )
    return notes


def _ranking(values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), -np.inf, values)
