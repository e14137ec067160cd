"""Reasons add up: contributions of both axes are the score's distance from the average customer (S20)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from stream_app.backtest.replay import Replay
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.reasons import REASONS_MAX
from stream_app.learning.learner import Learner
from tests.learning.test_scoring_learner import POLICY, days_of_a_shop

DAYS = 220


@dataclass
class Told:
    """Every change, with the knowledge under which it was told."""

    parts: list[tuple[Changes, Knowledge]] = field(default_factory=list)

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        self.parts.append((effects.changes, knowledge))

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        self.parts.append((effects.changes, knowledge))

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> tuple[Replay, Told]:
    """Replay a shop until everything has been learned that there is to learn."""
    told = Told()
    replay = Replay(shards=Shards(POLICY), learner=Learner(POLICY), observers=[told], tick_ms=MS_PER_DAY)
    replay.run(days_of_a_shop(range(DAYS)), None)
    return replay, told


@pytest.mark.parametrize("axis", POLICY.axis_names)
def test_contributions_add_up_to_the_distance_from_the_average_customer(shop: tuple[Replay, Told], axis: str) -> None:
    place, learned = POLICY.axis_names.index(axis), 0
    for changes, knowledge in shop[1].parts:
        lines = knowledge.axes[axis]
        own = changes.axes == place
        if not own.any():
            continue
        assert lines is not None
        terms = len(lines.term_means)
        distances = changes.scores[own] - lines.term_means.sum()
        np.testing.assert_allclose(changes.contributions[own, :terms].sum(axis=1), distances, rtol=0.0, atol=1e-9)
        np.testing.assert_allclose(changes.term_values[own, :terms].sum(axis=1), changes.scores[own], rtol=1e-12)
        learned += int(own.sum()) if knowledge.scoring.growth is not None else 0

    assert learned > 100


@pytest.mark.parametrize("axis", POLICY.axis_names)
def test_no_reason_is_left_out_of_the_sum(shop: tuple[Replay, Told], axis: str) -> None:
    lines = shop[0].in_force.axes[axis]
    assert lines is not None
    assert len(lines.term_means) <= REASONS_MAX


@pytest.mark.parametrize("axis", POLICY.axis_names)
def test_the_average_customer_is_the_average_of_the_rated_customers(shop: tuple[Replay, Told], axis: str) -> None:
    replay, place = shop[0], POLICY.axis_names.index(axis)
    lines = replay.in_force.axes[axis]
    assert lines is not None
    scored = list(replay.shards.scored(replay.end_ms, replay.in_force))
    scores = np.concatenate([block.scores[:, place] for block in scored])

    # The means are of the sweeps of the day before, one re-score of each customer.
    assert lines.term_means.sum() == pytest.approx(np.nanmean(scores), rel=0.01)
