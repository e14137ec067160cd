"""Events that are ready to be written to the log, in order of time, from any position on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EventSlice:
    """Some events in order of time.

    Parameters
    ----------
    times_ms
        Shape `(n,)`, int64, never falling.
    keys
        Length n: customer ids in UTF-8.
    values
        Length n: events as JSON.
    """

    times_ms: NDArray[np.int64]
    keys: Sequence[bytes]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> EventSlice:
        """Take a run of them."""
        return EventSlice(self.times_ms[part], self.keys[part], self.values[part])


NO_EVENTS = EventSlice(np.empty(0, dtype=np.int64), (), ())
"""Time may pass without any."""


class EventStream(Protocol):
    """The same events in the same order, however often they are read."""

    @property
    def identity(self) -> str:
        """What tells these events from others: equal identities, equal events. It is kept in the log."""

    def slices(self, position: int) -> Iterator[EventSlice]:
        """Give all events but the first `position`."""
