"""Outcomes a second through the learner's models: features, predictions, stacks and River, in blocks of a day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.models import every_model
from benchmarks.scale import Scale
from benchmarks.warm_engine import WarmEngine
from stream_app.domain.history import FeatureLayout, history_of
from stream_app.learning.outcome_models import OutcomeModels, Outcomes
from stream_app.learning.scoring_learner import EXAMPLES_PER_CYCLE

GOAL, FLOOR = 50_000.0, 5_000.0
OUTCOMES_A_DAY = EXAMPLES_PER_CYCLE // 28
DAYS = 28
BUYING_SHARE = 0.3
_SEED = 5


def run(scale: Scale) -> list[Measurement]:
    """Measure a learner that has seen enough for large blocks."""
    warm = WarmEngine(replace(scale, warm_up_events=scale.warm_up_events // 10), sweep_days=7)
    layout = FeatureLayout.from_policy(warm.policy)
    population = every_model(warm.policy, 1).population
    models, days = OutcomeModels(layout), [_day(warm, layout, number) for number in range(DAYS)]
    stopwatch, counts = Stopwatch(), []
    for repetition in range(-1, scale.repetitions):
        own = stopwatch if repetition >= 0 else Stopwatch()
        own.begin_repetition()
        with own.timed():
            for outcomes in days:
                models.learn(outcomes, population)
        counts.append(sum(len(outcomes.spend) for outcomes in days))
    rate = Rate.of(counts[1:], stopwatch)
    return [
        Measurement(
            name="learner.outcomes",
            what=f"outcomes learned by three models, {OUTCOMES_A_DAY:,} a call",
            unit="outcomes/s",
            value=rate.best,
            middle=rate.middle,
            floor=FLOOR,
            goal=GOAL,
            notes=rate.note,
        )
    ]


def _day(warm: WarmEngine, layout: FeatureLayout, number: int) -> Outcomes:
    """Make a day's outcomes: customers as they are, and purchases by chance."""
    random = np.random.default_rng(_SEED + number)
    rows = random.choice(len(warm.engine.table), OUTCOMES_A_DAY)
    block = warm.engine.table.gather(rows)
    history = history_of(layout, block, np.full(len(rows), int(warm.source.now_ms)))
    baskets = np.where(random.random(len(rows)) < BUYING_SHARE, random.poisson(2.0, len(rows)) + 1.0, 0.0)
    return Outcomes(history, layout.horizon_periods, baskets * 40.0, baskets, np.ones(len(rows), dtype=np.bool_))
