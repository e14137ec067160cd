"""Compiling every loop before it is needed: in the middle of the work it would hold everything up for seconds."""

from __future__ import annotations

import numpy as np

from stream_app.domain.behaviour import Facts, HalfLives, remember
from stream_app.domain.effects import Cause
from stream_app.domain.features import BASE_NAMES
from stream_app.domain.grouping import each_once
from stream_app.domain.history import FeatureLayout
from stream_app.domain.knowledge import Scoring
from stream_app.domain.linear_score import LinearWeights, column_score
from stream_app.domain.outlook import Customers
from stream_app.domain.population import BUCKET_COUNT, move, sum_terms
from stream_app.domain.rating import Standing
from stream_app.domain.rows import HALF_LIFE_COUNT, row_dtype
from stream_app.domain.table import CustomerTable
from stream_app.domain.tiers import Rescores, settle

MINUTES_PER_DAY = 1440


def compile_all() -> None:
    """Compile whatever has not been compiled on this machine yet, and load the rest.

    Some ten seconds the first time, less than half a second later. A block of one row is laid out in memory in another
    way than one of several, and has code of its own.
    """
    for count in (1, 2):
        _use_once(count)


def _use_once(count: int) -> None:
    dtype = row_dtype(2, 3)
    table = CustomerTable(dtype, MINUTES_PER_DAY, count)
    numbers = table.find_or_add(np.array([b"a", b"b"][:count]))
    rows, nothing = table.gather(numbers), np.zeros(count)
    times_ms, families, keys = np.zeros(count, np.int64), np.zeros(count, np.uint8), np.ones(count, np.uint64)
    facts = Facts(times_ms, families, nothing, nothing, keys)
    remember(rows, facts, each_once(numbers), HalfLives((1.0,) * HALF_LIFE_COUNT, 1.0))
    layout = FeatureLayout(3, (1.0,) * HALF_LIFE_COUNT)
    customers = Customers(rows, times_ms, Scoring(version=1, weights={}), layout)
    ones = np.ones(len(BASE_NAMES))
    scores = column_score(LinearWeights(ones, ones, ones, 0.0), customers.outlook.features[: len(ones)])
    rescores = Rescores(np.arange(count), np.ones(count, np.bool_), scores, times_ms, Cause.EVENT)
    standing = Standing.of(rows)
    move(np.zeros(BUCKET_COUNT, np.int64), standing.buckets.copy(), standing.buckets, 0)
    sum_terms(np.zeros((count, 1)), np.ones(count, np.bool_))
    settle(standing.tiers[0], rescores, None, 0, 1.0)
