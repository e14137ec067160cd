"""Events of a spool as batches for the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.event_files.text_arrays import Array, pack_texts, to_mask
from stream_app.domain.events import EventBatch, IdsOnDemand, event_keys

_ODD_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Multiplying by an odd number modulo 2^64 gives different positions different keys, and none but 0 the key 0."""


class EventIds(IdsOnDemand):
    """Event ids that are made when somebody asks.

    Parameters
    ----------
    texts
        `pa.string()` array; null where the log has no id.
    positions
        Shape `(n,)`: where the events stand in the log.
    name_of
        Makes an id of a position.
    """

    def __init__(self, texts: Array, positions: NDArray[np.int64], name_of: Callable[[int], str]) -> None:
        self._texts = texts
        self._positions = positions
        self._name_of = name_of

    def __len__(self) -> int:
        return len(self._positions)

    def _one(self, index: int) -> str:
        place = range(len(self))[index]
        text = self._texts[place].as_py()
        return self._name_of(int(self._positions[place])) if text is None else str(text)

    def _some(self, index: slice) -> Sequence[str]:
        start, stop, step = index.indices(len(self))
        if step == 1:
            return EventIds(self._texts.slice(start, max(0, stop - start)), self._positions[index], self._name_of)
        rows = np.arange(len(self))[index]
        return EventIds(self._texts.take(pa.array(rows)), self._positions[rows], self._name_of)

    def pick(self, indices: Sequence[int]) -> list[bytes]:
        """Give several ids at once in UTF-8, which is faster than one by one."""
        texts = self._texts.take(pa.array(indices, pa.int64())).cast(pa.binary()).to_pylist()
        return [
            self._name_of(int(self._positions[index])).encode() if text is None else text
            for index, text in zip(indices, texts, strict=True)
        ]


def read_batches(
    batches: Iterable[pa.RecordBatch], events_max: int, name_of: Callable[[int], str]
) -> Iterator[EventBatch]:
    """Give spooled events as batches for the engine.

    Parameters
    ----------
    batches
        Events in the schema of the spool, in order.
    events_max
        Most events of a batch.
    name_of
        Makes the id of an event without one from its position.
    """
    for spooled in batches:
        for start in range(0, spooled.num_rows, events_max):
            yield _batch_of(spooled.slice(start, events_max), name_of)


def _batch_of(spooled: pa.RecordBatch, name_of: Callable[[int], str]) -> EventBatch:
    def column(name: str) -> Any:
        return spooled.column(name).to_numpy(zero_copy_only=False)

    positions: NDArray[np.int64] = column("position")
    event_ids = spooled.column("event_id")
    keys = (positions + 1).astype(np.uint64) * _ODD_MULTIPLIER
    if event_ids.null_count < len(event_ids):
        keys = np.where(to_mask(event_ids.is_valid()), event_keys(pack_texts(event_ids)), keys)
    return EventBatch(
        customer_ids=pack_texts(spooled.column("customer_id")),
        event_ids=EventIds(event_ids, positions, name_of),
        event_keys=keys,
        times_ms=column("time_ms"),
        families=column("family"),
        amounts=column("amount"),
        satisfactions=column("satisfaction"),
        positions=positions,
    )
