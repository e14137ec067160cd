"""How well a method ranked customers at one cutoff, by what they did next."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream_app.learning.prequential import (
    area_under_curve,
    calibration_ratio,
    capture_share,
    expected_calibration_error,
    has_grown,
    hit_share,
    lift_ratio,
    normalized_gini,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NOT_A_FIGURE = float("nan")
TENTH, FIFTH = 0.1, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a method says of some customers, as columns of shape `(n,)`; None where it says nothing.

    Parameters
    ----------
    value, buy, growth
        Rankings: of spend in the horizon, of who buys, of who spends more than before. NaN ranks last.
    expected_spend, expected_purchases
        Means over the horizon.
    buy_probability
        P(at least one purchase in the horizon), in [0, 1].
    """

    value: FloatArray | None = None
    buy: FloatArray | None = None
    growth: FloatArray | None = None
    expected_spend: FloatArray | None = None
    expected_purchases: FloatArray | None = None
    buy_probability: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the same customers did, as columns of shape `(n,)`.

    Parameters
    ----------
    spend, baskets
        y and n: gross spend and baskets in [T, T + H).
    previous_spend
        prev: gross spend in [T - H, T); None when the log begins after T - H.
    """

    spend: FloatArray
    baskets: FloatArray
    previous_spend: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """The figures of one method; NaN where a figure has no meaning or the method does not say it.

    Parameters
    ----------
    normalized_gini, cap10, cap20, hit20
        Of y ranked by value (`learning.prequential`).
    buy_auc
        ROC area for n > 0.
    growth_auc, growth_auc_active
        ROC area for y > prev; the second among customers with prev > 0.
    growth_lift10, growth_lift10_active
        Share that grew in the top tenth by growth, over the share among all.
    count_calibration, spend_calibration
        Sum of expected purchases, and of expected spend, over what came.
    buy_calibration_error
        ECE of the probability to buy.
    """

    normalized_gini: float = NOT_A_FIGURE
    cap10: float = NOT_A_FIGURE
    cap20: float = NOT_A_FIGURE
    hit20: float = NOT_A_FIGURE
    buy_auc: float = NOT_A_FIGURE
    growth_auc: float = NOT_A_FIGURE
    growth_auc_active: float = NOT_A_FIGURE
    growth_lift10: float = NOT_A_FIGURE
    growth_lift10_active: float = NOT_A_FIGURE
    count_calibration: float = NOT_A_FIGURE
    spend_calibration: float = NOT_A_FIGURE
    buy_calibration_error: float = NOT_A_FIGURE


FIGURE_NAMES = tuple(field.name for field in fields(MethodFigures))


def method_figures(prediction: Prediction, outcome: Outcome, calibration_outcome: Outcome | None) -> MethodFigures:
    """Compute the figures of one method at one cutoff.

    Parameters
    ----------
    prediction
        At the cutoff.
    outcome
        Over the horizon that rankings are judged by.
    calibration_outcome
        Over the horizon that expected figures and probabilities are for; None when the log does not cover it.
    """
    value = _ranking(prediction.value)
    found: dict[str, float] = {}
    if value is not None and len(value):
        found["normalized_gini"] = normalized_gini(value, outcome.spend)
        found["cap10"] = capture_share(value, outcome.spend, TENTH)
        found["cap20"] = capture_share(value, outcome.spend, FIFTH)
        found["hit20"] = hit_share(value, outcome.spend, FIFTH)
    buy = _ranking(prediction.buy)
    if buy is not None:
        found["buy_auc"] = area_under_curve(buy, outcome.baskets > 0.0)
    growth = _ranking(prediction.growth)
    if growth is not None and outcome.previous_spend is not None:
        found |= _growth_figures(growth, outcome.spend, outcome.previous_spend)
    if calibration_outcome is not None:
        found |= _calibration_figures(prediction, calibration_outcome)
    return MethodFigures(**found)


def mean_figures(figures: list[MethodFigures]) -> MethodFigures:
    """Average each figure over the cutoffs that have it; NaN where none has."""
    return MethodFigures(**{name: mean_of([getattr(each, name) for each in figures]) for name in FIGURE_NAMES})


def mean_of(values: list[float]) -> float:
    """Average what is a number; NaN when nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NOT_A_FIGURE


def _growth_figures(growth: FloatArray, spend: FloatArray, previous_spend: FloatArray) -> dict[str, float]:
    grew, is_active = has_grown(spend, previous_spend), previous_spend > 0.0
    found = {"growth_auc": area_under_curve(growth, grew), "growth_lift10": lift_ratio(growth, grew, TENTH)}
    if is_active.any():
        found["growth_auc_active"] = area_under_curve(growth[is_active], grew[is_active])
        found["growth_lift10_active"] = lift_ratio(growth[is_active], grew[is_active], TENTH)
    return found


def _calibration_figures(prediction: Prediction, outcome: Outcome) -> dict[str, float]:
    found: dict[str, float] = {}
    purchases, spend = _whole(prediction.expected_purchases), _whole(prediction.expected_spend)
    if purchases is not None:
        found["count_calibration"] = calibration_ratio(purchases, outcome.baskets)
    if spend is not None:
        found["spend_calibration"] = calibration_ratio(spend, outcome.spend)
    probability = _whole(prediction.buy_probability)
    if probability is not None:
        found["buy_calibration_error"] = expected_calibration_error(probability, outcome.baskets > 0.0)
    return found


def _whole(values: FloatArray | None) -> FloatArray | None:
    """Give figures that every customer has; a mean over some of them would say something else."""
    return values if values is not None and bool(np.isfinite(values).all()) else None


def _ranking(values: FloatArray | None) -> FloatArray | None:
    """Let customers without a score rank last; None when nobody has one."""
    if values is None or np.isnan(values).all():
        return None
    return np.where(np.isnan(values), -np.inf, values)
