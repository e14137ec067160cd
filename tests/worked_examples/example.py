"""What a worked example is, and the short words in which it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

from stream_app.domain.effects import Cause
from stream_app.domain.events import Family
from stream_app.domain.policy import AxisPolicy, CutRule, Policy
from tests.factories import DAY_MS, make_axis, make_policy
from tests.outcomes import Outcome, RowValues, assert_rows_close
from tests.reference import ReferenceChange, ReferenceEvent
from tests.strategies import Operation, Stream

DAY_0_MS = 1_704_067_200_000
DAY_0_S = DAY_0_MS // 1000
DAY_S = 86_400

# blake2b-64("a") = 0x40f89e395b66422f, modulo 40,320 is minute 9,263 of the cycle and 623 of the day (10:23).
# 2024-01-01 00:00 is minute 28,401,120 = 704 * 40,320 + 15,840, so the turn comes 33,743 minutes later:
# on day 23 at 10:23.
TURN_MS = DAY_0_MS + 33_743 * 60_000
DAILY_TURN_MS = DAY_0_MS + 623 * 60_000


def at(day: float) -> int:
    """Give the time so many days after day 0."""
    return DAY_0_MS + round(day * DAY_MS)


@dataclass(frozen=True, slots=True)
class Told:
    """What is expected of one change."""

    event: int
    customer_id: str
    sequence: int
    axis: int
    tiers: tuple[int, int]
    cut_point: float | None
    cause: Cause
    at_ms: int
    is_triggered: bool = True
    segment: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A stream and what must come of it; what is None is not looked at."""

    name: str
    stream: Stream
    rows: Mapping[str, RowValues] = field(default_factory=dict)
    told: tuple[Told, ...] | None = None
    duplicates: tuple[int, ...] = ()
    suppressed: tuple[int, ...] | None = None
    populations: list[list[int]] | None = None
    rescored: int | None = None


class _Events:
    """Makes events with ids of their own."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(
        self, day: float, family: Family, amount: float = 0.0, customer: str = "a", **others: Any
    ) -> ReferenceEvent:
        self.made += 1
        return ReferenceEvent(
            customer_id=customer,
            event_id=others.get("event_id", f"e{self.made}"),
            time_ms=at(day),
            family=family,
            amount=amount,
            satisfaction=others.get("satisfaction"),
        )


happens = _Events()


def buys(day: float, amount: float, customer: str = "a", **others: Any) -> ReferenceEvent:
    """Make a purchase."""
    return happens(day, Family.PURCHASE, amount, customer, **others)


def refunds(day: float, amount: float, customer: str = "a") -> ReferenceEvent:
    """Make a refund."""
    return happens(day, Family.REFUND, amount, customer)


def absolute(
    *cuts: float, margin: float | tuple[float, float] = 0.0, confirmation_days: float = 0, name: str = "value"
) -> AxisPolicy:
    """Make an axis on the value score with absolute cut points."""
    return make_axis(
        name=name,
        tiers=("t0", "t1", "t2", "t3")[: len(cuts) + 1],
        cut_rule=CutRule.ABSOLUTE,
        cuts=cuts,
        margin=margin,
        confirmation_ms=round(confirmation_days * DAY_MS),
    )


def stream(*operations: Operation, **overrides: Any) -> Stream:
    """Make a stream under a policy of short half-lives and absolute cut points that nobody reaches."""
    fields: dict[str, Any] = {"axes": (absolute(1e6),), "half_lives_days": (1.0, 2.0, 4.0, 8.0)}
    policy: Policy = make_policy(**(fields | overrides))
    return Stream(policy, operations)


def log_moments(*amounts: float) -> RowValues:
    """Give the log moments of baskets."""
    logs = [log(amount) for amount in amounts]
    return {
        "log_count": [len(logs)],
        "log_sum": [sum(logs)],
        "log_square_sum": [sum(value**2 for value in logs)],
    }


def assert_as_worked_out(example: Example, outcome: Outcome) -> None:
    """Hold what a run brought about to what was worked out by hand."""
    assert tuple(outcome.duplicates) == example.duplicates
    for customer_id, expected in example.rows.items():
        assert_rows_close(outcome.rows[customer_id], expected)
    if example.told is not None:
        assert len(outcome.changes) == len(example.told), outcome.changes
        for change, told in zip(outcome.changes, example.told, strict=True):
            _assert_told(change, told)
    if example.suppressed is not None:
        assert tuple(outcome.suppressed_counts) == example.suppressed
    if example.populations is not None:
        assert outcome.populations == example.populations
    if example.rescored is not None:
        assert outcome.rescored_count == example.rescored


def _assert_told(change: ReferenceChange, told: Told) -> None:
    actual = (change.event_index, change.customer_id, change.sequence, change.axis, change.from_tier, change.to_tier)
    assert actual == (told.event, told.customer_id, told.sequence, told.axis, *told.tiers)
    assert (change.cause, change.is_triggered, change.effective_at_ms) == (told.cause, told.is_triggered, told.at_ms)
    if told.cut_point is None:
        assert change.cut_point is None
    else:
        assert change.cut_point is not None
        assert abs(change.cut_point - told.cut_point) < 1e-9
    if told.segment is not None:
        assert change.segment == told.segment
