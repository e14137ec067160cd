"""Several engines side by side, each with its share of the customers, that act as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Changes, Effects, ScoredBlock, join_ticks
from stream_app.domain.events import EventBatch
from stream_app.domain.identifiers import hash_ids
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.policy import Policy
from stream_app.domain.population import PopulationSketch
from stream_app.engine import Engine


class Shards:
    """The customers of a backtest, spread over engines by the hash of their id.

    The number of shards changes neither the changes nor any score; that is a promise of the engine, and this is
    where it is put to the test.

    Parameters
    ----------
    policy
        What people decide.
    shard_count
        How many engines.
    """

    def __init__(self, policy: Policy, shard_count: int = 1) -> None:
        self.engines = [Engine(policy) for _ in range(shard_count)]

    @property
    def customer_count(self) -> int:
        """Customers seen."""
        return sum(engine.table.customer_count for engine in self.engines)

    def shard_of(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Give each customer's shard; shape `(n,)`."""
        return (hash_ids(ids) % np.uint64(len(self.engines))).astype(np.int64)

    def apply(self, events: EventBatch, knowledge: Knowledge, ticks_ms: NDArray[np.int64] | None = None) -> Effects:
        """Let events count, as `Engine.apply`; changes come in input order."""
        if len(self.engines) == 1:
            return self.engines[0].apply(events, knowledge, ticks_ms)
        indices = self._places(events.customer_ids)
        parts = [
            engine.apply(events.select(index), knowledge, None if ticks_ms is None else ticks_ms[index])
            for engine, index in zip(self.engines, indices, strict=True)
        ]
        return join_applied(indices, parts)

    def own_ticks(self, ids: NDArray[np.bytes_], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tell at which of the next ticks customers are swept, as `Engine.own_ticks`."""
        if len(self.engines) == 1:
            return self.engines[0].own_ticks(ids, times_ms)
        told = np.empty(len(ids), dtype=np.int64)
        for engine, index in zip(self.engines, self._places(ids), strict=True):
            told[index] = engine.own_ticks(ids[index], times_ms)
        return told

    def sweepable(self, times_ms: NDArray[np.int64], scoring: Scoring) -> int:
        """Give how many of the next ticks can be swept together, as `Engine.sweepable`."""
        return min(engine.sweepable(times_ms, scoring) for engine in self.engines)

    @property
    def last_tick_ms(self) -> int:
        """The last tick, the same for all engines."""
        return self.engines[0].last_tick_ms

    def _places(self, ids: NDArray[np.bytes_]) -> list[NDArray[np.int64]]:
        """Give the places of each engine's customers among some."""
        shard = self.shard_of(ids)
        return [np.flatnonzero(shard == number) for number in range(len(self.engines))]

    def ticks(self, times_ms: NDArray[np.int64], knowledge: Knowledge) -> Effects:
        """Let time pass, as `Engine.ticks`."""
        parts = [engine.ticks(times_ms, knowledge) for engine in self.engines]
        # Row numbers of different shards do not mix; who stores rows asks each engine.
        return parts[0] if len(parts) == 1 else replace(join_ticks(parts), touched_rows=np.empty(0, dtype=np.int64))

    def sketches(self) -> list[PopulationSketch]:
        """One of each shard."""
        return [engine.sketch() for engine in self.engines]

    def full_sketches(self, scoring: Scoring, time_ms: int, stride: int = 1) -> list[PopulationSketch]:
        """One of each shard, as `Engine.full_sketch`."""
        return [engine.full_sketch(scoring, time_ms, stride) for engine in self.engines]

    def scored(self, time_ms: int, knowledge: Knowledge) -> Iterator[ScoredBlock]:
        """Score everybody as of a time without changing anything."""
        for engine in self.engines:
            yield from engine.scored(time_ms, knowledge)

    def populations(self) -> NDArray[np.int64]:
        """Shape `(n_axes, n_tiers_max + 2)`, as `Engine.populations`."""
        return np.asarray(np.sum([engine.populations() for engine in self.engines], axis=0), dtype=np.int64)


def join_applied(indices: Sequence[NDArray[np.int64]], parts: Sequence[Effects]) -> Effects:
    """Put the effects of parts of a batch together; changes are sorted by the event at which they came.

    Parameters
    ----------
    indices
        For each part, shape `(n_part,)`: places of its events in the batch; each event is in one part.
    parts
        What the engines told of them.
    """
    event_count = sum(map(len, indices))
    is_duplicate = np.empty(event_count, dtype=np.bool_)
    tiers_before = np.empty((event_count, parts[0].tiers_before.shape[1]), dtype=np.int8)
    told = []
    for index, part in zip(indices, parts, strict=True):
        is_duplicate[index] = part.is_duplicate
        tiers_before[index] = part.tiers_before
        told.append(part.changes.at_events(index[part.changes.event_indices]))
    changes = Changes.concatenate(told)
    return Effects(
        changes=changes.take(np.argsort(changes.event_indices, kind="stable")),
        is_duplicate=is_duplicate,
        tiers_before=tiers_before,
        # Row numbers of different shards do not mix; who stores rows asks each engine.
        touched_rows=np.empty(0, dtype=np.int64),
        rescored_count=sum(part.rescored_count for part in parts),
        suppressed_counts=np.sum([part.suppressed_counts for part in parts], axis=0),
    )
