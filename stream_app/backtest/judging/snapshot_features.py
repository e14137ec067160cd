"""Features of customers as of a moment, for models that learn from many of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.judging.baselines import Question
from stream_app.backtest.judging.purchase_log import Movements, PurchaseLog
from stream_app.domain.events import MS_PER_DAY

FloatArray = NDArray[np.float64]

HALF_LIVES_DAYS = (14.0, 30.0, 90.0, 365.0)
WINDOWS_DAYS = (30, 91, 182)
OVERDUE_MAX = 20.0
"""Days since the last purchase are told up to so many times the usual time between purchases."""
FEATURE_COUNT = 28


def snapshot_features(log: PurchaseLog, question: Question) -> FloatArray:
    """Compute what is known of customers before a moment.

    Parameters
    ----------
    log
        Only what lies before the cutoff is read.
    question
        Customers, the moment, and the H of prev.

    Returns
    -------
    FloatArray
        Shape `(n, 28)`, finite: log1p of baskets, age, days since the last purchase, total, mean, last and largest
        basket, mean time between baskets, of how overdue the next one is and of baskets per 30 days, of spend and
        baskets of the last 30, 91 and 182 days, of decayed counts and spends at four half-lives, of prev and of the
        number of refunds; then the refunded share and whether there was one basket only.
    """
    who, count, cutoff_ms = question.customers, log.customer_count, question.cutoff_ms
    before, refunds = log.baskets.between(0, cutoff_ms), log.refunds.between(0, cutoff_ms)
    baskets, total = before.sums(count)[who], before.sums(count, before.amounts)[who]
    first, last, last_amount, largest = (column[who] for column in _edges(before, count))
    age = (cutoff_ms - first) / MS_PER_DAY
    silence = (cutoff_ms - last) / MS_PER_DAY
    between = (last - first) / MS_PER_DAY / np.maximum(baskets - 1.0, 1.0)
    usual = np.where(baskets > 1.0, np.maximum(between, 1.0), np.maximum(age, 1.0))
    columns = [baskets, age, silence, total, total / np.maximum(baskets, 1.0), last_amount, largest, between]
    columns += [np.minimum(silence / usual, OVERDUE_MAX), 30.0 * baskets / np.maximum(age, 30.0)]
    for days in WINDOWS_DAYS:
        spend, number = log.spend_and_baskets(cutoff_ms - days * MS_PER_DAY, cutoff_ms)
        columns += [spend[who], number[who]]
    ages_days = (cutoff_ms - before.times_ms) / MS_PER_DAY
    for half_life in HALF_LIVES_DAYS:
        weights = np.exp2(-ages_days / half_life)
        columns += [before.sums(count, weights)[who], before.sums(count, weights * before.amounts)[who]]
    columns.append(log.spend_and_baskets(cutoff_ms - question.horizon_ms, cutoff_ms)[0][who])
    columns.append(refunds.sums(count)[who])
    refunded = refunds.sums(count, refunds.amounts)[who]
    shares = [np.minimum(refunded / np.maximum(total, 1e-9), 1.0), (baskets == 1.0).astype(np.float64)]
    return np.stack([*(np.log1p(column) for column in columns), *shares], axis=1)


def _edges(before: Movements, customer_count: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Give times of the first and last basket, and amounts of the last and the largest, shape `(customer_count,)`."""
    first, last, last_amount, largest = (np.zeros(customer_count) for _ in range(4))
    first[before.customers[::-1]] = before.times_ms[::-1]
    last[before.customers] = before.times_ms
    last_amount[before.customers] = before.amounts
    np.maximum.at(largest, before.customers, before.amounts)
    return first, last, last_amount, largest
