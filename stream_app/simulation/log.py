"""Simulated events in memory: one packed record each, put in order of time slice by slice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NO_AMOUNT = -1
NO_ORDER = 2**32 - 1
NO_RATING = 0

EVENT_DTYPE = np.dtype(
    [("time_ms", "<i8"), ("cents", "<i8"), ("customer", "<u4"), ("order", "<u4"), ("kind", "u1"), ("rating", "u1")]
)
"""An event: milliseconds since 1970-01-01 UTC; amount in hundredths or `NO_AMOUNT`; the customer's number; which
order of the customer it is about, or `NO_ORDER`; `Kind`; rating from 1 to 5 or `NO_RATING`."""

EVENTS_PER_SLICE = 2_000_000
"""Events that are sorted at once; it bounds memory and changes nothing else."""
_SLICES_MAX = 200
MEMORY_MAX_BYTES = 512 * 2**20
"""Events above this size in all wait for their turn in temporary files."""


class Kind(IntEnum):
    """What happened, in the order of `KIND_NAMES`."""

    PURCHASE = 0
    REFUND = 1
    BROWSE = 2
    CART = 3
    CONTENT = 4
    SUPPORT = 5
    FEEDBACK = 6


KIND_NAMES = tuple(kind.name.lower() for kind in Kind)
"""Event types in the native contract."""


def make_events(
    kind: Kind,
    times_ms: NDArray[np.int64],
    customers: NDArray[np.int64],
    *,
    orders: NDArray[np.int64] | None = None,
    cents: NDArray[np.int64] | None = None,
    ratings: NDArray[np.int64] | None = None,
) -> NDArray[np.void]:
    """Pack events of one kind, shape `(n,)`, dtype `EVENT_DTYPE`."""
    events = np.empty(len(times_ms), dtype=EVENT_DTYPE)
    events["time_ms"] = times_ms
    events["customer"] = customers
    events["kind"] = kind
    events["order"] = NO_ORDER if orders is None else orders
    events["cents"] = NO_AMOUNT if cents is None else cents
    events["rating"] = NO_RATING if ratings is None else ratings
    return events


class TimeSlices:
    """Takes events in any order and gives them back by time; equal times stay in the order in which they came.

    Parameters
    ----------
    start_ms, end_ms
        All events are in `[start_ms, end_ms)`.
    events_expected
        Roughly how many will come; decides into how many slices the time is cut.
    events_per_slice
        How many are sorted at once.
    memory_max_bytes
        Above this size, events go to temporary files.
    """

    def __init__(
        self,
        start_ms: int,
        end_ms: int,
        *,
        events_expected: int,
        events_per_slice: int = EVENTS_PER_SLICE,
        memory_max_bytes: int = MEMORY_MAX_BYTES,
    ) -> None:
        count = min(max(-(-events_expected // events_per_slice), 1), _SLICES_MAX)
        self._edges_ms = np.linspace(start_ms, end_ms, count + 1).astype(np.int64)[1:-1]
        self._files = [
            tempfile.SpooledTemporaryFile(max_size=max(memory_max_bytes // count, 1))  # noqa: SIM115 - closed by close()
            for _ in range(count)
        ]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, events: NDArray[np.void]) -> None:
        """Keep some events."""
        self._count += len(events)
        slices = np.searchsorted(self._edges_ms, events["time_ms"], side="right")
        by_slice = events[np.argsort(slices, kind="stable")]
        ends = np.cumsum(np.bincount(slices, minlength=len(self._files)))
        for file, part in zip(self._files, np.split(by_slice, ends[:-1]), strict=True):
            file.write(part.tobytes())

    def in_order(self) -> Iterator[NDArray[np.void]]:
        """Give all events by time, one slice after the other; each slice is let go once it has been given."""
        for file in self._files:
            file.seek(0)
            events = np.frombuffer(file.read(), dtype=EVENT_DTYPE)
            file.close()
            order = np.argsort(events["time_ms"], kind="stable")
            opaque = events.view(f"V{EVENT_DTYPE.itemsize}")
            yield np.take(opaque, order).view(EVENT_DTYPE)

    def close(self) -> None:
        """Let everything go."""
        for file in self._files:
            file.close()
