"""What hysteresis costs and what it buys: held tiers against the tiers that scores alone would give."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
TierArray = NDArray[np.int8]

NO_TIER = -1
"""Held or rank tier of a customer who has none."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisMark:
    """Everybody on one axis at a mark, in the order of the rows; later marks have more rows at the end.

    Parameters
    ----------
    held, ranks
        Shape `(n,)`, int8: held tier, and the tier that the score has by the cut points in force without hysteresis;
        `NO_TIER` for whoever has none.
    scores
        Shape `(n,)`, float64: as of the last re-score.
    """

    held: TierArray
    ranks: TierArray
    scores: FloatArray


@dataclass(slots=True, eq=False)
class HysteresisTally:
    """Adds up, mark by mark, what hysteresis costs and what it buys on one axis.

    Parameters
    ----------
    tier_count
        Number of tiers.
    mark_count
        Marks whose next 28 days are known.
    revenue
        What customers with a tier at these marks spent in the 28 days after.
    held_revenue, rank_revenue
        Shape `(tier_count - 1,)`: how much of it came from the customers above each edge; the held ones are as many as
        the ranks put there, taken by held tier and then by score, so that two groups of one size are compared.
    rated_count, off_count
        Customers with a tier at all these marks, and how many of them held another one than their rank.
    paired_count, held_moved_count, rank_moved_count
        Customers with a tier at one of these marks and at the next, and how many of them had another held tier, and
        another rank, at the next.
    """

    tier_count: int
    mark_count: int = 0
    revenue: float = 0.0
    held_revenue: FloatArray = field(init=False)
    rank_revenue: FloatArray = field(init=False)
    rated_count: int = 0
    off_count: int = 0
    paired_count: int = 0
    held_moved_count: int = 0
    rank_moved_count: int = 0

    def __post_init__(self) -> None:
        self.held_revenue = np.zeros(self.tier_count - 1)
        self.rank_revenue = np.zeros(self.tier_count - 1)

    @property
    def held_shares(self) -> FloatArray | None:
        """Shape `(tier_count - 1,)`: share of revenue above each edge with hysteresis; None without revenue."""
        return self.held_revenue / self.revenue if self.revenue > 0 else None

    @property
    def rank_shares(self) -> FloatArray | None:
        """Shape `(tier_count - 1,)`: share of revenue above each edge without hysteresis; None without revenue."""
        return self.rank_revenue / self.revenue if self.revenue > 0 else None

    @property
    def off_share(self) -> float | None:
        """Share of customers who hold another tier than their rank, in [0, 1]; None while nobody has one."""
        return self.off_count / self.rated_count if self.rated_count else None

    @property
    def held_moved_share(self) -> float | None:
        """Share of customers who hold another tier 28 days later; None while there are no two marks."""
        return self.held_moved_count / self.paired_count if self.paired_count else None

    @property
    def rank_moved_share(self) -> float | None:
        """Share of customers who have another rank 28 days later; None while there are no two marks."""
        return self.rank_moved_count / self.paired_count if self.paired_count else None

    def add(self, before: AxisMark, now: AxisMark, spend: FloatArray) -> None:
        """Count one mark and the 28 days after it.

        Parameters
        ----------
        before, now
            The mark, and the next one.
        spend
            Shape `(n,)` of the first mark: gross purchases between the two.
        """
        n = len(before.held)
        is_rated = (before.held != NO_TIER) & (before.ranks != NO_TIER)
        held, ranks, scores = before.held[is_rated], before.ranks[is_rated], before.scores[is_rated]
        spend = spend[is_rated]
        self.mark_count += 1
        self.rated_count += len(held)
        self.off_count += int((held != ranks).sum())
        self.revenue += exact_sum(spend)
        for edge in range(self.tier_count - 1):
            is_above = ranks > edge
            self.rank_revenue[edge] += exact_sum(spend[is_above])
            self.held_revenue[edge] += top_spend(held, scores, spend, int(is_above.sum()))
        held_then, ranks_then = now.held[:n][is_rated], now.ranks[:n][is_rated]
        is_paired = (held_then != NO_TIER) & (ranks_then != NO_TIER)
        self.paired_count += int(is_paired.sum())
        self.held_moved_count += int((held_then != held)[is_paired].sum())
        self.rank_moved_count += int((ranks_then != ranks)[is_paired].sum())


def top_spend(held: TierArray, scores: FloatArray, spend: FloatArray, count: int) -> float:
    """Add up what so many customers spent, taken by held tier, then by score.

    Customers of one tier and score at the limit count in proportion, which is what drawing lots among them gives on
    average.

    Parameters
    ----------
    held, scores, spend
        Shape `(n,)`.
    count
        How many to take, `0 <= count <= n`.

    Returns
    -------
    float
        The same whatever the order of the customers.

    Examples
    --------
    >>> top_spend(np.array([1, 0, 0], np.int8), np.array([1.0, 3.0, 2.0]), np.array([10.0, 5.0, 7.0]), 2)
    15.0
    """
    taken = 0.0
    for tier in np.unique(held)[::-1].tolist():
        is_own = held == tier
        own_count = int(is_own.sum())
        if count <= 0:
            break
        if own_count <= count:
            taken += exact_sum(spend[is_own])
        else:
            own_scores, own_spend = scores[is_own], spend[is_own]
            limit = np.partition(own_scores, own_count - count)[own_count - count]
            is_over, is_at = own_scores > limit, own_scores == limit
            share = (count - int(is_over.sum())) / int(is_at.sum())
            taken += exact_sum(own_spend[is_over]) + share * exact_sum(own_spend[is_at])
        count -= own_count
    return taken


def exact_sum(values: FloatArray) -> float:
    """Add floats without rounding in between, so that their order, which shards change, does not count."""
    return math.fsum(values[values != 0.0].tolist())
