"""The shop that runs when nobody brings events of their own: simulated, the same at every start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.simulation.settings import ShopSettings
from stream_app.simulation.shop import simulate
from stream_app.simulation.writer import json_lines
from stream_app.supervisor.event_stream import EventSlice

HISTORY_DAYS = 364
"""Days that are there at once."""
PLAYBACK_DAYS = 728
"""Days that pass at a day a second, before the shop has come to the present: about twelve minutes."""
SHOP_VERSION = 1
"""Goes up with every change of the simulation: another shop would go on otherwise than the log has it."""
FUTURE_DAYS = 364
"""Days beyond the day of the first start, for which the shop stays open."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A simulated shop as a stream of events.

    Parameters
    ----------
    customers, seed
        Of the simulation.
    start
        Its first day.
    """

    customers: int
    seed: int
    start: date

    @classmethod
    def opened(cls, customers: int, seed: int, today: date) -> Shop:
        """Open a shop so long ago that there is history, and time to watch, before it comes to the present."""
        return cls(customers, seed, today - timedelta(days=HISTORY_DAYS + PLAYBACK_DAYS))

    @classmethod
    def identified(cls, identity: str) -> Shop:
        """Make the shop that a log was begun with.

        Raises
        ------
        SettingsError
            When it was not begun with a simulated shop.
        """
        try:
            told = json.loads(identity)
            return cls(int(told["customers"]), int(told["seed"]), date.fromisoformat(told["start"]))
        except (ValueError, KeyError, TypeError):
            message = "the log was begun with other events, not with the simulated shop; name another --folder"
            raise SettingsError(message, code="other_events") from None

    @property
    def identity(self) -> str:
        """Settings of the simulation, and the version of its drawing."""
        told = {"shop": SHOP_VERSION, "customers": self.customers, "seed": self.seed, "days": self.settings.days}
        return json.dumps(told | {"start": self.start.isoformat()})

    @property
    def settings(self) -> ShopSettings:
        """As the simulation takes them."""
        days = HISTORY_DAYS + PLAYBACK_DAYS + FUTURE_DAYS
        return ShopSettings(customers=self.customers, days=days, seed=self.seed, start=self.start)

    @property
    def history_end_ms(self) -> int:
        """Events before this time are history."""
        return self.settings.start_ms + HISTORY_DAYS * MS_PER_DAY

    def slices(self, position: int) -> Iterator[EventSlice]:
        """Give all events but the first `position`."""
        for batch in simulate(self.settings):
            skipped = min(position, batch.num_rows)
            position -= skipped
            if skipped < batch.num_rows:
                yield _slice_of(batch.slice(skipped))


def _slice_of(batch: pa.RecordBatch) -> EventSlice:
    times_ms = batch["occurred_at"].cast(pa.int64()).to_numpy().astype(np.int64, copy=False)
    keys = batch["customer_id"].cast(pa.binary()).to_pylist()
    lines = json_lines(batch).cast(pa.binary()).to_pylist()
    return EventSlice(times_ms=times_ms, keys=keys, values=[line[:-1] for line in lines])
