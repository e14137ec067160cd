"""A new scoring comes into force only together with its own lines."""

from __future__ import annotations

import numpy as np
import pytest

from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family, event_keys
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.population import PopulationSketch
from stream_app.domain.snapshots import SAMPLE_ALL, dry_run_stride
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from tests.factories import make_policy

START_MS = 1_700_006_400_000
CUSTOMERS = 3_000


def batch_of(customers: np.ndarray, time_ms: int, amounts: np.ndarray) -> EventBatch:
    ids = [f"event {time_ms} {number}" for number in range(len(customers))]
    return EventBatch(
        customer_ids=pack_ids([f"customer {number}" for number in customers]),
        event_ids=ids,
        event_keys=event_keys(pack_ids(ids)),
        times_ms=np.full(len(ids), time_ms),
        families=np.full(len(ids), Family.PURCHASE, dtype=np.uint8),
        amounts=amounts,
        satisfactions=np.full(len(ids), np.nan),
        positions=np.arange(len(ids)),
    )


def renewed(engine: Engine, learner: Learner, time_ms: int) -> Knowledge:
    full = [engine.full_sketch(learner.knowledge.scoring, time_ms)]
    return learner.renew(time_ms, [engine.sketch()], full)


@pytest.fixture
def shop() -> tuple[Engine, Learner, int]:
    """Give a shop after 60 days of purchases with everybody rated, and the time of the last tick."""
    policy = make_policy()
    engine, learner = Engine(policy), Learner(policy)
    rng = np.random.default_rng(8)
    engine.apply(batch_of(np.arange(CUSTOMERS), START_MS, rng.lognormal(3, 1, CUSTOMERS)), learner.knowledge)
    for day in range(1, 60):
        now = START_MS + day * MS_PER_DAY
        engine.tick(now, learner.knowledge)
        renewed(engine, learner, now)
        buyers = rng.integers(0, CUSTOMERS, 60)
        engine.apply(batch_of(buyers, now, rng.lognormal(3, 1, 60)), learner.knowledge)
    return engine, learner, START_MS + 59 * MS_PER_DAY


def louder(learner: Learner) -> Scoring:
    """Twice the weight for recent spend: another scale, and another order of the customers."""
    return Scoring(version=2, weights={"value": (1.0, 0.5, 0.0, 0.0)})


def ordinary_changes(engine: Engine, learner: Learner, now: int) -> int:
    """Tier changes of one more ordinary day without events."""
    return len(engine.tick(now, learner.knowledge).changes)


def test_a_dry_run_changes_nothing(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    rows = engine.table.rows.copy()
    before = engine.sketch()

    sketch = engine.full_sketch(louder(learner), now)

    assert np.array_equal(rows.view(np.uint8), engine.table.rows.view(np.uint8))
    assert np.array_equal(before.axes[0].histogram, engine.sketch().axes[0].histogram)
    assert sketch.scoring_version == 2
    assert sketch.axes[0].histogram.sum() == CUSTOMERS


def test_a_switch_with_its_own_lines_moves_few_customers_and_says_why(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    scoring = louder(learner)
    knowledge = learner.switch(now, scoring, [engine.full_sketch(scoring, now)])

    effects = engine.tick(now + MS_PER_DAY, knowledge)

    assert effects.rescored_count == CUSTOMERS
    assert len(effects.changes) < 0.03 * CUSTOMERS
    assert set(effects.changes.causes.tolist()) <= {Cause.CUT_POINT}
    assert engine.scoring_version == 2


def test_a_dry_run_of_some_is_of_those_whose_turn_is_a_multiple(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    whole, part = (engine.full_sketch(louder(learner), now, stride).axes[0] for stride in (1, 3))

    chosen = engine.table.rows["turn"] % 3 == 0
    assert part.histogram.sum() == part.term_count == np.count_nonzero(chosen)
    assert 0.3 < part.histogram.sum() / CUSTOMERS < 0.37
    assert (part.histogram <= whole.histogram).all()


def test_a_switch_by_a_dry_run_of_some_moves_few_customers(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    scoring = louder(learner)
    knowledge = learner.switch(now, scoring, [engine.full_sketch(scoring, now, 3)])

    assert len(engine.tick(now + MS_PER_DAY, knowledge).changes) < 0.03 * CUSTOMERS


@pytest.mark.parametrize(
    ("share", "stride"), [(1.0, 1), (0.2, 1), (0.126, 1), (0.125, 2), (0.05, 5), (0.0005, 500), (0.0, 1 << 30)]
)
def test_a_dry_run_scores_four_customers_for_each_example(share: float, stride: int) -> None:
    assert dry_run_stride(max(int(share * SAMPLE_ALL), 1)) == stride


def test_a_new_scoring_under_the_old_lines_would_be_a_storm(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    old = learner.knowledge
    careless = Knowledge(old.version + 1, old.policy_hash, now, louder(learner), old.axes)

    effects = engine.tick(now + MS_PER_DAY, careless)

    assert len(effects.changes) > 0.25 * CUSTOMERS


def test_after_a_switch_the_population_is_that_of_the_new_scoring(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    scoring = louder(learner)
    knowledge = learner.switch(now, scoring, [engine.full_sketch(scoring, now)])
    engine.tick(now + MS_PER_DAY, knowledge)

    fresh = engine.full_sketch(scoring, now + MS_PER_DAY)

    assert np.array_equal(engine.sketch().axes[0].histogram, fresh.axes[0].histogram)
    assert np.array_equal(engine.sketch().axes[0].term_sums, fresh.axes[0].term_sums)


def test_events_under_a_scoring_that_no_tick_has_brought_are_a_bug_of_the_driver(
    shop: tuple[Engine, Learner, int],
) -> None:
    engine, learner, now = shop
    scoring = louder(learner)
    knowledge = learner.switch(now, scoring, [engine.full_sketch(scoring, now)])

    with pytest.raises(ValueError, match="tick first"):
        engine.apply(batch_of(np.arange(3), now, np.ones(3)), knowledge)


def test_a_sketch_of_another_scoring_is_refused(shop: tuple[Engine, Learner, int]) -> None:
    engine, learner, now = shop
    stale = PopulationSketch(7, engine.sketch().axes)

    with pytest.raises(ValueError, match="expected 1"):
        learner.renew(now, [stale])
    with pytest.raises(ValueError, match="does not follow"):
        learner.switch(now, Scoring(version=9, weights={}), [stale])
