"""The engine: the only rules by which events and time change customers, shared by every driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.behaviour import Facts, HalfLives, enter_keys, keep_totals, remember
from stream_app.domain.duplicates import find_duplicates
from stream_app.domain.effects import Cause, Changes, Effects, ScoredBlock, join_ticks
from stream_app.domain.events import MS_PER_DAY, MS_PER_MINUTE, EventBatch
from stream_app.domain.features import FeatureLayout
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.outlook import Customers
from stream_app.domain.policy import Policy
from stream_app.domain.population import TERM_UNIT, AxisSketch, PopulationSketch, bucket_of, move
from stream_app.domain.rating import AxisRating, Moment, Standing, rated, settle_axis, states_of, tell_changes
from stream_app.domain.rounds import Rounds, all_once, lay_out
from stream_app.domain.rows import NOT_HELD, PROSPECT, UNRATED, RowBlock, row_dtype, take_rows
from stream_app.domain.scores import SCORES, ScoreFactory, build_functions, weigh
from stream_app.domain.snapshots import SAMPLE_ALL, Snapshots, sample_numbers
from stream_app.domain.table import ROWS_MAX, CustomerTable
from stream_app.domain.tiers import position
from stream_app.domain.turns import is_snapshot_due

CHUNK_ROWS = 4096
"""Rows that a sweep works on at a time: 3 MB, so that they stay in the cache of a core."""
NO_TICK_MS = -1
"""Stands for the last tick before there was one."""
_STATE_OFFSET = -PROSPECT
"""Column of the populations in which tier 0 is counted; prospects and unrated come before."""


@dataclass(frozen=True, slots=True)
class EngineClock:
    """How far an engine has come.

    Parameters
    ----------
    last_tick_ms
        The last tick, or `NO_TICK_MS`.
    sums_day
        UTC day (days since 1970-01-01) of the last tick before the sweeps that the term sums hold.
    scoring_version
        The scoring of the rows; 0 before there was any.
    """

    last_tick_ms: int
    sums_day: int
    scoring_version: int


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
        self.functions = build_functions(policy, scores)
        dtype = row_dtype(len(policy.axes), policy.horizon_periods)
        self.table = CustomerTable(dtype, policy.sweep_period_minutes, rows_max)
        self.last_tick_ms = NO_TICK_MS
        self.scoring_version = 0
        self.layout = FeatureLayout.from_policy(policy)
        self._half_lives = HalfLives.from_policy(policy)
        self._sketches = [AxisSketch.empty(len(function.terms)) for function in self.functions.values()]
        self._sums_day = 0
        tiers_max = max(len(axis.tiers) for axis in policy.axes)
        self._populations = np.zeros((len(policy.axes), tiers_max + _STATE_OFFSET), dtype=np.int64)

    def apply(self, events: EventBatch, knowledge: Knowledge) -> Effects:
        """Let events count, each on its own, in their order.

        Parameters
        ----------
        events
            The n events.
        knowledge
            The version in force; its scoring is that of the last tick.

        Returns
        -------
        Effects
            Changes in input order.

        Raises
        ------
        ValueError
            When the knowledge has another scoring than the rows: a bug of the driver, which must tick first.
        """
        self._require(knowledge.scoring)
        known_count = len(self.table)
        rounds, known, is_duplicate = self._lay_out(events)
        applied = np.flatnonzero(~is_duplicate)[rounds.event_indices]
        is_rated_before = self._is_rated(known)
        states_before = states_of(known["held"], is_rated_before)
        held = known["held"].copy()

        after = remember(known, Facts.of(events, applied), rounds, self._half_lives)
        as_of_ms = np.maximum(after["clock_ms"], self.last_tick_ms)
        moment = Moment(rounds, self._is_rated(after), as_of_ms, Cause.EVENT)
        block = after if rounds.is_single else take_rows(after, rounds.last_places)
        enter_keys(block, events.event_keys[applied], rounds)
        is_new = rounds.unique_rows >= known_count
        axes, changes, places = self._rate(after, block, moment, knowledge)
        self._count(states_before[~is_new], -1)
        self._count(states_of(block["held"], self._is_rated(block)), 1)
        self.table.scatter(rounds.unique_rows, block)

        tiers_before = np.full((len(events), len(axes)), PROSPECT, dtype=np.int8)
        held_before = [rounds.before(held[:, place], axis.held_after) for place, axis in enumerate(axes)]
        was_rated = rounds.before(is_rated_before, moment.is_rated)
        tiers_before[applied] = states_of(np.stack(held_before, axis=1), was_rated)
        if len(changes):
            order = np.lexsort((changes.axes, applied[places]))
            changes = changes.at_events(applied[places]).take(order)
        return Effects(
            changes=changes,
            is_duplicate=is_duplicate,
            tiers_before=tiers_before,
            touched_rows=rounds.unique_rows,
            rescored_count=int(np.count_nonzero(moment.is_rated)),
            suppressed_counts=_suppressed(axes),
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
        parts = []
        times_ms = times_ms[times_ms > self.last_tick_ms]
        while len(times_ms):
            together = self._sweepable(times_ms, knowledge.scoring)
            parts += self._pass_time(times_ms[:together], knowledge)
            times_ms = times_ms[together:]
        return join_ticks(parts) if parts else self._no_effects()

    def _sweepable(self, times_ms: NDArray[np.int64], scoring: Scoring) -> int:
        """Give how many of the next ticks can be swept together: nobody twice, and no new term sums between them."""
        if self.last_tick_ms == NO_TICK_MS or self.scoring_version not in (0, scoring.version):
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
        is_switch = self.scoring_version not in (0, knowledge.scoring.version)
        since_ms = np.concatenate(([self.last_tick_ms], times_ms[:-1]))
        self.scoring_version = knowledge.scoring.version
        self.last_tick_ms = int(times_ms[-1])
        if since_ms[0] == NO_TICK_MS and not is_switch:
            return []
        self._restart_sums(int(since_ms[0]), is_switch=is_switch)
        if is_switch:
            due = [np.arange(len(self.table))]
        else:
            due = [self.table.turns.due(*span) for span in zip(since_ms.tolist(), times_ms.tolist(), strict=True)]
        rows, tick = np.concatenate(due), np.repeat(np.arange(len(due)), [len(part) for part in due])
        cause = Cause.CUT_POINT if is_switch else Cause.TIME
        chunks = (slice(start, start + CHUNK_ROWS) for start in range(0, len(rows), CHUNK_ROWS))
        return [
            self._sweep(rows[own], (since_ms[tick[own]], times_ms[tick[own]]), (knowledge, cause)) for own in chunks
        ]

    def sketch(self) -> PopulationSketch:
        """Tell the population as of the last re-score of each customer; term sums are of the sweeps of one day."""
        axes = [AxisSketch(s.histogram.copy(), s.term_sums.copy(), s.term_count) for s in self._sketches]
        return PopulationSketch(self.scoring_version, tuple(axes))

    def full_sketch(self, scoring: Scoring, time_ms: int) -> PopulationSketch:
        """Score everybody as of a time without changing anything, under this or a candidate scoring (dry run).

        Parameters
        ----------
        scoring
            The scoring to try.
        time_ms
            Milliseconds since 1970-01-01 UTC; customers whose clock is later are scored as of their clock.

        Returns
        -------
        PopulationSketch
            Histograms and term sums of all rated customers.
        """
        sketches = [AxisSketch.empty(len(function.terms)) for function in self.functions.values()]
        for _, block in self._chunks():
            rows = take_rows(block, np.flatnonzero(self._is_rated(block)))
            customers = Customers(rows, np.maximum(rows["clock_ms"], time_ms), scoring, self.layout)
            for place, (name, function) in enumerate(self.functions.items()):
                terms, scores = weigh(function.bases(customers), scoring.weights[name])
                np.add.at(sketches[place].histogram, bucket_of(scores, function.bucket_width), 1)
                sketches[place] = _add_terms(sketches[place], terms)
        return PopulationSketch(scoring.version, tuple(sketches))

    def scored(self, time_ms: int, knowledge: Knowledge) -> Iterator[ScoredBlock]:
        """Score everybody as of a time without changing anything, block by block in the order of rows."""
        for row_numbers, block in self._chunks():
            is_rated = self._is_rated(block)
            as_of_ms = np.maximum(block["clock_ms"], time_ms)
            customers = Customers(block, as_of_ms, knowledge.scoring, self.layout)
            scores = np.full(block["score"].shape, np.nan)
            rank_tiers = np.full(scores.shape, -1, dtype=np.int8)
            for place, (name, function) in enumerate(self.functions.items()):
                weights = knowledge.scoring.weights[name]
                _, own = weigh(function.bases(customers), weights)
                scores[is_rated, place] = own[is_rated]
                lines = knowledge.axes[name]
                if lines is not None:
                    rank_tiers[is_rated, place] = position(lines.cut_points, own[is_rated])
            states = states_of(block["held"], is_rated)
            yield ScoredBlock(self.table.ids_of(row_numbers), block, scores, states, rank_tiers, customers.outlook)

    def states(self) -> NDArray[np.int8]:
        """Shape `(n_customers, n_axes)`: held tiers, `UNRATED` or `PROSPECT`, in the order of the rows."""
        rows = self.table.rows
        return states_of(rows["held"], self._is_rated(rows))

    def populations(self) -> NDArray[np.int64]:
        """Shape `(n_axes, n_tiers_max + 2)`: prospects, unrated, then customers by held tier, 0-padded."""
        return self._populations.copy()

    @property
    def clock(self) -> EngineClock:
        """How far the engine has come."""
        return EngineClock(self.last_tick_ms, self._sums_day, self.scoring_version)

    def restore(self, ids: NDArray[np.bytes_], rows: RowBlock, clock: EngineClock, sketch: PopulationSketch) -> None:
        """Fill a new engine with stored customers.

        Parameters
        ----------
        ids, rows
            Shape `(n,)`: customers as `table.ids` and `table.rows` gave them, in any order.
        clock
            Of the stored engine.
        sketch
            Its term sums; the histograms in it are not read, since the rows hold their buckets.
        """
        self.table.restore(ids, rows)
        self.last_tick_ms, self._sums_day = clock.last_tick_ms, clock.sums_day
        self.scoring_version = clock.scoring_version
        self._sketches = [
            AxisSketch(own.histogram, s.term_sums.copy(), s.term_count)
            for own, s in zip(self._sketches, sketch.axes, strict=True)
        ]
        for _, block in self._chunks():
            self._count(states_of(block["held"], self._is_rated(block)), 1)
            for place, own in enumerate(self._sketches):
                buckets = block["bucket"][:, place]
                np.add.at(own.histogram, buckets[buckets != NOT_HELD], 1)

    def _lay_out(self, events: EventBatch) -> tuple[Rounds, RowBlock, NDArray[np.bool_]]:
        """Find the customers, mark duplicates, and give the rounds of the other events with their customers' rows."""
        table_rows = self.table.find_or_add(events.customer_ids)
        rounds = lay_out(table_rows)
        known = self.table.gather(rounds.unique_rows)
        customers = np.empty(len(events), dtype=np.int64)
        customers[rounds.event_indices] = rounds.customer_indices
        is_duplicate = find_duplicates(known, customers, events.event_keys)
        if is_duplicate.any():
            rounds = lay_out(table_rows[~is_duplicate])
            known = self.table.gather(rounds.unique_rows)
        return rounds, known, is_duplicate

    def _rate(
        self, after: RowBlock, block: RowBlock, moment: Moment, knowledge: Knowledge
    ) -> tuple[list[AxisRating], Changes, NDArray[np.int64]]:
        """Score all axes of the rows after each event and settle tiers in `block`, the rows after the last ones."""
        standing = Standing.of(block)
        buckets_before = standing.buckets.copy()
        axes = []
        customers = Customers(after, moment.as_of_ms, knowledge.scoring, self.layout)
        for place, (axis, function) in enumerate(zip(self.policy.axes, self.functions.values(), strict=True)):
            scored = weigh(function.bases(customers), knowledge.scoring.weights[axis.name])
            rule = (knowledge.axes[axis.name], axis.confirmation_ms, function.bucket_width)
            axes.append(settle_axis(standing, place, scored, moment, rule))
        changes, places = Changes.none(len(axes)), np.empty(0, dtype=np.int64)
        if any(len(axis.places) for axis in axes):
            changes, places = tell_changes(standing, axes, moment, self.table.ids_of, list(knowledge.axes.values()))
        has_moved = buckets_before != standing.buckets
        for place, sketch in enumerate(self._sketches):
            own = has_moved[:, place]
            move(sketch.histogram, buckets_before[own, place], standing.buckets[own, place])
        return axes, changes, places

    def _sweep(
        self,
        rows: NDArray[np.int64],
        spans_ms: tuple[NDArray[np.int64], NDArray[np.int64]],
        context: tuple[Knowledge, Cause],
    ) -> Effects:
        """Re-score customers, each as of its own tick; the spans reach from the tick before to that one."""
        knowledge, cause = context
        since_ms, times_ms = spans_ms
        block = self.table.gather(rows)
        is_due = np.zeros(len(rows), dtype=np.bool_)
        if since_ms[0] != NO_TICK_MS:
            is_due = is_snapshot_due(block["turn"], since_ms, times_ms)
            keep_totals(block, is_due, times_ms)
        as_of_ms = np.maximum(block["clock_ms"], times_ms)
        moment = Moment(all_once(rows), self._is_rated(block), as_of_ms, cause)
        axes, changes, places = self._rate(block, block, moment, knowledge)
        if len(changes):
            # In a sweep, states change by changes only.
            left = np.maximum(changes.from_tiers, UNRATED) + _STATE_OFFSET
            np.subtract.at(self._populations, (changes.axes, left), 1)
            np.add.at(self._populations, (changes.axes, changes.to_tiers + _STATE_OFFSET), 1)
        for place, axis in enumerate(axes):
            self._sketches[place] = _add_terms(self._sketches[place], axis.terms[moment.is_rated])
        self.table.scatter(rows, block)
        return Effects(
            changes=changes,
            is_duplicate=np.empty(0, dtype=np.bool_),
            tiers_before=np.empty((0, len(axes)), dtype=np.int8),
            touched_rows=rows,
            rescored_count=int(np.count_nonzero(moment.is_rated)),
            suppressed_counts=_suppressed(axes),
            tick_times_ms=times_ms[places],
            snapshots=self._snapshots(rows, block, is_due, (times_ms, knowledge.sample_limit)),
        )

    def _snapshots(
        self,
        rows: NDArray[np.int64],
        block: RowBlock,
        is_due: NDArray[np.bool_],
        sample: tuple[NDArray[np.int64], int],
    ) -> Snapshots | None:
        """Copy the sampled buyers whose turn of the 28-day cycle has come (S15)."""
        times_ms, sample_limit = sample
        places = np.flatnonzero(is_due & (block["basket_count"] > 0))
        if not len(places):
            return None
        ids = self.table.ids_of(rows[places])
        if sample_limit < SAMPLE_ALL:
            is_sampled = sample_numbers(ids) < np.uint64(sample_limit)
            ids, places = ids[is_sampled], places[is_sampled]
        return Snapshots(times_ms[places], ids, take_rows(block, places))

    def _count(self, states: NDArray[np.int8], sign: int) -> None:
        for axis in range(states.shape[1]):
            counts = np.bincount(states[:, axis] + _STATE_OFFSET, minlength=self._populations.shape[1])
            self._populations[axis] += sign * counts

    def _restart_sums(self, last_tick_ms: int, *, is_switch: bool) -> None:
        """Begin the term sums anew after the first tick of a day, whose sweep was the last that renewal saw."""
        day = last_tick_ms // MS_PER_DAY
        if day > self._sums_day or is_switch:
            self._sums_day = day
            self._sketches = [sketch.without_terms() for sketch in self._sketches]

    def _require(self, scoring: Scoring) -> None:
        if not self.scoring_version:
            self.scoring_version = scoring.version
        if scoring.version != self.scoring_version:
            message = f"rows are scored by version {self.scoring_version}, events by {scoring.version}: tick first"
            raise ValueError(message)

    def _is_rated(self, rows: RowBlock) -> NDArray[np.bool_]:
        return rated(rows, rates_everyone=self.policy.rates_everyone)

    def _chunks(self) -> Iterator[tuple[NDArray[np.int64], RowBlock]]:
        for start in range(0, len(self.table), CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, len(self.table)))
            yield rows, self.table.gather(rows)

    def _no_effects(self) -> Effects:
        axis_count = len(self.policy.axes)
        return Effects(
            changes=Changes.none(axis_count),
            is_duplicate=np.empty(0, dtype=np.bool_),
            tiers_before=np.empty((0, axis_count), dtype=np.int8),
            tick_times_ms=np.empty(0, dtype=np.int64),
            touched_rows=np.empty(0, dtype=np.int64),
            rescored_count=0,
            suppressed_counts=np.zeros(axis_count, dtype=np.int64),
        )


def _suppressed(axes: list[AxisRating]) -> NDArray[np.int64]:
    return np.array([axis.suppressed_count for axis in axes], dtype=np.int64)


def _add_terms(sketch: AxisSketch, terms: NDArray[np.float64]) -> AxisSketch:
    """Add re-scores to the term sums, as integers, so that neither order nor number of shards matters."""
    sums = np.rint(terms / TERM_UNIT).astype(np.int64).sum(axis=0)
    return AxisSketch(sketch.histogram, sketch.term_sums + sums, sketch.term_count + len(terms))
