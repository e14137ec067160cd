"""Streams through the engine: under a cut into batches, over several shards, and with restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Cause, Changes, Effects
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.population import PopulationSketch
from stream_app.domain.rows import NOT_HELD
from stream_app.domain.scores import SCORES, ScoreFactory
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from tests.factories import make_batch
from tests.outcomes import Outcome, RowValues, scaled
from tests.reference import ReferenceChange, ReferenceEvent
from tests.strategies import Operation, Renewal, Stream, Switch, Tick

ONE_BY_ONE = (1,)
ALL_AT_ONCE = (10**9,)

_IN_NO_REFERENCE = ("event_keys", "ring_position")


@dataclass(frozen=True, slots=True)
class ToldChange:
    """A change as the reference knows it, the knowledge it was made by, and what only the engine tells."""

    change: ReferenceChange
    knowledge_version: int
    percentile: float | None
    contributions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Driving:
    """How a stream is driven through the engine.

    Parameters
    ----------
    batch_sizes
        How many events make a batch, round and round; any other operation ends a batch early.
    shard_of
        Shard of a customer, below `shard_count`.
    restarts
        Every batch, every tick and every slice of one finds an engine that was just restored from what the one before
        has stored.
    slice_sizes
        How many customers make a slice of a tick, round and round; None sweeps all at once.
    """

    batch_sizes: Sequence[int] = ALL_AT_ONCE
    shard_of: Callable[[str], int] = lambda customer_id: 0
    shard_count: int = 1
    restarts: bool = False
    slice_sizes: Sequence[int] | None = None


_AT_ONCE = Driving()


@dataclass(slots=True)
class EngineRun:
    """A stream in the middle of its run, or at its end."""

    engines: list[Engine]
    learner: Learner
    driving: Driving
    scores: Mapping[str, ScoreFactory]
    told: list[ToldChange] = field(default_factory=list)
    knowledge: list[Knowledge] = field(default_factory=list)
    known_histograms: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)

    def rows_by_id(self) -> dict[bytes, bytes]:
        """Give each customer's row as bytes."""
        return {
            customer_id: engine.table.rows[number].tobytes()
            for engine in self.engines
            for number, customer_id in enumerate(engine.table.ids.tolist())
        }

    def histograms(self) -> list[list[int]]:
        """Give the occupied buckets of each axis over all shards, as pairs of bucket and count, flattened."""
        merged = _histograms([engine.sketch() for engine in self.engines])
        return [np.stack([np.flatnonzero(own), own[own != 0]], axis=1).ravel().tolist() for own in merged]


def run_engine(stream: Stream, driving: Driving = _AT_ONCE, scores: Mapping[str, ScoreFactory] = SCORES) -> EngineRun:
    """Run a stream through the engine, all events between two other operations at once if nothing else is said."""
    learner = Learner(stream.policy, scores)
    engines = [Engine(stream.policy, scores) for _ in range(driving.shard_count)]
    run = EngineRun(engines, learner, driving, scores, knowledge=[learner.knowledge])
    run.outcome.suppressed_counts = [0] * len(stream.policy.axes)
    first_number = 0
    for step in _steps(stream.operations, driving.batch_sizes):
        if driving.restarts:
            run.engines = [_restored(engine, scores) for engine in run.engines]
        match step:
            case list():
                _apply(run, step, first_number)
                first_number += len(step)
            case Tick():
                _tick(run, step.time_ms)
            case Renewal():
                run.knowledge.append(_renew(run, step.time_ms))
            case Switch():
                run.knowledge.append(_switch(run, step))
    run.outcome.changes = [told.change for told in run.told]
    run.outcome.populations = np.sum([engine.populations() for engine in run.engines], axis=0).tolist()
    for engine in run.engines:
        for customer_id, row in zip(engine.table.ids.tolist(), engine.table.rows, strict=True):
            run.outcome.rows[customer_id.decode()] = _row_values(row)
    return run


def _steps(
    operations: Sequence[Operation], batch_sizes: Sequence[int]
) -> Iterator[list[ReferenceEvent] | Tick | Renewal | Switch]:
    sizes = cycle(batch_sizes)
    size, waiting = next(sizes), list[ReferenceEvent]()
    for operation in operations:
        if isinstance(operation, ReferenceEvent):
            waiting.append(operation)
            if len(waiting) < size:
                continue
        if waiting:
            yield waiting
            size, waiting = next(sizes), []
        if not isinstance(operation, ReferenceEvent):
            yield operation
    if waiting:
        yield waiting


def _apply(run: EngineRun, events: Sequence[ReferenceEvent], first_number: int) -> None:
    told: list[ToldChange] = []
    tiers_before: dict[int, tuple[int, ...]] = {}
    for shard, engine in enumerate(run.engines):
        places = [place for place, event in enumerate(events) if run.driving.shard_of(event.customer_id) == shard]
        numbers = [first_number + place for place in places]
        effects = engine.apply(make_batch([events[place] for place in places]), run.learner.knowledge)
        told += _told(effects.changes, numbers, run.learner.knowledge.version)
        run.outcome.duplicates += [numbers[place] for place in np.flatnonzero(effects.is_duplicate)]
        tiers_before |= dict(zip(numbers, map(tuple, effects.tiers_before.tolist()), strict=True))
        _count(run.outcome, effects)
    if len(run.engines) > 1:
        # The sort is stable: the changes of one event stay in the order in which they were told.
        told.sort(key=lambda one: one.change.event_index)
        run.outcome.duplicates.sort()
    run.told += told
    run.outcome.tiers_before += [tiers_before[number] for number in sorted(tiers_before)]


def _tick(run: EngineRun, time_ms: int) -> None:
    told: list[ToldChange] = []
    for shard in range(len(run.engines)):
        for effects in _sweep(run, shard, time_ms):
            told += _told(effects.changes, [], run.learner.knowledge.version)
            _count(run.outcome, effects)
    if len(run.engines) > 1:
        told.sort(key=lambda one: one.change.customer_id.encode())
    run.told += told


def _sweep(run: EngineRun, shard: int, time_ms: int) -> Iterator[Effects]:
    """Let a tick pass in one shard; a restart replaces its engine between two slices."""
    if run.driving.slice_sizes is None:
        yield run.engines[shard].tick(time_ms, run.learner.knowledge)
        return
    sizes = cycle(run.driving.slice_sizes)
    sweep = run.engines[shard].begin_sweep(time_ms, run.learner.knowledge)
    while (effects := sweep.next(next(sizes))) is not None:
        yield effects
        if run.driving.restarts and not sweep.is_finished:
            run.engines[shard] = _restored(run.engines[shard], run.scores)
            sweep = run.engines[shard].begin_sweep(time_ms, run.learner.knowledge, sweep.after_id)


def _histograms(sketches: Sequence[PopulationSketch]) -> list[NDArray[np.int64]]:
    axes_of_shards = zip(*(sketch.axes for sketch in sketches), strict=True)
    return [np.sum([axis.histogram for axis in axes], axis=0, dtype=np.int64) for axes in axes_of_shards]


def _renew(run: EngineRun, time_ms: int) -> Knowledge:
    sketches = [engine.sketch() for engine in run.engines]
    run.known_histograms[run.learner.knowledge.version + 1] = _histograms(sketches)
    if not run.learner.wants_full_sketch(sketches):
        return run.learner.renew(time_ms, sketches)
    scoring = run.learner.knowledge.scoring
    return run.learner.renew(time_ms, sketches, [engine.full_sketch(scoring, time_ms) for engine in run.engines])


def _switch(run: EngineRun, switch: Switch) -> Knowledge:
    known = run.learner.knowledge.scoring
    scoring = Scoring(known.version + 1, scaled(known.weights, switch.factor))
    dry_runs = [engine.full_sketch(scoring, switch.time_ms) for engine in run.engines]
    run.known_histograms[run.learner.knowledge.version + 1] = _histograms(dry_runs)
    return run.learner.switch(switch.time_ms, scoring, dry_runs)


def _restored(engine: Engine, scores: Mapping[str, ScoreFactory]) -> Engine:
    other = Engine(engine.policy, scores)
    other.restore(engine.table.ids.copy(), engine.table.rows.copy(), engine.clock, engine.sketch())
    return other


def _count(outcome: Outcome, effects: Effects) -> None:
    outcome.rescored_count += effects.rescored_count
    for axis, count in enumerate(effects.suppressed_counts.tolist()):
        outcome.suppressed_counts[axis] += count


def _told(changes: Changes, event_numbers: Sequence[int], knowledge_version: int) -> list[ToldChange]:
    """Give changes one by one; indices into the batch become numbers of the whole stream."""
    return [
        ToldChange(
            change=ReferenceChange(
                event_index=event_numbers[index] if index >= 0 else -1,
                customer_id=changes.customer_ids[place].decode(),
                sequence=int(changes.sequences[place]),
                axis=int(changes.axes[place]),
                from_tier=int(changes.from_tiers[place]),
                to_tier=int(changes.to_tiers[place]),
                segment=tuple(changes.segments[place].tolist()),
                score=float(changes.scores[place]),
                cut_point=_number_or_none(changes.cut_points[place]),
                cause=Cause(changes.causes[place]),
                is_triggered=bool(changes.is_triggered[place]),
                term_values=tuple(changes.term_values[place].tolist()),
                effective_at_ms=int(changes.effective_at_ms[place]),
            ),
            knowledge_version=knowledge_version,
            percentile=_number_or_none(changes.percentiles[place]),
            contributions=tuple(changes.contributions[place].tolist()),
        )
        for place, index in enumerate(changes.event_indices.tolist())
    ]


def _number_or_none(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _row_values(row: np.void) -> RowValues:
    """Give a row's values in the reference's form: what means nothing for the customer is left out."""
    values = {
        name: np.atleast_1d(row[name]).astype(np.float64).tolist()
        for name in row.dtype.names or ()
        if name not in _IN_NO_REFERENCE
    }
    is_pending = [candidate != NOT_HELD for candidate in values["candidate"]]
    is_scored = [bucket != NOT_HELD for bucket in values["bucket"]]
    is_kept = [seconds > 0 for seconds in values["kept_s"]]
    for names, is_meant in (
        (("since_ms", "candidate_cause"), is_pending),
        (("score", "bucket"), is_scored),
        (("kept_s", "kept_gross_spend", "kept_baskets"), is_kept),
        (("kept_gap",), is_kept[-len(values["kept_gap"]) :]),
    ):
        for name in names:
            values[name] = [value for value, own in zip(values[name], is_meant, strict=True) if own]
    if not values["purchase_count"][0]:
        del values["first_purchase_s"], values["last_purchase_s"]
    return values
