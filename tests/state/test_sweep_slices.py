"""A sweep in slices, and what the engine does not do in the middle of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import MS_PER_DAY, MS_PER_MINUTE
from stream_app.domain.identifiers import order_of_ids, pack_ids
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.snapshots import join_snapshots
from stream_app.engine import NO_TICK_MS, Engine
from stream_app.learning.learner import Learner
from tests.factories import make_policy
from tests.state.shop import START_MS, Shop, make_shop, purchases


@pytest.fixture
def shop() -> Shop:
    """Give a shop whose last tick was a day ago."""
    return make_shop(customer_count=700)


def restored(engine: Engine) -> Engine:
    other = Engine(engine.policy)
    other.restore(engine.table.ids.copy(), engine.table.rows.copy(), engine.clock, engine.sketch())
    return other


def switch_of(shop: Shop, time_ms: int) -> Knowledge:
    scoring = Scoring(version=2, weights={"value": (1.0, 0.5, 0.0, 0.0)})
    return shop.learner.switch(time_ms, scoring, [shop.engine.full_sketch(scoring, time_ms)])


def slices_of(engine: Engine, time_ms: int, knowledge: Knowledge, rows_max: int) -> tuple[Engine, list[Effects]]:
    """Sweep, with a restart after every slice but the last."""
    parts = []
    sweep = engine.begin_sweep(time_ms, knowledge)
    while (effects := sweep.next(rows_max)) is not None:
        parts.append(effects)
        if not sweep.is_finished:
            engine = restored(engine)
            sweep = engine.begin_sweep(time_ms, knowledge, sweep.after_id)
    return engine, parts


@pytest.mark.parametrize("is_switch", [False, True])
@pytest.mark.parametrize("rows_max", [1, 97, 10_000])
def test_slices_with_restarts_between_them_are_the_tick(shop: Shop, rows_max: int, is_switch: bool) -> None:
    time_ms = shop.last_tick_ms + 3 * MS_PER_DAY
    knowledge = switch_of(shop, time_ms) if is_switch else shop.learner.knowledge
    engine, parts = slices_of(restored(shop.engine), time_ms, knowledge, rows_max)
    whole = shop.engine.tick(time_ms, knowledge)

    assert len(parts) == -(-700 // rows_max)
    assert len(whole.changes) > 0
    changes = Changes.concatenate([part.changes for part in parts])
    for name in Changes.__slots__:
        assert np.array_equal(getattr(changes, name), getattr(whole.changes, name), equal_nan=name == "cut_points")
    assert sum(part.rescored_count for part in parts) == whole.rescored_count
    touched = np.concatenate([part.touched_rows for part in parts])
    assert np.array_equal(np.sort(touched), np.sort(whole.touched_rows))
    sliced, at_once = join_snapshots([part.snapshots for part in parts]), whole.snapshots
    assert sliced is not None
    assert at_once is not None
    order = np.argsort(at_once.customer_ids)
    assert sliced.customer_ids.tolist() == at_once.customer_ids[order].tolist()
    assert sliced.rows.tobytes() == at_once.rows[order].tobytes()
    assert engine.table.rows.tobytes() == shop.engine.table.rows.tobytes()
    assert engine.clock == shop.engine.clock
    assert engine.term_totals() == shop.engine.term_totals()
    assert np.array_equal(engine.populations(), shop.engine.populations())
    assert np.array_equal(engine.sketch().axes[0].histogram, shop.engine.sketch().axes[0].histogram)


def test_the_clock_moves_with_the_last_slice(shop: Shop) -> None:
    time_ms = shop.last_tick_ms + MS_PER_DAY
    knowledge = switch_of(shop, time_ms)
    sweep = shop.engine.begin_sweep(time_ms, knowledge)
    assert (sweep.after_id, sweep.remaining_count) == (None, 700)
    sweep.next(699)
    assert not sweep.is_finished
    assert sweep.remaining_count == 1
    assert (shop.engine.last_tick_ms, shop.engine.scoring_version) == (shop.last_tick_ms, 1)
    sweep.next(1)
    assert sweep.is_finished
    assert (shop.engine.last_tick_ms, shop.engine.scoring_version) == (time_ms, 2)
    assert sweep.next(1) is None


def test_nothing_changes_before_the_first_slice(shop: Shop) -> None:
    before = (shop.engine.clock, shop.engine.term_totals())
    time_ms = shop.last_tick_ms + MS_PER_DAY
    shop.engine.begin_sweep(time_ms, switch_of(shop, time_ms))
    assert (shop.engine.clock, shop.engine.term_totals()) == before


USES: list[Callable[[Shop], object]] = [
    lambda shop: shop.engine.apply(purchases(["new"], shop.last_tick_ms), shop.learner.knowledge),
    lambda shop: shop.engine.tick(shop.last_tick_ms + 2 * MS_PER_DAY, shop.learner.knowledge),
    lambda shop: shop.engine.begin_sweep(shop.last_tick_ms + MS_PER_DAY, shop.learner.knowledge),
    lambda shop: shop.engine.erase(pack_ids(["customer 1"])),
]


@pytest.mark.parametrize("use", USES)
def test_an_engine_in_the_middle_of_a_sweep_does_nothing_else(shop: Shop, use: Callable[[Shop], object]) -> None:
    sweep = shop.engine.begin_sweep(shop.last_tick_ms + MS_PER_DAY, shop.learner.knowledge)
    sweep.next(1)
    with pytest.raises(ValueError, match="699 customers remain"):
        use(shop)
    sweep.next(10_000)
    use(shop)


def test_a_slice_of_nobody_is_refused(shop: Shop) -> None:
    sweep = shop.engine.begin_sweep(shop.last_tick_ms + MS_PER_DAY, shop.learner.knowledge)
    with pytest.raises(ValueError, match="at least"):
        sweep.next(0)


@pytest.mark.parametrize("later_ms", [0, -MS_PER_DAY, 1])
def test_a_tick_at_which_nobody_is_due_is_one_empty_slice(shop: Shop, later_ms: int) -> None:
    time_ms = shop.last_tick_ms + later_ms
    sweep = shop.engine.begin_sweep(time_ms, shop.learner.knowledge)
    effects = sweep.next(100)
    assert effects is not None
    assert len(effects.touched_rows) == effects.rescored_count == len(effects.changes) == 0
    assert sweep.is_finished
    assert sweep.next(100) is None
    assert shop.engine.last_tick_ms == max(time_ms, shop.last_tick_ms)


def test_the_very_first_tick_in_slices_only_starts_the_count() -> None:
    policy = make_policy()
    engine, knowledge = Engine(policy), Learner(policy).knowledge
    engine.apply(purchases(["a", "b"], START_MS), knowledge)
    assert engine.last_tick_ms == NO_TICK_MS
    sweep = engine.begin_sweep(START_MS + MS_PER_MINUTE, knowledge)
    effects = sweep.next(1)
    assert effects is not None
    assert len(effects.touched_rows) == 0
    assert sweep.is_finished
    assert engine.last_tick_ms == START_MS + MS_PER_MINUTE


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "a", "ab", "", "aa"],
        ["ä", "z", "a"],
        [f"customer-number-{number % 90}" for number in range(0, 900, 7)],
        ["x" * 255 + "b", "x" * 255 + "a", "x" * 255, "y"],
        ["same", "same"],
        ["one"],
    ],
)
def test_the_order_of_ids_is_that_of_their_bytes(ids: list[str]) -> None:
    packed = np.array([text.encode() for text in ids])
    assert packed[order_of_ids(packed)].tolist() == sorted(packed.tolist())


def test_no_ids_have_an_order() -> None:
    assert order_of_ids(pack_ids([])).tolist() == []
