"""Worked examples of ticks and turns: sweeps, snapshots, and re-scores by time."""

from __future__ import annotations

from math import log

from stream_app.domain.effects import Cause
from stream_app.domain.rows import UNRATED
from tests.outcomes import RowValues
from tests.strategies import Tick
from tests.worked_examples.example import (
    DAILY_TURN_MS,
    DAY_0_S,
    DAY_S,
    TURN_MS,
    Example,
    Told,
    absolute,
    at,
    buys,
    refunds,
    stream,
)


def _kept(seconds: int, gross_spend: float, baskets: int) -> RowValues:
    return {"kept_s": [seconds], "kept_gross_spend": [gross_spend], "kept_baskets": [baskets]}


TURNS = [
    Example(
        "S1 the first tick sweeps nobody",
        stream(buys(0, 100), Tick(at(400))),
        rows={"a": {"score": [log(101)], "kept_s": []}},
        rescored=1,
    ),
    Example(
        "a turn comes in the minute of the tick, and not a minute before",
        stream(buys(0, 100), Tick(at(0)), Tick(DAILY_TURN_MS - 1)),
        rows={"a": {"score": [log(101)]}},
        rescored=1,
    ),
    Example(
        "a turn comes in the first tick at or after its minute, once a sweep period",
        stream(buys(0, 100), Tick(at(0)), Tick(DAILY_TURN_MS), Tick(at(1)), Tick(DAILY_TURN_MS + DAY_S * 1000)),
        rows={"a": {"kept_s": []}},
        rescored=3,
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
        stream(buys(0, 100), Tick(TURN_MS - 1), Tick(TURN_MS + 1_999), Tick(TURN_MS + 60_000)),
        rows={"a": _kept(TURN_MS // 1000 + 1, 100, 1)},
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
