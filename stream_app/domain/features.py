"""The features that models read from what is known of customers (`history`).

A feature is computed at the horizon and with the parameters of whoever asks. Every column depends on its own row alone,
to the bit, whatever block the row is computed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.history import FeatureLayout, FloatArray
from stream_app.domain.purchase_model import PurchaseForecast
from stream_app.domain.rows import HALF_LIFE_COUNT

RATE_DAYS = 30.0
"""The purchase rate is told per 30 days; younger customers count as that old."""
REGULARITY_MAX = 20.0
"""Silence of more than twenty times the usual interval says nothing more."""
LOG_RATIO_MAX = 8.0
RATIO_AMOUNT_MIN = 1e-6
"""Smallest amount of which a ratio is taken, in amount units."""
ODDS_MARGIN = 0.003
"""Probabilities become features as log((p + .003) / (1.003 - p)), which stays within +-5.8."""

BASE_NAMES = (
    # Logarithms of amounts, in amount units.
    "gross_spend",
    "mean_basket",
    "last_basket",
    "largest_basket",
    "spend_last_period",
    "spend_horizon",
    "spend_two_horizons",
    "decayed_spend_1",
    "decayed_spend_2",
    "decayed_spend_3",
    "decayed_spend_4",
    "previous_spend",
    "expected_spend",
    # Logarithms of counts and days.
    "purchases",
    "age",
    "days_since_last_purchase",
    "interval",
    "regularity",
    "rate",
    "baskets_last_period",
    "baskets_horizon",
    "baskets_two_horizons",
    "decayed_count_1",
    "decayed_count_2",
    "decayed_count_3",
    "decayed_count_4",
    "refunds",
    "expected_purchases",
    # Shares, flags and log-odds as they are.
    "refunded_share",
    "bought_once",
    "buy_log_odds",
    "alive_log_odds",
)
"""Features of the buy and count models."""
GROWTH_NAMES = (
    *BASE_NAMES,
    "is_silent",
    "silent_buy_log_odds",
    "active_log_ratio",
    "growth_log_odds",
    "active_growth_log_odds",
    "silent_regularity",
    "active_regularity",
)
"""Features of the growth model: those, and interactions with whether anything was bought in the horizon before."""
_AMOUNT_COUNT = BASE_NAMES.index("purchases")
_LOG_COUNT = BASE_NAMES.index("refunded_share")
_BASE_COUNT = len(BASE_NAMES)
_MEAN_BASKET = BASE_NAMES.index("mean_basket")
_PREVIOUS_SPEND = BASE_NAMES.index("previous_spend")
_EXPECTED_SPEND = BASE_NAMES.index("expected_spend")
_SILENCE = BASE_NAMES.index("days_since_last_purchase")
_INTERVAL = BASE_NAMES.index("interval")
_REGULARITY = BASE_NAMES.index("regularity")
_RATE = BASE_NAMES.index("rate")
_EXPECTED_PURCHASES = BASE_NAMES.index("expected_purchases")
_BUY_LOG_ODDS = BASE_NAMES.index("buy_log_odds")
_HALF_LIVES = range(1, HALF_LIFE_COUNT + 1)


@dataclass(frozen=True, slots=True, eq=False)
class FormulaForecast:
    """What formulas say of each customer for a horizon, without any label; columns of shape `(n,)`.

    Parameters
    ----------
    periods
        The horizon in periods of 28 days.
    purchases
        Of the purchase model; all 0 for who has not bought.
    expected_amount
        Of the next basket, reporting currency.
    previous_spend
        Gross spend of the horizon before the moment.
    growth_probability
        P(more is spent in the next horizon than in the last).
    """

    periods: int
    purchases: PurchaseForecast
    expected_amount: FloatArray
    previous_spend: FloatArray
    growth_probability: FloatArray


def feature_columns(
    layout: FeatureLayout, history: FloatArray, forecast: FormulaForecast, amount_unit: float
) -> FloatArray:
    """Compute the features of all models.

    Parameters
    ----------
    layout
        Of the policy.
    history
        As `history_of` gave it.
    forecast
        Of the same customers, at the horizon of the features.
    amount_unit
        Amounts are divided by it, so that features do not depend on the currency.

    Returns
    -------
    FloatArray
        Shape `(len(GROWTH_NAMES), n)`, contiguous, finite; the first `len(BASE_NAMES)` rows are those of `BASE_NAMES`.
    """
    features = np.empty((len(GROWTH_NAMES), history.shape[1]))
    own, sources = _copies(layout)
    features[own] = history[sources]
    buys = forecast.purchases
    features[_PREVIOUS_SPEND] = forecast.previous_spend
    features[_EXPECTED_SPEND] = expected_spend = buys.expected_purchases * forecast.expected_amount
    features[_EXPECTED_PURCHASES] = buys.expected_purchases
    _add_rhythm(features, history)
    logs = features[:_LOG_COUNT]
    np.maximum(logs, 0.0, out=logs)
    features[:_AMOUNT_COUNT] *= 1.0 / amount_unit
    np.log1p(logs, out=logs)
    chances = (buys.buy_probability, buys.alive_probability, forecast.growth_probability)
    _add_others(features, history, (forecast.previous_spend, expected_spend), chances, RATIO_AMOUNT_MIN * amount_unit)
    return features


@lru_cache
def _copies(layout: FeatureLayout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the places of features that are columns of the history as they are, and of those columns."""
    horizon, longest = layout.horizon_periods, layout.window_periods[-1]
    named = {
        "gross_spend": "gross_spend",
        "last_basket": "last_basket",
        "largest_basket": "largest_basket",
        "purchases": "basket_count",
        "age": "age_days",
        "refunds": "refund_count",
        **{
            f"decayed_{what}_{place}": f"decayed_{what}_{place}" for what in ("spend", "count") for place in _HALF_LIVES
        },
    }
    for what in ("spend", "baskets"):
        for name, periods in (("last_period", 1), ("horizon", horizon), ("two_horizons", longest)):
            named[f"{what}_{name}"] = f"{what}_window_{periods}"
    own = np.array([BASE_NAMES.index(name) for name in named], dtype=np.int64)
    return own, np.array([layout.places[name] for name in named.values()], dtype=np.int64)


@compiled
def _add_rhythm(features: FloatArray, history: FloatArray) -> None:
    """Fill in what follows from spend, baskets, age and the last purchase."""
    for row in range(history.shape[1]):
        baskets, age, span = history[1, row], history[4, row], history[5, row]
        repeats = max(baskets - 1.0, 0.0)
        silence = max(age - span, 0.0)
        interval = span / max(repeats, 1.0) if repeats > 0.0 else age
        features[_MEAN_BASKET, row] = history[0, row] / max(baskets, 1.0)
        features[_SILENCE, row] = silence
        features[_INTERVAL, row] = interval
        features[_REGULARITY, row] = min(silence / max(interval, 1.0), REGULARITY_MAX)
        features[_RATE, row] = baskets * RATE_DAYS / max(age, RATE_DAYS)


@compiled
def _add_others(
    features: FloatArray,
    history: FloatArray,
    spends: tuple[FloatArray, FloatArray],
    chances: tuple[FloatArray, FloatArray, FloatArray],
    amount_min: float,
) -> None:
    """Fill in shares, flags, log-odds, and the interactions that only growth has."""
    previous_spend, expected_spend = spends
    buy, alive, growth = chances
    for row in range(history.shape[1]):
        gross_spend, previous = history[0, row], previous_spend[row]
        share = min(history[3, row] / max(gross_spend, amount_min), 1.0)
        features[_LOG_COUNT, row] = share if gross_spend > 0.0 else 0.0
        features[_LOG_COUNT + 1, row] = 1.0 if history[1, row] <= 1.0 else 0.0
        features[_LOG_COUNT + 2, row] = _log_odds(buy[row])
        features[_LOG_COUNT + 3, row] = _log_odds(alive[row])
        is_silent = 1.0 if previous <= 0.0 else 0.0
        is_active = 1.0 - is_silent
        ratio = math.log(max(expected_spend[row], amount_min) / max(previous, amount_min))
        own_growth, regularity = _log_odds(growth[row]), features[_REGULARITY, row]
        features[_BASE_COUNT, row] = is_silent
        features[_BASE_COUNT + 1, row] = is_silent * features[_BUY_LOG_ODDS, row]
        features[_BASE_COUNT + 2, row] = is_active * min(max(ratio, -LOG_RATIO_MAX), LOG_RATIO_MAX)
        features[_BASE_COUNT + 3, row] = own_growth
        features[_BASE_COUNT + 4, row] = is_active * own_growth
        features[_BASE_COUNT + 5, row] = is_silent * regularity
        features[_BASE_COUNT + 6, row] = is_active * regularity


@compiled
def _log_odds(probability: float) -> float:
    """Give a probability as a feature, within +-5.8."""
    return math.log((probability + ODDS_MARGIN) / ((1.0 + ODDS_MARGIN) - probability))
