"""What is known of customers at a time, as columns: totals, baskets, decayed sums, and the spend of windows before it.

Training and scoring share this: a pending snapshot keeps the history, and features are computed from it later by the
same code. Every column depends on its own row alone, to the bit, whatever block the row is computed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.events import MS_PER_DAY, MS_PER_SECOND
from stream_app.domain.policy import Policy
from stream_app.domain.rows import GAP_NONE, GAP_STEP_S, HALF_LIFE_COUNT, RowBlock, column

FloatArray = NDArray[np.float64]

PERIOD_DAYS = 28.0
"""Time between two snapshots of a customer, and the unit of horizons."""
SOFT_EDGE_SHARE = 1.0 / 6.0
"""Share of the horizon over which the edge of the window before is soft: 14 of 84 days."""
_PERIOD_S = PERIOD_DAYS * 86_400.0
_STATE_NAMES = (
    "gross_spend",
    "basket_count",
    "refund_count",
    "refunded",
    "age_days",
    "first_to_last_days",
    "last_basket",
    "largest_basket",
    "previous_spend",
)
_PREVIOUS = len(_STATE_NAMES) - 1
_DECAYED = len(_STATE_NAMES)
_DAYS_PER_SECOND = 1.0 / 86_400.0
_GAPS_S = np.append((np.arange(GAP_NONE) + 0.5) * GAP_STEP_S, np.inf)
"""What `kept_gap` stands for, in seconds; infinite where it is not known when the last purchase was."""
_Kept = tuple[NDArray[np.uint32], FloatArray, NDArray[np.uint32], NDArray[np.uint8], FloatArray]
"""Seconds, gross spends and baskets of the kept totals, each of shape `(n, 2 K)`; how long before the last K of them
the last purchase was, in steps, shape `(n, K)`; and what these steps stand for."""


@dataclass(frozen=True)
class FeatureLayout:
    """Which columns a history has, by policy.

    Parameters
    ----------
    horizon_periods
        K: the horizon in periods of 28 days.
    half_lives_ms
        Of the decayed sums, in milliseconds.
    """

    horizon_periods: int
    half_lives_ms: tuple[float, ...]

    @classmethod
    def from_policy(cls, policy: Policy) -> FeatureLayout:
        """Take horizon and half-lives from the policy."""
        return cls(policy.horizon_periods, tuple(days * MS_PER_DAY for days in policy.half_lives_days))

    @cached_property
    def window_periods(self) -> tuple[int, ...]:
        """Lengths of the windows before the moment: every label horizon, and the longest that is always kept."""
        longest = 2 * self.horizon_periods - 1
        return tuple(sorted({*range(1, self.horizon_periods + 1), longest}))

    @cached_property
    def history_names(self) -> tuple[str, ...]:
        """Names of the history's columns, in their order."""
        decayed = [f"decayed_{what}_{place + 1}" for what in ("count", "spend") for place in range(HALF_LIFE_COUNT)]
        windows = [f"{what}_window_{periods}" for what in ("spend", "baskets") for periods in self.window_periods]
        return (*_STATE_NAMES, *decayed, *windows)

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each column by name."""
        return {name: place for place, name in enumerate(self.history_names)}


def history_of(layout: FeatureLayout, rows: RowBlock, as_of_ms: NDArray[np.int64]) -> FloatArray:
    """Read what models know of customers from their rows.

    Parameters
    ----------
    layout
        Of the policy.
    rows
        Shape `(n,)`.
    as_of_ms
        Shape `(n,)`, not before the rows' clocks.

    Returns
    -------
    FloatArray
        Shape `(n_columns, n)`, contiguous, finite: columns as in `history_names`, each of them gross purchases, days
        or counts as of that time. Window totals are interpolated between kept totals and last purchases (S14).
    """
    if not rows.flags.writeable:
        # The loops are compiled for memory of one's own, and once: not for bytes of a record as well.
        rows = rows.copy()
    history = np.empty((len(layout.history_names), len(rows)))
    history[0] = rows["gross_spend"]
    history[1] = rows["basket_count"]
    history[2] = rows["refund_count"]
    history[3] = rows["refunded"]
    history[6] = rows["last_basket"]
    history[7] = rows["largest_basket"]
    now_s = np.multiply(as_of_ms, 1.0 / MS_PER_SECOND, dtype=np.float64)
    first_s = column(rows, "first_purchase_s")
    _add_ages(history, now_s, first_s, column(rows, "last_purchase_s"))
    elapsed_ms, half_lives_ms = as_of_ms - rows["clock_ms"], np.array(layout.half_lives_ms)
    _add_decayed(history, elapsed_ms, half_lives_ms, rows["decayed_count"], rows["decayed_spend"])
    kept = (rows["kept_s"], rows["kept_gross_spend"], rows["kept_baskets"], rows["kept_gap"], _GAPS_S)
    lengths_s = np.array(layout.window_periods) * _PERIOD_S
    _add_windows(history, now_s, first_s, kept, lengths_s, layout.horizon_periods * _PERIOD_S)
    return history


@compiled
def _add_ages(history: FloatArray, now_s: FloatArray, first_s: FloatArray, last_s: FloatArray) -> None:
    """Fill in age, and time from the first to the last purchase, in days; 0 for who has not bought."""
    for row in range(len(now_s)):
        baskets = history[1, row]
        history[4, row] = max((now_s[row] - first_s[row]) * _DAYS_PER_SECOND, 0.0) if baskets > 0.0 else 0.0
        # A second purchase on the first day is the same basket: nothing has been repeated.
        span = (last_s[row] - first_s[row]) * _DAYS_PER_SECOND
        history[5, row] = min(span, history[4, row]) if baskets > 1.0 else 0.0


@compiled
def _add_decayed(
    history: FloatArray,
    elapsed_ms: NDArray[np.int64],
    half_lives_ms: FloatArray,
    counts: NDArray[np.float32],
    spends: NDArray[np.float32],
) -> None:
    """Fill in the decayed sums, faded from the rows' clocks to the moment."""
    number = len(half_lives_ms)
    for row in range(len(elapsed_ms)):
        for place in range(number):
            left = np.exp2(elapsed_ms[row] / -half_lives_ms[place])
            history[_DECAYED + place, row] = counts[row, place] * left
            history[_DECAYED + number + place, row] = spends[row, place] * left


@compiled
def _add_windows(
    history: FloatArray,
    now_s: FloatArray,
    first_s: FloatArray,
    kept: _Kept,
    lengths_s: FloatArray,
    horizon_s: float,
) -> None:
    """Fill in spend and baskets of the windows before the moment, and the spend to beat.

    Between two kept totals all but the last basket is taken as evenly spread. Before the first kept total it is spread
    from the first purchase on, or over a period.
    """
    segments = (np.zeros((kept[0].shape[1], 5)), np.zeros((kept[3].shape[1], 2)))
    windows, edge_s = len(history) - 2 * len(lengths_s), SOFT_EDGE_SHARE * horizon_s
    for row in range(len(now_s)):
        _read_segments(segments, kept, row, now_s[row], first_s[row], history[0, row], history[1, row])
        for place in range(len(lengths_s)):
            spend, baskets = _since(segments, now_s[row] - lengths_s[place])
            history[windows + place, row] = max(spend, 0.0)
            history[windows + len(lengths_s) + place, row] = max(baskets, 0.0)
        history[_PREVIOUS, row] = max(_with_soft_edge(segments, now_s[row] - horizon_s - edge_s, edge_s), 0.0)


_Segments = tuple[FloatArray, FloatArray]
"""What lies between kept totals, oldest first.

Rows of the first, one for each segment: start and end in seconds, 1 over the time between (at most 1), and spend and
baskets that are spread evenly. Of the second, one for each segment whose last basket may be known: its spend and its
baskets, which lie at the segment's end; 0 where it is not known.
"""


@compiled
def _read_segments(
    segments: _Segments,
    kept: _Kept,
    row: int,
    now_s: float,
    first_s: float,
    gross_spend: float,
    basket_count: float,
) -> None:
    """Fill in the segments of a customer."""
    spread, lasts = segments
    kept_s, kept_spend, kept_baskets, kept_gap, gaps_s = kept
    count, told_count = len(spread), len(lasts)
    first_told = count - 1 - told_count
    spend, baskets = gross_spend, basket_count
    end_s = now_s
    for place in range(count - 1, -1, -1):
        is_known = kept_s[row, place] > 0.0
        start_s = float(kept_s[row, place]) if is_known else max(end_s - _PERIOD_S, min(first_s, end_s))
        spend_before = kept_spend[row, place] if is_known else 0.0
        baskets_before = float(kept_baskets[row, place]) if is_known else 0.0
        own_spend, own_baskets, own_end_s = spend - spend_before, baskets - baskets_before, end_s
        if first_told <= place < count - 1:
            told = place - first_told
            last_s = end_s - gaps_s[kept_gap[row, told]]
            lasts[told, 0], lasts[told, 1] = 0.0, 0.0
            if is_known and last_s >= start_s:
                # How much the last basket was worth is not kept: as much as the others of its segment.
                share = 1.0 / max(own_baskets, 1.0)
                lasts[told, 0], lasts[told, 1] = own_spend * share, own_baskets * share
                own_spend -= lasts[told, 0]
                own_baskets -= lasts[told, 1]
                own_end_s = last_s
        spread[place, 0], spread[place, 1], spread[place, 2] = start_s, own_end_s, 1.0 / max(own_end_s - start_s, 1.0)
        spread[place, 3], spread[place, 4] = own_spend, own_baskets
        spend, baskets, end_s = spend_before, baskets_before, float(kept_s[row, place])


@compiled
def _since(segments: _Segments, from_s: float) -> tuple[float, float]:
    """Give spend and baskets of a customer from a time on."""
    spread, lasts = segments
    first_told = len(spread) - 1 - len(lasts)
    spend, baskets = 0.0, 0.0
    for place in range(len(spread) - 1, -1, -1):
        end_s = spread[place, 1]
        if end_s < from_s:
            continue
        share = min((end_s - from_s) * spread[place, 2], 1.0)
        spend += spread[place, 3] * share
        baskets += spread[place, 4] * share
        if first_told <= place < len(spread) - 1:
            spend += lasts[place - first_told, 0]
            baskets += lasts[place - first_told, 1]
    return spend, baskets


@compiled
def _with_soft_edge(segments: _Segments, begin_s: float, edge_s: float) -> float:
    """Give a customer's spend, with weights that rise evenly from 0 at a time to 1 at the end of the edge behind it."""
    spread, lasts = segments
    first_told = len(spread) - 1 - len(lasts)
    spend, per_edge = 0.0, 1.0 / edge_s
    for place in range(len(spread) - 1, -1, -1):
        start_s, end_s = spread[place, 0], spread[place, 1]
        if end_s < begin_s:
            continue
        weighted = _weighted_span(end_s - begin_s, edge_s) - _weighted_span(start_s - begin_s, edge_s)
        spend += spread[place, 3] * min(max(weighted * spread[place, 2], 0.0), 1.0)
        if first_told <= place < len(spread) - 1:
            spend += lasts[place - first_told, 0] * min((end_s - begin_s) * per_edge, 1.0)
    return spend


@compiled
def _weighted_span(span_s: float, edge_s: float) -> float:
    """Integrate a weight that rises from 0 to 1 over the edge and stays there, over a span from its beginning on."""
    risen = min(max(span_s, 0.0), edge_s)
    return max(span_s - edge_s, 0.0) + risen * risen * (0.5 / edge_s)
