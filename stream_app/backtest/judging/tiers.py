"""Tiers against the scores they come from: rank tiers off, and what hysteresis costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import PROSPECT_NAME, UNRATED_NAME, AxisPolicy, CutRule
from stream_app.domain.population import SHARE_TOLERANCE
from stream_app.learning.prequential import capture_share

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NO_TIER = -1


def tier_places(names: Sequence[str | None], axis: AxisPolicy) -> IntArray:
    """Give the place of each tier on its axis, `NO_TIER` for prospects, the unrated and null.

    Raises
    ------
    SettingsError
        Code `other_policy`, when a tier is none of this axis.
    """
    places: dict[str | None, int] = {tier: place for place, tier in enumerate(axis.tiers)}
    places |= {None: NO_TIER, PROSPECT_NAME: NO_TIER, UNRATED_NAME: NO_TIER}
    strange = sorted({name for name in names if name is not None and name not in places})
    if strange:
        message = (
            f"tier {strange[0]!r} of the scores is none of the {axis.name} axis ({', '.join(axis.tiers)}); "
            "give the policy of the backtest with --policy"
        )
        raise SettingsError(message, code="other_policy")
    return np.array([places[name] for name in names], dtype=np.int64)


def exact_rank_tiers(scores: FloatArray, axis: AxisPolicy) -> IntArray:
    """Give the tier of each score by exact quantiles of the scores themselves (S16 without buckets).

    Parameters
    ----------
    scores
        Shape `(n,)`, finite: of everybody who is rated.
    axis
        Its cuts.

    Returns
    -------
    IntArray
        Shape `(n,)`: the number of quantiles q for which the share of scores at or above this one is at most 1 - q; the
        number of absolute cuts at or below it.
    """
    cuts = np.array(axis.cuts, dtype=np.float64)
    if axis.cut_rule is CutRule.ABSOLUTE:
        return np.asarray(np.searchsorted(cuts, scores, side="right"), dtype=np.int64)
    count = len(scores)
    at_or_above = count - np.searchsorted(np.sort(scores), scores, side="left")
    above_max = np.floor((1.0 - cuts) * count + count * SHARE_TOLERANCE)
    return np.asarray((at_or_above[:, None] <= above_max[None, :]).sum(axis=1), dtype=np.int64)


def tiers_off(scores: FloatArray, rank_tiers: IntArray, axis: AxisPolicy) -> float:
    """Give the share of rated customers whose rank tier is not that of exact quantiles; NaN while there is none.

    Parameters
    ----------
    scores
        Shape `(n,)`, NaN where a customer has none.
    rank_tiers
        Shape `(n,)`, `NO_TIER` where a customer has none.
    axis
        Its cuts.
    """
    is_scored = np.isfinite(scores)
    if not (is_scored & (rank_tiers != NO_TIER)).any():
        return float("nan")
    exact = exact_rank_tiers(scores[is_scored], axis)
    return float((exact != rank_tiers[is_scored]).mean())


def held_cap20(scores: FloatArray, held_tiers: IntArray, spend: FloatArray) -> float:
    """Give the spend held by the top fifth when the held tier counts before the score; NaN while nobody holds one."""
    if not len(scores) or (held_tiers == NO_TIER).all():
        return float("nan")
    known = np.where(np.isnan(scores), -np.inf, scores)
    _, places = np.unique(known, return_inverse=True)
    return capture_share(held_tiers + places / (places.max() + 1.0), spend)
