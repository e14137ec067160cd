"""How scores are distributed at the end of a run, in few enough bars to be drawn."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.shards import Shards
from stream_app.domain.knowledge import Scoring
from stream_app.domain.population import merge_axis

HISTOGRAM_BARS_MAX: Final = 200
Histogram = tuple[NDArray[np.float64], NDArray[np.int64]]


def score_histograms(shards: Shards, scoring: Scoring, time_ms: int) -> dict[str, Histogram]:
    """Score everybody as of a time: axis name to edges `(m + 1,)` and counts `(m,)`, m at most `HISTOGRAM_BARS_MAX`."""
    sketches = shards.full_sketches(scoring, time_ms)
    histograms = {}
    for place, (name, function) in enumerate(shards.engines[0].functions.items()):
        merged = merge_axis([sketch.axes[place] for sketch in sketches])
        histograms[name] = _coarse(merged.histogram, function.bucket_width)
    return histograms


def _coarse(histogram: NDArray[np.int64], width: float) -> Histogram:
    """Join buckets until at most so many bars are left, from the lowest to the highest score."""
    used = np.flatnonzero(histogram)
    if not len(used):
        return np.empty(0), np.empty(0, dtype=np.int64)
    first, end = int(used[0]), int(used[-1]) + 1
    step = -(-(end - first) // HISTOGRAM_BARS_MAX)
    starts = np.arange(first, end, step)
    counts = np.add.reduceat(histogram[:end], starts)
    return np.append(starts, starts[-1] + step) * width, counts
