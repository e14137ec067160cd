"""A stream of customer events as a codec would hand it over: ids as Python strings, the rest as columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import MS_PER_DAY, EventBatch, Family, event_keys
from stream_app.domain.identifiers import pack_ids
from tests.reference import ReferenceEvent

START_MS = 19_723 * MS_PER_DAY
"""2024-01-01 UTC."""
EVENTS_PER_CUSTOMER_YEAR = 10.0
FAMILY_SHARES = {
    Family.PURCHASE: 0.50,
    Family.REFUND: 0.02,
    Family.BROWSE: 0.26,
    Family.CART: 0.12,
    Family.CONTENT: 0.05,
    Family.SUPPORT: 0.02,
    Family.FEEDBACK: 0.03,
}
SPEND_LOG_MEAN = 3.8
SPEND_LOG_SD_BETWEEN = 0.6
SPEND_LOG_SD_WITHIN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class RawEvents:
    """Events before their ids are packed; fields as in `EventBatch`."""

    customer_ids: list[str]
    event_ids: list[str]
    times_ms: NDArray[np.int64]
    families: NDArray[np.uint8]
    amounts: NDArray[np.float64]
    satisfactions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.customer_ids)

    def batch(self) -> EventBatch:
        """Pack the ids, hash the event ids, and put the columns together: part of what is timed."""
        return EventBatch(
            customer_ids=pack_ids(self.customer_ids),
            event_ids=self.event_ids,
            event_keys=event_keys(pack_ids(self.event_ids)),
            times_ms=self.times_ms,
            families=self.families,
            amounts=self.amounts,
            satisfactions=self.satisfactions,
            positions=np.arange(len(self.customer_ids), dtype=np.int64),
        )

    def for_reference(self) -> list[ReferenceEvent]:
        """Give the same events as the scalar reference takes them."""
        return [
            ReferenceEvent(
                customer_id=self.customer_ids[place],
                event_id=self.event_ids[place],
                time_ms=int(self.times_ms[place]),
                family=Family(int(self.families[place])),
                amount=float(self.amounts[place]),
                satisfaction=None if np.isnan(self.satisfactions[place]) else float(self.satisfactions[place]),
            )
            for place in range(len(self))
        ]


class EventSource:
    """Events of a fixed population, in the order of time; customers differ in what they spend.

    Parameters
    ----------
    customer_count
        How many there are.
    seed
        Equal seeds give equal events.
    """

    def __init__(self, customer_count: int, seed: int = 1) -> None:
        self.ids = [f"customer-{number:08d}" for number in range(customer_count)]
        self.now_ms = float(START_MS)
        self._generator = np.random.default_rng(seed)
        self._event_count = 0
        self._mean_gap_ms = 365 * MS_PER_DAY / EVENTS_PER_CUSTOMER_YEAR / customer_count
        self._log_spend = self._generator.normal(SPEND_LOG_MEAN, SPEND_LOG_SD_BETWEEN, customer_count)
        self._by_rank = self._generator.permutation(customer_count)
        self._cumulative: dict[float, NDArray[np.float64]] = {}

    def first_purchases(self) -> NDArray[np.int64]:
        """Give every customer once, in random order."""
        return self._generator.permutation(len(self.ids))

    def customers(self, count: int, zipf_exponent: float) -> NDArray[np.int64]:
        """Draw whose events come next.

        Parameters
        ----------
        count
            How many.
        zipf_exponent
            The customer of rank r has a share in proportion to r ** -exponent; 0 is uniform.

        Returns
        -------
        NDArray[np.int64]
            Shape `(count,)`: numbers of customers.
        """
        if zipf_exponent == 0:
            return self._generator.integers(len(self.ids), size=count)
        cumulative = self._cumulative.get(zipf_exponent)
        if cumulative is None:
            weights = np.arange(1, len(self.ids) + 1) ** -zipf_exponent
            cumulative = self._cumulative[zipf_exponent] = np.cumsum(weights) / weights.sum()
        ranks = np.searchsorted(cumulative, self._generator.random(count))
        return self._by_rank[np.minimum(ranks, len(self.ids) - 1)]

    def until(self, time_ms: int, batch_events_max: int) -> Iterator[RawEvents]:
        """Give the events of random customers up to about a time; time goes on to there."""
        left = int((time_ms - self.now_ms) / self._mean_gap_ms)
        while left > 0:
            raw = self.draw(self.customers(min(left, batch_events_max), 0.0))
            left -= len(raw)
            # The sum of random gaps may be a little longer than the time there was.
            yield replace(raw, times_ms=np.minimum(raw.times_ms, time_ms - 1))
        self.now_ms = float(time_ms)

    def draw(self, customers: NDArray[np.int64], *, only_purchases: bool = False, slowness: float = 1.0) -> RawEvents:
        """Draw one event for each of these customers, one after the other.

        Parameters
        ----------
        customers
            Shape `(n,)`: numbers of customers.
        only_purchases
            Leave out all other families.
        slowness
            How much longer than usual the gaps between events are.
        """
        count, generator = len(customers), self._generator
        times = self.now_ms + np.cumsum(generator.exponential(self._mean_gap_ms * slowness, count))
        families = np.full(count, Family.PURCHASE, dtype=np.uint8)
        if not only_purchases:
            codes = np.array(list(FAMILY_SHARES), dtype=np.uint8)
            families = generator.choice(codes, count, p=list(FAMILY_SHARES.values()))
        is_money = families <= Family.REFUND
        amounts = np.exp(self._log_spend[customers] + generator.normal(0, SPEND_LOG_SD_WITHIN, count))
        satisfactions = np.where(families == Family.FEEDBACK, generator.random(count), np.nan)
        first = self._event_count
        self._event_count += count
        if count:
            self.now_ms = float(times[-1])
        return RawEvents(
            customer_ids=[self.ids[number] for number in customers.tolist()],
            event_ids=[f"event-{number:012d}" for number in range(first, first + count)],
            times_ms=times.astype(np.int64),
            families=families,
            amounts=np.where(is_money, np.round(amounts, 2), 0.0),
            satisfactions=satisfactions,
        )
