"""A bounded sample of customers with all that they bought, gathered while a log is replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.judging.purchase_log import Movements, PurchaseLog, baskets_of
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Effects
from stream_app.domain.events import EventBatch, Family
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.rows import RowBlock
from stream_app.domain.snapshots import SAMPLE_ALL, sample_numbers

IntArray = NDArray[np.int64]

CUSTOMERS_MAX: Final = 25_000
"""Judging so many at thirteen cutoffs takes some three seconds; an ROC area is then known to about half a percent."""
MOVEMENTS_MAX: Final = 1_000_000
_ROOM: Final = 0.8
"""When the sample is too large, it shrinks to this share of what it may be."""
_WAITING_MIN: Final = 65_536
_TAKEN_MAX: Final = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class SampledLog:
    """What the sampled customers bought.

    Parameters
    ----------
    log
        Theirs; customers are numbered in the order of their ids, however many shards there are.
    names
        Shape `(n,)`, rising: how the sample names them.
    ranks
        Shape `(n,)`: the number that the log has for each name.
    """

    log: PurchaseLog
    names: IntArray
    ranks: IntArray

    def numbers_of(self, names: IntArray) -> IntArray:
        """Give the log's numbers of some of these customers; shape `(n,)`."""
        return self.ranks[np.searchsorted(self.names, names)]


class CustomerSample:
    """Watches a replay and keeps baskets and refunds of customers drawn by the hash of their id.

    Everybody is in the sample until there are too many; then the limit of the hash falls, and who is above it is left
    out with everything. Who is in the sample at the end has been in it from the first event on.

    Parameters
    ----------
    shards
        Whose customers; a customer is named by row and shard.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._limit = SAMPLE_ALL
        self._baskets, self._refunds = Movements.none(), Movements.none()
        self._taken: list[tuple[NDArray[Any], ...]] = []
        self._taken_count = 0
        self._waiting: list[Movements] = []
        self._waiting_refunds: list[Movements] = []
        self._waiting_count = 0

    @property
    def share(self) -> float:
        """Share of all customers that is drawn, in (0, 1]."""
        return self._limit / SAMPLE_ALL

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Take events, of which what sampled customers bought and returned will be kept."""
        del knowledge
        columns = (events.customer_ids, events.times_ms, events.amounts, events.families, effects.is_duplicate)
        start = 0
        # Ticks cut the events into small batches, and each call of numpy costs. The sample does not depend on the cuts.
        while start < len(events):
            end = min(start + _TAKEN_MAX - self._taken_count, len(events))
            self._taken.append(tuple(column[start:end] for column in columns))
            self._taken_count += end - start
            start = end
            if self._taken_count == _TAKEN_MAX:
                self._keep_taken()

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Keep nothing: a tick has no events."""

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Keep nothing: a day has no events."""

    def buyers(self) -> IntArray:
        """Name the sampled customers who have bought, shape `(n,)`, rising."""
        self._keep_taken()
        return np.unique(np.concatenate([self._baskets.customers, *(part.customers for part in self._waiting)]))

    def rows_of(self, names: IntArray) -> tuple[IntArray, list[RowBlock]]:
        """Copy the rows of some customers: the places of the customers, shard by shard, and each shard's rows."""
        count = len(self._shards.engines)
        places = [np.flatnonzero(names % count == number) for number in range(count)]
        blocks = [
            engine.table.gather(names[own] // count) for engine, own in zip(self._shards.engines, places, strict=True)
        ]
        return np.concatenate(places), blocks

    def purchase_log(self, start_ms: int, end_ms: int) -> SampledLog:
        """Give all that the sample bought as a log of its own, customers in the order of their ids.

        Parameters
        ----------
        start_ms, end_ms
            00:00 UTC of the first day of the whole log, and after its last.
        """
        self._keep_taken()
        self._settle()
        names = np.unique(np.concatenate([self._baskets.customers, self._refunds.customers]))
        ids = self._ids_of(names)
        order = np.argsort(ids, kind="stable")
        ranks = np.empty(len(names), dtype=np.int64)
        ranks[order] = np.arange(len(names))
        log = PurchaseLog(
            indices=dict(zip(ids[order].tolist(), range(len(names)), strict=True)),
            baskets=_renamed(self._baskets, names, ranks),
            refunds=_renamed(self._refunds.take(np.argsort(self._refunds.times_ms, kind="stable")), names, ranks),
            start_ms=start_ms,
            end_ms=end_ms,
            duplicate_count=0,
        )
        return SampledLog(log, names, ranks)

    def _keep_taken(self) -> None:
        """Keep what is sampled of the events taken."""
        if not self._taken:
            return
        ids, times_ms, amounts, families, is_duplicate = (
            np.concatenate(part) for part in zip(*self._taken, strict=True)
        )
        self._taken, self._taken_count = [], 0
        is_kept = np.isin(families, (Family.PURCHASE, Family.REFUND)) & ~is_duplicate
        if self._limit < SAMPLE_ALL and is_kept.any():
            is_kept[is_kept] = self._is_drawn(ids[is_kept])
        kept = np.flatnonzero(is_kept)
        if not len(kept):
            return
        count = np.ones(len(kept), dtype=np.int64)
        movements = Movements(self._names_of(ids[kept]), times_ms[kept], amounts[kept].astype(np.float64), count)
        is_refund = families[kept] == Family.REFUND
        self._waiting.append(movements.take(~is_refund))
        self._waiting_refunds.append(movements.take(is_refund))
        self._waiting_count += len(kept)
        # As much again as there is, so that sorting costs no more than the events themselves.
        if self._waiting_count >= max(_WAITING_MIN, len(self._baskets.customers)):
            self._settle()

    def _settle(self) -> None:
        """Join what waits, and let the sample shrink if it is too large."""
        self._baskets = baskets_of(Movements.concatenate([self._baskets, *self._waiting]))
        self._refunds = Movements.concatenate([self._refunds, *self._waiting_refunds])
        self._waiting, self._waiting_refunds, self._waiting_count = [], [], 0
        names = np.unique(np.concatenate([self._baskets.customers, self._refunds.customers]))
        movements = len(self._baskets.customers) + len(self._refunds.customers)
        excess = max(len(names) / CUSTOMERS_MAX, movements / MOVEMENTS_MAX)
        if excess > 1.0:
            self._limit = max(int(self._limit * _ROOM / excess), 1)
            drawn = names[self._is_drawn(self._ids_of(names))]
            self._baskets = self._baskets.take(np.isin(self._baskets.customers, drawn))
            self._refunds = self._refunds.take(np.isin(self._refunds.customers, drawn))

    def _is_drawn(self, ids: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        is_drawn: NDArray[np.bool_] = sample_numbers(ids) < np.uint64(self._limit)
        return is_drawn

    def _names_of(self, ids: NDArray[np.bytes_]) -> IntArray:
        engines = self._shards.engines
        if len(engines) == 1:
            return engines[0].table.find(ids)
        shard = self._shards.shard_of(ids)
        names = np.empty(len(ids), dtype=np.int64)
        for number, engine in enumerate(engines):
            own = shard == number
            names[own] = engine.table.find(ids[own]) * len(engines) + number
        return names

    def _ids_of(self, names: IntArray) -> NDArray[np.bytes_]:
        count = len(self._shards.engines)
        parts = [
            engine.table.ids_of(names[names % count == n] // count) for n, engine in enumerate(self._shards.engines)
        ]
        ids = np.empty(len(names), dtype=f"S{max(part.dtype.itemsize for part in parts)}")
        for number, part in enumerate(parts):
            ids[names % count == number] = part
        return ids


def _renamed(movements: Movements, names: IntArray, ranks: IntArray) -> Movements:
    """Give customers the numbers that the log has for them."""
    numbers = ranks[np.searchsorted(names, movements.customers)]
    return Movements(numbers, movements.times_ms, movements.amounts, movements.purchase_counts)
