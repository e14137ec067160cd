"""One shard: events and ticks in, effects out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.behaviour import Facts, HalfLives, remember
from stream_app.domain.duplicates import find_duplicates
from stream_app.domain.effects import Cause, Effects, ScoredBlock, join_ticks
from stream_app.domain.events import MS_PER_DAY, MS_PER_MINUTE, EventBatch
from stream_app.domain.grouping import Grouping, group_by_row
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.policy import Policy
from stream_app.domain.population import PopulationSketch
from stream_app.domain.rating import Moment, states_of
from stream_app.domain.rows import PROSPECT, RowBlock, is_erased
from stream_app.domain.scores import SCORES, ScoreFactory, ScoreFunction
from stream_app.domain.table import ROWS_MAX, CustomerTable
from stream_app.engine.clock import NO_TICK_MS, EngineClock
from stream_app.engine.rater import Rater
from stream_app.engine.sweeping import Due, Sweep, no_effects, suppressed_counts, sweep_apart


class Engine:
    """One shard's customers and the rules that change them.

    Time and knowledge are arguments; nothing is read from or written to the outside. The same calls give the same
    effects and the same rows to the bit, however events are cut into batches.

    Parameters
    ----------
    policy
        What people decide.
    scores
        Score functions that the policy's axes can name.
    rows_max
        Most customers of this shard.
    """

    def __init__(
        self, policy: Policy, scores: Mapping[str, ScoreFactory] = SCORES, *, rows_max: int = ROWS_MAX
    ) -> None:
        self.policy = policy
        self.last_tick_ms = NO_TICK_MS
        self.scoring_version = 0
        self._rater = Rater(policy, scores, rows_max)
        self._census = self._rater.census
        self._half_lives = HalfLives.from_policy(policy)
        self._open_sweep: Sweep | None = None

    @property
    def table(self) -> CustomerTable:
        """The customers; only the engine changes it."""
        return self._rater.table

    @property
    def functions(self) -> Mapping[str, ScoreFunction]:
        """Score functions by the name of their axis, in the policy's order."""
        return self._rater.functions

    def apply(self, events: EventBatch, knowledge: Knowledge, ticks_ms: NDArray[np.int64] | None = None) -> Effects:
        """Let events count, each on its own, in their order.

        Parameters
        ----------
        events
            The n events.
        knowledge
            The version in force; its scoring is that of the last tick.
        ticks_ms
            Shape `(n,)`: the last tick before each event, where events come together that have ticks between them; see
            `own_ticks`. None: the engine's last tick, for all.

        Returns
        -------
        Effects
            Changes in input order.

        Raises
        ------
        ValueError
            When the knowledge has another scoring than the rows: a bug of the driver, which must tick first.
        """
        self._require_no_sweep()
        self._require(knowledge.scoring)
        known_count = len(self.table)
        groups, known, is_duplicate = self._grouped(events)
        applied = np.flatnonzero(~is_duplicate)[groups.event_indices]
        is_rated_before = self._rater.is_rated(known)
        states_before = states_of(known["held"], is_rated_before)
        held = known["held"].copy()

        after = remember(known, Facts.of(events, applied), groups, self._half_lives)
        as_of_ms = np.maximum(after["clock_ms"], self.last_tick_ms if ticks_ms is None else ticks_ms[applied])
        moment = Moment(groups, self._rater.is_rated(after), as_of_ms, Cause.EVENT)
        block = known
        is_new = groups.rows >= known_count
        axes, changes, places = self._rater.rate(after, block, moment, knowledge)
        self._census.count(states_before[~is_new], -1)
        self._census.count(states_of(block["held"], self._rater.is_rated(block)), 1)
        self.table.scatter(groups.rows, block)

        tiers_before = np.full((len(events), len(axes)), PROSPECT, dtype=np.int8)
        held_before = [groups.before(held[:, place], axis.held_after) for place, axis in enumerate(axes)]
        was_rated = groups.before(is_rated_before, moment.is_rated)
        tiers_before[applied] = states_of(np.stack(held_before, axis=1), was_rated)
        if len(changes):
            order = np.lexsort((changes.axes, applied[places]))
            changes = changes.at_events(applied[places]).take(order)
        return Effects(
            changes=changes,
            is_duplicate=is_duplicate,
            tiers_before=tiers_before,
            touched_rows=groups.rows,
            rescored_count=int(np.count_nonzero(moment.is_rated)),
            suppressed_counts=suppressed_counts(axes),
        )

    def tick(self, time_ms: int, knowledge: Knowledge) -> Effects:
        """Let time pass: sweep the customers whose turn has come since the last tick.

        The first tick with another scoring re-scores everybody (the switch). A tick at or before the last one does
        nothing, and neither does the very first one.

        Parameters
        ----------
        time_ms
            Milliseconds since 1970-01-01 UTC.
        knowledge
            The version in force.

        Returns
        -------
        Effects
            Changes in the order of customer id bytes (S4).
        """
        return self.ticks(np.array([time_ms], dtype=np.int64), knowledge)

    def ticks(self, times_ms: NDArray[np.int64], knowledge: Knowledge) -> Effects:
        """Let time pass by several ticks between which nothing happens, as if one by one.

        Customers whose turns come at different ticks are swept together, each as of its own tick: where ticks are many
        and customers few, most of a sweep's time goes into calls of numpy.

        Parameters
        ----------
        times_ms
            Shape `(n_ticks,)`, rising, in milliseconds since 1970-01-01 UTC.
        knowledge
            The version in force at all of them.

        Returns
        -------
        Effects
            Of all ticks: changes in the order of ticks, then of customer id bytes (S4).
        """
        self._require_no_sweep()
        parts = []
        times_ms = times_ms[times_ms > self.last_tick_ms]
        while len(times_ms):
            together = self.sweepable(times_ms, knowledge.scoring)
            parts += self._pass_time(times_ms[:together], knowledge)
            times_ms = times_ms[together:]
        return join_ticks(parts) if parts else no_effects(len(self.policy.axes))

    def own_ticks(self, ids: NDArray[np.bytes_], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tell at which of the next ticks, that can be swept together, customers are swept.

        A customer's events before that tick can be applied before all of these ticks, those behind it after all of
        them: nobody else's events and sweeps change what becomes of the customer.

        Parameters
        ----------
        ids
            Shape `(n,)`, dtype `S<width>`: customers, known or not.
        times_ms
            Shape `(n_ticks,)`, rising, in milliseconds since 1970-01-01 UTC.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`: places in `times_ms`; `n_ticks` for those who are swept at none of them.
        """
        return self.table.turns.spans_of(self.table.turns_of(ids), self.last_tick_ms, times_ms)

    def sweepable(self, times_ms: NDArray[np.int64], scoring: Scoring) -> int:
        """Give how many of the next ticks can be swept together: nobody twice, and no new term sums between them."""
        if self.last_tick_ms == NO_TICK_MS or self._is_switch(scoring):
            return 1
        period_ms = self.policy.sweep_period_minutes * MS_PER_MINUTE
        last_minute_ms = self.last_tick_ms // MS_PER_MINUTE * MS_PER_MINUTE
        next_day_ms = (self.last_tick_ms // MS_PER_DAY + 1) * MS_PER_DAY
        # A tick after the first one of a day begins new sums, so that tick may be the last one here.
        count = min(
            int(np.searchsorted(times_ms, last_minute_ms + period_ms)), int(np.searchsorted(times_ms, next_day_ms)) + 1
        )
        return min(max(count, 1), len(times_ms))

    def _pass_time(self, times_ms: NDArray[np.int64], knowledge: Knowledge) -> list[Effects]:
        """Sweep for ticks that can be swept together; gives a part for each chunk of rows."""
        is_switch = self._is_switch(knowledge.scoring)
        since_ms = np.concatenate(([self.last_tick_ms], times_ms[:-1]))
        self.scoring_version = knowledge.scoring.version
        self.last_tick_ms = int(times_ms[-1])
        if since_ms[0] == NO_TICK_MS and not is_switch:
            return []
        self._census.restart_sums(int(since_ms[0]), is_switch=is_switch)
        if is_switch:
            due = [self.table.live_rows()]
        else:
            due = [self.table.turns.due(*span) for span in zip(since_ms.tolist(), times_ms.tolist(), strict=True)]
        rows, tick = np.concatenate(due), np.repeat(np.arange(len(due)), [len(part) for part in due])
        cause = Cause.CUT_POINT if is_switch else Cause.TIME
        return sweep_apart(self._rater, Due(rows, since_ms[tick], times_ms[tick], knowledge, cause))

    def begin_sweep(self, time_ms: int, knowledge: Knowledge, after_id: bytes | None = None) -> Sweep:
        """Begin a tick that is worked off in slices; all slices together do what `tick` does.

        Until the last slice is done, the clock stays where it was, and the engine does nothing else. After a switch of
        scoring has begun, some rows have the new scores and some the old ones; the clock tells the old scoring.

        Parameters
        ----------
        time_ms, knowledge
            As for `tick`.
        after_id
            To go on with a sweep in an engine that was restored in the middle of it: the last customer swept.

        Returns
        -------
        Sweep
            Nothing has been swept yet.
        """
        self._require_no_sweep()
        since_ms, is_switch = self.last_tick_ms, self._is_switch(knowledge.scoring)
        sweeps = time_ms > since_ms and (is_switch or since_ms != NO_TICK_MS)
        rows = np.empty(0, dtype=np.int64)
        if sweeps:
            rows = self.table.live_rows() if is_switch else self.table.turns.due(since_ms, time_ms)
        cause = Cause.CUT_POINT if is_switch else Cause.TIME
        due = Due(rows, np.full(len(rows), since_ms), np.full(len(rows), time_ms), knowledge, cause)

        def begin() -> None:
            if sweeps and after_id is None:
                self._census.restart_sums(since_ms, is_switch=is_switch)

        def finish() -> None:
            self._open_sweep = None
            if time_ms > since_ms:
                self.last_tick_ms, self.scoring_version = time_ms, knowledge.scoring.version

        self._open_sweep = Sweep(self._rater, due, after_id, begin, finish)
        return self._open_sweep

    def erase(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Forget customers as if they had never been; those of the ids that nobody has are left out.

        Term sums, which are means of past re-scores, keep what the customers added to them. A later event of such an
        id makes a new customer.

        Parameters
        ----------
        ids
            Shape `(n,)`, dtype `S<width>`.

        Returns
        -------
        NDArray[np.int64]
            Row numbers of the erased customers, rising.
        """
        self._require_no_sweep()
        rows = np.unique(self.table.find(ids))
        rows = rows[rows >= 0]
        block = self.table.gather(rows)
        self._census.enter(block, self._rater.states(block), -1)
        self.table.erase(rows)
        return rows

    def sketch(self) -> PopulationSketch:
        """Tell the population as of the last re-score of each customer; term sums are of the sweeps of one day."""
        return self._census.sketch(self.scoring_version)

    def full_sketch(self, scoring: Scoring, time_ms: int, stride: int = 1) -> PopulationSketch:
        """Score everybody as of a time without changing anything, under this or a candidate scoring (dry run).

        Parameters
        ----------
        scoring
            The scoring to try.
        time_ms
            Milliseconds since 1970-01-01 UTC; customers whose clock is later are scored as of their clock.
        stride
            Everybody (1), or only those whose turn of the 28-day cycle is a multiple of it (`dry_run_stride`).

        Returns
        -------
        PopulationSketch
            Histograms and term sums of these customers, as far as they are rated.
        """
        return self._rater.full_sketch(scoring, time_ms, stride)

    def scored(self, time_ms: int, knowledge: Knowledge) -> Iterator[ScoredBlock]:
        """Score everybody as of a time without changing anything, block by block in the order of rows."""
        return self._rater.scored(time_ms, knowledge)

    def states(self) -> NDArray[np.int8]:
        """Shape `(n_customers, n_axes)`: held tiers, `UNRATED` or `PROSPECT`, in the order of the rows."""
        rows = self.table.rows
        return self._rater.states(rows)[~is_erased(rows)]

    def populations(self) -> NDArray[np.int64]:
        """Shape `(n_axes, n_tiers_max + 2)`: prospects, unrated, then customers by held tier, 0-padded."""
        return self._census.populations()

    def term_totals(self) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """Give the term sums and the term counts of each axis, as in `sketch`, without its histograms."""
        return self._census.term_totals()

    @property
    def clock(self) -> EngineClock:
        """How far the engine has come."""
        return EngineClock(self.last_tick_ms, self._census.sums_day, self.scoring_version)

    def restore(self, ids: NDArray[np.bytes_], rows: RowBlock, clock: EngineClock, sketch: PopulationSketch) -> None:
        """Fill a new engine with stored customers.

        Parameters
        ----------
        ids, rows
            Shape `(n,)`: customers as `table.ids` and `table.rows` gave them, in any order; erased ones, too.
        clock
            Of the stored engine.
        sketch
            Its term sums; the histograms in it are not read, since the rows hold their buckets.
        """
        self.table.restore(ids, rows)
        self.last_tick_ms, self.scoring_version = clock.last_tick_ms, clock.scoring_version
        self._census.restore_sums(clock.sums_day, sketch)
        for _, block in self._rater.blocks():
            self._census.enter(block, self._rater.states(block))

    def _grouped(self, events: EventBatch) -> tuple[Grouping, RowBlock, NDArray[np.bool_]]:
        """Find the customers, mark duplicates, and group the other events, with their customers' rows."""
        table_rows = self.table.find_or_add(events.customer_ids)
        groups = group_by_row(table_rows)
        known = self.table.gather(groups.rows)
        customers = np.empty(len(events), dtype=np.int64)
        customers[groups.event_indices] = groups.customer_indices
        is_duplicate = find_duplicates(known, customers, events.event_keys)
        if is_duplicate.any():
            groups = group_by_row(table_rows[~is_duplicate])
            known = self.table.gather(groups.rows)
        return groups, known, is_duplicate

    def _require(self, scoring: Scoring) -> None:
        if not self.scoring_version:
            self.scoring_version = scoring.version
        if scoring.version != self.scoring_version:
            message = f"rows are scored by version {self.scoring_version}, events by {scoring.version}: tick first"
            raise ValueError(message)

    def _require_no_sweep(self) -> None:
        if self._open_sweep is not None:
            message = f"a sweep is in progress, {self._open_sweep.remaining_count} customers remain: finish it first"
            raise ValueError(message)

    def _is_switch(self, scoring: Scoring) -> bool:
        """Tell whether the rows have another scoring than this one, so that everybody is scored anew."""
        return self.scoring_version not in (0, scoring.version)
