"""Small shops for the tests, simulated once each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.simulation.behaviour import Block
from stream_app.simulation.columns import EVENT_SCHEMA
from stream_app.simulation.season import Season
from stream_app.simulation.settings import Population, ShopSettings
from stream_app.simulation.shop import simulate
from stream_app.simulation.truth import truth_columns, truth_schema


@dataclass(frozen=True, eq=False)
class Shop:
    """A simulated shop as tables: events by time, and the truth by customer number."""

    settings: ShopSettings
    events: pa.Table
    truth: pa.Table

    @property
    def season(self) -> Season:
        return Season.spanning(self.settings.start_ms, self.settings.days, has_season=self.settings.has_season)

    def of_type(self, kind: str) -> pa.Table:
        return self.events.filter(pa.compute.equal(self.events["type"], kind))

    def parameter(self, name: str) -> NDArray[np.float64]:
        """Give a parameter of all customers, NaN where the truth is silent."""
        return np.asarray(self.truth[name].to_numpy(), dtype=np.float64)

    def true_time_ms(self, name: str, missing: int) -> NDArray[np.int64]:
        return np.asarray(self.truth[name].cast(pa.int64()).fill_null(missing).to_numpy())


def times_ms(events: pa.Table) -> NDArray[np.int64]:
    return np.asarray(events["occurred_at"].cast(pa.int64()).to_numpy())


def customer_numbers(events: pa.Table) -> NDArray[np.int64]:
    texts = pa.compute.utf8_slice_codeunits(events["customer_id"], 1)
    return np.asarray(texts.cast(pa.int64()).to_numpy())


def order_ordinals(events: pa.Table) -> NDArray[np.int64]:
    texts = pa.compute.utf8_slice_codeunits(events["order_id"], 10)
    return np.asarray(texts.cast(pa.int64()).to_numpy())


def run(settings: ShopSettings) -> Shop:
    truths: list[pa.RecordBatch] = []

    def keep(block: Block) -> None:
        truths.append(truth_columns(block))

    events = pa.Table.from_batches(simulate(settings, on_block=keep), EVENT_SCHEMA)
    truth = pa.Table.from_batches(truths).replace_schema_metadata(truth_schema(settings).metadata)
    return Shop(settings, events, truth)


@cache
def lively_shop() -> Shop:
    """Simulate a shop with everything in it, over two years."""
    return run(ShopSettings(customers=5000, days=730, seed=11))


@cache
def buying_shop() -> Shop:
    """Simulate a larger shop of purchases and refunds only, for statistics."""
    return run(ShopSettings(customers=30_000, days=730, seed=12, population=Population(activity=0.0)))
