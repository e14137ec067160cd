"""An event log in files: opened, it has been read and checked, and is ready for replay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.discovery import EventFile, find_files
from stream_app.adapters.event_files.options import EventLogOptions, ReadCounts
from stream_app.adapters.event_files.reading import LogReader
from stream_app.adapters.event_files.replay import read_batches
from stream_app.adapters.event_files.sorting import EVENT_ORDER, sort_spool
from stream_app.adapters.event_files.spool import EVENT_SCHEMA, ROW_BITS, ROWS_MAX, Spool, read_spool
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import EventBatch, Family
from stream_app.domain.policy import Policy


def open_event_log(patterns: Sequence[str], policy: Policy, options: EventLogOptions) -> EventLog:
    """Read, check and sort the files of a log.

    Parameters
    ----------
    patterns
        Paths or globs of the files.
    policy
        What event types mean.
    options
        How to read.

    Returns
    -------
    EventLog
        To be closed; its temporary files lie in the system's folder for such.

    Raises
    ------
    SettingsError
        When options are wrong, a file cannot be read to its end, lacks a column, or no file is there; nothing is left
        behind then.
    """
    files = find_files(patterns)
    folder = tempfile.TemporaryDirectory(prefix="stream-app-events-", ignore_cleanup_errors=True)
    try:
        spool = Spool(Path(folder.name))
        reader = LogReader(policy, options)
        dead_letters = DeadLetterFile(options.dead_letters_path)
        try:
            tally = reader.read(files, spool, dead_letters)
            dead_letters.finish()
        finally:
            spool.close()
            dead_letters.discard()
        path = spool.events.path
        if options.order == "event" and not spool.is_sorted:
            path = path.with_name("sorted.arrows")
            sort_spool(spool.events.path, path, EVENT_ORDER, EVENT_SCHEMA, options.memory_limit_bytes)
            spool.events.path.unlink()
        return EventLog(files, folder, path, tally.finish(spool.events.row_count), spool, reader.has_types)
    except BaseException:
        folder.cleanup()
        raise


class EventLog:
    """Events ready for replay; a context manager that removes its temporary files."""

    def __init__(
        self,
        files: tuple[EventFile, ...],
        folder: tempfile.TemporaryDirectory[str],
        path: Path,
        counts: ReadCounts,
        spool: Spool,
        has_types: bool,
    ) -> None:
        self._event_files = files
        self._folder = folder
        self._path = path
        self.counts = counts
        self.has_event_ids = spool.has_event_ids
        self.has_types = has_types
        self.first_time_ms = spool.first_time_ms
        self.last_time_ms = spool.last_time_ms
        self.files = tuple(str(file.path) for file in files)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files; the log cannot be read any more."""
        self._folder.cleanup()

    def batches(self, *, events_max: int = 50_000) -> Iterator[EventBatch]:
        """Give the events in order of replay; each call begins anew."""
        return read_batches(self._path, events_max, self._id_of)

    def source_of(self, position: int) -> dict[str, object]:
        """Give file and row of an event, the row counted from 1 for the first data row."""
        return {"file": self._event_files[position >> ROW_BITS].name, "row": position % ROWS_MAX}

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give how many rows of the files each event stands for; shape `(n,)` as the positions."""
        return np.ones(len(positions), dtype=np.int64)

    def _id_of(self, position: int) -> str:
        return f"{self._event_files[position >> ROW_BITS].name}:{position % ROWS_MAX}"
