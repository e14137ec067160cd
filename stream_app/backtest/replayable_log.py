"""What a backtest asks of the log that it replays, be it files or a topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files import ReadCounts
from stream_app.domain.events import EventBatch


class ReplayableLog(Protocol):
    """Events that have been read and checked; a context manager that removes what was kept of them for the run."""

    @property
    def files(self) -> tuple[str, ...]:
        """What was read, by the names that the summary tells."""

    @property
    def counts(self) -> ReadCounts:
        """What became of the rows or records."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know about the log."""

    @property
    def has_event_ids(self) -> bool:
        """False when nothing has an id, so that duplicates cannot be recognised."""

    @property
    def first_time_ms(self) -> int | None:
        """Earliest event time, in milliseconds since 1970-01-01 UTC."""

    @property
    def last_time_ms(self) -> int | None:
        """Latest event time."""

    def batches(self) -> Iterator[EventBatch]:
        """Give the events in the order in which they count; each call begins anew."""

    def source_of(self, position: int) -> dict[str, object]:
        """Say where the event of a position stands, as it is written into changes and dead letters."""

    def written_sources(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Write what `source_of` gives as JSON, for many at once."""

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give how many rows each event stands for; shape `(n,)`, at least 1 each."""

    def purchases_of(self, customer_ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
        """Give time and amount of each purchase and refund of a few customers, a refund's negative."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
