"""Statistics of a backtest, gathered while it runs, in memory that does not grow with the number of changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.examples import choose_examples
from stream_app.backtest.histories import ChangeHistories, is_first_rating
from stream_app.backtest.results import STATE_COUNT, AxisResult, ChangeKind, StatisticsResult
from stream_app.domain.effects import Cause, Changes, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy

PERIOD_MS: Final = 28 * MS_PER_DAY
_DAYS_PER_YEAR: Final = 365.25
_CHANGES_AT_ONCE: Final = 4096

Histogram = tuple[NDArray[np.float64], NDArray[np.int64]]
_NO_HISTOGRAM: Final[Histogram] = (np.empty(0), np.empty(0, dtype=np.int64))


class BacktestStatistics:
    """Counts what a backtest's batches, ticks and days bring about.

    Call `record_batch` and `record_tick` in the order of the run, `record_day` after the tick of 00:00 UTC, and
    `finish` once. Sums of money are float64, added up in the order of the events.

    Parameters
    ----------
    policy
        The policy of the run.
    output_from_ms
        Changes, suppressed changes, populations and revenue before this time are not counted; None counts all. Events,
        duplicates and re-scores are always counted. Suppressed changes of a batch count by its latest event.
    """

    def __init__(self, policy: Policy, *, output_from_ms: int | None) -> None:
        self._policy = policy
        self._output_from_ms = output_from_ms
        self._tier_counts = tuple(len(axis.tiers) for axis in policy.axes)
        self._n_axes, self._n_tiers = len(policy.axes), max(self._tier_counts)
        self._n_states = self._n_tiers + STATE_COUNT
        self._histories = ChangeHistories(self._tier_counts)
        self._events_by_family = np.zeros(len(Family), dtype=np.int64)
        self._duplicate_count = 0
        self._rescored_by_events = 0
        self._rescored_by_ticks = 0
        self._suppressed_counts = np.zeros(self._n_axes, dtype=np.int64)
        self._migrations = np.zeros((self._n_axes, self._n_tiers, self._n_tiers), dtype=np.int64)
        self._first_ratings = np.zeros((self._n_axes, self._n_tiers), dtype=np.int64)
        self._changes_by_day: dict[int, NDArray[np.int64]] = {}
        self._period_origin_ms: int | None = None
        self._revenue: dict[int, NDArray[np.float64]] = {}
        self._purchase_counts: dict[int, NDArray[np.int64]] = {}
        self._populations: list[NDArray[np.int64]] = []
        self._population_times_ms: list[int] = []
        self._cut_points: list[NDArray[np.float64]] = []
        self._largest_purchase: tuple[float, bytes] | None = None
        self._time_reached_ms = 0
        self._waiting: list[Changes] = []
        self._waiting_count = 0

    def record_batch(self, batch: EventBatch, effects: Effects) -> None:
        """Count a batch of events and what it brought about.

        Parameters
        ----------
        batch
            The events.
        effects
            What the engine returned for this very batch.
        """
        if not len(batch):
            return
        is_applied = ~effects.is_duplicate
        self._duplicate_count += int(effects.is_duplicate.sum())
        self._events_by_family += np.bincount(batch.families[is_applied], minlength=len(Family))
        time_ms = int(batch.times_ms.max())
        self._time_reached_ms = max(self._time_reached_ms, time_ms)
        self._record_revenue(batch, effects.tiers_before, is_applied)
        self._rescored_by_events += effects.rescored_count
        self._record_effects(time_ms, effects)

    def record_tick(self, time_ms: int, effects: Effects) -> None:
        """Count what a tick brought about.

        Parameters
        ----------
        time_ms
            Time of the tick.
        effects
            What the engine returned for it.
        """
        self._time_reached_ms = max(self._time_reached_ms, time_ms)
        self._rescored_by_ticks += effects.rescored_count
        self._record_effects(time_ms, effects)

    def record_day(self, time_ms: int, populations: NDArray[np.int64], knowledge: Knowledge) -> None:
        """Record how many customers are in each state at the beginning of a UTC day.

        Parameters
        ----------
        time_ms
            The tick of 00:00 UTC.
        populations
            Shape `(n_axes, n_tiers_max + 2)`: prospect, unrated, tier 0, tier 1 and so on; zeros past an axis's own
            tiers.
        knowledge
            In force after the tick.
        """
        if not self._is_counted(time_ms):
            return
        self._populations.append(np.array(populations, dtype=np.int64))
        self._population_times_ms.append(time_ms)
        cut_points = np.full((self._n_axes, self._n_tiers - 1), np.nan)
        for place, axis in enumerate(self._policy.axes):
            lines = knowledge.axes.get(axis.name)
            if lines is not None:
                cut_points[place, : len(lines.cut_points)] = lines.cut_points
        self._cut_points.append(cut_points)

    def finish(
        self,
        *,
        score_histograms: Mapping[str, Histogram],
        knowledge: Knowledge,
        populations: NDArray[np.int64],
        segment_matrix: Mapping[tuple[str, ...], int],
    ) -> StatisticsResult:
        """Put together all that was counted.

        Parameters
        ----------
        score_histograms
            Axis name to edges `(m + 1,)` and counts `(m,)` of the rated customers' scores; an axis may be missing.
        knowledge
            In force at the end.
        populations
            At the end, shaped as in `record_day`.
        segment_matrix
            Segment (a state's name for each axis) to the number of customers at the end.

        Returns
        -------
        StatisticsResult
        """
        self._count_waiting()
        change_times_ms, changes_by_day = self._changes_in_order()
        period_times_ms, revenue, purchase_counts, customer_days = self._periods_in_order()
        daily, cut_points = self._days_in_order()
        axes = []
        for place, axis in enumerate(self._policy.axes):
            n_tiers = len(axis.tiers)
            n_states = n_tiers + STATE_COUNT
            edges, counts = score_histograms.get(axis.name, _NO_HISTOGRAM)
            axes.append(
                AxisResult(
                    name=axis.name,
                    tiers=axis.tiers,
                    populations=daily[:, place, :n_states],
                    populations_end=np.array(populations[place, :n_states], dtype=np.int64),
                    cut_points=cut_points[:, place, : n_tiers - 1],
                    changes_by_day=changes_by_day[:, place],
                    first_ratings=self._first_ratings[place, :n_tiers].copy(),
                    migrations=self._migrations[place, :n_tiers, :n_tiers].copy(),
                    first_to_last=self._first_to_last(place, populations[place, STATE_COUNT:n_states]),
                    flap_count=int(self._histories.flap_counts[place]),
                    suppressed_count=int(self._suppressed_counts[place]),
                    customer_years=int(daily[:, place, STATE_COUNT:].sum()) / _DAYS_PER_YEAR,
                    revenue=revenue[:, place, :n_states],
                    purchase_counts=purchase_counts[:, place, :n_states],
                    customer_days=customer_days[:, place, :n_states],
                    histogram_edges=np.asarray(edges, dtype=np.float64),
                    histogram_counts=np.asarray(counts, dtype=np.int64),
                    lines=knowledge.axes.get(axis.name),
                )
            )
        return StatisticsResult(
            axes=tuple(axes),
            population_times_ms=np.array(self._population_times_ms, dtype=np.int64),
            change_times_ms=change_times_ms,
            period_times_ms=period_times_ms,
            events_by_family={family.name.lower(): int(self._events_by_family[family]) for family in Family},
            applied_count=int(self._events_by_family.sum()),
            duplicate_count=self._duplicate_count,
            rescored_by_events=self._rescored_by_events,
            rescored_by_ticks=self._rescored_by_ticks,
            segment_matrix=dict(segment_matrix),
            customer_count=int(populations[0].sum()),
            knowledge_version=knowledge.version,
            knowledge_hash=knowledge.content_hash,
            output_from_ms=self._output_from_ms,
        )

    def example_candidates(self) -> list[tuple[str, str]]:
        """Choose about six customers whose histories are worth a look.

        Returns
        -------
        list[tuple[str, str]]
            Customer id and what the customer is an example of; each customer once; the same for the same run.
        """
        self._count_waiting()
        largest = self._largest_purchase[1] if self._largest_purchase else None
        return choose_examples(self._policy, self._histories, self._time_reached_ms, largest)

    def _is_counted(self, time_ms: int) -> bool:
        return self._output_from_ms is None or time_ms >= self._output_from_ms

    def _record_effects(self, time_ms: int, effects: Effects) -> None:
        if self._is_counted(time_ms):
            self._suppressed_counts += effects.suppressed_counts
        if len(effects.changes):
            self._waiting.append(effects.changes)
            self._waiting_count += len(effects.changes)
            if self._waiting_count >= _CHANGES_AT_ONCE:
                self._count_waiting()

    def _count_waiting(self) -> None:
        """Count the changes that wait; most ticks bring a handful, and one call for many costs little more."""
        if self._waiting:
            self._record_changes(Changes.concatenate(self._waiting))
            self._waiting, self._waiting_count = [], 0

    def _record_changes(self, changes: Changes) -> None:
        index = np.arange(len(changes))
        if self._output_from_ms is not None:
            index = index[changes.effective_at_ms >= self._output_from_ms]
        if not len(index):
            return
        axes, causes = changes.axes[index].astype(np.int64), changes.causes[index].astype(np.int64)
        sources, targets = changes.from_tiers[index].astype(np.int64), changes.to_tiers[index].astype(np.int64)
        is_first = is_first_rating(changes, index)
        np.add.at(self._first_ratings, (axes[is_first], targets[is_first]), 1)
        np.add.at(self._migrations, (axes[~is_first], sources[~is_first], targets[~is_first]), 1)
        kinds = np.where(targets > sources, ChangeKind.PROMOTION, ChangeKind.DEMOTION)
        kinds = np.where(is_first, ChangeKind.FIRST_RATING, kinds)
        days = changes.effective_at_ms[index] // MS_PER_DAY
        for day in np.unique(days).tolist():
            counts = self._changes_by_day.setdefault(day, self._no_changes())
            here = days == day
            np.add.at(counts, (axes[here], kinds[here], causes[here]), 1)
        self._histories.record(changes, index)

    def _no_changes(self) -> NDArray[np.int64]:
        return np.zeros((self._n_axes, len(ChangeKind), len(Cause)), dtype=np.int64)

    def _record_revenue(self, batch: EventBatch, tiers_before: NDArray[np.int8], is_applied: NDArray[np.bool_]) -> None:
        is_counted = is_applied & (batch.families == Family.PURCHASE)
        if self._output_from_ms is not None:
            is_counted &= batch.times_ms >= self._output_from_ms
        index = np.flatnonzero(is_counted)
        if not len(index):
            return
        amounts, periods = batch.amounts[index], self._periods_of(batch.times_ms[index])
        self._note_largest_purchase(amounts, batch.customer_ids[index])
        states = tiers_before[index].astype(np.int64) + STATE_COUNT
        for period in np.unique(periods).tolist():
            here = periods == period
            if period not in self._revenue:
                self._revenue[period] = np.zeros((self._n_axes, self._n_states))
                self._purchase_counts[period] = np.zeros((self._n_axes, self._n_states), dtype=np.int64)
            for axis in range(self._n_axes):
                of_axis = states[here, axis]
                # One after the other, so that the sums do not depend on where batches end.
                np.add.at(self._revenue[period][axis], of_axis, amounts[here])
                self._purchase_counts[period][axis] += np.bincount(of_axis, minlength=self._n_states)

    def _note_largest_purchase(self, amounts: NDArray[np.float64], customer_ids: NDArray[np.bytes_]) -> None:
        largest = float(amounts.max())
        if self._largest_purchase is None or largest >= self._largest_purchase[0]:
            customer_id = min(customer_ids[amounts == largest].tolist())
            if self._largest_purchase is not None and largest == self._largest_purchase[0]:
                customer_id = min(customer_id, self._largest_purchase[1])
            self._largest_purchase = (largest, customer_id)

    def _periods_of(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count 28-day periods from the day of the first purchase or of the output's beginning."""
        if self._period_origin_ms is None:
            start_ms = int(times_ms.min()) if self._output_from_ms is None else self._output_from_ms
            self._period_origin_ms = start_ms // MS_PER_DAY * MS_PER_DAY
        return (times_ms - self._period_origin_ms) // PERIOD_MS

    def _changes_in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lay the days out without gaps: their times and shape `(n_days, n_axes, 3, n_causes)`."""
        days = sorted(self._changes_by_day)
        every_day = range(days[0], days[-1] + 1) if days else range(0)
        counts = np.zeros((len(every_day), *self._no_changes().shape), dtype=np.int64)
        for day in days:
            counts[day - every_day.start] = self._changes_by_day[day]
        return np.array(every_day, dtype=np.int64) * MS_PER_DAY, counts

    def _days_in_order(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Stack the recorded days: populations and cut points, each with days first, then axes."""
        populations = np.array(self._populations, dtype=np.int64).reshape(-1, self._n_axes, self._n_states)
        return populations, np.array(self._cut_points).reshape(-1, self._n_axes, self._n_tiers - 1)

    def _periods_in_order(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Lay the periods out without gaps: times, revenue, purchases and customer-days."""
        day_periods: list[int] = []
        if self._populations:
            day_periods = self._periods_of(np.array(self._population_times_ms, dtype=np.int64)).tolist()
        present = sorted({*self._revenue, *day_periods})
        periods = range(present[0], present[-1] + 1) if present else range(0)
        shape = (len(periods), self._n_axes, self._n_states)
        revenue, purchase_counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        customer_days = np.zeros(shape, dtype=np.int64)
        for period in self._revenue:
            revenue[period - periods.start] = self._revenue[period]
            purchase_counts[period - periods.start] = self._purchase_counts[period]
        for period, populations in zip(day_periods, self._populations, strict=False):
            customer_days[period - periods.start] += populations
        origin_ms = self._period_origin_ms or 0
        return np.array(periods, dtype=np.int64) * PERIOD_MS + origin_ms, revenue, purchase_counts, customer_days

    def _first_to_last(self, axis: int, tier_populations: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cross the first with the last tier; who is not remembered has never changed."""
        n_tiers = len(tier_populations)
        first, last = self._histories.rows["first_tier"][:, axis], self._histories.rows["held_tier"][:, axis]
        matrix = np.zeros((n_tiers, n_tiers), dtype=np.int64)
        is_known = first >= 0
        np.add.at(matrix, (first[is_known], last[is_known]), 1)
        never_changed = np.maximum(tier_populations - matrix.sum(axis=0), 0)
        return matrix + np.diag(never_changed)
