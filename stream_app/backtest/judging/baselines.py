"""Rankings that need no model, from the purchases before a cutoff alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.purchase_log import PurchaseLog
from stream_app.domain.events import MS_PER_DAY

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HALF_LIFE_DAYS = 90.0
QUINTILES = 5
RFM_SUM = "rfm_sum"
DECAYED_SPEND = "decayed_spend"
LAST_SPEND = "last_horizon_spend"
LEAST_SPEND = "least_last_horizon_spend"
BASELINE_LABELS = {
    RFM_SUM: "RFM sum",
    DECAYED_SPEND: "decayed spend",
    LAST_SPEND: "last-H spend",
    LEAST_SPEND: "least last-H spend",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a method: customers, a cutoff, and how far to look.

    Parameters
    ----------
    customers
        Shape `(n,)`: indices into the log's customers, each with a purchase before the cutoff.
    cutoff_ms, horizon_ms
        T and H.
    """

    customers: IntArray
    cutoff_ms: int
    horizon_ms: int


def simple_predictions(log: PurchaseLog, question: Question) -> dict[str, Prediction]:
    """Rank customers by what every analyst has: RFM, decayed spend, spend of the last H.

    Parameters
    ----------
    log
        Only what lies before the cutoff is read.
    question
        Whom to rank, and when.

    Returns
    -------
    dict[str, Prediction]
        Each ranks value, buying and growth by one and the same number. `LEAST_SPEND` is the trivial ranking of growth
        and ranks nothing else: who spent less in the last H has more room to grow.
    """
    before = log.baskets.between(0, question.cutoff_ms)
    ages_days = (question.cutoff_ms - before.times_ms) / MS_PER_DAY
    decayed = before.sums(log.customer_count, before.amounts * np.exp2(-ages_days / HALF_LIFE_DAYS))
    last, _ = log.spend_and_baskets(question.cutoff_ms - question.horizon_ms, question.cutoff_ms)
    by_name = {RFM_SUM: _rfm_sum(log, question), DECAYED_SPEND: decayed[question.customers]}
    by_name[LAST_SPEND] = last[question.customers]
    predictions = {name: Prediction(value=score, buy=score, growth=score) for name, score in by_name.items()}
    predictions[LEAST_SPEND] = Prediction(growth=-by_name[LAST_SPEND])
    return predictions


def quintile_scores(values: FloatArray) -> FloatArray:
    """Score each value 1 to 5 by the fifth of the population it stands in.

    Parameters
    ----------
    values
        Shape `(n,)`; more is better.

    Returns
    -------
    FloatArray
        Shape `(n,)`: 1 + floor(5 p), p the share of values below it, equal values counting half. Equal values get equal
        scores, so that fifths need not be of equal size.
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - counts / 2.0) / max(len(values), 1)
    scores: FloatArray = 1.0 + np.floor(QUINTILES * middles)[places]
    return scores


def _rfm_sum(log: PurchaseLog, question: Question) -> FloatArray:
    """Add up quintile scores of days since the last purchase (fewer is better), baskets and gross spend."""
    before = log.baskets.between(0, question.cutoff_ms)
    last_ms = np.zeros(log.customer_count, dtype=np.int64)
    last_ms[before.customers] = before.times_ms
    last_days = (last_ms // MS_PER_DAY).astype(np.float64)
    columns = (last_days, before.sums(log.customer_count), before.sums(log.customer_count, before.amounts))
    total = np.zeros(len(question.customers))
    for column in columns:
        total += quintile_scores(column[question.customers])
    return total
