"""What events leave in their customers' rows: decayed sums, totals, baskets, satisfaction, keys (S6, S7, S11, S12)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.events import BEHAVIOUR_FAMILIES, MS_PER_DAY, MS_PER_SECOND, EventBatch, Family
from stream_app.domain.grouping import Grouping
from stream_app.domain.policy import Policy
from stream_app.domain.rows import GAP_NONE, GAP_STEP_S, RowBlock, take_rows

FloatArray = NDArray[np.float64]
Counts = NDArray[np.uint32]

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class HalfLives:
    """The policy's half-lives in milliseconds."""

    spend_ms: tuple[float, ...]
    behaviour_ms: float

    @classmethod
    def from_policy(cls, policy: Policy) -> HalfLives:
        """Convert days to milliseconds."""
        spend_ms = tuple(days * MS_PER_DAY for days in policy.half_lives_days)
        return cls(spend_ms, policy.behaviour_half_life_days * MS_PER_DAY)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What the rows remember of events, as columns of shape `(n,)` in the order of their groups; see `EventBatch`."""

    times_ms: NDArray[np.int64]
    families: NDArray[np.uint8]
    amounts: NDArray[np.float64]
    satisfactions: NDArray[np.float64]
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, events: EventBatch, index: NDArray[np.int64]) -> Facts:
        """Take the facts of some events, in the order of the index."""
        times_ms, families, amounts = events.times_ms[index], events.families[index], events.amounts[index]
        return cls(times_ms, families, amounts, events.satisfactions[index], events.event_keys[index])


def remember(known: RowBlock, events: Facts, groups: Grouping, half_lives: HalfLives) -> RowBlock:
    """Let events count in their customers' rows, one after the other.

    Parameters
    ----------
    known
        Shape `(u,)`: the customers' rows before, in the order of the groups; afterwards, those after their last events.
    events
        The n events in the order of the groups, without duplicates.
    groups
        Their customers.
    half_lives
        Of the policy.

    Returns
    -------
    RowBlock
        Shape `(n,)`: the row of each event's customer as it is after that event; `known` itself where
        nobody has more than one. Per-axis fields and sequence are still those from before the batch.
    """
    after = np.empty(0 if groups.is_single else len(groups.customer_indices), known.dtype)
    _remember_each(
        (groups.customer_indices, events.times_ms, events.families, events.amounts, events.satisfactions, events.keys),
        (known["clock_ms"], known["first_purchase_s"], known["last_purchase_s"]),
        tuple(known[name] for name in ("purchase_count", "basket_count", "refund_count", "log_count")),
        tuple(known[name] for name in ("gross_spend", "net_spend", "refunded", "log_sum", "log_square_sum")),
        (known["last_basket"], known["largest_basket"]),
        (known["decayed_spend"], known["decayed_count"], np.array(half_lives.spend_ms)),
        (known["behaviour_count"], known["behaviour_last_s"], half_lives.behaviour_ms),
        (known["satisfaction_sum"], known["satisfaction_count"], known["event_keys"], known["ring_position"]),
        (known["kept_s"], known["kept_gross_spend"], known["kept_baskets"], known["kept_gap"]),
        (
            known.view(np.uint8).reshape(len(known), known.itemsize),
            after.view(np.uint8).reshape(len(after), known.itemsize),
        ),
        (int(Family.PURCHASE), int(Family.REFUND), int(BEHAVIOUR_FAMILIES[0])),
        (MS_PER_SECOND, GAP_STEP_S, GAP_NONE),
    )
    return known if groups.is_single else after


_Events = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8], FloatArray, FloatArray, NDArray[np.uint64]]
_Kept = tuple[Counts, FloatArray, Counts, NDArray[np.uint8]]


@compiled
def _remember_each(
    events: _Events,
    times: tuple[NDArray[np.int64], Counts, Counts],
    counts: tuple[Counts, ...],
    money: tuple[FloatArray, ...],
    baskets: tuple[FloatArray, FloatArray],
    decayed: tuple[NDArray[np.float32], NDArray[np.float32], FloatArray],
    behaviour: tuple[NDArray[np.float32], Counts, float],
    other: tuple[NDArray[np.float32], Counts, NDArray[np.uint64], NDArray[np.uint8]],
    kept: _Kept,
    copies: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    families: tuple[int, int, int],
    units: tuple[int, int, int],
) -> None:
    """Do what `remember` says; all but the events are columns of the customers' rows."""
    customers, times_ms, own_families, amounts, satisfactions, keys = events
    clock_ms, first_s, last_s = times
    purchase_count, basket_count, refund_count, log_count = counts
    gross_spend, net_spend, refunded, log_sum, log_square_sum = money
    last_basket, largest_basket = baskets
    satisfaction_sum, satisfaction_count, event_keys, ring_position = other
    purchase, refund, first_behaviour = families
    ms_per_second, gap_step_s, gap_none = units
    rows, after = copies
    has_copies = len(after) > 0
    for place in range(len(customers)):
        customer, family, amount = customers[place], own_families[place], amounts[place]
        time_s = times_ms[place] // ms_per_second
        clock_before = clock_ms[customer]
        clock = max(clock_before, times_ms[place])
        clock_ms[customer] = clock
        opens, entry, removal = False, 0.0, 0.0
        if family == purchase:
            own = (time_s, purchase_count[customer], first_s[customer], last_s[customer])
            is_later, is_same, is_late = _basket_of(*own)
            opens = is_later or is_late
            if is_same:
                removal = last_basket[customer]
                entry = removal + amount
            elif opens:
                entry = amount
            if is_later or is_same:
                last_basket[customer] = entry
            largest_basket[customer] = max(largest_basket[customer], entry)
            first_s[customer] = min(first_s[customer], time_s) if purchase_count[customer] else time_s
            last_s[customer] = max(last_s[customer], time_s)
            purchase_count[customer] += 1
            gross_spend[customer] += amount
            _add_to_kept(kept, customer, time_s, amount, opens, gap_step_s, gap_none)
        if opens:
            basket_count[customer] += 1
        if family == refund:
            refund_count[customer] += 1
            refunded[customer] += amount
        signed = -amount if family == refund else amount
        net_spend[customer] += signed
        entered, removed = math.log(entry) if entry > 0.0 else 0.0, math.log(removal) if removal > 0.0 else 0.0
        log_count[customer] += int(entry > 0.0) - int(removal > 0.0)
        log_sum[customer] += entered - removed
        log_square_sum[customer] += entered * entered - removed * removed
        _fade(decayed, customer, clock - clock_before, clock - times_ms[place], signed, opens)
        _notice(behaviour, customer, family - first_behaviour, clock - clock_before, clock - times_ms[place], time_s)
        if not math.isnan(satisfactions[place]):
            satisfaction_sum[customer] += satisfactions[place]
            satisfaction_count[customer] += 1
        event_keys[customer, ring_position[customer]] = keys[place]
        ring_position[customer] = (ring_position[customer] + 1) % event_keys.shape[1]
        if has_copies:
            after[place] = rows[customer]


@compiled
def _basket_of(time_s: int, purchase_count: int, first_s: int, last_s: int) -> tuple[bool, bool, bool]:
    """Tell which basket a purchase goes into: a new last one, the last one, or one before it. A basket is a day."""
    if not purchase_count:
        return True, False, False
    day, last_day = time_s // _SECONDS_PER_DAY, last_s // _SECONDS_PER_DAY
    return day > last_day, day == last_day, day < last_day and day != first_s // _SECONDS_PER_DAY


@compiled
def _fade(
    decayed: tuple[NDArray[np.float32], NDArray[np.float32], FloatArray],
    customer: int,
    elapsed_ms: int,
    late_by_ms: int,
    amount: float,
    opens: bool,
) -> None:
    """Fade the decayed sums to the customer's clock and add what the event brings (S6)."""
    spends, counts, half_lives_ms = decayed
    for place in range(len(half_lives_ms)):
        factor = np.exp2(elapsed_ms / -half_lives_ms[place])
        weight = np.exp2(late_by_ms / -half_lives_ms[place])
        spends[customer, place] = spends[customer, place] * factor + amount * weight
        counts[customer, place] = counts[customer, place] * factor + (weight if opens else 0.0)


@compiled
def _notice(
    behaviour: tuple[NDArray[np.float32], Counts, float],
    customer: int,
    own: int,
    elapsed_ms: int,
    late_by_ms: int,
    time_s: int,
) -> None:
    """Fade the counts of other behaviour, and count an event in whose place among them is `own`, if it has one."""
    counts, last_s, half_life_ms = behaviour
    factor = np.exp2(elapsed_ms / -half_life_ms)
    for place in range(counts.shape[1]):
        faded = counts[customer, place] * factor
        if place == own:
            faded += np.exp2(late_by_ms / -half_life_ms)
            last_s[customer, place] = max(last_s[customer, place], time_s)
        counts[customer, place] = faded


@compiled
def _add_to_kept(
    kept: _Kept, customer: int, time_s: int, amount: float, opens: bool, gap_step_s: int, gap_none: int
) -> None:
    """Add a late purchase to the totals that were kept after its time (S6)."""
    kept_s, kept_spend, kept_baskets, kept_gap = kept
    first_gap = kept_s.shape[1] - kept_gap.shape[1]
    for place in range(kept_s.shape[1] - 1, -1, -1):
        until_s = kept_s[customer, place] - time_s
        if until_s <= 0:
            break
        kept_spend[customer, place] += amount
        kept_baskets[customer, place] += int(opens)
        if place >= first_gap:
            steps = min(until_s // gap_step_s, gap_none)
            kept_gap[customer, place - first_gap] = min(kept_gap[customer, place - first_gap], steps)


def _gap_steps(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give spans in whole steps of `GAP_STEP_S`, at most `GAP_NONE`."""
    steps: NDArray[np.int64] = np.minimum(np.maximum(seconds, 0) // GAP_STEP_S, GAP_NONE)
    return steps


def keep_totals(block: RowBlock, is_due: NDArray[np.bool_], times_ms: NDArray[np.int64]) -> None:
    """Append the totals as of a snapshot; the oldest falls out (S14).

    Parameters
    ----------
    block
        Shape `(n,)`; changed in place.
    is_due
        Shape `(n,)`: whose snapshot it is.
    times_ms
        Shape `(n,)`: the tick of each, in milliseconds since 1970-01-01 UTC.
    """
    due = np.flatnonzero(is_due)
    if not len(due):
        return
    rows = take_rows(block, due)
    times_s = times_ms[due] // MS_PER_SECOND
    gaps = np.where(rows["basket_count"] > 0, _gap_steps(times_s - rows["last_purchase_s"]), GAP_NONE)
    for kept, now in (
        ("kept_s", times_s),
        ("kept_gross_spend", rows["gross_spend"]),
        ("kept_baskets", rows["basket_count"]),
        ("kept_gap", gaps),
    ):
        totals = rows[kept].copy()
        totals[:, :-1] = totals[:, 1:]
        totals[:, -1] = now
        rows[kept] = totals
    as_bytes = f"V{block.dtype.itemsize}"
    block.view(as_bytes)[due] = rows.view(as_bytes)
