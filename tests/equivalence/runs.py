"""Streams through the engine: under a cut into batches, and over several shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from stream_app.domain.effects import Cause, Changes, Effects
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.rows import NOT_HELD
from stream_app.domain.scores import SCORES, ScoreFactory
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from tests.factories import make_batch
from tests.outcomes import Outcome, RowValues
from tests.reference import ReferenceChange, ReferenceEvent
from tests.strategies import Renewal, Stream, Tick

ONE_BY_ONE = (1,)
ALL_AT_ONCE = (10**9,)

_MEANINGLESS_ALONE = ("event_keys", "ring_position")


@dataclass(slots=True)
class EngineRun:
    """Engines of all shards after a stream, and what it brought about."""

    engines: list[Engine]
    outcome: Outcome
    changes: list[Changes] = field(default_factory=list)
    knowledge: list[Knowledge] = field(default_factory=list)

    def rows_by_id(self) -> dict[bytes, bytes]:
        """Give each customer's row as bytes."""
        return {
            customer_id: engine.table.rows[number].tobytes()
            for engine in self.engines
            for number, customer_id in enumerate(engine.table.ids.tolist())
        }


def run_engine(
    stream: Stream,
    batch_sizes: Sequence[int] = ALL_AT_ONCE,
    scores: Mapping[str, ScoreFactory] = SCORES,
    *,
    shard_of: Callable[[str], int] = lambda customer_id: 0,
    shard_count: int = 1,
) -> EngineRun:
    """Run a stream through the engine.

    Parameters
    ----------
    stream
        The policy and the operations.
    batch_sizes
        How many events make a batch, round and round; ticks and renewals end a batch early.
    scores
        Score functions that the policy's axes can name.
    shard_of
        Shard of a customer, below `shard_count`.
    """
    engines = [Engine(stream.policy, scores) for _ in range(shard_count)]
    learner = Learner(stream.policy, scores)
    run = EngineRun(engines, Outcome(suppressed_counts=[0] * len(stream.policy.axes)), knowledge=[learner.knowledge])
    sizes = cycle(batch_sizes)
    size, waiting, first_number = next(sizes), list[ReferenceEvent](), 0
    for operation in stream.operations:
        if isinstance(operation, ReferenceEvent):
            waiting.append(operation)
        if waiting and (len(waiting) == size or not isinstance(operation, ReferenceEvent)):
            _apply(run, waiting, first_number, learner.knowledge, shard_of)
            size, waiting, first_number = next(sizes), [], first_number + len(waiting)
        if isinstance(operation, Tick):
            effects = [engine.tick(operation.time_ms, learner.knowledge) for engine in engines]
            told = [change for each in effects for change in as_reference_changes(each.changes, [])]
            # A shard tells its own in this order already; with one shard that is not put right here.
            run.outcome.changes += told if shard_count == 1 else sorted(told, key=lambda c: c.customer_id.encode())
            _add_effects(run, effects)
        elif isinstance(operation, Renewal):
            run.knowledge.append(learner.renew(operation.time_ms, [engine.sketch() for engine in engines]))
    if waiting:
        _apply(run, waiting, first_number, learner.knowledge, shard_of)
    _describe_end(run)
    return run


def _apply(
    run: EngineRun,
    events: Sequence[ReferenceEvent],
    first_number: int,
    knowledge: Knowledge,
    shard_of: Callable[[str], int],
) -> None:
    told: list[ReferenceChange] = []
    tiers_before: dict[int, tuple[int, ...]] = {}
    all_effects = []
    for shard, engine in enumerate(run.engines):
        numbers = [place for place, event in enumerate(events) if shard_of(event.customer_id) == shard]
        effects = engine.apply(make_batch([events[place] for place in numbers], first_number), knowledge)
        numbers = [first_number + place for place in numbers]
        told += as_reference_changes(effects.changes, numbers)
        run.outcome.duplicates += [numbers[place] for place in np.flatnonzero(effects.is_duplicate)]
        tiers_before |= dict(zip(numbers, map(tuple, effects.tiers_before.tolist()), strict=True))
        all_effects.append(effects)
    # Python's sort is stable: the changes of one event stay in the order in which they were told.
    run.outcome.changes += told if len(run.engines) == 1 else sorted(told, key=lambda change: change.event_index)
    run.outcome.duplicates.sort()
    run.outcome.tiers_before += [tiers_before[number] for number in sorted(tiers_before)]
    _add_effects(run, all_effects)


def _add_effects(run: EngineRun, effects: Iterable[Effects]) -> None:
    for each in effects:
        run.changes.append(each.changes)
        run.outcome.rescored_count += each.rescored_count
        for axis, count in enumerate(each.suppressed_counts.tolist()):
            run.outcome.suppressed_counts[axis] += count


def _describe_end(run: EngineRun) -> None:
    total = np.sum([engine.populations() for engine in run.engines], axis=0)
    run.outcome.populations = total.tolist()
    for engine in run.engines:
        for customer_id, row in zip(engine.table.ids.tolist(), engine.table.rows, strict=True):
            run.outcome.rows[customer_id.decode()] = _row_values(row)


def as_reference_changes(changes: Changes, event_numbers: Sequence[int]) -> list[ReferenceChange]:
    """Give changes one by one; indices into the batch become numbers of the whole stream."""
    return [
        ReferenceChange(
            event_index=event_numbers[index] if index >= 0 else -1,
            customer_id=changes.customer_ids[place].decode(),
            sequence=int(changes.sequences[place]),
            axis=int(changes.axes[place]),
            from_tier=int(changes.from_tiers[place]),
            to_tier=int(changes.to_tiers[place]),
            segment=tuple(changes.segments[place].tolist()),
            score=float(changes.scores[place]),
            cut_point=None if np.isnan(changes.cut_points[place]) else float(changes.cut_points[place]),
            cause=Cause(changes.causes[place]),
            is_triggered=bool(changes.is_triggered[place]),
            term_values=tuple(changes.term_values[place].tolist()),
            effective_at_ms=int(changes.effective_at_ms[place]),
        )
        for place, index in enumerate(changes.event_indices.tolist())
    ]


def _row_values(row: np.void) -> RowValues:
    """Give a row's values in the reference's form: what means nothing for the customer is left out."""
    values = {
        name: np.atleast_1d(row[name]).astype(np.float64).tolist()
        for name in row.dtype.names or ()
        if name not in _MEANINGLESS_ALONE
    }
    is_pending = [candidate != NOT_HELD for candidate in values["candidate"]]
    is_scored = [bucket != NOT_HELD for bucket in values["bucket"]]
    is_kept = [seconds > 0 for seconds in values["kept_s"]]
    for names, is_meant in (
        (("since_ms", "candidate_cause"), is_pending),
        (("score", "bucket"), is_scored),
        (("kept_s", "kept_gross_spend", "kept_baskets"), is_kept),
    ):
        for name in names:
            values[name] = [value for value, own in zip(values[name], is_meant, strict=True) if own]
    if not values["purchase_count"][0]:
        del values["first_purchase_s"], values["last_purchase_s"]
    return values
