"""What is known of customers at a time, as columns: their history, and the features that models read from it.

Training and scoring share these functions: a pending snapshot keeps the history, and features are computed from it by
the same code, at the horizon and with the parameters of whoever asks. Every column depends on its own row alone, to the
bit, whatever block the row is computed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.decay import decay
from stream_app.domain.events import MS_PER_DAY, MS_PER_SECOND
from stream_app.domain.policy import Policy
from stream_app.domain.purchase_model import PurchaseForecast
from stream_app.domain.rows import GAP_NONE, GAP_STEP_S, HALF_LIFE_COUNT, RowBlock, column

FloatArray = NDArray[np.float64]

PERIOD_DAYS = 28.0
"""Time between two snapshots of a customer, and the unit of horizons."""
RATE_DAYS = 30.0
"""The purchase rate is told per 30 days; younger customers count as that old."""
REGULARITY_MAX = 20.0
"""Silence of more than twenty times the usual interval says nothing more."""
LOG_RATIO_MAX = 8.0
RATIO_AMOUNT_MIN = 1e-6
"""Smallest amount of which a ratio is taken, in amount units."""
ODDS_MARGIN = 0.003
"""Probabilities become features as log((p + .003) / (1.003 - p)), which stays within +-5.8."""
SOFT_EDGE_SHARE = 1.0 / 6.0
"""Share of the horizon over which the edge of the window before is soft: 14 of 84 days."""
_PERIOD_S = PERIOD_DAYS * 86_400.0
_STATE_NAMES = (
    "gross_spend",
    "basket_count",
    "refund_count",
    "refunded",
    "age_days",
    "first_to_last_days",
    "last_basket",
    "largest_basket",
    "previous_spend",
)
_PREVIOUS = len(_STATE_NAMES) - 1

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


@dataclass(frozen=True)
class FeatureLayout:
    """Which columns a history has, by policy.

    Parameters
    ----------
    horizon_periods
        K: the horizon in periods of 28 days.
    half_lives_ms
        Of the decayed sums, in milliseconds.
    """

    horizon_periods: int
    half_lives_ms: tuple[float, ...]

    @classmethod
    def from_policy(cls, policy: Policy) -> FeatureLayout:
        """Take horizon and half-lives from the policy."""
        return cls(policy.horizon_periods, tuple(days * MS_PER_DAY for days in policy.half_lives_days))

    @cached_property
    def window_periods(self) -> tuple[int, ...]:
        """Lengths of the windows before the moment: every label horizon, and the longest that is always kept."""
        longest = 2 * self.horizon_periods - 1
        return tuple(sorted({*range(1, self.horizon_periods + 1), longest}))

    @cached_property
    def history_names(self) -> tuple[str, ...]:
        """Names of the history's columns, in their order."""
        decayed = [f"decayed_{what}_{place + 1}" for what in ("count", "spend") for place in range(HALF_LIFE_COUNT)]
        windows = [f"{what}_window_{periods}" for what in ("spend", "baskets") for periods in self.window_periods]
        return (*_STATE_NAMES, *decayed, *windows)

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each column by name."""
        return {name: place for place, name in enumerate(self.history_names)}


def history_of(layout: FeatureLayout, rows: RowBlock, as_of_ms: NDArray[np.int64]) -> FloatArray:
    """Read what models know of customers from their rows.

    Parameters
    ----------
    layout
        Of the policy.
    rows
        Shape `(n,)`.
    as_of_ms
        Shape `(n,)`, not before the rows' clocks.

    Returns
    -------
    FloatArray
        Shape `(n_columns, n)`, contiguous, finite: columns as in `history_names`, each of them gross purchases, days
        or counts as of that time. Window totals are interpolated between kept totals and last purchases (S14).
    """
    history = np.empty((len(layout.history_names), len(rows)))
    history[0] = rows["gross_spend"]
    history[1] = rows["basket_count"]
    history[2] = rows["refund_count"]
    history[3] = rows["refunded"]
    first_s = column(rows, "first_purchase_s")
    has_bought = history[1] > 0.0
    age = (as_of_ms - first_s * MS_PER_SECOND) * (1.0 / MS_PER_DAY)
    history[4] = np.where(has_bought, np.maximum(age, 0.0), 0.0)
    # A second purchase on the first day is the same basket: nothing has been repeated.
    span = (column(rows, "last_purchase_s") - first_s) * (MS_PER_SECOND / MS_PER_DAY)
    history[5] = np.where(history[1] > 1.0, np.minimum(span, history[4]), 0.0)
    history[6] = rows["last_basket"]
    history[7] = rows["largest_basket"]
    place = len(_STATE_NAMES)
    elapsed = as_of_ms - rows["clock_ms"]
    for number, half_life_ms in enumerate(layout.half_lives_ms):
        left = decay(elapsed, half_life_ms)
        np.multiply(column(rows, "decayed_count", number), left, out=history[place + number])
        np.multiply(column(rows, "decayed_spend", number), left, out=history[place + HALF_LIFE_COUNT + number])
    now_s = np.multiply(as_of_ms, 1.0 / MS_PER_SECOND, dtype=np.float64)
    segments = _Segments.between_totals(rows, now_s, first_s)
    count = len(layout.window_periods)
    for number, periods in enumerate(layout.window_periods):
        windows = history[place + 2 * HALF_LIFE_COUNT + number :: count]
        np.maximum(segments.since(now_s - periods * _PERIOD_S), 0.0, out=windows)
    length_s = layout.horizon_periods * _PERIOD_S
    history[_PREVIOUS] = segments.spend_with_soft_edge(now_s - length_s, SOFT_EDGE_SHARE * length_s)
    return history


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Spend and baskets between kept totals, oldest first, and where in each segment they may lie.

    Parameters
    ----------
    starts_s, ends_s
        Shape `(n_segments, n)`: within them all but the last basket is taken as evenly spread. A segment whose last
        purchase is known ends with it.
    steps
        Shape `(n_segments, 2, n)`: spend and baskets that are spread.
    lasts
        Shape `(horizon_periods, 2, n)`: those of the last baskets of the segments before the newest, at `ends_s`; 0
        where it is not known when they were.
    inverses
        Shape `(n_segments, n)`: 1 over the length of each segment, at most 1.
    """

    starts_s: FloatArray
    ends_s: FloatArray
    steps: FloatArray
    lasts: FloatArray
    inverses: FloatArray

    @classmethod
    def between_totals(cls, rows: RowBlock, now_s: FloatArray, first_s: FloatArray) -> _Segments:
        """Read the segments of rows; before the first kept total, from the first purchase on, or over a period."""
        kept_s = np.ascontiguousarray(rows["kept_s"].T, dtype=np.float64)
        is_known = kept_s > 0.0
        ends = np.concatenate([kept_s[1:], now_s[None]])
        starts = np.where(is_known, kept_s, np.maximum(ends - _PERIOD_S, np.minimum(first_s, ends)))
        totals = np.empty((len(kept_s) + 1, 2, len(rows)))
        np.multiply(rows["kept_gross_spend"].T, is_known, out=totals[:-1, 0])
        np.multiply(rows["kept_baskets"].T, is_known, out=totals[:-1, 1])
        totals[-1, 0], totals[-1, 1] = rows["gross_spend"], rows["basket_count"]
        steps = totals[1:] - totals[:-1]
        gaps = np.ascontiguousarray(rows["kept_gap"].T, dtype=np.float64)
        told = slice(len(ends) - 1 - len(gaps), len(ends) - 1)
        last_s = ends[told] - (gaps + 0.5) * GAP_STEP_S
        has_last = (gaps < GAP_NONE) & is_known[told] & (last_s >= starts[told])
        ends[told] = np.where(has_last, last_s, ends[told])
        # How much the last basket was worth is not kept: as much as the others of its segment.
        lasts = steps[told] * (has_last / np.maximum(steps[told, 1], 1.0))[:, None]
        steps[told] -= lasts
        return cls(starts, ends, steps, lasts, 1.0 / np.maximum(ends - starts, 1.0))

    def since(self, start_s: FloatArray) -> FloatArray:
        """Give spend and baskets from a time on, shape `(2, n)`."""
        shares = self.ends_s - start_s
        shares *= self.inverses
        told = self.ends_s[self.told] >= start_s
        return self._added(_bounded(shares), told.astype(np.float64), slice(None))

    def spend_with_soft_edge(self, start_s: FloatArray, edge_s: float) -> FloatArray:
        """Give spend from a time on, and before it with a weight that falls to 0 over the edge; shape `(n,)`."""
        begin_s = start_s - edge_s
        shares = _weighted_span(self.ends_s - begin_s, edge_s)
        shares -= _weighted_span(self.starts_s - begin_s, edge_s)
        shares *= self.inverses
        told = (self.ends_s[self.told] - begin_s) * (1.0 / edge_s)
        total = self._added(_bounded(shares), _bounded(told), 0)
        return np.maximum(total, 0.0, out=total)

    @property
    def told(self) -> slice:
        """Segments whose last purchase may be known."""
        return slice(-1 - len(self.lasts), -1)

    def _added(self, shares: FloatArray, told_shares: FloatArray, kind: slice | int) -> FloatArray:
        """Add up what is spread and the last baskets, each by its share; of spend and baskets, or of one of them."""
        steps, lasts = self.steps[:, kind], self.lasts[:, kind]
        total: FloatArray = steps[-1] * shares[-1]
        part = np.empty_like(total)
        # One after the other: a sum over an axis adds in another order for another number of rows.
        for place in range(len(steps) - 2, -1, -1):
            np.multiply(steps[place], shares[place], out=part)
            total += part
        for place in range(len(lasts) - 1, -1, -1):
            np.multiply(lasts[place], told_shares[place], out=part)
            total += part
        return total


def _bounded(shares: FloatArray) -> FloatArray:
    """Keep shares in [0, 1], in place."""
    np.maximum(shares, 0.0, out=shares)
    return np.minimum(shares, 1.0, out=shares)


def _weighted_span(spans_s: FloatArray, edge_s: float) -> FloatArray:
    """Integrate a weight that rises from 0 to 1 over the edge and stays there, over spans from its beginning on."""
    risen = np.minimum(np.maximum(spans_s, 0.0), edge_s)
    result: FloatArray = np.maximum(spans_s - edge_s, 0.0)
    risen *= risen
    risen *= 0.5 / edge_s
    result += risen
    return result


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


def odds_feature(probability: FloatArray) -> FloatArray:
    """Give a probability as a feature, shape `(n,)`, within +-5.8."""
    result: FloatArray = np.log((probability + ODDS_MARGIN) / ((1.0 + ODDS_MARGIN) - probability))
    return result


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
    own, places = history, layout.places
    horizon, longest = layout.horizon_periods, layout.window_periods[-1]
    buys, baskets, age = forecast.purchases, own[1], own[4]
    repeats = np.maximum(baskets - 1.0, 0.0)
    silence = np.maximum(age - own[5], 0.0)
    interval = np.where(repeats > 0.0, own[5] / np.maximum(repeats, 1.0), age)
    spend = places["decayed_spend_1"]
    counts = places["decayed_count_1"]
    raw: list[FloatArray] = [
        own[0],
        own[0] / np.maximum(baskets, 1.0),
        own[6],
        own[7],
        own[places["spend_window_1"]],
        own[places[f"spend_window_{horizon}"]],
        own[places[f"spend_window_{longest}"]],
        *own[spend : spend + HALF_LIFE_COUNT],
        forecast.previous_spend,
        buys.expected_purchases * forecast.expected_amount,
        baskets,
        age,
        silence,
        interval,
        np.minimum(silence / np.maximum(interval, 1.0), REGULARITY_MAX),
        baskets * RATE_DAYS / np.maximum(age, RATE_DAYS),
        own[places["baskets_window_1"]],
        own[places[f"baskets_window_{horizon}"]],
        own[places[f"baskets_window_{longest}"]],
        *own[counts : counts + HALF_LIFE_COUNT],
        own[2],
        buys.expected_purchases,
    ]
    features = np.empty((len(GROWTH_NAMES), own.shape[1]))
    for place, values in enumerate(raw):
        np.maximum(values, 0.0, out=features[place])
    features[:_AMOUNT_COUNT] *= 1.0 / amount_unit
    np.log1p(features[:_LOG_COUNT], out=features[:_LOG_COUNT])
    share = np.minimum(own[3] / np.maximum(own[0], RATIO_AMOUNT_MIN * amount_unit), 1.0)
    features[_LOG_COUNT] = np.where(own[0] > 0.0, share, 0.0)
    features[_LOG_COUNT + 1] = repeats == 0.0
    features[_LOG_COUNT + 2] = odds_feature(buys.buy_probability)
    features[_LOG_COUNT + 3] = odds_feature(buys.alive_probability)
    _add_interactions(features, forecast, amount_unit)
    return features


def _add_interactions(features: FloatArray, forecast: FormulaForecast, amount_unit: float) -> None:
    """Fill in the rows that only growth has."""
    previous = forecast.previous_spend
    is_silent = (previous <= 0.0).astype(np.float64)
    is_active = 1.0 - is_silent
    lowest = RATIO_AMOUNT_MIN * amount_unit
    expected = forecast.purchases.expected_purchases * forecast.expected_amount
    ratio = np.log(np.maximum(expected, lowest) / np.maximum(previous, lowest))
    growth = odds_feature(forecast.growth_probability)
    regularity = features[BASE_NAMES.index("regularity")]
    start = len(BASE_NAMES)
    features[start] = is_silent
    features[start + 1] = is_silent * features[BASE_NAMES.index("buy_log_odds")]
    features[start + 2] = is_active * np.minimum(np.maximum(ratio, -LOG_RATIO_MAX), LOG_RATIO_MAX)
    features[start + 3] = growth
    features[start + 4] = is_active * growth
    features[start + 5] = is_silent * regularity
    features[start + 6] = is_active * regularity
