"""A whole shop: all events of all customers, by time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from stream_app.simulation.behaviour import Block, draw_events
from stream_app.simulation.columns import event_columns
from stream_app.simulation.customers import block_count, block_generator, draw_customers
from stream_app.simulation.log import EVENTS_PER_SLICE, TimeSlices
from stream_app.simulation.purchases import draw_purchases
from stream_app.simulation.season import Season
from stream_app.simulation.settings import ShopSettings

ROWS_PER_BATCH = 65_536


def simulate(
    settings: ShopSettings,
    *,
    on_block: Callable[[Block], None] | None = None,
    rows_per_batch: int = ROWS_PER_BATCH,
    events_per_slice: int = EVENTS_PER_SLICE,
) -> Iterator[pa.RecordBatch]:
    """Simulate a shop and give its events by time.

    All customers are drawn before the first event is given. Neither `rows_per_batch` nor `events_per_slice`
    changes an event or its place.

    Parameters
    ----------
    settings
        The shop; equal settings give equal events.
    on_block
        Called for each block of customers with what is true of them, in the order of their numbers.
    rows_per_batch
        Events in each batch but those that end a slice of time.
    events_per_slice
        About how many events are sorted at once; it bounds memory.

    Returns
    -------
    Iterator[pyarrow.RecordBatch]
        With the columns of `columns.EVENT_SCHEMA`.
    """
    season = Season.spanning(settings.start_ms, settings.days, has_season=settings.has_season)
    slices: TimeSlices | None = None
    try:
        for number in range(block_count(settings)):
            generator = block_generator(settings, number)
            customers = draw_customers(generator, settings, number, season.length_days)
            purchases = draw_purchases(generator, customers, settings.population, season.length_days)
            block = Block(customers, purchases, season, settings.population)
            events = draw_events(generator, block, settings.end_ms)
            if slices is None:
                slices = TimeSlices(
                    settings.start_ms,
                    settings.end_ms,
                    events_expected=len(events) * block_count(settings),
                    events_per_slice=events_per_slice,
                )
            slices.add(events)
            if on_block is not None:
                on_block(block)
        if slices is not None:
            yield from _batches(slices, settings.currency, rows_per_batch)
    finally:
        if slices is not None:
            slices.close()


def _batches(slices: TimeSlices, currency: str, rows_per_batch: int) -> Iterator[pa.RecordBatch]:
    ordinal = 0
    for events in slices.in_order():
        for start in range(0, len(events), rows_per_batch):
            part = events[start : start + rows_per_batch]
            yield event_columns(part, ordinal, currency)
            ordinal += len(part)
