"""What is expected of customers: formulas and learned models together, computed once for all axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.credibility import expected_amount
from stream_app.domain.features import BASE_NAMES, FormulaForecast, feature_columns
from stream_app.domain.history import PERIOD_DAYS, FeatureLayout, FloatArray, history_of
from stream_app.domain.knowledge import Scoring
from stream_app.domain.linear_score import column_score, probabilities
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.purchase_model import PurchaseForecast, growth_probability, purchase_forecast
from stream_app.domain.rows import RowBlock

DAYS_PER_WEEK = 7.0
LOG_VARIANCE_MARGIN = 0.1
"""Added to the variance of log amounts within a customer: the next baskets are less alike than the past ones."""
LOG_COUNT_MAX = 25.0
"""Larger predicted log counts count as this."""


def formula_forecast(
    layout: FeatureLayout, history: FloatArray, model: PopulationModel, periods: int
) -> FormulaForecast:
    """Forecast by formulas alone: the purchase model, credibility spend and both together.

    Parameters
    ----------
    layout
        Of the policy.
    history
        Shape `(n_columns, n)`.
    model
        Parameters of the population.
    periods
        Horizon in periods of 28 days, one of the layout's windows.

    Returns
    -------
    FormulaForecast
        Finite. Who has not bought is expected to buy nothing.
    """
    baskets = history[1]
    buys = purchase_forecast(
        model.purchase,
        np.maximum(baskets - 1.0, 0.0),
        history[5] * (1.0 / DAYS_PER_WEEK),
        history[4] * (1.0 / DAYS_PER_WEEK),
        periods * PERIOD_DAYS / DAYS_PER_WEEK,
    )
    if not baskets.all():
        has_bought = (baskets > 0.0).astype(np.float64)
        buys = PurchaseForecast(
            buys.alive_probability * has_bought,
            buys.buy_probability * has_bought,
            buys.expected_purchases * has_bought,
        )
    amount = expected_amount(model.spend, history[0], baskets)
    is_whole = periods == layout.horizon_periods
    previous = history[layout.places["previous_spend" if is_whole else f"spend_window_{periods}"]]
    variance = model.spend.within_variance + LOG_VARIANCE_MARGIN
    return FormulaForecast(periods, buys, amount, previous, growth_probability(buys, amount, previous, variance))


class Outlook:
    """What a scoring expects of some customers over the policy's horizon; each part is computed when first asked for.

    Parameters
    ----------
    layout
        Of the policy.
    history
        Shape `(n_columns, n)`.
    scoring
        The parameters in force.
    """

    def __init__(self, layout: FeatureLayout, history: FloatArray, scoring: Scoring) -> None:
        self.layout, self.history, self.scoring = layout, history, scoring

    @cached_property
    def has_bought(self) -> FloatArray:
        """1 for who has bought, else 0; shape `(n,)`."""
        result: FloatArray = (self.history[1] > 0.0).astype(np.float64)
        return result

    @cached_property
    def formula(self) -> FormulaForecast:
        """What needs no label."""
        return formula_forecast(self.layout, self.history, self.scoring.population, self.layout.horizon_periods)

    @cached_property
    def features(self) -> FloatArray:
        """Shape `(len(GROWTH_NAMES), n)`."""
        return feature_columns(self.layout, self.history, self.formula, self.scoring.population.amount_unit)

    @cached_property
    def buy_probability(self) -> FloatArray:
        """P(at least one purchase), calibrated; shape `(n,)`."""
        learned, formula = self.scoring.buy, self.formula.purchases.buy_probability
        if learned is None:
            return formula
        score = column_score(learned.weights, self.features[: len(BASE_NAMES)])
        combined: FloatArray = learned.stack.apply(probabilities(score), formula) * self.has_bought
        return combined

    @cached_property
    def learned_purchases(self) -> FloatArray | None:
        """Mean purchases by the learned count model, shape `(n,)`; None before there is one."""
        learned = self.scoring.count
        if learned is None:
            return None
        score = column_score(learned.weights, self.features[: len(BASE_NAMES)])
        counts: FloatArray = np.exp(np.minimum(score, LOG_COUNT_MAX)) * (learned.ratio * self.has_bought)
        return counts

    @property
    def expected_purchases(self) -> FloatArray:
        """Mean purchases, shape `(n,)`; not below the probability of one.

        The geometric mean of formula and learned model, each as much as it counts in the value score: learned counts
        follow the season of three months ago, and in a shop that grows they know only young customers.
        """
        learned, formula = self.learned_purchases, self.formula.purchases.expected_purchases
        if learned is None:
            return formula
        share = self.scoring.label_share / (1.0 + self.scoring.label_share)
        # Both are 0 for who has not bought.
        mixed: FloatArray = formula ** (1.0 - share) * learned**share
        return np.maximum(mixed, self.buy_probability)

    @property
    def expected_spend(self) -> FloatArray:
        """Mean gross spend, shape `(n,)`, reporting currency."""
        return self.expected_purchases * self.formula.expected_amount


@dataclass(frozen=True)
class Customers:
    """Some customers at a time, as score functions see them.

    Parameters
    ----------
    rows
        Shape `(n,)`; not to be changed.
    as_of_ms
        Shape `(n,)`, not before the rows' clocks.
    scoring
        The parameters in force.
    layout
        Of the policy.
    """

    rows: RowBlock
    as_of_ms: NDArray[np.int64]
    scoring: Scoring
    layout: FeatureLayout

    @cached_property
    def outlook(self) -> Outlook:
        """What is expected of them; shared by all axes."""
        return Outlook(self.layout, history_of(self.layout, self.rows, self.as_of_ms), self.scoring)
