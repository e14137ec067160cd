"""The passing of time in a backtest: events in order, ticks between them, knowledge renewed day by day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.shards import Shards, join_applied
from stream_app.backtest.stretch import Stretch
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.population import PopulationSketch
from stream_app.domain.snapshots import dry_run_stride
from stream_app.learning.learner import Learner

BATCH_EVENTS_MAX = 8192
"""Events that the engine gets at a time: larger batches leave the cache of a core."""


class Observer(Protocol):
    """Whoever wants to know what a replay brings about; called in the order of the run."""

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Events were applied; changes of ticks that came between them stand among theirs, in order."""

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Time passed by one or more ticks of a day, to the last of them; the knowledge is that of the sweeps.

        Of ticks that came between events, the changes were told with these.
        """

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Knowledge was renewed at the first tick of a UTC day; it holds for all that follows."""


@dataclass(slots=True)
class Durations:
    """Seconds spent, by stage."""

    events: float = 0.0
    ticks: float = 0.0
    knowledge: float = 0.0
    outputs: float = 0.0


@dataclass(slots=True, eq=False)
class Replay:
    """Drives shards and learner through a log; time is what the log and the ticks say.

    Parameters
    ----------
    shards, learner
        Fresh ones, or those of a stored state.
    observers
        Told of everything, one after the other.
    tick_ms
        Time between ticks, a divisor of a day; ticks lie on its multiples since 1970-01-01 UTC.
    next_tick_ms
        The next tick; None before the first event.
    renewed_day
        UTC day of the last renewal, in days since 1970-01-01.
    watermark_ms
        Latest event time so far.
    end_ms
        How far time went, after `run`.
    in_force
        The knowledge that events are applied under: that of the last tick, with the lines renewed after it. A new
        scoring waits in the learner for the next tick.
    """

    shards: Shards
    learner: Learner
    observers: list[Observer]
    tick_ms: int
    next_tick_ms: int | None = None
    renewed_day: int = -1
    watermark_ms: int = -1
    end_ms: int = 0
    durations: Durations = field(default_factory=Durations)
    in_force: Knowledge = field(init=False)

    def __post_init__(self) -> None:
        self.in_force = self.learner.knowledge

    def run(
        self, batches: Iterable[EventBatch], until_ms: int | None, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Replay a log.

        Parameters
        ----------
        batches
            Events in the order in which they count.
        until_ms
            Time goes on to here, the tick at this time included; None: to the first tick after the last event.
        on_progress
            Called with the number of events of each batch.
        """
        for batch in batches:
            for start in range(0, len(batch), BATCH_EVENTS_MAX):
                part = batch.select(slice(start, start + BATCH_EVENTS_MAX))
                self._replay(part)
                if on_progress is not None:
                    on_progress(len(part))
        if self.next_tick_ms is None:
            return
        self.end_ms = until_ms if until_ms is not None else self._first_tick_after(self.watermark_ms)
        while self.next_tick_ms <= self.end_ms:
            self._tick(self.end_ms)

    def _first_tick_after(self, time_ms: int) -> int:
        return (time_ms // self.tick_ms + 1) * self.tick_ms

    def _replay(self, batch: EventBatch) -> None:
        """Apply a batch, with the ticks that come between its events: a tick precedes the events at its time (S1)."""
        watermarks = np.maximum(np.maximum.accumulate(batch.times_ms), self.watermark_ms)
        if self.next_tick_ms is None:
            self.next_tick_ms = int(batch.times_ms[0]) // self.tick_ms * self.tick_ms
        start = 0
        while start < len(batch):
            stretch = self._next_stretch(batch, watermarks, start)
            end = start + len(stretch.events)
            if end == start:
                self._tick(int(watermarks[start]))
            elif len(stretch.times_ms):
                self._pass(stretch)
            else:
                self._apply(stretch.events)
            start = end
        self.watermark_ms = int(watermarks[-1])

    def _next_stretch(self, batch: EventBatch, watermarks: NDArray[np.int64], start: int) -> Stretch:
        """Give the next events, to the first tick that has to be alone, with the ticks between them."""
        assert self.next_tick_ms is not None
        knowledge, day = self.in_force, self.next_tick_ms // MS_PER_DAY
        # New knowledge comes into force at a tick, and is renewed at the first one of a day.
        if day > self.renewed_day or self.learner.knowledge is not knowledge:
            end = int(np.searchsorted(watermarks, self.next_tick_ms))
            return Stretch.of(batch, watermarks, slice(start, end), np.empty(0, dtype=np.int64))
        next_day_ms = (day + 1) * MS_PER_DAY
        end = int(np.searchsorted(watermarks, next_day_ms))
        until_ms = int(watermarks[end - 1]) if end == len(batch) else next_day_ms - 1
        times_ms = np.arange(self.next_tick_ms, until_ms + 1, self.tick_ms)
        together = self.shards.sweepable(times_ms, knowledge.scoring) if len(times_ms) else 0
        if together < len(times_ms):
            end = int(np.searchsorted(watermarks, times_ms[together]))
        return Stretch.of(batch, watermarks, slice(start, end), times_ms[:together])

    def _pass(self, stretch: Stretch) -> None:
        """Apply events with ticks between them."""
        knowledge, ticks_ms = self.in_force, stretch.ticks_before(self.shards.last_tick_ms)
        started = time.perf_counter()
        indices = stretch.split(self.shards.own_ticks(stretch.events.customer_ids, stretch.times_ms))
        early, late = indices
        applied = [self.shards.apply(stretch.events.select(early), knowledge, ticks_ms[early])]
        applied_early = time.perf_counter()
        swept = self.shards.ticks(stretch.times_ms, knowledge)
        self.learner.take_in(swept.snapshots)
        self.next_tick_ms = int(stretch.times_ms[-1]) + self.tick_ms
        swept_all = time.perf_counter()
        applied.append(self.shards.apply(stretch.events.select(late), knowledge, ticks_ms[late]))
        effects, rest = stretch.interleave(join_applied(indices, applied), swept)
        applied_late = time.perf_counter()
        for observer in self.observers:
            observer.on_batch(stretch.events, effects, knowledge)
            observer.on_tick(int(stretch.times_ms[-1]), rest, knowledge)
        self.durations.events += applied_early - started + applied_late - swept_all
        self.durations.ticks += swept_all - applied_early
        self.durations.outputs += time.perf_counter() - applied_late

    def _apply(self, events: EventBatch) -> None:
        knowledge = self.in_force
        started = time.perf_counter()
        effects = self.shards.apply(events, knowledge)
        applied = time.perf_counter()
        for observer in self.observers:
            observer.on_batch(events, effects, knowledge)
        self.durations.events += applied - started
        self.durations.outputs += time.perf_counter() - applied

    def _tick(self, until_ms: int) -> None:
        """Let time pass by the next tick and, of the same day, those after it that nothing comes between."""
        assert self.next_tick_ms is not None
        day = self.next_tick_ms // MS_PER_DAY
        renews = day > self.renewed_day
        last_ms = self.next_tick_ms if renews else min(until_ms, (day + 1) * MS_PER_DAY - 1)
        times_ms = np.arange(self.next_tick_ms, last_ms + 1, self.tick_ms)
        time_ms = int(times_ms[-1])
        self.next_tick_ms = time_ms + self.tick_ms
        knowledge = self.in_force = self.learner.knowledge
        started = time.perf_counter()
        effects = self.shards.ticks(times_ms, knowledge)
        self.learner.take_in(effects.snapshots)
        swept = time.perf_counter()
        for observer in self.observers:
            observer.on_tick(time_ms, effects, knowledge)
        told = time.perf_counter()
        self.durations.ticks += swept - started
        self.durations.outputs += told - swept
        if renews:
            self.renewed_day = day
            self._renew(time_ms)

    def _renew(self, time_ms: int) -> None:
        """Renew knowledge after the sweep of the first tick of a UTC day (S5)."""
        started = time.perf_counter()
        self.learner.learn(time_ms)
        sketches = self.shards.sketches()
        full: tuple[PopulationSketch, ...] = ()
        if self.learner.wants_full_sketch(sketches):
            full = tuple(self.shards.full_sketches(self.learner.knowledge.scoring, time_ms))
        knowledge = self.in_force = self.learner.renew(time_ms, sketches, full)
        scoring = self.learner.due_scoring(time_ms)
        if scoring is not None:
            dry_runs = self.shards.full_sketches(scoring, time_ms, dry_run_stride(knowledge.sample_limit))
            self.learner.switch(time_ms, scoring, dry_runs)
        renewed = time.perf_counter()
        for observer in self.observers:
            observer.on_day(time_ms, knowledge)
        self.durations.knowledge += renewed - started
        self.durations.outputs += time.perf_counter() - renewed
