"""Worked examples of what one event changes: money, decayed sums, baskets, and ids seen before."""

from __future__ import annotations

from math import log

from stream_app.domain.events import Family
from tests.factories import DAY_MS, make_axis
from tests.strategies import Renewal
from tests.worked_examples.example import DAY_0_S, DAY_S, Example, at, buys, happens, log_moments, refunds, stream

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
        stream(happens(0, Family.CONTENT, 5.0), happens(30, Family.CONTENT, 5.0)),
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
            happens(0, Family.FEEDBACK, satisfaction=1.0),
            happens(1, Family.SUPPORT, satisfaction=0.5),
            happens(1, Family.BROWSE),
        ),
        rows={"a": {"satisfaction_sum": [1.5], "satisfaction_count": [2]}},
    ),
    Example(
        "a late behaviour adds its share and keeps the later last time",
        stream(happens(60, Family.CART), happens(0, Family.CART)),
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

COUNTING = (*_MONEY, *_BASKETS, *_DUPLICATES)
