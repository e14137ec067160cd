"""A customer who stops buying is demoted by time alone, within one sweep period of the crossing."""

from __future__ import annotations

import pytest

from stream_app.domain.effects import Cause
from stream_app.domain.events import Family
from stream_app.domain.policy import CutRule, Policy
from tests.equivalence.runs import run_engine
from tests.factories import DAY_MS, make_axis, make_policy
from tests.outcomes import run_reference
from tests.reference import REFERENCE_SCORES, ReferenceEngine, ReferenceEvent
from tests.strategies import Stream, Tick

HOUR_MS = DAY_MS // 24
START_MS = 1_704_067_200_000
CUT_POINT = 3.0


def crossing_ms(policy: Policy, purchase: ReferenceEvent) -> int:
    """Find by bisection the first millisecond at which the score of a single purchase is below the cut point."""
    engine = ReferenceEngine(policy)
    engine.apply([purchase], engine.first_knowledge())
    customer = engine.customers[purchase.customer_id]
    value = REFERENCE_SCORES["value"]

    def score(time_ms: int) -> float:
        bases = (term(customer, time_ms, policy) for term in value.terms)
        return sum(weight * basis for weight, basis in zip(value.weights, bases, strict=True))

    above, below = purchase.time_ms, purchase.time_ms + 3_000 * DAY_MS
    assert score(below) < CUT_POINT <= score(above)
    while below - above > 1:
        middle = (above + below) // 2
        above, below = (middle, below) if score(middle) >= CUT_POINT else (above, middle)
    return below


@pytest.mark.parametrize(("sweep_minutes", "tick_ms"), [(60, HOUR_MS), (24 * 60, 6 * HOUR_MS), (7 * 24 * 60, DAY_MS)])
@pytest.mark.parametrize("customer_id", ["a", "b", "customer-5"])
def test_silence_demotes_within_one_sweep_period_of_the_crossing(
    customer_id: str, sweep_minutes: int, tick_ms: int
) -> None:
    axis = make_axis(tiers=("small", "big"), cut_rule=CutRule.ABSOLUTE, cuts=(CUT_POINT,), margin=0.0)
    policy = make_policy(axes=(axis,), sweep_period_minutes=sweep_minutes, half_lives_days=(1.0, 2.0, 4.0, 8.0))
    purchase = ReferenceEvent(customer_id, "e1", START_MS + 12_345, Family.PURCHASE, 1_000.0)
    crossed_ms = crossing_ms(policy, purchase)
    ticks = [Tick(START_MS + number * tick_ms) for number in range(60 * DAY_MS // tick_ms)]
    stream = Stream(policy, (ticks[0], purchase, *ticks[1:]))

    first, demoted = run_engine(stream).outcome.changes

    assert (first.cause, first.to_tier) == (Cause.FIRST_RATED, 1)
    assert (demoted.cause, demoted.from_tier, demoted.to_tier) == (Cause.TIME, 1, 0)
    assert not demoted.is_triggered
    # Ticks divide the sweep period, so that a customer's sweeps lie exactly one period apart.
    assert crossed_ms <= demoted.effective_at_ms < crossed_ms + sweep_minutes * 60_000
    assert [change.effective_at_ms for change in run_reference(stream).changes] == [
        first.effective_at_ms,
        demoted.effective_at_ms,
    ]
