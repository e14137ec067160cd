"""A shop of some weeks, for the tests of stored state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.policy import Policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from tests.factories import make_batch, make_policy
from tests.reference import ReferenceEvent

START_MS = 1_700_006_400_000
DAYS = 40


@dataclass(slots=True)
class Shop:
    """An engine, its learner, and the time of the last tick."""

    engine: Engine
    learner: Learner
    last_tick_ms: int


def purchases(customer_ids: Sequence[str], time_ms: int, amounts: Sequence[float] | None = None) -> EventBatch:
    """Make purchases of 20.0, if nothing else is said, one of each customer."""
    amounts = amounts or [20.0] * len(customer_ids)
    events = [
        ReferenceEvent(customer_id, f"event {time_ms} {place}", time_ms, Family.PURCHASE, amount)
        for place, (customer_id, amount) in enumerate(zip(customer_ids, amounts, strict=True))
    ]
    return make_batch(events)


def make_shop(policy: Policy | None = None, customer_count: int = 700) -> Shop:
    """Make a shop of customers 0 to n - 1, all of whom are buyers with tiers."""
    policy = policy or make_policy()
    engine, learner = Engine(policy), Learner(policy)
    random = np.random.default_rng(3)
    everybody = [f"customer {number}" for number in range(customer_count)]
    engine.apply(purchases(everybody, START_MS, random.lognormal(3, 1, customer_count).tolist()), learner.knowledge)
    for day in range(1, DAYS):
        now_ms = START_MS + day * MS_PER_DAY
        engine.tick(now_ms, learner.knowledge)
        learner.renew(now_ms, [engine.sketch()], [engine.full_sketch(learner.knowledge.scoring, now_ms)])
        buyers = np.unique(random.integers(0, customer_count, customer_count // 30))
        batch = purchases([everybody[n] for n in buyers], now_ms, random.lognormal(3, 1, len(buyers)).tolist())
        engine.apply(batch, learner.knowledge)
    return Shop(engine, learner, START_MS + (DAYS - 1) * MS_PER_DAY)
