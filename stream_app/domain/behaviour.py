"""What events leave in their customers' rows: decayed sums, totals, baskets, satisfaction (S6, S11, S12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.decay import decay
from stream_app.domain.events import BEHAVIOUR_FAMILIES, MS_PER_DAY, MS_PER_SECOND, EventBatch, Family
from stream_app.domain.policy import Policy
from stream_app.domain.rounds import Rounds
from stream_app.domain.rows import GAP_NONE, GAP_STEP_S, HALF_LIFE_COUNT, RING_SIZE, RowBlock, take_rows

_SECONDS_PER_DAY = 86_400
_NEVER_S = np.int64(2**40)
"""Stands for the first purchase of somebody who has bought nothing."""


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
    """What the rows remember of events, as columns of shape `(n,)` in round order; see `EventBatch`."""

    times_ms: NDArray[np.int64]
    families: NDArray[np.uint8]
    amounts: NDArray[np.float64]
    satisfactions: NDArray[np.float64]

    @classmethod
    def of(cls, events: EventBatch, index: NDArray[np.int64]) -> Facts:
        """Take the facts of some events, in the order of the index."""
        return cls(events.times_ms[index], events.families[index], events.amounts[index], events.satisfactions[index])


@dataclass(frozen=True, slots=True, eq=False)
class _Baskets:
    """How each event relates to its customer's baskets; columns of shape `(n,)` in round order."""

    opens: NDArray[np.bool_]
    entry: NDArray[np.float64]
    removal: NDArray[np.float64]
    last_basket: NDArray[np.float64]
    largest: NDArray[np.float64]
    first_purchase_s: NDArray[np.int64]
    last_purchase_s: NDArray[np.int64]


def remember(known: RowBlock, events: Facts, rounds: Rounds, half_lives: HalfLives) -> RowBlock:
    """Give the row of each event's customer as it is after that event.

    Parameters
    ----------
    known
        Shape `(u,)`: the customers' rows before, in the order of the rounds. May be changed.
    events
        The n events in round order, without duplicates.
    rounds
        Their layout.
    half_lives
        Of the policy.

    Returns
    -------
    RowBlock
        Shape `(n,)`, in round order. Per-axis fields, sequence and ring are still those from before the batch.
    """
    times_s = events.times_ms // MS_PER_SECOND
    is_purchase = events.families == Family.PURCHASE
    is_refund = events.families == Family.REFUND
    baskets = _sort_into_baskets(known, events.amounts, times_s, is_purchase, rounds)
    clock = rounds.accumulate(np.maximum, known["clock_ms"], events.times_ms)
    elapsed = clock - rounds.before(known["clock_ms"], clock)

    rows = known if rounds.is_single else take_rows(known, rounds.customer_indices)
    # From here on `known` may be the same memory as `rows`: read each field of it before writing that field.
    _fade_sums(rows, known, events, rounds, (elapsed, clock - events.times_ms, baskets.opens, half_lives))
    _count_up(rows, known, events, rounds, baskets)
    _add_money(rows, known, rounds, (np.where(is_purchase, events.amounts, 0.0), is_refund, events.amounts, baskets))
    _add_to_kept(rows, known, rounds, (times_s, is_purchase, events.amounts, baskets.opens))
    rows["clock_ms"] = clock
    rows["first_purchase_s"] = np.where(baskets.first_purchase_s == _NEVER_S, 0, baskets.first_purchase_s)
    rows["last_purchase_s"] = np.maximum(baskets.last_purchase_s, 0)
    rows["last_basket"] = baskets.last_basket
    rows["largest_basket"] = baskets.largest
    return rows


def _sort_into_baskets(
    known: RowBlock,
    amounts: NDArray[np.float64],
    times_s: NDArray[np.int64],
    is_purchase: NDArray[np.bool_],
    rounds: Rounds,
) -> _Baskets:
    has_bought = known["purchase_count"] > 0
    first_known = np.where(has_bought, known["first_purchase_s"].astype(np.int64), _NEVER_S)
    last_known = np.where(has_bought, known["last_purchase_s"].astype(np.int64), np.int64(-1))
    first = rounds.accumulate(np.minimum, first_known, np.where(is_purchase, times_s, _NEVER_S))
    last = rounds.accumulate(np.maximum, last_known, np.where(is_purchase, times_s, np.int64(-1)))
    day = times_s // _SECONDS_PER_DAY
    first_day = rounds.before(first_known, first) // _SECONDS_PER_DAY
    # A last purchase of -1 s lies on day -1, before every event.
    last_day = rounds.before(last_known, last) // _SECONDS_PER_DAY

    is_later = is_purchase & (day > last_day)
    is_same = is_purchase & (day == last_day)
    is_late = is_purchase & (day < last_day) & (day != first_day)
    last_basket = rounds.fade(
        known["last_basket"], np.where(is_later, 0.0, 1.0), np.where(is_later | is_same, amounts, 0.0)
    )
    removal = np.where(is_same, rounds.before(known["last_basket"], last_basket), 0.0)
    entry = np.where(is_later | is_late, amounts, np.where(is_same, last_basket, 0.0))
    largest = rounds.accumulate(np.maximum, known["largest_basket"], entry)
    return _Baskets(is_later | is_late, entry, removal, last_basket, largest, first, last)


def _fade_sums(
    rows: RowBlock,
    known: RowBlock,
    events: Facts,
    rounds: Rounds,
    facts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], HalfLives],
) -> None:
    """Fade every decayed sum to the customer's clock and add what the event brings (S6)."""
    elapsed, late_by, opens, half_lives = facts
    families = events.families
    is_late = bool(late_by.any())
    sign = np.where(families == Family.REFUND, -1.0, 1.0)
    signed = events.amounts * sign
    count = len(families)
    behaviours = len(BEHAVIOUR_FAMILIES)
    shape = (count, 2 * HALF_LIFE_COUNT + behaviours)
    factors, addends = np.empty(shape), np.zeros(shape)
    for place, half_life_ms in enumerate(half_lives.spend_ms):
        factor = decay(elapsed, half_life_ms)
        factors[:, place] = factor
        factors[:, HALF_LIFE_COUNT + place] = factor
        weight = decay(late_by, half_life_ms) if is_late else 1.0
        addends[:, place] = signed * weight
        addends[:, HALF_LIFE_COUNT + place] = opens * weight
    factors[:, 2 * HALF_LIFE_COUNT :] = decay(elapsed, half_lives.behaviour_ms)[:, None]
    own = np.flatnonzero(families >= BEHAVIOUR_FAMILIES[0])
    place_of = families[own].astype(np.int64) - BEHAVIOUR_FAMILIES[0]
    addends[own, 2 * HALF_LIFE_COUNT + place_of] = decay(late_by[own], half_lives.behaviour_ms)
    initial = np.concatenate((known["decayed_spend"], known["decayed_count"], known["behaviour_count"]), axis=1)
    sums = rounds.fade(initial, factors, addends)
    rows["decayed_spend"] = sums[:, :HALF_LIFE_COUNT]
    rows["decayed_count"] = sums[:, HALF_LIFE_COUNT : 2 * HALF_LIFE_COUNT]
    rows["behaviour_count"] = sums[:, 2 * HALF_LIFE_COUNT :]


def _add(rows: RowBlock, known: RowBlock, name: str, steps: NDArray[Any], rounds: Rounds) -> None:
    """Add steps to a field, event by event; without any step, `rows` holds the known value already."""
    if steps.any():
        rows[name] = rounds.accumulate(np.add, known[name].astype(steps.dtype), steps)


def _count_up(rows: RowBlock, known: RowBlock, events: Facts, rounds: Rounds, baskets: _Baskets) -> None:
    is_stated = ~np.isnan(events.satisfactions)
    for name, steps in (
        ("purchase_count", events.families == Family.PURCHASE),
        ("basket_count", baskets.opens),
        ("refund_count", events.families == Family.REFUND),
        ("satisfaction_count", is_stated),
        ("log_count", (baskets.entry > 0).astype(np.int64) - (baskets.removal > 0)),
    ):
        _add(rows, known, name, steps.astype(np.int64), rounds)
    if is_stated.any():
        stated = np.where(is_stated, events.satisfactions, 0.0)
        rows["satisfaction_sum"] = rounds.fade(known["satisfaction_sum"], np.ones(len(stated)), stated)
    if (events.families >= BEHAVIOUR_FAMILIES[0]).any():
        times_s = events.times_ms // MS_PER_SECOND
        seen = np.where(
            events.families[:, None] == np.array(BEHAVIOUR_FAMILIES, dtype=np.uint8), times_s[:, None], np.int64(0)
        )
        rows["behaviour_last_s"] = rounds.accumulate(np.maximum, known["behaviour_last_s"].astype(np.int64), seen)


def _add_money(
    rows: RowBlock,
    known: RowBlock,
    rounds: Rounds,
    facts: tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], _Baskets],
) -> None:
    purchased, is_refund, amounts, baskets = facts
    entered, removed = _log_positive(baskets.entry), _log_positive(baskets.removal)
    for name, steps in (
        ("gross_spend", purchased),
        ("net_spend", np.where(is_refund, -amounts, amounts)),
        ("refunded", np.where(is_refund, amounts, 0.0)),
        ("log_sum", entered - removed),
        ("log_square_sum", entered * entered - removed * removed),
    ):
        _add(rows, known, name, steps, rounds)


def _log_positive(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the natural logarithm of positive amounts, 0 for the others."""
    result: NDArray[np.float64] = np.log(np.where(amounts > 0, amounts, 1.0))
    return result


def _add_to_kept(
    rows: RowBlock,
    known: RowBlock,
    rounds: Rounds,
    facts: tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    """Add late purchases to the totals that were kept after their time (S6)."""
    times_s, is_purchase, amounts, opens = facts
    kept_s = known["kept_s"]
    newest = kept_s[:, -1][rounds.customer_indices]
    if not (is_purchase & (times_s < newest)).any():
        return
    is_before = is_purchase[:, None] & (times_s[:, None] < kept_s[rounds.customer_indices])
    gross = np.where(is_before, amounts[:, None], 0.0)
    rows["kept_gross_spend"] = rounds.accumulate(np.add, known["kept_gross_spend"], gross)
    baskets = (is_before & opens[:, None]).astype(np.int64)
    rows["kept_baskets"] = rounds.accumulate(np.add, known["kept_baskets"].astype(np.int64), baskets)
    count = known["kept_gap"].shape[1]
    own = kept_s[rounds.customer_indices, -count:].astype(np.int64)
    gaps = np.where(is_before[:, -count:], _gap_steps(own - times_s[:, None]), GAP_NONE)
    rows["kept_gap"] = rounds.accumulate(np.minimum, known["kept_gap"].astype(np.int64), gaps)


def _gap_steps(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give spans in whole steps of `GAP_STEP_S`, at most `GAP_NONE`."""
    steps: NDArray[np.int64] = np.minimum(np.maximum(seconds, 0) // GAP_STEP_S, GAP_NONE)
    return steps


def enter_keys(block: RowBlock, keys: NDArray[np.uint64], rounds: Rounds) -> None:
    """Put the keys of applied events into the rings of their customers (S7).

    Parameters
    ----------
    block
        Shape `(u,)`: the customers' rows after the batch; changed in place.
    keys
        Shape `(n,)`, in round order.
    rounds
        Their layout.
    """
    counts = rounds.event_counts[rounds.customer_indices]
    round_numbers = np.repeat(np.arange(len(rounds.offsets) - 1), np.diff(rounds.offsets))
    is_kept = round_numbers >= counts - RING_SIZE
    customers = rounds.customer_indices[is_kept]
    starts = block["ring_position"].astype(np.int64)
    places = (starts[customers] + round_numbers[is_kept]) % RING_SIZE
    block["event_keys"][customers, places] = keys[is_kept]
    block["ring_position"] = (starts + rounds.event_counts) % RING_SIZE


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
