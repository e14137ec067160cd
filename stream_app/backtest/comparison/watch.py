"""What is watched in each run of a comparison: monthly marks of everybody, and who is handed over to people."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.comparison.hysteresis import NO_TIER, AxisMark, HysteresisTally
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.rows import PROSPECT
from stream_app.domain.tiers import position

MARK_DAYS = 28
HUMAN = "human"
_SPEND_ROUNDING = 1e-9
"""Spends that differ by a smaller share of their sum are equal: they are differences of running totals."""

_CODES_MAX = 1 << 16
"""More combinations of states than these are numbered by sorting."""

StateArray = NDArray[np.int8]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(slots=True, eq=False)
class GrowthTally:
    """Who spent more over the horizon after a mark than over the one before it, by the tier held at the mark.

    Parameters
    ----------
    customer_counts, grown_counts
        Shape `(n_tiers,)`, int64: over all marks.
    """

    customer_counts: NDArray[np.int64]
    grown_counts: NDArray[np.int64]

    @property
    def lifts(self) -> list[float | None]:
        """For each tier, its share of customers who spent more, by that of all; None where nothing is known."""
        customers, grown = int(self.customer_counts.sum()), int(self.grown_counts.sum())
        pairs = zip(self.grown_counts.tolist(), self.customer_counts.tolist(), strict=True)
        return [own / count / (grown / customers) if count and grown else None for own, count in pairs]


@dataclass(slots=True, eq=False)
class Workload:
    """What treatments ask for.

    Parameters
    ----------
    mark_times_ms
        Marks, in order.
    mark_counts
        For each mark, the number of customers by place of the treatment rule that holds for them.
    handovers_by_day
        Day since 1970-01-01 to the number of customers handed over to people, and of those handed back.
    """

    mark_times_ms: list[int] = field(default_factory=list)
    mark_counts: list[dict[int, int]] = field(default_factory=list)
    handovers_by_day: dict[int, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What was found out by watching a run.

    Parameters
    ----------
    hysteresis, growth
        One of each axis, in the policy's order.
    workload
        Of the treatments.
    """

    hysteresis: tuple[HysteresisTally, ...]
    growth: tuple[GrowthTally, ...]
    workload: Workload


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """Everybody at 00:00 UTC of a mark's day: gross spend by shard, and tiers by axis."""

    time_ms: int
    spend: tuple[NDArray[np.float64], ...]
    axes: tuple[AxisMark, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _PastMark:
    """What the growth after a mark needs of it: gross spend by shard, and held tiers by axis."""

    time_ms: int
    spend: tuple[NDArray[np.float64], ...]
    held: tuple[NDArray[np.int8], ...]


class RunWatch:
    """Observes one run; everything it finds is the same for any number of shards.

    Every 28 days from the first 00:00 UTC tick it looks at everybody (a *mark*). What it keeps of a customer are 8
    bytes and one for each axis, for each mark of twice the horizon, and the last scores.

    Parameters
    ----------
    policy
        Of the run.
    shards
        Of the run.
    output_from_ms
        Marks and changes before it are not counted; None counts all.
    horizon_marks
        Horizon of growth in marks, the same for all policies that are compared.
    """

    def __init__(self, policy: Policy, shards: Shards, output_from_ms: int | None, horizon_marks: int) -> None:
        self._policy, self._shards = policy, shards
        self._output_from_ms = output_from_ms
        self._last: _Mark | None = None
        self._past: deque[_PastMark] = deque(maxlen=2 * horizon_marks + 1)
        self._next_mark_ms: int | None = None
        self._treatments: dict[tuple[int, ...], int] = {}
        self.found = Watched(
            tuple(HysteresisTally(len(axis.tiers)) for axis in policy.axes),
            tuple(GrowthTally(*np.zeros((2, len(axis.tiers)), dtype=np.int64)) for axis in policy.axes),
            Workload(),
        )

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Count the customers whom events hand over."""
        del events, knowledge
        self._count_handovers(effects.changes)

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Count the customers whom time hands over."""
        del time_ms, knowledge
        self._count_handovers(effects.changes)

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Make a mark when its day has come."""
        if time_ms % MS_PER_DAY or (self._next_mark_ms is not None and time_ms < self._next_mark_ms):
            return
        self._next_mark_ms = time_ms + MARK_DAYS * MS_PER_DAY
        mark = self._mark(time_ms, knowledge)
        if self._last is not None and self._is_counted(self._last.time_ms):
            self._compare(self._last, mark)
        self._last = mark
        self._past.append(_PastMark(time_ms, mark.spend, tuple(axis.held for axis in mark.axes)))
        if len(self._past) == self._past.maxlen:
            self._count_growth(self._past[0], self._past[len(self._past) // 2], self._past[-1])
        if self._is_counted(time_ms):
            self.found.workload.mark_times_ms.append(time_ms)
            self.found.workload.mark_counts.append(self._count_treatments())

    def treatment_of(self, states: Iterable[int]) -> int:
        """Give the place of the treatment rule that holds for the states of a customer, one for each axis."""
        key = tuple(states)
        if key not in self._treatments:
            self._treatments[key] = rule_of(self._policy, self._policy.name_segment(key))
        return self._treatments[key]

    def _is_counted(self, time_ms: int) -> bool:
        return self._output_from_ms is None or time_ms >= self._output_from_ms

    def _mark(self, time_ms: int, knowledge: Knowledge) -> _Mark:
        engines = self._shards.engines
        states = [engine.states() for engine in engines]
        axes = []
        for place, axis in enumerate(self._policy.axes):
            lines = knowledge.axes.get(axis.name)
            held = _joined([np.maximum(own[:, place], NO_TIER) for own in states])
            scores = _joined([engine.table.rows["score"][:, place].copy() for engine in engines])
            ranks = np.full(len(held), NO_TIER, dtype=np.int8)
            if lines is not None:
                is_held = held != NO_TIER
                ranks[is_held] = position(lines.cut_points, scores[is_held])
            axes.append(AxisMark(held, ranks, scores))
        return _Mark(time_ms, tuple(engine.table.rows["gross_spend"].copy() for engine in engines), tuple(axes))

    def _compare(self, before: _Mark, now: _Mark) -> None:
        """Hold the tiers of a mark against what was spent until the next one."""
        sizes = [len(spend) for spend in before.spend]
        spend = _spend_between(before.spend, now.spend, sizes)
        for tally, axis_before, axis_now in zip(self.found.hysteresis, before.axes, now.axes, strict=True):
            tally.add(axis_before, _first_rows(axis_now, sizes, [len(own) for own in now.spend]), spend)

    def _count_growth(self, first: _PastMark, middle: _PastMark, last: _PastMark) -> None:
        """Count who spent more from the middle to the last mark than from the first to the middle."""
        if not self._is_counted(middle.time_ms):
            return
        sizes = [len(spend) for spend in middle.spend]
        after = _spend_between(middle.spend, last.spend, sizes)
        before = _joined(middle.spend) - _padded(first.spend, sizes)
        has_grown = after > before + _SPEND_ROUNDING * (after + before)
        for tally, held in zip(self.found.growth, middle.held, strict=True):
            is_held, tiers = held != NO_TIER, len(tally.customer_counts)
            tally.customer_counts += np.bincount(held[is_held], minlength=tiers)
            tally.grown_counts += np.bincount(held[is_held & has_grown], minlength=tiers)

    def _count_treatments(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for engine in self._shards.engines:
            for states, number in _counted(engine.states()):
                place = self.treatment_of(states)
                counts[place] = counts.get(place, 0) + number
        return counts

    def _count_handovers(self, changes: Changes) -> None:
        """Count moments in which the changes of a customer, all axes together, change who attends to the customer."""
        if self._output_from_ms is not None and len(changes):
            changes = changes.take(changes.effective_at_ms >= self._output_from_ms)
        if not len(changes):
            return
        ids, times_ms, indices = changes.customer_ids, changes.effective_at_ms, changes.event_indices
        is_start = np.ones(len(changes), dtype=np.bool_)
        is_start[1:] = (ids[1:] != ids[:-1]) | (times_ms[1:] != times_ms[:-1]) | (indices[1:] != indices[:-1])
        after = changes.segments[is_start]
        before = after.copy()
        before[np.cumsum(is_start) - 1, changes.axes] = changes.from_tiers
        is_human_after, is_human_before = self._is_human(after), self._is_human(before)
        days = times_ms[is_start] // MS_PER_DAY
        for kind, is_handed in enumerate((is_human_after & ~is_human_before, is_human_before & ~is_human_after)):
            found, numbers = np.unique(days[is_handed], return_counts=True)
            for day, number in zip(found.tolist(), numbers.tolist(), strict=True):
                self.found.workload.handovers_by_day.setdefault(day, [0, 0])[kind] += number

    def _is_human(self, states: StateArray) -> NDArray[np.bool_]:
        rules = self._policy.treatment_rules
        found, inverse = distinct_rows(states)
        channels = [rules[self.treatment_of(own)][1].channel == HUMAN for own in found.tolist()]
        return np.array(channels, dtype=np.bool_)[inverse]


def rule_of(policy: Policy, segment: tuple[str, ...]) -> int:
    """Give the place of the treatment rule that holds for a segment."""
    treatment = policy.treatment_for(segment)
    return next(place for place, (_, own) in enumerate(policy.treatment_rules) if own is treatment)


def _counted(states: StateArray) -> list[tuple[list[int], int]]:
    """Count customers by their states."""
    if not len(states):
        return []
    found, inverse = distinct_rows(states)
    return list(zip(found.tolist(), np.bincount(inverse, minlength=len(found)).tolist(), strict=True))


def distinct_rows(states: StateArray) -> tuple[StateArray, NDArray[np.int64]]:
    """Find the distinct rows and the place of each row among them, without sorting as long as they have few states."""
    codes, size = np.zeros(len(states), dtype=np.int64), 1
    for column in states.T:
        own = column.astype(np.int64) - PROSPECT
        span = int(own.max(initial=0)) + 1
        codes, size = codes * span + own, size * span
        if size > _CODES_MAX:
            _, codes = np.unique(codes, return_inverse=True)
            size = int(codes.max(initial=0)) + 1
    is_found, examples = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.int64)
    is_found[codes], examples[codes] = True, np.arange(len(codes))
    return states[examples[is_found]], (np.cumsum(is_found) - 1)[codes]


def _joined(parts: Iterable[NDArray[_Scalar]]) -> NDArray[_Scalar]:
    return np.concatenate(list(parts))


def _padded(parts: Iterable[NDArray[np.float64]], sizes: list[int]) -> NDArray[np.float64]:
    """Join the columns of shards, each filled with zeros for the customers who came later."""
    return _joined(np.pad(part, (0, size - len(part))) for part, size in zip(parts, sizes, strict=True))


def _spend_between(
    before: Iterable[NDArray[np.float64]], now: Iterable[NDArray[np.float64]], sizes: list[int]
) -> NDArray[np.float64]:
    """Give what each customer of an earlier mark spent until a later one."""
    return _joined(later[:size] - earlier for earlier, later, size in zip(before, now, sizes, strict=True))


def _first_rows(mark: AxisMark, sizes: list[int], sizes_now: list[int]) -> AxisMark:
    """Take the customers of an earlier mark out of a later one: in each shard the first so many."""
    starts = np.cumsum([0, *sizes_now[:-1]])
    index = np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)])
    return AxisMark(mark.held[index], mark.ranks[index], mark.scores[index])
