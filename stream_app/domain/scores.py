"""Score functions: what an axis measures, as a sum of terms on a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.features import GROWTH_NAMES
from stream_app.domain.history import PERIOD_DAYS
from stream_app.domain.knowledge import Scoring
from stream_app.domain.linear_score import SCORE_MAX, Stack, linear_part, log_odds, probabilities
from stream_app.domain.outlook import Customers, Outlook
from stream_app.domain.policy import Policy
from stream_app.domain.reasons import (
    Evidence,
    Term,
    describe_leaning,
    spend_expected,
    spend_learned,
    spend_past_year,
    spend_recent_months,
)

VALUE_BUCKET_WIDTH = 0.005
"""Half a percent of spend: with 1 % buckets .35 % of customers were mis-tiered, with 5 % buckets .49 % (measured)."""


class ScoreFunction(Protocol):
    """What an axis measures. Scores are finite and >= 0, and depend on nothing but row, time and scoring."""

    @property
    def terms(self) -> Sequence[Term]:
        """The additive terms, in the order in which they are added up."""

    @property
    def bucket_width(self) -> float:
        """Width of a histogram bucket in units of the score."""

    def bases(self, customers: Customers) -> Sequence[NDArray[np.float64]]:
        """Compute what each term's weight is multiplied by.

        Parameters
        ----------
        customers
            Shape `(n,)`: rows, time and scoring.

        Returns
        -------
        Sequence of NDArray
            One for each term, shape `(n,)`, finite; each element depends on its own row alone, to the bit.
        """

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give scores in the unit in which people read them; shape `(n,)`, rising with the score."""


ScoreFactory = Callable[[Policy], ScoreFunction]


class ValueScore:
    """How big a customer is: what was spent of late and in the past year, and what will be spent, on a log scale.

    score = (p (L(d3) + L(d4)) + L(E[n] E[m]) + s L(E'[n] E[m])) / (2 p + 1 + s), with L(x) = log1p(x / amount unit): d3
    and d4 are the net spends decayed with the policy's third and fourth half-life (90 and 365 days unless the policy
    says otherwise), E[n] the purchases that the purchase model expects over the horizon, E'[n] those of the learned
    model, E[m] the amount of the next basket, p and s how far past spends and labels count (`Scoring`). It is a
    weighted mean, so that scores stay on one scale whatever p and s are. What the scoring has no evidence for has the
    weight 0; before there are forecasts, p is 1.

    Parameters
    ----------
    policy
        Gives the horizon.
    """

    bucket_width = VALUE_BUCKET_WIDTH

    def __init__(self, policy: Policy) -> None:
        days = policy.horizon_periods * PERIOD_DAYS
        self.terms = (
            spend_recent_months(0.5),
            spend_past_year(0.5),
            spend_expected(0.5, round(days)),
            spend_learned(0.5, round(days)),
        )

    def bases(self, customers: Customers) -> tuple[NDArray[np.float64], ...]:
        """Give the logarithms of decayed and expected spends."""
        return value_bases(customers.outlook)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the score itself."""
        return scores


def value_bases(outlook: Outlook) -> tuple[NDArray[np.float64], ...]:
    """Give the bases of the value score's terms from what is expected of customers."""
    scoring = outlook.scoring
    unit = scoring.population.amount_unit
    first = outlook.layout.places["decayed_spend_1"]
    recent, year = (_log_amount(outlook.history[first + place], unit) for place in (2, 3))
    nothing = np.zeros(len(recent))
    amount = outlook.formula.expected_amount if scoring.has_seen_snapshots else nothing
    expected = learned = nothing
    if scoring.has_seen_snapshots:
        expected = _log_amount(outlook.formula.purchases.expected_purchases * amount, unit)
    if scoring.count is not None and outlook.learned_purchases is not None:
        learned = _log_amount(outlook.learned_purchases * amount, unit)
    return recent, year, expected, learned


def value_of(outlook: Outlook) -> NDArray[np.float64]:
    """Give the value score, whether or not a policy has an axis of it; shape `(n,)`."""
    past, forecast = value_parts(outlook)
    scoring = outlook.scoring
    total = 2.0 * scoring.past_share + float(scoring.has_seen_snapshots) + scoring.label_share
    result: NDArray[np.float64] = (scoring.past_share * past + forecast) / total
    return result


def value_parts(outlook: Outlook) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the log amounts that were spent, and those that are expected, each added up; shape `(n,)`."""
    recent, year, expected, learned = value_bases(outlook)
    return recent + year, expected + outlook.scoring.label_share * learned


def _log_amount(amounts: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.log1p(np.maximum(amounts, 0.0) * (1.0 / unit))
    return result


GROWTH_OFFSET = 16.0
"""Added to the log-odds of growth, so that the score is above 0."""
GROWTH_LOG_ODDS_MAX = 12.0
"""Combined log-odds are kept within +-12 (odds of one in 160,000)."""
GROWTH_BUCKET_WIDTH = 0.001
_GROWTH_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "purchase_rhythm": (
            "purchases",
            "age",
            "days_since_last_purchase",
            "interval",
            "regularity",
            "rate",
            "baskets_last_period",
            "baskets_horizon",
            "baskets_two_horizons",
            *(f"decayed_count_{place}" for place in range(1, 5)),
            "bought_once",
            "silent_regularity",
            "active_regularity",
        ),
        "spending_level": (
            "gross_spend",
            "mean_basket",
            "last_basket",
            "largest_basket",
            "spend_last_period",
            "spend_horizon",
            "spend_two_horizons",
            *(f"decayed_spend_{place}" for place in range(1, 5)),
        ),
        "spend_to_beat": ("previous_spend", "is_silent", "active_log_ratio"),
        "returns": ("refunds", "refunded_share"),
    }
)
_GROUP_PLACES = tuple(tuple(GROWTH_NAMES.index(name) for name in names) for names in _GROWTH_GROUPS.values())
_OTHER_PLACES = tuple(place for place in range(len(GROWTH_NAMES)) if not any(place in group for group in _GROUP_PLACES))


class GrowthScore:
    """How likely it is that a customer will spend more over the next horizon than over the last one.

    score = 16 + log-odds of the calibrated P(y > prev), which combines the learned model and the formula. The learned
    log-odds are a sum over features, told in four groups; all else is the fifth term.

    Parameters
    ----------
    policy
        Gives the horizon.
    """

    bucket_width = GROWTH_BUCKET_WIDTH

    def __init__(self, policy: Policy) -> None:
        days = round(policy.horizon_periods * PERIOD_DAYS)
        self.terms = (
            Term("growth_forecast", 1.0, describe_leaning(f"what is expected of the next {days} days")),
            Term("purchase_rhythm", 1.0, describe_leaning("when and how often was bought"), Evidence.LABELS),
            Term("spending_level", 1.0, describe_leaning("how much was spent so far"), Evidence.LABELS),
            Term("spend_to_beat", 1.0, describe_leaning(f"the spend of the last {days} days"), Evidence.LABELS),
            Term("returns", 1.0, describe_leaning("what was returned"), Evidence.LABELS),
        )

    def bases(self, customers: Customers) -> tuple[NDArray[np.float64], ...]:
        """Give the groups of the log-odds."""
        return growth_bases(customers.outlook)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability."""
        return growth_probability_of(scores)


def growth_bases(outlook: Outlook) -> tuple[NDArray[np.float64], ...]:
    """Give the bases of the growth score's terms; they add up to offset and combined log-odds."""
    formula = log_odds(outlook.formula.growth_probability)
    model = outlook.scoring.growth
    stack = Stack() if model is None else model.stack
    combined = stack.intercept + stack.model_weight * formula
    groups = [np.zeros(len(formula)) for _ in _GROUP_PLACES]
    if model is not None and stack.learned_weight > 0.0:
        sums = [linear_part(model.weights, outlook.features, places) for places in (*_GROUP_PLACES, _OTHER_PLACES)]
        learned = model.weights.intercept + sums[-1]
        for place, part in enumerate(sums[:-1]):
            learned = learned + part
            groups[place] = stack.learned_weight * part
        combined = combined + stack.learned_weight * np.clip(learned, -SCORE_MAX, SCORE_MAX)
    rest = GROWTH_OFFSET + np.clip(combined, -GROWTH_LOG_ODDS_MAX, GROWTH_LOG_ODDS_MAX)
    for part in groups:
        rest = rest - part
    return (rest, *groups)


def growth_probability_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability that a growth score stands for; shape `(n,)`, NaN stays NaN."""
    return probabilities(scores - GROWTH_OFFSET)


SCORES: Mapping[str, ScoreFactory] = MappingProxyType({"value": ValueScore, "growth": GrowthScore})
"""Every score function that a policy can name."""


def first_scoring(policy: Policy, functions: Mapping[str, ScoreFunction]) -> Scoring:
    """Give the scoring with which a stream begins: the terms that need no evidence.

    Parameters
    ----------
    policy
        Says which axes there are.
    functions
        Axis name to its score function.
    """
    del policy
    return Scoring(version=1, weights=weights_for(functions, Evidence.NONE))


def weights_for(
    functions: Mapping[str, ScoreFunction], evidence: Evidence, label_share: float = 1.0, past_share: float = 1.0
) -> dict[str, tuple[float, ...]]:
    """Give the weights of all axes' terms for a scoring; those of log amounts add up to 1 where all terms are such.

    Parameters
    ----------
    functions
        Axis name to its score function.
    evidence
        What the scoring rests on.
    label_share
        How far learned amounts are believed, in [0, 1]; other learned terms bring their own weights.
    past_share
        How far amounts that were spent count, in (0, 1].
    """
    shares = {Evidence.NONE: past_share, Evidence.SNAPSHOTS: 1.0, Evidence.LABELS: label_share}
    return {name: _weights_of(function.terms, evidence, shares) for name, function in functions.items()}


def _weights_of(terms: Sequence[Term], evidence: Evidence, shares: Mapping[Evidence, float]) -> tuple[float, ...]:
    weights = [
        0.0 if term.since > evidence else term.weight * (shares[term.since] if term.is_log_amount else 1.0)
        for term in terms
    ]
    # A score all of whose terms wait for evidence has no weights to add up.
    total = (sum(weights) or 1.0) if all(term.is_log_amount for term in terms) else 1.0
    return tuple(weight / total for weight in weights)


def build_functions(policy: Policy, factories: Mapping[str, ScoreFactory]) -> dict[str, ScoreFunction]:
    """Build each axis's score function; axis name to function, in the policy's order."""
    return {axis.name: factories[axis.score](policy) for axis in policy.axes}


def weigh(
    bases: Sequence[NDArray[np.float64]], weights: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multiply bases by weights and add the terms up from left to right.

    Parameters
    ----------
    bases
        One array of shape `(n,)` for each term.
    weights
        One for each term.

    Returns
    -------
    tuple
        Terms of shape `(n, n_terms)` and scores of shape `(n,)`.
    """
    terms = np.empty((len(bases[0]), len(bases)), dtype=np.float64)
    scores = np.zeros(len(bases[0]), dtype=np.float64)
    for place, (basis, weight) in enumerate(zip(bases, weights, strict=True)):
        term = basis * weight
        terms[:, place] = term
        scores += term
    return terms, scores
