"""Which customers tell the most: the examples of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.histories import NEVER_MS, ChangeHistories, HistoryRow
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import AxisPolicy, Policy

EXAMPLES_MAX: Final = 6
NEWCOMER_MS: Final = 84 * MS_PER_DAY
"""A newcomer's first rating is at most this long before the end."""
_CHANGES_MIN: Final = 3
"""With fewer changes nobody is worth showing as somebody who changes often."""


@dataclass(frozen=True, slots=True)
class _Search:
    """What the examples of one axis are looked for in."""

    policy: AxisPolicy
    axis: int
    suffix: str
    histories: ChangeHistories
    end_ms: int

    @property
    def top(self) -> int:
        return len(self.policy.tiers) - 1

    @property
    def rows(self) -> NDArray[HistoryRow]:
        return self.histories.rows

    def tier_names(self, tiers: tuple[int, ...]) -> list[str]:
        return [self.policy.tiers[tier] for tier in tiers]


def choose_examples(
    policy: Policy, histories: ChangeHistories, end_ms: int, largest_purchase_of: bytes | None
) -> list[tuple[str, str]]:
    """Choose at most `EXAMPLES_MAX` customers, one kind of story after the other, over all axes.

    Parameters
    ----------
    policy
        For the names of axes and tiers.
    histories
        What is remembered of the customers.
    end_ms
        How far the run has come.
    largest_purchase_of
        Who made the largest purchase: shown when there is room.

    Returns
    -------
    list[tuple[str, str]]
        Customer id and headline; every customer at most once; equals go to the smaller id.
    """
    searches = []
    for place, axis in enumerate(policy.axes):
        suffix = f" ({axis.name})" if len(policy.axes) > 1 else ""
        searches.append(_Search(axis, place, suffix, histories, end_ms))
    chosen: dict[bytes, str] = {}
    for find in (_riser, _faller, _comeback, _restless, _stable, _newcomer):
        for search in searches:
            for customer_id, headline in find(search):
                if customer_id not in chosen and len(chosen) < EXAMPLES_MAX:
                    chosen[customer_id] = headline + search.suffix
    if largest_purchase_of is not None and len(chosen) < EXAMPLES_MAX:
        chosen.setdefault(largest_purchase_of, "Made the largest single purchase")
    return [(customer_id.decode(), headline) for customer_id, headline in chosen.items()]


def _riser(search: _Search) -> Iterator[tuple[bytes, str]]:
    kept = search.histories.best.get(("riser", search.axis))
    if kept:
        base, target = search.tier_names(kept[1])
        yield kept[0][2], f"Climbed from {base} to {target}"


def _faller(search: _Search) -> Iterator[tuple[bytes, str]]:
    kept = search.histories.best.get(("faller", search.axis))
    if kept:
        base, target = search.tier_names(kept[1])
        yield kept[0][2], f"Fell from {base} to {target} because time passed, and for no other reason"


def _comeback(search: _Search) -> Iterator[tuple[bytes, str]]:
    kept = search.histories.best.get(("comeback", search.axis))
    if kept:
        before, lowest, target = search.tier_names(kept[1])
        yield kept[0][2], f"Came back: {before}, down to {lowest}, up to {target}"


def _restless(search: _Search) -> Iterator[tuple[bytes, str]]:
    counts = search.rows["change_count"][:, search.axis].astype(np.float64)
    chosen = _largest(search, counts >= _CHANGES_MIN, counts)
    if chosen is not None:
        yield chosen[1], f"Changed tier more often than anybody else: {int(counts[chosen[0]])} times"


def _stable(search: _Search) -> Iterator[tuple[bytes, str]]:
    since_ms = search.rows["held_since_ms"][:, search.axis]
    is_top = search.rows["held_tier"][:, search.axis] == search.top
    if not is_top.any():
        return
    earliest_ms = since_ms[is_top].min()
    chosen = _largest(search, is_top & (since_ms == earliest_ms), search.rows["score"][:, search.axis])
    days = (search.end_ms - int(earliest_ms)) // MS_PER_DAY
    if chosen is not None and days > 0:
        top = search.policy.tiers[search.top]
        yield chosen[1], f"Has held {top} the longest: {days:,} days"


def _newcomer(search: _Search) -> Iterator[tuple[bytes, str]]:
    first_ms = search.rows["first_rated_ms"][:, search.axis]
    is_known = first_ms > NEVER_MS
    if not is_known.any():
        return
    # Everybody is rated at once when the first cut points come; those are no newcomers.
    is_new = is_known & (first_ms > first_ms[is_known].min()) & (first_ms >= search.end_ms - NEWCOMER_MS)
    chosen = _largest(search, is_new, search.rows["score"][:, search.axis])
    if chosen is not None:
        yield chosen[1], f"New, and {search.policy.tiers[search.top]} from the first rating"


def _largest(search: _Search, is_eligible: NDArray[np.bool_], keys: NDArray[np.float64]) -> tuple[int, bytes] | None:
    """Find the place and id of the largest key among the eligible; equals go to the smaller id."""
    if not is_eligible.any():
        return None
    ids = search.histories.customer_ids
    places = np.flatnonzero(is_eligible & (keys == keys[is_eligible].max())).tolist()
    place = min(places, key=lambda candidate: ids[candidate])
    return place, ids[place]
