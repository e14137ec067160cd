"""Events with ticks between them, which need not be applied one stretch between two ticks after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import EventBatch


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Events that follow one another, and the ticks between them.

    Hourly ticks cut a log of a day's few thousand events into batches that cost more in calls of numpy than in events.
    Since a tick sweeps only the customers whose turn it is, most events can be applied across it.

    Parameters
    ----------
    events
        The n events.
    times_ms
        Shape `(n_ticks,)`, rising, in milliseconds since 1970-01-01 UTC: ticks that can be swept together.
    counts_before
        Shape `(n_ticks,)`: events before each tick.
    """

    events: EventBatch
    times_ms: NDArray[np.int64]
    counts_before: NDArray[np.int64]

    @classmethod
    def of(cls, batch: EventBatch, watermarks: NDArray[np.int64], place: slice, times_ms: NDArray[np.int64]) -> Stretch:
        """Take a part of a batch; a tick precedes the events at its time (S1)."""
        is_whole = place.start == 0 and place.stop == len(batch)
        counts_before = np.searchsorted(watermarks[place], times_ms)
        return cls(batch if is_whole else batch.select(place), times_ms, counts_before)

    def ticks_before(self, last_tick_ms: int) -> NDArray[np.int64]:
        """Give the last tick before each event, shape `(n,)`; the one before all of them is given."""
        passed = np.searchsorted(self.counts_before, np.arange(len(self.events)), side="right")
        return np.concatenate(([last_tick_ms], self.times_ms))[passed]

    def split(self, own_ticks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the places of the events that come before their customer's own tick, if there is one, and of the rest.

        Parameters
        ----------
        own_ticks
            Shape `(n,)`: place of the tick that sweeps each event's customer, or `n_ticks`.
        """
        counts_before = np.append(self.counts_before, len(self.events))
        is_before = np.arange(len(self.events)) < counts_before[own_ticks]
        return np.flatnonzero(is_before), np.flatnonzero(~is_before)

    def interleave(self, applied: Effects, swept: Effects) -> tuple[Effects, Effects]:
        """Move the changes of the ticks to their places among those of the events.

        Parameters
        ----------
        applied, swept
            Effects of all events, and of all ticks.

        Returns
        -------
        tuple
            The same with all changes in the first.
        """
        if not len(swept.changes) or swept.tick_times_ms is None:
            return applied, swept
        ticks = np.searchsorted(self.times_ms, swept.tick_times_ms)
        # An event that a tick precedes has the number of events before the tick as its place.
        keys = np.concatenate((2 * applied.changes.event_indices + 1, 2 * self.counts_before[ticks]))
        changes = Changes.concatenate([applied.changes, swept.changes]).take(np.argsort(keys, kind="stable"))
        nothing = np.empty(0, dtype=np.int64)
        return (
            replace(applied, changes=changes),
            replace(swept, changes=swept.changes.take(nothing), tick_times_ms=nothing),
        )
