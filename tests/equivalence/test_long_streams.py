"""Streams too long for Hypothesis: years of a small shop, and more customers than a sweep takes at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from stream_app.domain.events import Family
from tests.equivalence.agreement import assert_outcomes_agree, assert_same_to_the_bit
from tests.equivalence.runs import Driving, run_engine
from tests.equivalence.third_axis import ALL_REFERENCE_SCORES, ALL_SCORES, THIRD_AXIS
from tests.factories import DAY_MS, make_axis, make_policy
from tests.outcomes import run_reference
from tests.reference import ReferenceEvent
from tests.strategies import Operation, Renewal, Stream, Switch, Tick

START_MS = 1_704_067_200_000

_POLICY = make_policy(
    axes=(
        make_axis(confirmation_ms=0),
        make_axis(name=THIRD_AXIS, score=THIRD_AXIS, cuts=(0.2, 0.8), confirmation_ms=14 * DAY_MS),
    ),
    rated_customers_min=10,
)


class _Shop:
    """Makes events of a shop where few customers do most; some are late, some repeat one of their customer's ids."""

    def __init__(self, seed: int, customer_count: int) -> None:
        self.random = Random(seed)
        self.customer_count = customer_count
        self.ids_used: defaultdict[int, list[str]] = defaultdict(list)
        self.made = 0

    def event(self, time_ms: int) -> ReferenceEvent:
        random = self.random
        self.made += 1
        customer = int(self.customer_count * random.random() ** 2)
        family = random.choices(list(Family), weights=(40, 5, 25, 15, 5, 5, 5))[0]
        is_money = family in (Family.PURCHASE, Family.REFUND)
        used = self.ids_used[customer]
        used.append(random.choice(used[-10:]) if used and random.random() < 0.05 else f"e{self.made}")
        return ReferenceEvent(
            customer_id=f"customer {customer}",
            event_id=used[-1],
            time_ms=time_ms - random.choice((0, 0, 0, 0, 0, 0, 60_000, DAY_MS, 20 * DAY_MS)),
            family=family,
            amount=round(random.lognormvariate(3.0 + customer % 5, 1.0), 2) if is_money else 0.0,
            satisfaction=random.random() if family is Family.FEEDBACK else None,
        )


def _shop(seed: int, customer_count: int, events_a_day: int, days: int, tick_days: int = 1) -> tuple[Operation, ...]:
    """Make a shop's stream: events in the order of arrival, a tick and a renewal of knowledge at the end of days."""
    shop = _Shop(seed, customer_count)
    operations: list[Operation] = []
    for day in range(days):
        times = sorted(shop.random.randrange(DAY_MS) for _ in range(events_a_day))
        operations += [shop.event(START_MS + day * DAY_MS + time_ms) for time_ms in times]
        end_ms = START_MS + (day + 1) * DAY_MS
        if day % tick_days == 0:
            operations += [Tick(end_ms), Renewal(end_ms)]
        if day == days // 2:
            operations += [Switch(end_ms, 1.5), Tick(end_ms + 60_000)]
    return tuple(operations)


@pytest.mark.parametrize("seed", [1, 2])
def test_years_of_a_small_shop_agree_with_the_reference(seed: int) -> None:
    stream = Stream(_POLICY, _shop(seed, customer_count=60, events_a_day=4, days=500))
    expected = run_reference(stream, ALL_REFERENCE_SCORES)
    run = run_engine(stream, Driving((1, 3, 2)), ALL_SCORES)
    assert_outcomes_agree(run.outcome, expected)
    # The stream is worth its time only if it does what it is meant to do.
    assert len(expected.changes) > 200
    assert min(expected.suppressed_counts[1], len(expected.duplicates)) > 10
    assert len({(change.cause, change.is_triggered) for change in expected.changes}) >= 6


def test_a_stream_in_batches_of_hundreds_agrees_with_the_reference() -> None:
    policy = replace(_POLICY, sweep_period_minutes=28 * 24 * 60)
    stream = Stream(policy, _shop(7, customer_count=40, events_a_day=300, days=30, tick_days=5))
    at_once = run_engine(stream, scores=ALL_SCORES)
    assert_outcomes_agree(at_once.outcome, run_reference(stream, ALL_REFERENCE_SCORES))
    assert_same_to_the_bit(run_engine(stream, Driving((256, 1, 77)), ALL_SCORES), at_once)


def test_sweeps_of_more_customers_than_a_chunk_agree_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk_rows = 1_000
    monkeypatch.setattr("stream_app.engine.sweeping.CHUNK_ROWS", chunk_rows)
    policy = replace(_POLICY, sweep_period_minutes=24 * 60)
    stream = Stream(policy, _shop(11, customer_count=4_000, events_a_day=4_000, days=2))
    run = run_engine(stream, Driving((5_000,)), ALL_SCORES)
    assert len(run.engines[0].table) > 2 * chunk_rows
    assert_outcomes_agree(run.outcome, run_reference(stream, ALL_REFERENCE_SCORES))
