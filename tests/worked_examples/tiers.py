"""Worked examples of tiers: lines, hysteresis, confirmation, causes, and the order of several axes."""

from __future__ import annotations

from stream_app.domain.effects import Cause
from stream_app.domain.events import Family
from stream_app.domain.rows import UNRATED
from tests.factories import make_axis
from tests.strategies import Renewal, Switch, Tick
from tests.worked_examples.example import DAILY_TURN_MS, Example, Told, absolute, at, buys, happens, refunds, stream

# ln(1 + 6.39) = 2.000, ln(1 + 11.2) = 2.501, ln(1 + 3.4) = 1.482: on either side of lines at 1.5, 2 and 2.5.
TIERS = [
    Example(
        "S13 prospects and unrated buyers are states, not tiers",
        stream(
            buys(0, 5), happens(0, Family.BROWSE, customer="b"), axes=(make_axis(),), rated_customers_min=2
        ),
        told=(),
        populations=[[1, 1, 0, 0, 0]],
        rescored=1,
    ),
    Example(
        "S13 the policy can rate everyone",
        stream(happens(0, Family.BROWSE), axes=(absolute(0.5),), rates_everyone=True),
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
            Tick(DAILY_TURN_MS),
            axes=(make_axis(tiers=("low", "high"), cuts=(0.5,), margin=0.0),), rated_customers_min=4,
        ),
        told=(
            Told(-1, "a", 1, 0, (UNRATED, 1), 1.1, Cause.FIRST_RATED, DAILY_TURN_MS, is_triggered=False),
            Told(-1, "b", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, DAILY_TURN_MS, is_triggered=False),
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
        "S17 the margins of rising and of falling may differ",
        stream(
            buys(0, 6.3), buys(0, 3.0), buys(0, 1.0), refunds(0, 6.0), refunds(0, 2.0),
            axes=(absolute(2.0, margin=(0.25, 0.5)),),
        ),
        # Spend 6.3, 9.3, 10.3, 4.3, 2.3: scores 1.99, 2.33, 2.42, 1.67, 1.19.
        told=(
            Told(0, "a", 1, 0, (UNRATED, 0), None, Cause.FIRST_RATED, at(0)),
            Told(1, "a", 2, 0, (0, 1), 2.25, Cause.EVENT, at(0)),
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
        "S19 the tick after a switch of the scoring re-scores everybody, with the cut point as cause",
        # ln(100) = 4.61 becomes 2.30. Nobody has a turn in that millisecond.
        stream(
            buys(0, 99), buys(0, 9999, "b"), Tick(at(0)), Switch(at(0), 0.5), Tick(at(0) + 1), axes=(absolute(3.0),)
        ),
        told=(
            Told(0, "a", 1, 0, (UNRATED, 1), 3.0, Cause.FIRST_RATED, at(0)),
            Told(1, "b", 1, 0, (UNRATED, 1), 3.0, Cause.FIRST_RATED, at(0)),
            Told(-1, "a", 2, 0, (1, 0), 3.0, Cause.CUT_POINT, at(0) + 1, is_triggered=False),
        ),
        rescored=4,
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
