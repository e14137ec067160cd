"""Hypothesis strategies: small adversarial streams and policies under which they cross many lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from stream_app.domain.events import Family
from stream_app.domain.policy import AxisPolicy, CutRule, Policy
from tests.factories import DAY_MS, make_axis, make_policy
from tests.reference import ReferenceEvent

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

CUSTOMER_IDS = ("a", "b", "c", "aa", "ä", "customer-5", "z" * 255, "z" * 256)
"""Ids of several widths, so that batches differ in the width of their arrays; "ä" sorts last by bytes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """Knowledge is renewed from the population as it is, at the time of the last tick or event."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Switch:
    """All weights of the scoring are multiplied by a factor; the tick that must follow brings it into force."""

    time_ms: int
    factor: float


Operation = ReferenceEvent | Tick | Renewal | Switch


@dataclass(frozen=True, slots=True)
class Stream:
    """A policy and what happens under it, in order."""

    policy: Policy
    operations: tuple[Operation, ...]


_STARTS_MS = (
    0,
    1_704_067_200_000 - 30 * MINUTE_MS,  # Half an hour before the midnight that begins 2024.
    1_709_164_800_123,  # In the middle of a second of a leap day.
)
_GAPS_MS = (
    0,
    1,
    999,
    1_000,
    MINUTE_MS,
    HOUR_MS,
    6 * HOUR_MS,
    DAY_MS - 1,
    DAY_MS,
    3 * DAY_MS,
    14 * DAY_MS,
    28 * DAY_MS,
    60 * DAY_MS,
    1_000 * DAY_MS,
)
_LATE_MS = (0, 0, 0, 0, 1, 1_500, HOUR_MS, DAY_MS, 2 * DAY_MS, 29 * DAY_MS, 400 * DAY_MS, -4 * MINUTE_MS)
"""How late an event is; a negative one is ahead, as a clock within `future_skew_max` may be."""
_AMOUNTS = (0.0, 0.01, 1.0, 9.99, 10.0, 10.0 / 1.0837, 19.99 * 0.0062, 100.0, 250.5, 1e4, 1e7)
"""Amounts already in the reporting currency; two of them were converted."""
_FAMILIES = (
    Family.PURCHASE,
    Family.PURCHASE,
    Family.PURCHASE,
    Family.PURCHASE,
    Family.REFUND,
    Family.BROWSE,
    Family.CART,
    Family.CONTENT,
    Family.SUPPORT,
    Family.FEEDBACK,
)


@st.composite
def _event_steps(draw: st.DrawFn) -> tuple[object, ...]:
    family = draw(st.sampled_from(_FAMILIES))
    is_money = family in (Family.PURCHASE, Family.REFUND)
    return (
        "event",
        draw(st.sampled_from(_GAPS_MS[:11])),
        draw(st.sampled_from(_LATE_MS)),
        draw(st.integers(0, len(CUSTOMER_IDS) - 1)),
        family,
        draw(st.sampled_from(_AMOUNTS if is_money else (0.0, 0.0, 0.5, 25.0))),
        draw(st.sampled_from((None, None, 0.0, 0.1, 0.75, 1.0))),
        draw(st.sampled_from((0, 0, 0, 0, 1, 2, 7, 8, 9))),
    )


_TICK_STEPS = st.tuples(
    st.just("tick"),
    st.sampled_from(_GAPS_MS),
    # At the time reached, or earlier: at or before the last tick it does nothing.
    st.sampled_from((0, 0, 0, 1, MINUTE_MS, DAY_MS)),
)
_LEARNER_STEPS = st.tuples(
    st.sampled_from(("renewal", "renewal", "renewal", "renewal", "switch")), st.sampled_from((1.0, 0.3, 2.0))
)


def _operations(start_ms: int, customer_ids: Sequence[str], steps: Sequence[tuple[object, ...]]) -> Iterator[Operation]:
    """Walk through time; an event may repeat the id of its customer's event so many before."""
    now_ms, last_tick_ms = start_ms, 0
    ids_used: dict[str, list[str]] = {customer_id: [] for customer_id in customer_ids}
    for number, step in enumerate(steps):
        match step:
            case ("event", int(gap), int(late), int(customer), Family() as family, float(amount), said, int(back)):
                now_ms += gap
                customer_id = customer_ids[customer % len(customer_ids)]
                used = ids_used[customer_id]
                used.append(used[-back] if 0 < back <= len(used) else f"event {number}")
                yield ReferenceEvent(
                    customer_id=customer_id,
                    event_id=used[-1],
                    time_ms=max(0, now_ms - late),
                    family=family,
                    amount=amount,
                    satisfaction=said if isinstance(said, float) else None,
                )
            case ("tick", int(gap), int(behind)):
                now_ms += gap
                yield Tick(max(0, now_ms - behind))
                last_tick_ms = max(last_tick_ms, now_ms - behind)
            case ("switch", float(factor)):
                yield Switch(now_ms, factor)
                now_ms = last_tick_ms = max(now_ms, last_tick_ms + 1)
                yield Tick(now_ms)
            case _:
                yield Renewal(now_ms)


@st.composite
def axes(draw: st.DrawFn, name: str, score: str, absolute_cuts: tuple[float, float]) -> AxisPolicy:
    """Draw an axis of two or three tiers."""
    if draw(st.booleans()):
        cut_rule, cuts = CutRule.QUANTILES, draw(st.sampled_from(((0.2, 0.8), (0.5,), (0.8, 0.95), (1 / 3, 0.9))))
    else:
        cut_rule, cuts = CutRule.ABSOLUTE, draw(st.sampled_from((absolute_cuts, absolute_cuts[:1])))
    margins: tuple[float | tuple[float, float], ...] = (0.25, 0.0, (0.9, 0.3), (0.1, 0.6))
    return make_axis(
        name=name,
        score=score,
        tiers=("low", "middle", "high")[: len(cuts) + 1],
        cut_rule=cut_rule,
        cuts=cuts,
        margin=draw(st.sampled_from(margins)),
        confirmation_ms=draw(st.sampled_from((0, 14 * DAY_MS, HOUR_MS))),
    )


@st.composite
def policies(draw: st.DrawFn, other_scores: Sequence[str] = ()) -> Policy:
    """Draw a policy of a value axis and some of the other axes, which are named as their scores."""
    chosen = [draw(axes("value", "value", (3.0, 6.0)))]
    for score in other_scores:
        if draw(st.booleans()):
            chosen.insert(draw(st.integers(0, len(chosen))), draw(axes(score, score, (0.5, 1.5))))
    return make_policy(
        axes=tuple(chosen),
        rates_everyone=draw(st.booleans()),
        rated_customers_min=draw(st.sampled_from((2, 1, 4))),
        sweep_period_minutes=draw(st.sampled_from((24 * 60, 60, 1, 7 * 24 * 60, 28 * 24 * 60))),
        horizon_periods=draw(st.sampled_from((3, 1))),
        half_lives_days=draw(st.sampled_from(((14.0, 30.0, 90.0, 365.0), (0.5, 1.0, 3.0, 10.0)))),
    )


@st.composite
def streams(draw: st.DrawFn, other_scores: Sequence[str] = (), steps_max: int = 60) -> Stream:
    """Draw a stream of events, ticks and renewals under a policy."""
    step = st.one_of(_event_steps(), _event_steps(), _event_steps(), _TICK_STEPS, _LEARNER_STEPS)
    # Lists are short on average unless they must be long; the first branch is where failures shrink to.
    steps = draw(st.one_of(*(st.lists(step, min_size=least, max_size=steps_max) for least in (1, 20, 40))))
    customer_ids = CUSTOMER_IDS[: draw(st.integers(2, len(CUSTOMER_IDS)))]
    operations = _operations(draw(st.sampled_from(_STARTS_MS)), customer_ids, steps)
    return Stream(draw(policies(other_scores)), tuple(operations))


def batch_sizes() -> st.SearchStrategy[list[int]]:
    """Draw sizes of batches, to be taken round and round: a cut of any stream."""
    return st.lists(st.integers(1, 9), min_size=1, max_size=6)
