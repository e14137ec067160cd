"""From snapshots to a scoring: outcomes joined to their snapshots, switches without storms, a bounded sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.replay import Replay
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Effects
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.scores import SCORES, build_functions
from stream_app.domain.snapshots import SAMPLE_ALL
from stream_app.learning import pending, scoring_learner
from stream_app.learning.learner import Learner
from stream_app.learning.pending import PendingSnapshots, SnapshotBlock
from stream_app.learning.scoring_learner import ScoringLearner
from tests.unit.test_scoring_switch import START_MS, batch_of

POLICY = load_policy(None)
CUSTOMERS = 1_500


class Recorder:
    """Counts the changes of each tick, and under which scoring it was."""

    def __init__(self) -> None:
        self.ticks: list[tuple[int, int]] = []
        self.waiting = 0

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        self.waiting += int((effects.changes.causes > 0).sum())

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        # A first rating is no change of tier.
        changes = self.waiting + int((effects.changes.causes > 0).sum())
        self.ticks.append((knowledge.scoring.version, changes))
        self.waiting = 0

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        pass


def days_of_a_shop(days: range, seed: int = 5) -> Sequence[EventBatch]:
    """Give purchases of customers who buy at rates of their own, some of whom leave."""
    random = np.random.default_rng(seed)
    rates, leaves = random.gamma(0.6, 0.03, CUSTOMERS), random.exponential(250, CUSTOMERS)
    sizes = random.normal(3, 0.6, CUSTOMERS)
    joins = random.integers(0, 60, CUSTOMERS)
    batches = []
    for day in range(days.stop):
        buys = (joins == day) | ((random.random(CUSTOMERS) < rates) & (joins < day) & (leaves > day))
        buyers = np.flatnonzero(buys)
        amounts = np.exp(sizes[buyers] + random.normal(0, 0.5, len(buyers)))
        if day >= days.start and len(buyers):
            batches.append(batch_of(buyers, START_MS + day * MS_PER_DAY + 1, amounts))
    return batches


def replayed(days: range) -> tuple[Replay, Recorder]:
    recorder = Recorder()
    replay = Replay(shards=Shards(POLICY), learner=Learner(POLICY), observers=[recorder], tick_ms=MS_PER_DAY)
    replay.run(days_of_a_shop(days), None)
    return replay, recorder


def switches_of(ticks: Sequence[tuple[int, int]]) -> list[int]:
    """Give the ticks at which another scoring is in force than before."""
    return [place for place in range(1, len(ticks)) if ticks[place][0] != ticks[place - 1][0]]


@pytest.fixture(scope="module")
def shop() -> tuple[Replay, Recorder]:
    """Give a shop of 220 days."""
    return replayed(range(220))


def test_models_come_into_force_in_turn(shop: tuple[Replay, Recorder]) -> None:
    scoring = shop[0].in_force.scoring

    assert scoring.version > 5
    assert scoring.population.spend.mean_amount > 0.0
    assert scoring.buy is not None
    assert scoring.growth is not None
    assert scoring.count is not None
    assert 0.3 < scoring.count.ratio < 3.0
    assert shop[0].learner.models.late_outcome_count == 0


def test_a_scoring_comes_at_half_as_much_again_to_know_or_in_a_week_at_a_fifth_more(
    shop: tuple[Replay, Recorder],
) -> None:
    days = np.array(switches_of(shop[1].ticks))
    gaps = np.diff(days)

    # In the first weeks snapshots grow by half in less than a week, and later by a fifth in more than one.
    assert (gaps[days[1:] < 20] < 7).any()
    assert (gaps[(days[:-1] > 28) & (days[1:] < 84)] == 7).sum() >= 3
    assert gaps[-1] > 14


def test_a_scoring_comes_after_28_days_at_the_latest(shop: tuple[Replay, Recorder]) -> None:
    learner = ScoringLearner(POLICY, build_functions(POLICY, SCORES))
    learner.restore(shop[0].learner.models.state())
    now_ms = START_MS + 220 * MS_PER_DAY
    made = learner.due_scoring(now_ms + 28 * MS_PER_DAY, 100)

    assert made is not None
    assert learner.due_scoring(now_ms + 56 * MS_PER_DAY - 1, 101) is None
    assert learner.due_scoring(now_ms + 56 * MS_PER_DAY, 101) is not None


def test_a_switch_brings_no_more_changes_than_three_ordinary_days(shop: tuple[Replay, Recorder]) -> None:
    ticks = shop[1].ticks
    switches = switches_of(ticks)
    # From the day on that tiers are told: before, there is nothing to change.
    switches = [place for place in switches if place > 40]
    ordinary = [changes for place, (_, changes) in enumerate(ticks) if place > 40 and place not in switches]

    assert len(switches) >= 5
    assert max(ticks[place][1] for place in switches) <= 3 * max(ordinary)
    assert np.mean([ticks[place][1] for place in switches]) <= 3 * np.mean(ordinary)


def test_predictions_are_scored_before_they_are_learned(shop: tuple[Replay, Recorder]) -> None:
    figures = shop[0].learner.models.evaluation.closed[-1]

    assert figures.example_count > 500
    assert figures.buy_auc > 0.7
    assert figures.normalized_gini > 0.5


def test_a_restored_learner_goes_on_to_the_bit(shop: tuple[Replay, Recorder]) -> None:
    learner = ScoringLearner(POLICY, build_functions(POLICY, SCORES))
    state = shop[0].learner.models.state()

    learner.restore(state)

    again = learner.state()
    assert again.keys() == state.keys()
    # By their bytes: figures without meaning are NaN, which is not equal to itself.
    assert all(again[name].tobytes() == state[name].tobytes() for name in state)
    with pytest.raises(IncompatibleStateError):
        learner.restore({name: values for name, values in state.items() if name != "days"})


def test_a_state_of_another_policy_or_version_is_refused_with_what_to_do(shop: tuple[Replay, Recorder]) -> None:
    state = shop[0].learner.models.state()
    other = replace(POLICY, horizon_periods=2)
    old = state["counters"].copy()
    old[0] -= 1

    with pytest.raises(IncompatibleStateError, match="go back to that policy or learn afresh") as caught:
        ScoringLearner(other, build_functions(other, SCORES)).restore(state)
    assert caught.value.code == "other_policy_learner_state"
    with pytest.raises(IncompatibleStateError, match="learn afresh") as caught:
        ScoringLearner(POLICY, build_functions(POLICY, SCORES)).restore(state | {"counters": old})
    assert caught.value.code == "incompatible_learner_state"


def test_knowledge_tells_what_the_learner_had_seen(shop: tuple[Replay, Recorder]) -> None:
    knowledge, models = shop[0].in_force, shop[0].learner.models

    assert knowledge.snapshot_count == models.snapshot_count > 5_000
    assert knowledge.outcome_count == models.label_count > 1_000
    assert knowledge.policy_hash == POLICY.content_hash


def test_the_sample_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_learner, "EXAMPLES_PER_CYCLE", 300)

    replay, _ = replayed(range(150))

    # The limit falls as buyers come; every snapshot of the last cycle was drawn under a limit that was right by then.
    assert replay.in_force.sample_limit < SAMPLE_ALL
    kept = replay.learner.models.snapshot_count
    assert kept < 300 * (150 / 28) * 1.6


def test_pending_snapshots_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "PENDING_MAX", 10)
    store = PendingSnapshots(1, days_max=3)
    ids = np.array([b"b", b"a", b"c", b"d"])
    for day in range(4):
        store.add(SnapshotBlock(ids, np.full(4, day * 86_400), np.full((1, 4), float(day))))

    assert len(store) == 10
    assert store.dropped_count == 6
    found, places = store.find(np.array([b"c", b"x", b"a"]), np.full(3, 86_400))
    assert (found.customer_ids.tolist(), places.tolist()) == ([b"c", b"a"], [0, 2])
    assert found.columns.tolist() == [[1.0, 1.0]]
    store.forget(5)
    assert len(store) == 2
