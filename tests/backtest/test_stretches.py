"""Events that are applied across ticks bring about what they would between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.replay import Replay
from stream_app.backtest.shards import Shards
from stream_app.backtest.stretch import Stretch
from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.knowledge import Knowledge
from stream_app.learning.learner import Learner
from tests.factories import make_batch
from tests.reference import ReferenceEvent

START_MS = 1_704_067_200_000
HOUR_MS = MS_PER_DAY // 24
DAYS = 100
CUSTOMERS = 250
EVENTS = 9_000
LATE_MS = 6 * HOUR_MS
POLICY = load_policy(None)


@dataclass
class Written:
    """Writes down what happens."""

    changes: list[Changes] = field(default_factory=list)
    tiers_before: list[NDArray[np.int8]] = field(default_factory=list)
    is_duplicate: list[NDArray[np.bool_]] = field(default_factory=list)
    knowledge: list[str] = field(default_factory=list)
    rescored_count: int = 0
    suppressed_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    mixed_count: int = 0

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        self.tiers_before.append(effects.tiers_before)
        self.is_duplicate.append(effects.is_duplicate)
        indices = effects.changes.event_indices
        self.mixed_count += bool((indices < 0).any() and (indices >= 0).any())
        positions = np.append(events.positions, -1)[indices]
        self._take(effects, effects.changes.at_events(positions))

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        self._take(effects, effects.changes)

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        self.knowledge.append(knowledge.content_hash)

    def _take(self, effects: Effects, changes: Changes) -> None:
        self.rescored_count += effects.rescored_count
        self.suppressed_counts += effects.suppressed_counts
        self.changes.append(changes)


class OneByOne(Replay):
    """Applies the events between two ticks, and no others, together."""

    def _next_stretch(self, batch: EventBatch, watermarks: NDArray[np.int64], start: int) -> Stretch:
        assert self.next_tick_ms is not None
        end = int(np.searchsorted(watermarks, self.next_tick_ms))
        return Stretch.of(batch, watermarks, slice(start, end), np.empty(0, dtype=np.int64))


def events() -> list[ReferenceEvent]:
    """Give purchases, returns and visits with some disorder and some events that come twice."""
    draw = np.random.Generator(np.random.PCG64(11))
    times_ms = START_MS + np.sort(draw.integers(0, DAYS * MS_PER_DAY, EVENTS))
    times_ms -= np.where(draw.random(EVENTS) < 0.1, draw.integers(0, LATE_MS, EVENTS), 0)
    customers = draw.integers(0, CUSTOMERS, EVENTS)
    families = draw.choice([Family.PURCHASE, Family.REFUND, Family.BROWSE], EVENTS, p=[0.6, 0.05, 0.35])
    amounts = np.round(np.exp(draw.normal(3.0 + customers / CUSTOMERS, 1.0)), 2)
    told = [
        ReferenceEvent(
            customer_id=f"c{customer}",
            event_id=f"e{number}",
            time_ms=time_ms,
            family=Family(family),
            amount=0.0 if family == Family.BROWSE else amount,
        )
        for number, (customer, time_ms, family, amount) in enumerate(
            zip(customers.tolist(), times_ms.tolist(), families.tolist(), amounts.tolist(), strict=True)
        )
    ]
    return [event for number, event in enumerate(told) for _ in range(1 + (number % 97 == 0))]


EVENTS_TOLD = events()


def replayed(kind: type[Replay], sizes: Sequence[int], shard_count: int) -> tuple[Replay, Written]:
    written = Written()
    replay = kind(Shards(POLICY, shard_count), Learner(POLICY), [written], HOUR_MS)
    batches: list[EventBatch] = []
    start = 0
    while start < len(EVENTS_TOLD):
        size = sizes[len(batches) % len(sizes)]
        batches.append(make_batch(EVENTS_TOLD[start : start + size], start))
        start += size
    replay.run(batches, None)
    return replay, written


def rows_by_id(replay: Replay) -> dict[bytes, bytes]:
    return {
        customer_id: row.tobytes()
        for engine in replay.shards.engines
        for customer_id, row in zip(engine.table.ids.tolist(), engine.table.rows, strict=True)
    }


@pytest.fixture(scope="module")
def plain() -> tuple[Replay, Written]:
    return replayed(OneByOne, [10**6], 1)


@pytest.mark.parametrize(("sizes", "shard_count"), [([10**6], 1), ([10**6], 3), ([7, 400, 33], 1)])
def test_ticks_between_events_bring_the_same_however_they_are_taken(
    plain: tuple[Replay, Written], sizes: list[int], shard_count: int
) -> None:
    expected, told = plain
    replay, written = replayed(Replay, sizes, shard_count)
    assert written.mixed_count > DAYS / 4
    mine, theirs = Changes.concatenate(written.changes), Changes.concatenate(told.changes)
    assert len(theirs) > CUSTOMERS
    for name in Changes.__slots__:
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
    for name in ("tiers_before", "is_duplicate"):
        np.testing.assert_array_equal(np.concatenate(getattr(written, name)), np.concatenate(getattr(told, name)))
    assert written.knowledge == told.knowledge
    assert written.rescored_count == told.rescored_count
    assert written.suppressed_counts.tolist() == told.suppressed_counts.tolist()
    assert rows_by_id(replay) == rows_by_id(expected)
    np.testing.assert_array_equal(replay.shards.populations(), expected.shards.populations())


def test_an_event_after_its_customers_own_tick_comes_after_the_sweep() -> None:
    times_ms = START_MS + np.array([1, 3]) * HOUR_MS
    first, second = START_MS + HOUR_MS // 2, START_MS + 2 * HOUR_MS
    batch = make_batch(
        [ReferenceEvent("a", "1", first, Family.PURCHASE, 1.0)] * 2
        + [ReferenceEvent("a", "2", second, Family.PURCHASE, 1.0)]
    )
    watermarks = np.array([first, first, second])
    stretch = Stretch.of(batch, watermarks, slice(0, 3), times_ms)
    assert stretch.counts_before.tolist() == [2, 3]
    assert stretch.ticks_before(7).tolist() == [7, 7, times_ms[0]]
    for own_tick, early in ((0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])):
        assert stretch.split(np.full(3, own_tick))[0].tolist() == early


def test_customers_are_swept_at_the_first_tick_that_reaches_their_turn() -> None:
    replay, _ = replayed(Replay, [10**6], 1)
    (engine,) = replay.shards.engines
    ids = pack_ids([f"c{customer}" for customer in range(CUSTOMERS)] + ["never seen"])
    times_ms = engine.last_tick_ms + np.arange(1, 20) * HOUR_MS
    places = engine.own_ticks(ids, times_ms)
    since_ms = engine.last_tick_ms
    for place, time_ms in enumerate(times_ms.tolist()):
        due = engine.table.turns.due(since_ms, time_ms)
        assert sorted(engine.table.ids_of(due).tolist()) == sorted(ids[:-1][places[:-1] == place].tolist())
        since_ms = time_ms
    assert 0 <= places[-1] <= len(times_ms)
    assert (places == len(times_ms)).any()
