"""Customer events as columns: the only form in which the engine sees them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from enum import IntEnum
from typing import overload

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.identifiers import hash_ids

ID_BYTES_MAX = 256
"""Longest customer id or event id in bytes of UTF-8; longer ones are refused."""

MS_PER_SECOND = 1000
MS_PER_MINUTE = 60_000
MS_PER_DAY = 86_400_000

TIME_MIN_MS = 0
"""Earliest event time, 1970-01-01 UTC: rows keep seconds since then in 32 bits without a sign."""
TIME_MAX_MS = (2**32 - 1) * MS_PER_SECOND
"""Latest event time, in the year 2106, for the same reason."""


class IdsOnDemand(Sequence[str]):
    """Ids of a batch that are made when somebody asks: few of them are ever read."""

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """Give one id, or some of them."""
        return self._some(index) if isinstance(index, slice) else self._one(index)

    @abstractmethod
    def _one(self, index: int) -> str:
        """Give one id."""

    @abstractmethod
    def _some(self, index: slice) -> Sequence[str]:
        """Give some ids, on demand, too."""


class ChosenIds(IdsOnDemand):
    """Some of the ids of a batch.

    Parameters
    ----------
    ids
        Of the batch.
    index
        Shape `(n,)`: which of them, in which order.
    """

    def __init__(self, ids: Sequence[str], index: NDArray[np.int64]) -> None:
        self._ids, self._index = ids, index

    def __len__(self) -> int:
        return len(self._index)

    def _one(self, index: int) -> str:
        return self._ids[int(self._index[index])]

    def _some(self, index: slice) -> Sequence[str]:
        return ChosenIds(self._ids, self._index[index])


class Family(IntEnum):
    """What kind of behaviour an event is; the policy maps event types to families (S9)."""

    PURCHASE = 0
    REFUND = 1
    BROWSE = 2
    CART = 3
    CONTENT = 4
    SUPPORT = 5
    FEEDBACK = 6


BEHAVIOUR_FAMILIES = (Family.BROWSE, Family.CART, Family.CONTENT, Family.SUPPORT, Family.FEEDBACK)
"""Families of which a row keeps a decayed count and a last time, in the order of those sub-arrays."""


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Events in the order in which they count, one array element each.

    Parameters
    ----------
    customer_ids
        Shape `(n,)`, dtype `S<width>`: UTF-8, 1 to 256 bytes, no NUL (see `identifiers.pack_ids`).
    event_ids
        Length n; read only for the few events that cause a change, so it may be lazy.
    event_keys
        Shape `(n,)`, uint64: `identifiers.hash_ids` of the event ids.
    times_ms
        Shape `(n,)`, int64: event time in milliseconds since 1970-01-01 UTC, `TIME_MIN_MS <= t <= TIME_MAX_MS`.
    families
        Shape `(n,)`, uint8: `Family` codes.
    amounts
        Shape `(n,)`, float64, reporting currency, finite and >= 0. Purchases and refunds: the money
        (a refund is positive here, too); other families: the fixed value of the type, else 0.
    satisfactions
        Shape `(n,)`, float64 in [0, 1]; NaN where the event says nothing of satisfaction.
    positions
        Shape `(n,)`, int64: where the event stands in its source, as the driver counts (an offset, or an
        ordinal of file and row).

    Raises
    ------
    ValueError
        When the columns differ in length: a bug of the driver.
    """

    customer_ids: NDArray[np.bytes_]
    event_ids: Sequence[str]
    event_keys: NDArray[np.uint64]
    times_ms: NDArray[np.int64]
    families: NDArray[np.uint8]
    amounts: NDArray[np.float64]
    satisfactions: NDArray[np.float64]
    positions: NDArray[np.int64]

    def __post_init__(self) -> None:
        columns: tuple[Sized, ...] = (
            self.event_ids,
            self.event_keys,
            self.times_ms,
            self.families,
            self.amounts,
            self.satisfactions,
            self.positions,
        )
        if any(len(column) != len(self.customer_ids) for column in columns):
            message = f"columns of unequal length: {[len(self.customer_ids), *map(len, columns)]}"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.customer_ids)

    def select(self, index: NDArray[np.int64] | slice) -> EventBatch:
        """Take some events, in the order of the index."""
        ids = self.event_ids
        return EventBatch(
            customer_ids=self.customer_ids[index],
            event_ids=ids[index] if isinstance(index, slice) else ChosenIds(ids, index),
            event_keys=self.event_keys[index],
            times_ms=self.times_ms[index],
            families=self.families[index],
            amounts=self.amounts[index],
            satisfactions=self.satisfactions[index],
            positions=self.positions[index],
        )


def event_keys(event_ids: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Hash event ids to the keys that a row remembers (S7).

    Parameters
    ----------
    event_ids
        Shape `(n,)`, dtype `S<width>`.

    Returns
    -------
    NDArray[np.uint64]
        Shape `(n,)`, never 0, which marks an empty place in a row's ring.
    """
    keys = hash_ids(event_ids)
    keys[keys == 0] = 1
    return keys
