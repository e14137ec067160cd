"""The little that is remembered of each customer's tier changes: enough for flaps, migrations and examples."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Cause, Changes
from stream_app.domain.events import MS_PER_DAY

FLAP_MS: Final = 28 * MS_PER_DAY
"""A change that is undone within this time, the end included, is a flap."""
NEVER_MS: Final = -(2**62)
"""A time before every other that can be subtracted from any of them without overflow."""
_CAPACITY_START: Final = 1024

HistoryRow = np.void
_Best = tuple[float, float, bytes]


class ChangeHistories:
    """Fixed-size memory of the customers who ever changed tier, or began in the highest one.

    A change from tier a to tier b at time s is **undone** at the first later change of the same customer and axis, at
    time u, that brings the customer back to a or past it (to a tier <= a if b > a, to a tier >= a if b < a). It is a
    **flap** when u - s <= 28 days. The changes between need not lead straight back, and one return may undo several
    changes: small to big, big to vip, vip to small within 28 days are three changes and two flaps. First ratings are no
    changes, and no change is undone twice; so flaps / changes is a ratio.

    Parameters
    ----------
    tier_counts
        Number of tiers of each axis.

    Notes
    -----
    Whoever leaves tier a again must have come back to it, which undid the departure before. One time for each tier
    is therefore all that has to be kept: when the customer left it last, unless that has been undone.
    """

    def __init__(self, tier_counts: tuple[int, ...]) -> None:
        self._top_tiers = np.array(tier_counts, dtype=np.int64) - 1
        self._slots: dict[bytes, int] = {}
        n_axes, n_tiers_max = len(tier_counts), max(tier_counts)
        self._empty = np.zeros(1, dtype=_row_dtype(n_axes, n_tiers_max))
        self._empty["first_tier"] = self._empty["held_tier"] = -1
        self._empty["left_at_ms"] = self._empty["held_since_ms"] = self._empty["first_rated_ms"] = NEVER_MS
        self._empty["score"] = -np.inf
        self._empty["run_base"] = self._empty["previous_base"] = -1
        self._rows = np.repeat(self._empty, _CAPACITY_START)
        self.flap_counts = np.zeros(n_axes, dtype=np.int64)
        self.best: dict[tuple[str, int], tuple[_Best, tuple[int, ...]]] = {}

    @property
    def rows(self) -> NDArray[HistoryRow]:
        """Shape `(n,)`: one row for each customer remembered, in the order of `customer_ids`."""
        return self._rows[: len(self._slots)]

    @property
    def customer_ids(self) -> list[bytes]:
        """The customers remembered, in the order of `rows`."""
        return list(self._slots)

    def record(self, changes: Changes, index: NDArray[np.int64]) -> None:
        """Take in some changes, in the order of the index, first ratings among them.

        Parameters
        ----------
        changes
            As told by the engine.
        index
            Shape `(n,)`, int64, increasing: which of them.
        """
        axes = changes.axes[index].astype(np.int64)
        is_first = is_first_rating(changes, index)
        is_kept = ~is_first | (changes.to_tiers[index] == self._top_tiers[axes])
        index, axes, is_first = index[is_kept], axes[is_kept], is_first[is_kept]
        if not len(index):
            return
        slots = self._slots_of(changes.customer_ids[index])
        turns = _occurrences(slots * len(self._top_tiers) + axes)
        for turn in range(int(turns.max()) + 1):
            in_turn = np.flatnonzero(turns == turn)
            firsts, others = in_turn[is_first[in_turn]], in_turn[~is_first[in_turn]]
            if len(firsts):
                self._record_first_ratings(changes, index[firsts], slots[firsts])
            if len(others):
                self._record_changes(changes, index[others], slots[others])

    def _slots_of(self, customer_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        slots = self._slots
        found = [slots.setdefault(customer_id, len(slots)) for customer_id in customer_ids.tolist()]
        while len(slots) > len(self._rows):
            self._rows = np.concatenate([self._rows, np.repeat(self._empty, len(self._rows))])
        return np.array(found, dtype=np.int64)

    def _record_first_ratings(self, changes: Changes, index: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        axes = changes.axes[index]
        rows = self._rows
        rows["first_tier"][slots, axes] = rows["held_tier"][slots, axes] = changes.to_tiers[index]
        rows["first_rated_ms"][slots, axes] = changes.effective_at_ms[index]
        rows["held_since_ms"][slots, axes] = changes.effective_at_ms[index]
        rows["score"][slots, axes] = changes.scores[index]

    def _record_changes(self, changes: Changes, index: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Take in changes of which no two are of the same customer and axis."""
        axes = changes.axes[index].astype(np.int64)
        sources, targets = changes.from_tiers[index].astype(np.int64), changes.to_tiers[index].astype(np.int64)
        times_ms = changes.effective_at_ms[index]
        self._count_flaps(slots, axes, sources, targets, times_ms)
        self._follow_runs(changes, index, slots)
        rows = self._rows
        first = rows["first_tier"][slots, axes]
        rows["first_tier"][slots, axes] = np.where(first < 0, sources, first)
        rows["held_tier"][slots, axes] = targets
        rows["held_since_ms"][slots, axes] = times_ms
        rows["score"][slots, axes] = changes.scores[index]
        rows["change_count"][slots, axes] += 1

    def _count_flaps(
        self,
        slots: NDArray[np.int64],
        axes: NDArray[np.int64],
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        times_ms: NDArray[np.int64],
    ) -> None:
        left_at_ms = self._rows["left_at_ms"]
        for tier in range(left_at_ms.shape[2]):
            is_back = ((targets <= tier) & (tier < sources)) | ((sources < tier) & (tier <= targets))
            if not is_back.any():
                continue
            where = slots[is_back], axes[is_back], tier
            is_flap = times_ms[is_back] - left_at_ms[where] <= FLAP_MS
            self.flap_counts += np.bincount(axes[is_back][is_flap], minlength=len(self.flap_counts))
            left_at_ms[where] = NEVER_MS
        left_at_ms[slots, axes, sources] = times_ms

    def _follow_runs(self, changes: Changes, index: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Follow runs of changes in one direction, and keep the most telling ones as examples."""
        axes = changes.axes[index].astype(np.int64)
        sources, targets = changes.from_tiers[index].astype(np.int64), changes.to_tiers[index].astype(np.int64)
        rows, where = self._rows, (slots, axes)
        direction = np.sign(targets - sources)
        goes_on = rows["run_direction"][where] == direction
        base = np.where(goes_on, rows["run_base"][where], sources)
        previous_base = np.where(goes_on, rows["previous_base"][where], rows["run_base"][where])
        is_by_time = (changes.causes[index] == Cause.TIME) & (rows["is_by_time"][where] | ~goes_on)
        rows["run_direction"][where], rows["run_base"][where] = direction, base
        rows["previous_base"][where], rows["is_by_time"][where] = previous_base, is_by_time
        scores_before, scores = rows["score"][where], changes.scores[index]
        ids = changes.customer_ids[index]
        is_up, is_top = direction > 0, targets == self._top_tiers[axes]
        for axis in range(len(self._top_tiers)):
            here = axes == axis
            rise = np.flatnonzero(here & is_up & is_top)
            self._keep(("riser", axis), rise, (targets - base)[rise], scores[rise], ids, (base, targets))
            fall = np.flatnonzero(here & ~is_up & is_by_time)
            self._keep(("faller", axis), fall, (base - targets)[fall], scores_before[fall], ids, (base, targets))
            back = np.flatnonzero(here & is_up & (previous_base > base) & (targets >= previous_base))
            depth = (previous_base - base)[back]
            self._keep(("comeback", axis), back, depth, scores[back], ids, (previous_base, base, targets))

    def _keep(
        self,
        key: tuple[str, int],
        index: NDArray[np.int64],
        first_keys: NDArray[np.int64],
        second_keys: NDArray[np.float64],
        customer_ids: NDArray[np.bytes_],
        facts: tuple[NDArray[np.int64], ...],
    ) -> None:
        """Keep the largest of what there is and what comes in; equals go to the smaller customer id."""
        if not len(index):
            return
        is_largest = first_keys == first_keys.max()
        index, second_keys = index[is_largest], second_keys[is_largest]
        index, second_key = index[second_keys == second_keys.max()], float(second_keys.max())
        chosen = min(index.tolist(), key=lambda place: bytes(customer_ids[place]))
        found: _Best = (float(first_keys.max()), second_key, bytes(customer_ids[chosen]))
        kept = self.best.get(key)
        if kept is None or found[:2] > kept[0][:2] or (found[:2] == kept[0][:2] and found[2] < kept[0][2]):
            self.best[key] = (found, tuple(int(fact[chosen]) for fact in facts))


def is_first_rating(changes: Changes, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell first ratings from changes of a held tier; shape `(n,)`, in the order of the index."""
    is_first: NDArray[np.bool_] = (changes.from_tiers[index] < 0) | (changes.causes[index] == Cause.FIRST_RATED)
    return is_first


def _row_dtype(n_axes: int, n_tiers_max: int) -> np.dtype[HistoryRow]:
    return np.dtype(
        [
            ("left_at_ms", np.int64, (n_axes, n_tiers_max)),
            ("held_since_ms", np.int64, (n_axes,)),
            ("first_rated_ms", np.int64, (n_axes,)),
            ("score", np.float64, (n_axes,)),
            ("change_count", np.uint32, (n_axes,)),
            ("first_tier", np.int8, (n_axes,)),
            ("held_tier", np.int8, (n_axes,)),
            ("run_direction", np.int8, (n_axes,)),
            ("run_base", np.int8, (n_axes,)),
            ("previous_base", np.int8, (n_axes,)),
            ("is_by_time", np.bool_, (n_axes,)),
        ]
    )


def _occurrences(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the repetitions of each key from 0, in order; shape `(n,)`."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_start = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    starts = np.flatnonzero(is_start)
    numbers = np.empty(len(keys), dtype=np.int64)
    numbers[order] = np.arange(len(keys)) - starts[np.cumsum(is_start) - 1]
    return numbers
