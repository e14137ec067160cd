"""A customer's row in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import numpy as np

from stream_app.domain.effects import Cause
from stream_app.domain.events import BEHAVIOUR_FAMILIES
from stream_app.domain.policy import Policy
from stream_app.domain.rows import NOT_HELD, RowBlock

_MINUTES_PER_DAY = 24 * 60


def customer_lines(rows: RowBlock, policy: Policy) -> list[str]:
    """Say all that is remembered of a customer.

    Parameters
    ----------
    rows
        Shape `(1,)`: a row of the table.
    policy
        The policy that it was built with.

    Returns
    -------
    list[str]
        `name: value` lines; decayed sums are as of the customer's clock.
    """
    return [f"{name}: {value}" for name, value in _facts(rows[0], policy)]


def _facts(row: np.void, policy: Policy) -> Iterator[tuple[str, str]]:
    yield "clock", _time(int(row["clock_ms"]))
    yield from _standing(row, policy)
    yield "segment changes told", str(int(row["sequence"]))
    yield from _purchases(row, policy)
    for place, family in enumerate(BEHAVIOUR_FAMILIES):
        last_s = int(row["behaviour_last_s"][place])
        if last_s:
            count = f"{float(row['behaviour_count'][place]):.2f} (half-life {policy.behaviour_half_life_days:g} days)"
            yield family.name.lower(), f"{count}, last {_time(1_000 * last_s)}"
    said = int(row["satisfaction_count"])
    if said:
        yield "satisfaction", f"mean {float(row['satisfaction_sum']) / said:.2f} of {said}"
    turn = int(row["turn"])
    day, minute = divmod(turn, _MINUTES_PER_DAY)
    yield "turn", f"day {day + 1} of 28 at {minute // 60:02d}:{minute % 60:02d} UTC"
    kept = [
        f"{_time(1_000 * int(at_s))}: {float(spend):.2f} in {int(baskets)}"
        for at_s, spend, baskets in zip(row["kept_s"], row["kept_gross_spend"], row["kept_baskets"], strict=True)
        if at_s
    ]
    if kept:
        yield "gross spend and baskets at snapshots", "; ".join(kept)


def _standing(row: np.void, policy: Policy) -> Iterator[tuple[str, str]]:
    for place, axis in enumerate(policy.axes):
        held, candidate = int(row["held"][place]), int(row["candidate"][place])
        missing = "unrated" if int(row["purchase_count"]) or policy.rates_everyone else "prospect"
        text = axis.tiers[held] if held != NOT_HELD else missing
        if int(row["bucket"][place]) != NOT_HELD:
            text += f", score {float(row['score'][place]):.4f}"
        if candidate != NOT_HELD:
            cause = Cause(int(row["candidate_cause"][place])).name.lower()
            text += f", {axis.tiers[candidate]} to be confirmed since {_time(int(row['since_ms'][place]))} ({cause})"
        yield axis.name, text


def _purchases(row: np.void, policy: Policy) -> Iterator[tuple[str, str]]:
    count, currency = int(row["purchase_count"]), policy.reporting_currency
    if not count:
        yield "purchases", "none"
    else:
        first, last = (_time(1_000 * int(row[name])) for name in ("first_purchase_s", "last_purchase_s"))
        yield "purchases", f"{count} in {int(row['basket_count'])} baskets, first {first}, last {last}"
        money = f"gross {float(row['gross_spend']):.2f}, net {float(row['net_spend']):.2f} {currency}"
        yield "spend", f"{money}, largest basket {float(row['largest_basket']):.2f}"
    if int(row["refund_count"]):
        yield "refunds", f"{int(row['refund_count'])}, {float(row['refunded']):.2f} {currency}"
    half_lives = list(islice(policy.half_lives_days, len(row["decayed_spend"])))
    sums = zip(half_lives, row["decayed_spend"], row["decayed_count"], strict=True)
    parts = [f"{days:g} days: {float(spend):.2f} in {float(baskets):.2f}" for days, spend, baskets in sums]
    yield "decayed spend and baskets by half-life", "; ".join(parts)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
