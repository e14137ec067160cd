"""Streams worked out by hand, rule by rule; the reference and the engine must both give these numbers.

Day 0 is 2024-01-01. The half-lives are 1, 2, 4 and 8 days, so that most sums can be followed in the head:
100 is 6.25, 25, 50 and 70.71 four days later. A single purchase of a scores ln(1 + a).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

from stream_app.domain.effects import UNRATED, Cause
from stream_app.domain.events import Family
from stream_app.domain.policy import AxisPolicy, CutRule, Policy
from tests.factories import DAY_MS, make_axis, make_policy
from tests.outcomes import Outcome, RowValues, assert_rows_close
from tests.reference import ReferenceChange, ReferenceEvent
from tests.strategies import Operation, Renewal, Stream, Tick

HOUR_MS = DAY_MS // 24
DAY_0_MS = 1_704_067_200_000
DAY_0_S = DAY_0_MS // 1000
DAY_S = 86_400


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


_event = _Events()


def buys(day: float, amount: float, customer: str = "a", **others: Any) -> ReferenceEvent:
    """Make a purchase."""
    return _event(day, Family.PURCHASE, amount, customer, **others)


def refunds(day: float, amount: float, customer: str = "a") -> ReferenceEvent:
    """Make a refund."""
    return _event(day, Family.REFUND, amount, customer)


def absolute(*cuts: float, margin: float = 0.0, confirmation_days: float = 0, name: str = "value") -> AxisPolicy:
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


# 130.71067811865476 to the nearest float32.
_SPEND_8_DAYS = 130.71067810058594
_MONEY = [
    Example(
        "S6 a sum is halved at each half-life and an event adds to it",
        stream(buys(0, 100), buys(4, 60)),
        rows={
            "a": {
                "decayed_spend": [66.25, 85.0, 110.0, _SPEND_8_DAYS],
                "decayed_count": [1.0625, 1.25, 1.5, 1.7071068286895752],
                "clock_ms": [at(4)],
                "score": [0.5 * log(111.0) + 0.5 * log(1 + _SPEND_8_DAYS)],
            }
        },
    ),
    Example(
        "S6 a late purchase counts at its own time and the clock stays",
        stream(buys(4, 60), buys(0, 100)),
        rows={
            "a": {
                "decayed_spend": [66.25, 85.0, 110.0, _SPEND_8_DAYS],
                "decayed_count": [1.0625, 1.25, 1.5, 1.7071068286895752],
                "clock_ms": [at(4)],
                "first_purchase_s": [DAY_0_S],
                "last_purchase_s": [DAY_0_S + 4 * DAY_S],
                "basket_count": [2],
                "last_basket": [60],
                "largest_basket": [100],
                **log_moments(60, 100),
            }
        },
    ),
    Example(
        "S11 a refund lowers net and decayed spend, below zero too, and a score uses none of it",
        stream(buys(0, 100), refunds(4, 160)),
        rows={
            "a": {
                "decayed_spend": [-153.75, -135.0, -110.0, 70.71067810058594 - 160.0],
                "decayed_count": [0.0625, 0.25, 0.5, 0.7071067690849304],
                "gross_spend": [100],
                "net_spend": [-60],
                "refunded": [160],
                "purchase_count": [1],
                "refund_count": [1],
                "last_purchase_s": [DAY_0_S],
                "score": [0.0],
            }
        },
    ),
    Example(
        "S10 a fixed value is worth but no revenue, and does not make a buyer",
        stream(_event(0, Family.CONTENT, 5.0), _event(30, Family.CONTENT, 5.0)),
        rows={
            "a": {
                # The behaviour half-life is 30 days.
                "behaviour_count": [0, 0, 1.5, 0, 0],
                "behaviour_last_s": [0, 0, DAY_0_S + 30 * DAY_S, 0, 0],
                "net_spend": [10],
                "gross_spend": [0],
                "purchase_count": [0],
                "basket_count": [0],
                "score": [],
            }
        },
        told=(),
        populations=[[1, 0, 0, 0]],
        rescored=0,
    ),
    Example(
        "a satisfaction counts with any family, and one that is not stated does not",
        stream(
            _event(0, Family.FEEDBACK, satisfaction=1.0),
            _event(1, Family.SUPPORT, satisfaction=0.5),
            _event(1, Family.BROWSE),
        ),
        rows={"a": {"satisfaction_sum": [1.5], "satisfaction_count": [2]}},
    ),
    Example(
        "a late behaviour adds its share and keeps the later last time",
        stream(_event(60, Family.CART), _event(0, Family.CART)),
        rows={"a": {"behaviour_count": [0, 1.25, 0, 0, 0], "behaviour_last_s": [0, DAY_0_S + 60 * DAY_S, 0, 0, 0]}},
    ),
]

_BASKETS = [
    Example(
        "S12 purchases of one UTC day are one basket",
        stream(buys(0, 40), buys(0.999, 60)),
        rows={
            "a": {
                "purchase_count": [2],
                "basket_count": [1],
                "last_basket": [100],
                "largest_basket": [100],
                **log_moments(100),
            }
        },
    ),
    Example(
        "S12 midnight parts two baskets",
        stream(buys(1 - 1 / DAY_MS, 40), buys(1, 60)),
        rows={
            "a": {
                "basket_count": [2],
                "last_basket": [60],
                "first_purchase_s": [DAY_0_S + DAY_S - 1],
                **log_moments(40, 60),
            }
        },
    ),
    Example(
        "S12 a zero amount is a basket but no log moment, and leaves none when the basket grows",
        stream(buys(0, 0), buys(1, 0), buys(1, 20)),
        rows={"a": {"purchase_count": [3], "basket_count": [2], "last_basket": [20], **log_moments(20)}},
    ),
    Example(
        "S12 a late purchase on the first day, which is not the last, joins a basket that the row has forgotten",
        stream(buys(0, 10), buys(2, 20), buys(0.5, 70)),
        rows={
            "a": {
                "purchase_count": [3],
                "basket_count": [2],
                "last_basket": [20],
                "largest_basket": [20],
                "gross_spend": [100],
                **log_moments(10, 20),
            }
        },
    ),
    Example(
        "S12 a late purchase on a day between opens a basket each time, because the row does not remember",
        stream(buys(0, 10), buys(2, 20), buys(1, 70), buys(1, 5)),
        rows={"a": {"basket_count": [4], "last_basket": [20], "largest_basket": [70], **log_moments(10, 20, 70, 5)}},
    ),
    Example(
        "S12 a late purchase before the first day moves the first day, and the old one is forgotten",
        stream(buys(2, 20), buys(0, 10), buys(0, 5), buys(2, 1)),
        rows={
            "a": {
                "basket_count": [2],
                "first_purchase_s": [DAY_0_S],
                "last_purchase_s": [DAY_0_S + 2 * DAY_S],
                "last_basket": [21],
                **log_moments(21, 10),
            }
        },
    ),
]

_NINE_IDS = ("e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9")
_DUPLICATES = [
    Example(
        "S7 an id among the last 8 is dropped, does not age the customer, and is not entered again",
        stream(
            *(buys(0, 1, event_id=event_id) for event_id in _NINE_IDS[:8]),
            buys(9, 1, event_id="e1"),
            buys(0, 1, event_id="e9"),
            buys(0, 1, event_id="e1"),
        ),
        rows={"a": {"purchase_count": [10], "clock_ms": [at(0)]}},
        duplicates=(8,),
        rescored=10,
    ),
    Example(
        "S7 the same id of two customers is no duplicate",
        stream(buys(0, 1, event_id="e1"), buys(0, 1, customer="b", event_id="e1")),
        rows={"a": {"purchase_count": [1]}, "b": {"purchase_count": [1]}},
    ),
    Example(
        "S7 a duplicate tells nothing even where lines have moved",
        stream(buys(0, 99, event_id="e1"), Renewal(at(0)), buys(0, 99, event_id="e1"),
               axes=(make_axis(),), rated_customers_min=1),
        told=(),
        duplicates=(1,),
        populations=[[0, 1, 0, 0, 0]],
    ),
]  # fmt: skip

# blake2b-64("a") = 0x40f89e395b66422f, modulo 40,320 is minute 9,263 of the cycle and 623 of the day (10:23).
# 2024-01-01 00:00 is minute 28,401,120 = 704 * 40,320 + 15,840, so the turn comes 33,743 minutes later:
# on day 23 at 10:23.
_TURN_MS = DAY_0_MS + 33_743 * 60_000
_DAILY_TURN_MS = DAY_0_MS + 623 * 60_000


def _kept(seconds: int, gross_spend: float, baskets: int) -> RowValues:
    return {"kept_s": [seconds], "kept_gross_spend": [gross_spend], "kept_baskets": [baskets]}


_TURNS = [
    Example(
        "S1 the first tick sweeps nobody",
        stream(buys(0, 100), Tick(at(400))),
        rows={"a": {"score": [log(101)], "kept_s": []}},
        rescored=1,
    ),
    Example(
        "a turn comes in the minute of the tick, and not a minute before",
        stream(buys(0, 100), Tick(at(0)), Tick(_DAILY_TURN_MS - 1)),
        rows={"a": {"score": [log(101)]}},
        rescored=1,
    ),
    Example(
        "S2 a tick re-scores as of its own time and rewrites no sum",
        stream(buys(0, 100), Tick(at(0)), Tick(at(8))),
        rows={
            "a": {
                "score": [0.5 * log(26) + 0.5 * log(51)],
                "decayed_spend": [100, 100, 100, 100],
                "clock_ms": [at(0)],
                "kept_s": [],
            }
        },
        rescored=2,
    ),
    Example(
        "S3 however many turns a gap holds, one re-score and one snapshot",
        stream(buys(0, 100), Tick(at(0)), Tick(at(400))),
        rows={"a": _kept(DAY_0_S + 400 * DAY_S, 100, 1)},
        rescored=2,
    ),
    Example(
        "the snapshot comes with the turn's minute of the 28-day cycle",
        stream(buys(0, 100), Tick(_TURN_MS - 1), Tick(_TURN_MS + 1_999), Tick(_TURN_MS + 60_000)),
        rows={"a": _kept(_TURN_MS // 1000 + 1, 100, 1)},
        rescored=2,
    ),
    Example(
        "a tick at or before the last one does nothing",
        stream(buys(0, 100), Tick(at(0)), Tick(at(8)), Tick(at(8)), Tick(at(7))),
        rescored=2,
    ),
    Example(
        "S2 an event is scored as of the last tick where that is later",
        stream(Tick(at(8)), buys(0, 100)),
        rows={"a": {"score": [0.5 * log(26) + 0.5 * log(51)], "clock_ms": [at(0)]}},
    ),
    Example(
        "S6 a late purchase is added to the totals that were kept after it, in whole seconds, and a refund is not",
        stream(
            buys(0, 100), Tick(at(0)), Tick(at(40) + 500), buys(40, 7), buys(39, 10), refunds(39, 3), buys(39.5, 2)
        ),
        # The purchase of 7 is in the second of the snapshot, and therefore not before it. Day 39 is neither the first
        # nor the last purchase day, so that both late purchases open baskets.
        rows={"a": _kept(DAY_0_S + 40 * DAY_S, 112, 3)},
    ),
    Example(
        "only the last 2K totals are kept",
        stream(
            *(
                operation
                for month in range(4)
                for operation in (buys(28 * month, 1), Tick(at(28 * month)))
            ),
            horizon_periods=1,
        ),
        rows={"a": {"kept_s": [DAY_0_S + 56 * DAY_S, DAY_0_S + 84 * DAY_S], "kept_gross_spend": [3, 4]}},
    ),
    Example(
        "S4 a tick tells its changes in the order of id bytes",
        # After 40 days of half-lives 4 and 8, ln(1 + ...) of 1,000 is 0.5 * ln(1.98) + 0.5 * ln(32.25) = 2.08.
        stream(
            buys(0, 1000, "ä"), buys(0, 1000, "b"), buys(0, 1000, "aa"), Tick(at(0)), Tick(at(40)),
            axes=(absolute(3.0),),
        ),
        told=(
            Told(0, "ä", 1, 0, (UNRATED, 1), 3.0, Cause.FIRST_RATED, at(0)),
            Told(1, "b", 1, 0, (UNRATED, 1), 3.0, Cause.FIRST_RATED, at(0)),
            Told(2, "aa", 1, 0, (UNRATED, 1), 3.0, Cause.FIRST_RATED, at(0)),
            Told(-1, "aa", 2, 0, (1, 0), 3.0, Cause.TIME, at(40), is_triggered=False),
            Told(-1, "b", 2, 0, (1, 0), 3.0, Cause.TIME, at(40), is_triggered=False),
            Told(-1, "ä", 2, 0, (1, 0), 3.0, Cause.TIME, at(40), is_triggered=False),
        ),
    ),
]  # fmt: skip

# ln(1 + 6.39) = 2.000, ln(1 + 11.2) = 2.501, ln(1 + 3.4) = 1.482: on either side of lines at 1.5, 2 and 2.5.
_TIERS = [
    Example(
        "S13 prospects and unrated buyers are states, not tiers",
        stream(
            buys(0, 5), _event(0, Family.BROWSE, customer="b"), axes=(make_axis(),), rated_customers_min=2
        ),
        told=(),
        populations=[[1, 1, 0, 0, 0]],
        rescored=1,
    ),
    Example(
        "S13 the policy can rate everyone",
        stream(_event(0, Family.BROWSE), axes=(absolute(0.5),), rates_everyone=True),
        told=(Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),),
        populations=[[0, 0, 1, 0]],
    ),
    Example(
        "S13 a first rating uses the cut point itself, not the band, and needs no confirmation",
        stream(buys(0, 6.4), axes=(absolute(2.0, margin=0.5, confirmation_days=14),)),
        told=(Told(0, "a", 1, 0, (UNRATED, 1), 2.0, Cause.FIRST_RATED, at(0)),),
    ),
    Example(
        "S13 a buyer is rated at the first re-score after there are lines",
        # At q = .5 two of four may be above: the cut is the upper edge of the bucket of ln(3) = 1.0986, by half
        # percents 1.1. By 10:23 the turns of b (08:53) and a (10:23) have come, those of d (10:35) and c (21:15) not.
        stream(
            buys(0, 1, "b"), buys(0, 2, "c"), buys(0, 10), buys(0, 20, "d"), Renewal(at(0)), Tick(at(0)),
            Tick(_DAILY_TURN_MS),
            axes=(make_axis(tiers=("low", "high"), cuts=(0.5,), margin=0.0),), rated_customers_min=4,
        ),
        told=(
            Told(-1, "a", 1, 0, (UNRATED, 1), 1.1, Cause.FIRST_RATED, _DAILY_TURN_MS, is_triggered=False),
            Told(-1, "b", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, _DAILY_TURN_MS, is_triggered=False),
        ),
        populations=[[0, 2, 1, 1]],
    ),
    Example(
        "S16 a score at the line is above it",
        stream(buys(0, 0), axes=(absolute(0.0),)),
        told=(Told(0, "a", 1, 0, (UNRATED, 1), 0.0, Cause.FIRST_RATED, at(0)),),
    ),
    Example(
        "S17 a promotion needs the promote line and a demotion the demote line",
        stream(
            buys(0, 6.3), buys(0, 4.5), buys(0, 0.4), refunds(0, 6.0), refunds(0, 2.0),
            axes=(absolute(2.0, margin=0.5),),
        ),
        # Spend 6.3, 10.8, 11.2, 5.2, 3.2: scores 1.99, 2.47, 2.501, 1.82, 1.435.
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(2, "a", 2, 0, (0, 1), 2.5, Cause.EVENT, at(0)),
            Told(4, "a", 3, 0, (1, 0), 1.5, Cause.EVENT, at(0)),
        ),
        suppressed=(0,),
    ),
    Example(
        "S17 several tiers at once are one change, told with the line of the new tier's own edge",
        stream(buys(0, 0), buys(0, 99), refunds(0, 90), axes=(absolute(1.0, 2.0, 3.0, margin=0.25),)),
        # Scores 0, 4.61, 2.30: down past 3 - .25 but not past 2 - .25.
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(1, "a", 2, 0, (0, 3), 3.25, Cause.EVENT, at(0)),
            Told(2, "a", 3, 0, (3, 2), 2.75, Cause.EVENT, at(0)),
        ),
    ),
    Example(
        "S18 a candidate is confirmed by the first re-score at or after its time, without a trigger event",
        stream(buys(0, 1), buys(0.5, 99), buys(2.4999, 1), buys(2.5, 1), axes=(absolute(2.0, confirmation_days=2),)),
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(3, "a", 2, 0, (0, 1), 2.0, Cause.EVENT, at(2.5), is_triggered=False),
        ),
        suppressed=(0,),
    ),
    Example(
        "S18 a candidate that falls back to the held tier is given up and counted",
        stream(buys(0, 1), buys(1, 99), refunds(1, 99), axes=(absolute(2.0, confirmation_days=2),)),
        told=(Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),),
        rows={"a": {"candidate": [-1]}},
        suppressed=(1,),
    ),
    Example(
        "S18 another candidate restarts the clock and counts the one before",
        stream(buys(0, 1), buys(1, 10), buys(2, 1000), buys(3, 1), buys(4, 1),
               axes=(absolute(2.0, 4.0, confirmation_days=2),)),
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(4, "a", 2, 0, (0, 2), 4.0, Cause.CUT_POINT, at(4), is_triggered=False),
        ),
        suppressed=(1,),
    ),
    Example(
        "S18 a candidate by an event is confirmed in a tick with its own cause",
        stream(buys(0, 1), buys(0.5, 9999), Tick(at(0.6)), Tick(at(3)), axes=(absolute(2.0, confirmation_days=2),)),
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(-1, "a", 2, 0, (0, 1), 2.0, Cause.EVENT, at(3), is_triggered=False),
        ),
    ),
    Example(
        "S19 the cause is the cut point where the stored score already leaves the held tier under today's lines",
        # Alone, the buyer of 10 lies below the edge of its own bucket. Of five buyers two may be above, and the third
        # has bought 3: the cut is the upper edge of the bucket of ln(4) = 1.386, by half percents 1.39.
        stream(
            buys(0, 10), Renewal(at(0)), buys(0, 0),
            buys(0, 1, "b"), buys(0, 2, "c"), buys(0, 3, "d"), buys(0, 4, "e"), Renewal(at(0)), buys(0, 0),
            axes=(make_axis(tiers=("low", "high"), cuts=(0.5,), margin=0.0),), rated_customers_min=1,
        ),
        told=(
            Told(1, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(2, "b", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(3, "c", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(4, "d", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(5, "e", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(6, "a", 2, 0, (0, 1), 1.39, Cause.CUT_POINT, at(0)),
        ),
    ),
    Example(
        "the changes of one moment are told in the policy's order with the segment after all of them",
        stream(buys(0, 9), axes=(absolute(1.0, name="first"), absolute(1.0, 2.0, name="second"))),
        told=(
            Told(0, "a", 1, 0, (UNRATED, 1), 1.0, Cause.FIRST_RATED, at(0), segment=(1, 2)),
            Told(0, "a", 2, 1, (UNRATED, 2), 2.0, Cause.FIRST_RATED, at(0), segment=(1, 2)),
        ),
        populations=[[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]],
    ),
    Example(
        "an axis without lines tells nothing while another one does",
        stream(buys(0, 9), axes=(make_axis(name="quantiles"), absolute(1.0, name="absolute"))),
        told=(Told(0, "a", 1, 1, (UNRATED, 1), 1.0, Cause.FIRST_RATED, at(0), segment=(UNRATED, 1)),),
    ),
]  # fmt: skip

EXAMPLES = (*_MONEY, *_BASKETS, *_DUPLICATES, *_TURNS, *_TIERS)


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
