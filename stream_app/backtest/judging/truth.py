"""Scores of a simulated shop held against the truth, and against the best that could be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from stream_app.backtest.judging.figures import mean_of
from stream_app.backtest.judging.gates import Gate, Verdict
from stream_app.backtest.judging.scores_table import ScoresTable
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.prequential import expected_calibration_error

FloatArray = NDArray[np.float64]

RANK_SHARE_MIN = 0.95
"""What the value score's rank correlation with the truth must reach of that of the best expectation."""
ALIVE_ERROR_MAX = 0.03


class KnownCustomers(Protocol):
    """What is true of customers at a moment; see `simulation.posterior.KnownCustomers`."""

    @property
    def customer_ids(self) -> NDArray[np.bytes_]:
        """Rising, dtype `S<width>`."""

    @property
    def true_spend(self) -> FloatArray:
        """By the customers' own parameters."""

    @property
    def best_spend(self) -> FloatArray:
        """By the shop's parameters and the customers' histories."""

    @property
    def is_alive(self) -> NDArray[np.bool_]:
        """Who has not dropped out."""


class KnownShop(Protocol):
    """A shop of which the truth is known."""

    def at(self, at_ms: int, horizon_days: int) -> KnownCustomers:
        """Tell of those who had bought before a moment what can be expected over a horizon from it on."""


@dataclass(frozen=True, slots=True)
class TruthFigures:
    """One cutoff.

    Parameters
    ----------
    cutoff_ms
        T.
    customer_count
        Customers with a purchase before T.
    rank_correlation
        Spearman's, of value score and true expected spend.
    best_rank_correlation
        The same of the best expectation.
    alive_error
        Expected calibration error of the alive probability, ten bins of equal width; NaN without such a column.
    """

    cutoff_ms: int
    customer_count: int
    rank_correlation: float
    best_rank_correlation: float
    alive_error: float


def judge_truth(scores: ScoresTable, shop: KnownShop, horizon_ms: int) -> tuple[TruthFigures, ...]:
    """Hold the scores of every cutoff against the truth; cutoffs before which nobody had bought are left out."""
    found = [_judge_cutoff(scores, shop, cutoff_ms, horizon_ms // MS_PER_DAY) for cutoff_ms in scores.cutoffs_ms]
    return tuple(figures for figures in found if figures is not None)


def _judge_cutoff(scores: ScoresTable, shop: KnownShop, cutoff_ms: int, horizon_days: int) -> TruthFigures | None:
    known, scored = shop.at(cutoff_ms, horizon_days), scores.read(cutoff_ms)
    names = np.array(scored.customer_ids, dtype=np.bytes_)
    if not len(known.customer_ids):
        return None
    places = np.minimum(np.searchsorted(known.customer_ids, names), len(known.customer_ids) - 1)
    own = np.flatnonzero(known.customer_ids[places] == names)
    if len(own) < 2:
        return None
    places = places[own]
    value, alive = scored.numbers["value_score"][own], scored.numbers["alive_probability"][own]
    truth = known.true_spend[places]
    is_told = np.isfinite(alive)
    return TruthFigures(
        cutoff_ms=cutoff_ms,
        customer_count=len(own),
        rank_correlation=float(spearmanr(value, truth).statistic),
        best_rank_correlation=float(spearmanr(known.best_spend[places], truth).statistic),
        alive_error=expected_calibration_error(alive[is_told], known.is_alive[places][is_told]),
    )


def truth_gates(figures: Sequence[TruthFigures]) -> tuple[Gate, ...]:
    """Hold the means over the cutoffs against what is promised of simulated shops."""
    reached = mean_of([each.rank_correlation for each in figures])
    bound = RANK_SHARE_MIN * mean_of([each.best_rank_correlation for each in figures])
    error = mean_of([each.alive_error for each in figures])
    return (
        _gate("rank correlation with the truth", reached, bound, passes=reached >= bound),
        _gate("alive calibration error", error, ALIVE_ERROR_MAX, passes=error <= ALIVE_ERROR_MAX),
    )


def _gate(name: str, figure: float, bound: float, *, passes: bool) -> Gate:
    return Gate(name, figure if figure == figure else None, bound, Verdict.PASS if passes else Verdict.FAIL)
