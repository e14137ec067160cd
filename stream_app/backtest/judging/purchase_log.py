"""The purchases of an event log as columns by time: what came before a moment, and what came after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files import EventLog
from stream_app.domain.duplicates import find_duplicates
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.rows import RING_SIZE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_RING = np.dtype([("event_keys", np.uint64, (RING_SIZE,)), ("ring_position", np.uint8)])
_MONEY = (int(Family.PURCHASE), int(Family.REFUND))


@dataclass(frozen=True, slots=True, eq=False)
class Movements:
    """Baskets or refunds by rising time, one array element each.

    Parameters
    ----------
    customers
        Shape `(n,)`, int64: index of the customer.
    times_ms
        Shape `(n,)`, int64, not falling: a refund's own time, a basket's first purchase.
    amounts
        Shape `(n,)`, float64, not below 0.
    purchase_counts
        Shape `(n,)`, int64: purchases in the basket; 1 for a refund.
    """

    customers: IntArray
    times_ms: IntArray
    amounts: FloatArray
    purchase_counts: IntArray

    def between(self, start_ms: int, end_ms: int) -> Movements:
        """Give those in `[start_ms, end_ms)`, without copying."""
        first, last = np.searchsorted(self.times_ms, [start_ms, end_ms], side="left")
        part = slice(int(first), max(int(first), int(last)))
        return Movements(self.customers[part], self.times_ms[part], self.amounts[part], self.purchase_counts[part])

    def take(self, which: NDArray[np.generic]) -> Movements:
        """Take some, by a mask or in the order of an index."""
        return Movements(self.customers[which], self.times_ms[which], self.amounts[which], self.purchase_counts[which])

    @classmethod
    def concatenate(cls, parts: Sequence[Movements]) -> Movements:
        """Put several together, in order, which may not be that of time; at least one."""
        return cls(
            np.concatenate([part.customers for part in parts]),
            np.concatenate([part.times_ms for part in parts]),
            np.concatenate([part.amounts for part in parts]),
            np.concatenate([part.purchase_counts for part in parts]),
        )

    @classmethod
    def none(cls) -> Movements:
        """Give no movement."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, np.empty(0), nothing)

    def sums(self, customer_count: int, weights: NDArray[np.generic] | None = None) -> FloatArray:
        """Add up something for each customer, shape `(customer_count,)`: the weights, or else how many there are."""
        return np.bincount(self.customers, weights, minlength=customer_count).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class PurchaseLog:
    """All baskets and refunds of a log, and its customers.

    Parameters
    ----------
    indices
        Customer id to index, `0 <= index < customer_count`; customers without a purchase among them.
    baskets
        All purchases of one customer on one UTC day are one (S12); with gross amounts (S11).
    refunds
        Money paid back.
    start_ms, end_ms
        00:00 UTC of the day of the first event, and 00:00 UTC after the day of the last one.
    duplicate_count
        Events that were left out because of their id (S7).
    """

    indices: dict[bytes, int]
    baskets: Movements
    refunds: Movements
    start_ms: int
    end_ms: int
    duplicate_count: int

    @property
    def customer_count(self) -> int:
        """Number of customers."""
        return len(self.indices)

    def find(self, customer_ids: Sequence[bytes]) -> IntArray:
        """Give the index of each customer, -1 where the log does not know the id; shape `(n,)`."""
        get = self.indices.get
        return np.array([get(name, -1) for name in customer_ids], dtype=np.int64)

    def spend_and_baskets(self, start_ms: int, end_ms: int) -> tuple[FloatArray, FloatArray]:
        """Give each customer's gross spend and number of baskets in `[start_ms, end_ms)`.

        Parameters
        ----------
        start_ms, end_ms
            00:00 UTC, so that no basket lies on both sides of an edge.

        Returns
        -------
        tuple[FloatArray, FloatArray]
            Shape `(customer_count,)` each.
        """
        window = self.baskets.between(start_ms, end_ms)
        return window.sums(self.customer_count, window.amounts), window.sums(self.customer_count)


def read_purchases(log: EventLog) -> PurchaseLog:
    """Read all purchases and refunds of an open event log; events with a repeated id count once (S7).

    Parameters
    ----------
    log
        In order of event time, with at least one event.
    """
    indices: dict[bytes, int] = {}
    parts: list[tuple[NDArray[np.generic], ...]] = []
    all_customers: list[IntArray] = []
    all_keys: list[NDArray[np.uint64]] = []
    for batch in log.batches():
        customers = _customers_of(batch, indices)
        if log.has_event_ids:
            all_customers.append(customers)
            all_keys.append(batch.event_keys)
            is_kept = np.ones(len(batch), dtype=np.bool_)
        else:
            is_kept = np.isin(batch.families, _MONEY)
        parts.append(tuple(column[is_kept] for column in (customers, batch.times_ms, batch.families, batch.amounts)))
    customers, times_ms, families, amounts = (np.concatenate(column) for column in zip(*parts, strict=True))
    duplicate_count = 0
    if log.has_event_ids:
        is_duplicate = _duplicates(np.concatenate(all_customers), np.concatenate(all_keys))
        duplicate_count = int(is_duplicate.sum())
        families = np.where(is_duplicate, np.uint8(255), families)
    money = Movements(
        customers.astype(np.int64),
        times_ms.astype(np.int64),
        amounts.astype(np.float64),
        np.ones(len(customers), dtype=np.int64),
    )
    first_ms, last_ms = log.first_time_ms or 0, log.last_time_ms or 0
    return PurchaseLog(
        indices=indices,
        baskets=baskets_of(money.take(families == Family.PURCHASE)),
        refunds=money.take(families == Family.REFUND),
        start_ms=first_ms // MS_PER_DAY * MS_PER_DAY,
        end_ms=(last_ms // MS_PER_DAY + 1) * MS_PER_DAY,
        duplicate_count=duplicate_count,
    )


def _customers_of(batch: EventBatch, indices: dict[bytes, int]) -> IntArray:
    names, places = np.unique(batch.customer_ids, return_inverse=True)
    found = [indices.setdefault(name, len(indices)) for name in names.tolist()]
    return np.array(found, dtype=np.int64)[places]


def baskets_of(purchases: Movements) -> Movements:
    """Make one of all purchases of one customer and UTC day (S12); of baskets, too, which may be parts of one."""
    days = purchases.times_ms // MS_PER_DAY
    order = np.lexsort((purchases.times_ms, days, purchases.customers))
    customers, days = purchases.customers[order], days[order]
    is_start = np.ones(len(order), dtype=np.bool_)
    is_start[1:] = (customers[1:] != customers[:-1]) | (days[1:] != days[:-1])
    starts = np.flatnonzero(is_start)
    if not len(starts):
        return purchases
    amounts = np.add.reduceat(purchases.amounts[order], starts)
    counts = np.add.reduceat(purchases.purchase_counts[order], starts)
    times_ms = purchases.times_ms[order][starts]
    by_time = np.argsort(times_ms, kind="stable")
    return Movements(customers[starts][by_time], times_ms[by_time], amounts[by_time], counts[by_time])


def _duplicates(customers: IntArray, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark events whose key is among the customer's last eight; few customers have a key twice at all."""
    is_duplicate = np.zeros(len(keys), dtype=np.bool_)
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return is_duplicate
    suspects = np.unique(customers[np.isin(keys, repeated)])
    places = np.flatnonzero(np.isin(customers, suspects))
    known = np.zeros(len(suspects), dtype=_RING)
    is_duplicate[places] = find_duplicates(known, np.searchsorted(suspects, customers[places]), keys[places])
    return is_duplicate
