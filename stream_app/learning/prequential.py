"""Figures of predictions that were made before their outcome was known and scored before it was learned.

Definitions: y is spend in [t, t + H), n the baskets in it, prev the spend in [t - H, t). Every ranking breaks ties at
random with a fixed seed, so that a score with few levels is neither favoured nor punished by the order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.learning.draws import ranked
from stream_app.learning.drift import LossWatch
from stream_app.learning.outcome_tables import (
    OutcomeTables,
    as_array,
    by_probability,
    by_rank,
    no_outcomes,
    tables_from,
)
from stream_app.learning.states import join_states, part_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
LearnerState = dict[str, NDArray[np.generic]]

TOP_SHARE = 0.2
GROWTH_TOLERANCE = 1e-9
"""Sums of equal amounts in another order differ by less than this share; they are no growth."""
CALIBRATION_BINS = 10
PROBABILITY_MARGIN = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""
EXAMPLES_MAX = 50_000
"""Scored predictions kept of an open window; later ones of the window are counted, not kept."""
WINDOWS_MAX = 130
"""Closed windows kept: ten years of 28 days."""
PERIOD_DAYS = 28.0
STATE_VERSION = 2


@dataclass(frozen=True, slots=True, eq=False)
class ScoredOutcomes:
    """Predictions and what came, as columns of shape `(n,)`, float64.

    Parameters
    ----------
    value_score
        Any ranking of expected spend.
    buy_probability, growth_probability
        In [0, 1]: P(n > 0) and P(y > prev).
    expected_purchases, expected_spend
        Means over the horizon, not below 0.
    spend, baskets, previous_spend
        y, n and prev.
    has_full_past
        1 where the window of prev lies in the log, else 0: only there is anything said of growth (S14).
    """

    value_score: FloatArray
    buy_probability: FloatArray
    growth_probability: FloatArray
    expected_purchases: FloatArray
    expected_spend: FloatArray
    spend: FloatArray
    baskets: FloatArray
    previous_spend: FloatArray
    has_full_past: FloatArray

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(self.spend)


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """How good the predictions were whose outcome came within one window; NaN where a figure has no meaning.

    Parameters
    ----------
    start_day
        First day of the window, days since 1970-01-01.
    example_count
        Outcomes in the window.
    buy_auc, growth_auc, growth_auc_active
        ROC areas for n > 0, for y > prev, and for y > prev among customers with prev > 0.
    normalized_gini, cap20, hit20
        Of y ranked by the value score; see the functions.
    count_calibration, spend_calibration, buy_calibration, growth_calibration
        Sum predicted over sum actual; 1 is perfect.
    buy_log_loss, growth_log_loss
        Mean negative log-likelihood in nats.
    buy_base_loss, growth_base_loss
        The same of a forecast that gives everybody the share that came true in the window: a yardstick, which knew it.
    """

    start_day: float
    example_count: float
    buy_auc: float
    growth_auc: float
    growth_auc_active: float
    normalized_gini: float
    cap20: float
    hit20: float
    count_calibration: float
    spend_calibration: float
    buy_calibration: float
    growth_calibration: float
    buy_log_loss: float
    growth_log_loss: float
    buy_base_loss: float
    growth_base_loss: float


def area_under_curve(score: FloatArray, is_positive: BoolArray) -> float:
    """Give the ROC area: P(a positive ranks above a negative), ties counting half; NaN with one class only."""
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = float(mean_ranks[place][is_positive].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def normalized_gini(score: FloatArray, spend: FloatArray) -> float:
    """Give the mean Lorenz height of spend ranked by score, minus 1/2, over the same ranked by spend itself.

    Parameters
    ----------
    score, spend
        Shape `(n,)`; spend not below 0.

    Returns
    -------
    float
        At most 1; 0 for a ranking that says nothing; NaN when nobody spent or everybody spent the same.
    """
    best = _lorenz_height(spend, spend) if spend.sum() > 0.0 else 0.5
    if best - 0.5 <= 0.5 / len(spend) + 1e-12:
        return float("nan")
    return (_lorenz_height(score, spend) - 0.5) / (best - 0.5)


def capture_share(score: FloatArray, spend: FloatArray, top_share: float = TOP_SHARE) -> float:
    """Give the share of all spend that the top by score holds (cap20 by default); NaN when nobody spent."""
    total = float(spend.sum())
    return float(spend[_top(score, top_share)].sum()) / total if total > 0.0 else float("nan")


def hit_share(score: FloatArray, spend: FloatArray, top_share: float = TOP_SHARE) -> float:
    """Give the share of the true top (who spent) that is in the top by score (hit20 by default); NaN without any."""
    true_top = _top(spend, top_share)
    true_top = true_top[spend[true_top] > 0.0]
    return float(np.isin(true_top, _top(score, top_share)).mean()) if len(true_top) else float("nan")


def calibration_ratio(predicted: FloatArray, actual: FloatArray) -> float:
    """Give sum predicted over sum actual; NaN when nothing came."""
    total = float(actual.sum())
    return float(predicted.sum()) / total if total > 0.0 else float("nan")


def lift_ratio(score: FloatArray, is_positive: BoolArray, top_share: float = TOP_SHARE) -> float:
    """Give the share of positives in the top by score over that among all; 1 says nothing, NaN without any."""
    rate = float(is_positive.mean()) if len(is_positive) else 0.0
    return float(is_positive[_top(score, top_share)].mean()) / rate if rate > 0.0 else float("nan")


def expected_calibration_error(probability: FloatArray, is_positive: BoolArray) -> float:
    """Give how far probabilities are from what happened, on average over the examples; NaN without any.

    Parameters
    ----------
    probability
        Shape `(n,)`, in [0, 1].
    is_positive
        Shape `(n,)`.

    Returns
    -------
    float
        In [0, 1]: sum over `CALIBRATION_BINS` bins of equal width of |mean probability - share of positives|, weighted
        by the bin's share of the examples.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger (2017), On Calibration of Modern Neural Networks, ICML, eq. 3.
    """
    if not len(probability):
        return float("nan")
    bins = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, probability - is_positive)
    return float(np.abs(gaps).sum()) / len(probability)


def log_losses(probability: FloatArray, is_positive: BoolArray) -> FloatArray:
    """Give each prediction's negative log-likelihood in nats, shape `(n,)`, finite."""
    bounded = np.clip(probability, PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN)
    return -np.log(np.where(is_positive, bounded, 1.0 - bounded))


def has_grown(spend: FloatArray, previous_spend: FloatArray) -> BoolArray:
    """Tell who spent more than before; shape `(n,)`."""
    return spend > previous_spend * (1.0 + GROWTH_TOLERANCE)


def window_figures(outcomes: ScoredOutcomes, start_day: float, example_count: int) -> WindowFigures:
    """Compute every figure of one window; NaN where it has no meaning, all NaN without examples."""
    if len(outcomes) == 0:
        return WindowFigures(start_day, float(example_count), *([float("nan")] * (len(fields(WindowFigures)) - 2)))
    has_bought = outcomes.baskets > 0.0
    own = outcomes.has_full_past > 0.0
    growth, previous = outcomes.growth_probability[own], outcomes.previous_spend[own]
    grew, is_active = has_grown(outcomes.spend[own], previous), previous > 0.0
    return WindowFigures(
        start_day=start_day,
        example_count=float(example_count),
        buy_auc=area_under_curve(outcomes.buy_probability, has_bought),
        growth_auc=area_under_curve(growth, grew),
        growth_auc_active=area_under_curve(growth[is_active], grew[is_active]),
        normalized_gini=normalized_gini(outcomes.value_score, outcomes.spend),
        cap20=capture_share(outcomes.value_score, outcomes.spend),
        hit20=hit_share(outcomes.value_score, outcomes.spend),
        count_calibration=calibration_ratio(outcomes.expected_purchases, outcomes.baskets),
        spend_calibration=calibration_ratio(outcomes.expected_spend, outcomes.spend),
        buy_calibration=calibration_ratio(outcomes.buy_probability, has_bought.astype(np.float64)),
        growth_calibration=calibration_ratio(growth, grew.astype(np.float64)),
        buy_log_loss=_mean(log_losses(outcomes.buy_probability, has_bought)),
        growth_log_loss=_mean(log_losses(growth, grew)),
        buy_base_loss=_base_loss(has_bought),
        growth_base_loss=_base_loss(grew),
    )


def outcome_tables(outcomes: ScoredOutcomes) -> OutcomeTables:
    """Add predictions and outcomes up by tenths."""
    own = outcomes.has_full_past > 0.0
    growth, grew = outcomes.growth_probability[own], has_grown(outcomes.spend[own], outcomes.previous_spend[own])
    return OutcomeTables(
        spend_by_value=by_rank(outcomes.value_score, outcomes.expected_spend, outcomes.spend),
        spend_by_expectation=by_rank(outcomes.expected_spend, outcomes.expected_spend, outcomes.spend),
        growth_by_rank=by_rank(growth, growth, grew.astype(np.float64)),
        buying_by_probability=by_probability(outcomes.buy_probability, outcomes.baskets > 0.0),
        growth_by_probability=by_probability(growth, grew),
    )


class PrequentialEvaluation:
    """Figures per window of 28 days (counted from 1970-01-01), as outcomes come; changed by the learner alone."""

    def __init__(self) -> None:
        self._window: int | None = None
        self._blocks: list[FloatArray] = []
        self._kept_count = 0
        self._seen_count = 0
        self._closed: list[WindowFigures] = []
        self._closed_tables = no_outcomes()
        self.buy_watch, self.growth_watch = LossWatch(), LossWatch()

    @property
    def closed(self) -> tuple[WindowFigures, ...]:
        """Figures of the closed windows, oldest first; at most `WINDOWS_MAX`."""
        return tuple(self._closed)

    def add(self, outcomes: ScoredOutcomes, day: float) -> None:
        """Take in outcomes that matured at a time.

        Parameters
        ----------
        outcomes
            Scored before they are learned; finite.
        day
            Days since 1970-01-01, not before the day of the call before. A new window closes the open one.

        Raises
        ------
        SettingsError
            If a value is not finite; nothing is taken in.
        """
        block = np.stack([getattr(outcomes, f.name) for f in fields(ScoredOutcomes)]).astype(np.float64)
        if not np.isfinite(block).all():
            message = "scored outcomes: every value must be finite; repair the features they come from"
            raise SettingsError(message, code="invalid_outcomes")
        window = int(day // PERIOD_DAYS)
        if self._window is not None and window > self._window:
            self._close()
        self._window = window if self._window is None else max(window, self._window)
        self._seen_count += block.shape[1]
        kept = block[:, : max(EXAMPLES_MAX - self._kept_count, 0)]
        self._kept_count += kept.shape[1]
        self._blocks.append(kept)
        self._watch(outcomes, day)

    def current(self) -> WindowFigures | None:
        """Give the figures of the open window so far; None before the first outcome."""
        if self._window is None:
            return None
        return window_figures(ScoredOutcomes(*self._columns()), self._window * PERIOD_DAYS, self._seen_count)

    def tables(self) -> OutcomeTables:
        """Give all kept outcomes since the beginning, added up by tenths."""
        return self._closed_tables + outcome_tables(ScoredOutcomes(*self._columns()))

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        watches = join_states({"buy_watch": self.buy_watch.state(), "growth_watch": self.growth_watch.state()})
        counters = [-1 if self._window is None else self._window, self._seen_count]
        return watches | {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array(counters, dtype=np.int64),
            "examples": self._columns(),
            "tables": as_array(self._closed_tables),
            "closed": np.array([astuple(figures) for figures in self._closed], dtype=np.float64).reshape(
                len(self._closed), len(fields(WindowFigures))
            ),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> PrequentialEvaluation:
        """Go on from a stored state.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        new = cls()
        try:
            version = int(state["version"][0])
            window, new._seen_count = (int(value) for value in state["counters"])
            examples = np.array(state["examples"], dtype=np.float64)
            new._closed = [WindowFigures(*(float(value) for value in row)) for row in state["closed"]]
            tables = np.array(state["tables"], dtype=np.float64).reshape(as_array(no_outcomes()).shape)
            is_whole = examples.ndim == 2 and len(examples) == len(fields(ScoredOutcomes))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"prequential state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or not is_whole:
            message = f"prequential state of version {version}: version {STATE_VERSION} is needed; learn afresh"
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        new._window = None if window < 0 else window
        new._closed_tables = tables_from(tables)
        new.buy_watch = LossWatch.from_state(part_of(state, "buy_watch"))
        new.growth_watch = LossWatch.from_state(part_of(state, "growth_watch"))
        new._blocks, new._kept_count = [examples], examples.shape[1]
        return new

    def _columns(self) -> FloatArray:
        """Join the kept examples, shape `(n_columns, n)`."""
        joined = np.concatenate([np.zeros((len(fields(ScoredOutcomes)), 0)), *self._blocks], axis=1)
        self._blocks = [joined]
        return joined

    def _watch(self, outcomes: ScoredOutcomes, day: float) -> None:
        self.buy_watch.add(log_losses(outcomes.buy_probability, outcomes.baskets > 0.0), day)
        own = outcomes.has_full_past > 0.0
        grew = has_grown(outcomes.spend[own], outcomes.previous_spend[own])
        self.growth_watch.add(log_losses(outcomes.growth_probability[own], grew), day)

    def _close(self) -> None:
        self._closed_tables = self.tables()
        figures = self.current()
        if figures is not None:
            self._closed = [*self._closed, figures][-WINDOWS_MAX:]
        self._blocks, self._kept_count, self._seen_count = [], 0, 0


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _base_loss(is_positive: BoolArray) -> float:
    """Give the log loss of who knows the share of positives and nothing else; NaN without any example."""
    if not len(is_positive):
        return float("nan")
    share = float(is_positive.mean())
    return _mean(log_losses(np.full(len(is_positive), share), is_positive))


def _top(score: FloatArray, top_share: float) -> NDArray[np.int64]:
    return ranked(score)[: max(int(len(score) * top_share), 1)]


def _lorenz_height(score: FloatArray, spend: FloatArray) -> float:
    cumulative = np.cumsum(spend[ranked(score)])
    return float((cumulative / cumulative[-1]).mean())
