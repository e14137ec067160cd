"""What a backtest found out, as plain values: one `AxisResult` for each axis and one `StatisticsResult`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.knowledge import AxisKnowledge
from stream_app.domain.policy import PROSPECT_NAME, UNRATED_NAME

STATE_COUNT = 2
"""States of a customer that are not tiers: prospect and unrated; the columns before the tiers' own."""


class ChangeKind(IntEnum):
    """What a segment change does to the held tier."""

    FIRST_RATING = 0
    PROMOTION = 1
    DEMOTION = 2


@dataclass(frozen=True, slots=True, eq=False)
class AxisResult:
    """All figures of one axis; a *state* is prospect, unrated or a tier, in this order.

    Parameters
    ----------
    name
        The axis.
    tiers
        Tier names from lowest to highest.
    populations
        Shape `(n_days, n_states)`, int64: customers in each state at 00:00 UTC of each day of
        `StatisticsResult.population_times_ms`.
    populations_end
        Shape `(n_states,)`, int64: at the end of the log.
    cut_points
        Shape `(n_days, n_tiers - 1)`, float64: cut points in force on those days; NaN while there were none.
    changes_by_day
        Shape `(n_change_days, 3, n_causes)`, int64: by day, `ChangeKind` and `Cause`.
    first_ratings
        Shape `(n_tiers,)`, int64: first ratings into each tier.
    migrations
        Shape `(n_tiers, n_tiers)`, int64: changes from the row's tier to the column's; first ratings apart.
    first_to_last
        Shape `(n_tiers, n_tiers)`, int64: customers by their first (row) and last (column) tier of the output.
    flap_count
        Changes that were undone within 28 days (`ChangeHistories`).
    suppressed_count
        Candidates given up before they were confirmed (S18).
    customer_years
        Years that rated customers spent under observation, of 365.25 days each.
    revenue
        Shape `(n_periods, n_states)`, float64: gross purchases by the state just before each of them.
    purchase_counts
        Shape `(n_periods, n_states)`, int64: how many purchases those were.
    customer_days
        Shape `(n_periods, n_states)`, int64: sum of `populations` over the days of the period.
    histogram_edges
        Shape `(m + 1,)`, float64: scores at the edges of the histogram at the end.
    histogram_counts
        Shape `(m,)`, int64: rated customers between them.
    lines
        Cut points and hysteresis lines in force at the end, or None.
    """

    name: str
    tiers: tuple[str, ...]
    populations: NDArray[np.int64]
    populations_end: NDArray[np.int64]
    cut_points: NDArray[np.float64]
    changes_by_day: NDArray[np.int64]
    first_ratings: NDArray[np.int64]
    migrations: NDArray[np.int64]
    first_to_last: NDArray[np.int64]
    flap_count: int
    suppressed_count: int
    customer_years: float
    revenue: NDArray[np.float64]
    purchase_counts: NDArray[np.int64]
    customer_days: NDArray[np.int64]
    histogram_edges: NDArray[np.float64]
    histogram_counts: NDArray[np.int64]
    lines: AxisKnowledge | None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, in the order of the columns."""
        return (PROSPECT_NAME, UNRATED_NAME, *self.tiers)

    @property
    def change_count(self) -> int:
        """Number of changes; first ratings are none."""
        return int(self.migrations.sum())

    @property
    def promotion_count(self) -> int:
        """Number of changes to a higher tier."""
        return int(np.triu(self.migrations, 1).sum())

    @property
    def demotion_count(self) -> int:
        """Number of changes to a lower tier."""
        return int(np.tril(self.migrations, -1).sum())

    @property
    def flap_ratio(self) -> float | None:
        """Flaps by changes, in [0, 1]; None without changes."""
        return self.flap_count / self.change_count if self.change_count else None

    @property
    def changes_per_customer_year(self) -> float | None:
        """Changes that a rated customer sees in a year; None while nobody was rated."""
        return self.change_count / self.customer_years if self.customer_years else None

    @property
    def tier_revenue_shares(self) -> NDArray[np.float64] | None:
        """Shape `(n_tiers,)`: share of the rated customers' revenue that each tier held; None without any."""
        return _shares(self.revenue[:, STATE_COUNT:].sum(axis=0))

    @property
    def tier_customer_shares(self) -> NDArray[np.float64] | None:
        """Shape `(n_tiers,)`: share of the rated customers' days that fell into each tier; None without any."""
        return _shares(self.populations[:, STATE_COUNT:].sum(axis=0).astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class StatisticsResult:
    """All that `BacktestStatistics` found out.

    Parameters
    ----------
    axes
        In the order of the policy.
    population_times_ms
        Shape `(n_days,)`, int64: the 00:00 UTC ticks at which populations were recorded.
    change_times_ms
        Shape `(n_change_days,)`, int64: 00:00 UTC of every day from the first change to the last, no gaps.
    period_times_ms
        Shape `(n_periods,)`, int64: beginnings of the 28-day periods of the revenue, no gaps.
    events_by_family
        Name of the family in lower case to the number of events applied, over the whole log.
    applied_count, duplicate_count
        Events applied, and events dropped because of their id (S7), over the whole log.
    rescored_by_events, rescored_by_ticks
        How many times a customer was scored, over the whole log.
    segment_matrix
        State of each axis, in the order of the policy, to the number of customers at the end.
    customer_count
        Customers at the end, prospects among them.
    knowledge_version, knowledge_hash
        Of the knowledge in force at the end.
    output_from_ms
        Changes, populations and revenue before it are not counted; None when everything is.
    """

    axes: tuple[AxisResult, ...]
    population_times_ms: NDArray[np.int64]
    change_times_ms: NDArray[np.int64]
    period_times_ms: NDArray[np.int64]
    events_by_family: dict[str, int]
    applied_count: int
    duplicate_count: int
    rescored_by_events: int
    rescored_by_ticks: int
    segment_matrix: dict[tuple[str, ...], int]
    customer_count: int
    knowledge_version: int
    knowledge_hash: str
    output_from_ms: int | None


def _shares(totals: NDArray[np.float64]) -> NDArray[np.float64] | None:
    whole = float(totals.sum())
    return totals / whole if whole > 0 else None
