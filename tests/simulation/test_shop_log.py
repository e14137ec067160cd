"""Simulated events are put in order of time, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from stream_app.simulation.log import Kind, TimeSlices, make_events
from stream_app.simulation.settings import ShopSettings
from stream_app.simulation.shop import simulate

END_MS = 1000
COUNT = 20_000


@pytest.mark.parametrize("memory_max_bytes", [10, 2**30])
@pytest.mark.parametrize("events_per_slice", [100, 7000, COUNT])
def test_equal_times_stay_in_the_order_in_which_they_came(events_per_slice: int, memory_max_bytes: int) -> None:
    times = np.random.default_rng(1).integers(0, END_MS, COUNT)
    numbers = np.arange(COUNT)
    slices = TimeSlices(
        0, END_MS, events_expected=COUNT, events_per_slice=events_per_slice, memory_max_bytes=memory_max_bytes
    )
    for part in np.array_split(numbers, 7):
        slices.add(make_events(Kind.BROWSE, times[part], part))
    assert len(slices) == COUNT
    ordered = np.concatenate(list(slices.in_order()))
    assert (ordered["time_ms"] == np.sort(times)).all()
    assert (ordered["customer"] == np.lexsort((numbers, times))).all()


def test_a_log_is_sorted_in_slices_of_about_the_size_that_was_asked_for() -> None:
    settings = ShopSettings(customers=9000, days=30, seed=5)
    sizes = [batch.num_rows for batch in simulate(settings, rows_per_batch=10**9, events_per_slice=5000)]
    assert sum(sizes) > 30_000
    assert max(sizes) < 12_000
