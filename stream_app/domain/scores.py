"""Score functions: what an axis measures, as a sum of terms on a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.decay import decay
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.knowledge import Scoring
from stream_app.domain.policy import Policy
from stream_app.domain.reasons import Term, spend_past_year, spend_recent_months
from stream_app.domain.rows import RowBlock, column

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

    def bases(self, rows: RowBlock, as_of_ms: NDArray[np.int64], scoring: Scoring) -> Sequence[NDArray[np.float64]]:
        """Compute what each term's weight is multiplied by.

        Parameters
        ----------
        rows
            Shape `(n,)`; not to be changed.
        as_of_ms
            Shape `(n,)`, not before the rows' clocks.
        scoring
            The parameters in force.

        Returns
        -------
        Sequence of NDArray
            One for each term, shape `(n,)`, finite; each element depends on its own row alone, to the bit.
        """


ScoreFactory = Callable[[Policy], ScoreFunction]


def decayed_spend(rows: RowBlock, place: int, half_life_ms: float, as_of_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the decayed net spend as of a time, negative amounts as 0 (S11).

    Parameters
    ----------
    rows
        Shape `(n,)`.
    place
        Which of the row's half-lives.
    half_life_ms
        That half-life in milliseconds.
    as_of_ms
        Shape `(n,)`, not before the rows' clocks.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n,)`, >= 0, reporting currency.
    """
    spend = column(rows, "decayed_spend", place)
    spend *= decay(as_of_ms - rows["clock_ms"], half_life_ms)
    result: NDArray[np.float64] = np.maximum(spend, 0.0, out=spend)
    return result


@dataclass(frozen=True, slots=True)
class ValueScore:
    """How big a customer is: recent spend and the spend of the past year, on a log scale.

    score = 0.5 log1p(d3) + 0.5 log1p(d4), where d3 and d4 are the net spends decayed with the policy's third and
    fourth half-life (90 and 365 days unless the policy says otherwise).

    Parameters
    ----------
    half_lives_ms
        Third and fourth half-life of the policy, in milliseconds.
    """

    half_lives_ms: tuple[float, float]
    terms: tuple[Term, ...] = (spend_recent_months(0.5), spend_past_year(0.5))
    bucket_width: float = VALUE_BUCKET_WIDTH

    @classmethod
    def from_policy(cls, policy: Policy) -> ValueScore:
        """Take the half-lives from the policy."""
        third, fourth = policy.half_lives_days[2:]
        return cls((third * MS_PER_DAY, fourth * MS_PER_DAY))

    def bases(self, rows: RowBlock, as_of_ms: NDArray[np.int64], scoring: Scoring) -> tuple[NDArray[np.float64], ...]:
        """Give the logarithms of both decayed spends; the scoring has no parameters but the weights."""
        recent, year = self.half_lives_ms
        return (
            np.log1p(decayed_spend(rows, 2, recent, as_of_ms)),
            np.log1p(decayed_spend(rows, 3, year, as_of_ms)),
        )


SCORES: Mapping[str, ScoreFactory] = MappingProxyType({"value": ValueScore.from_policy})
"""Every score function that a policy can name."""


def first_scoring(policy: Policy, functions: Mapping[str, ScoreFunction]) -> Scoring:
    """Give the scoring with which a stream begins: every term with its own weight.

    Parameters
    ----------
    policy
        Says which axes there are.
    functions
        Axis name to its score function.
    """
    weights = {axis.name: tuple(term.weight for term in functions[axis.name].terms) for axis in policy.axes}
    return Scoring(version=1, weights=weights)


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
