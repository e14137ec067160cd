"""An event log in files: once open, it has been read and checked, and is ready for replay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.event_files.arranging import ArrangedLog, arrange
from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.discovery import EventFile, find_files
from stream_app.adapters.event_files.options import EventLogOptions, ReadCounts, check_options
from stream_app.adapters.event_files.purchases import find_purchases
from stream_app.adapters.event_files.reading import LogReader
from stream_app.adapters.event_files.replay import read_batches
from stream_app.adapters.event_files.spool import ROW_BITS, ROWS_MAX, Spool
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import EventBatch
from stream_app.domain.policy import Policy

EVENTS_MAX = 50_000
"""Default length of a batch."""


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
        When options are wrong, a file is missing, cannot be read to its end or lacks a column, or when no row makes
        an event (code `no_events`; only then dead letters stay). No temporary file is left behind.
    """
    check_options(options)
    files = find_files(patterns)
    reader = LogReader(policy, options)
    folder = tempfile.TemporaryDirectory(prefix="stream-app-events-", ignore_cleanup_errors=True)
    try:
        spool = Spool(Path(folder.name))
        _read(files, reader, spool, options)
        arranged = arrange(spool, options, reader.note_phase)
    except OSError as error:
        folder.cleanup()
        reason = error.strerror or error
        message = f"temporary files in {folder.name} cannot be written ({reason}); make room, or set TMPDIR"
        raise SettingsError(message, code="no_room") from error
    except BaseException:
        folder.cleanup()
        raise
    counts = reader.tally.finish(arranged.event_count, arranged.copy_count)
    types = reader.event_types
    has_types = reader.has_types
    return EventLog(files, folder, arranged, counts, types, has_event_ids=spool.has_event_ids, has_types=has_types)


def _read(files: tuple[EventFile, ...], reader: LogReader, spool: Spool, options: EventLogOptions) -> None:
    dead_letters = DeadLetterFile(options.dead_letters_path)
    try:
        reader.read(files, spool, dead_letters)
        dead_letters.finish()
    finally:
        spool.close()
        dead_letters.discard()
    if not reader.tally.rows_accepted:
        raise _no_events(files, reader, options)


class EventLog:
    """Events ready for replay; a context manager that removes its temporary files.

    Parameters
    ----------
    files
        What was read.
    folder
        Of the temporary files.
    arranged
        The events in order.
    counts
        What became of the rows.
    event_types
        What the files call their events; a type's number is its place.
    has_event_ids
        False when no row has an id: duplicates cannot be recognised.
    has_types
        False when no file says what its events are: all have the policy's default type.
    """

    def __init__(
        self,
        files: tuple[EventFile, ...],
        folder: tempfile.TemporaryDirectory[str],
        arranged: ArrangedLog,
        counts: ReadCounts,
        event_types: tuple[str, ...],
        *,
        has_event_ids: bool,
        has_types: bool,
    ) -> None:
        self._event_files = files
        self._folder = folder
        self._arranged = arranged
        self.counts = counts
        self.event_types = event_types
        self.has_event_ids = has_event_ids
        self.has_types = has_types
        self.first_time_ms = arranged.first_time_ms
        self.last_time_ms = arranged.last_time_ms
        self.files = tuple(str(file.path) for file in files)
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files; the log cannot be read any more. Closing twice does no harm."""
        self._folder.cleanup()

    def batches(self, *, events_max: int = EVENTS_MAX) -> Iterator[EventBatch]:
        """Give the events in order of replay, at most `events_max` at a time; each call begins anew."""
        return read_batches(self._arranged.batches(), events_max, self._id_of)

    def typed_batches(self, *, events_max: int = EVENTS_MAX) -> Iterator[tuple[EventBatch, NDArray[np.int32]]]:
        """Give the events as `batches` does, each batch with the numbers of its events' types."""
        for spooled in self._arranged.batches():
            codes = np.asarray(spooled.column("type_code").to_numpy(zero_copy_only=False))
            start = 0
            for events in read_batches([spooled], events_max, self._id_of):
                yield events, codes[start : start + len(events)]
                start += len(events)

    def source_of(self, position: int) -> dict[str, object]:
        """Give file and row of an event, the row counted from 1 for the first data row."""
        file, row = self._file_and_row(position)
        return {"file": file, "row": row}

    def written_sources(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Write file and row of events as JSON; the same as `source_of`, for many at once."""
        names = [b'{"file":%b,"row":' % orjson.dumps(file.name) for file in self._event_files]
        files, rows = (positions >> ROW_BITS).tolist(), (positions % ROWS_MAX).tolist()
        return [b"%b%d}" % (names[file], row) for file, row in zip(files, rows, strict=True)]

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give how many rows of the files each event stands for.

        Parameters
        ----------
        positions
            Shape `(n,)`: of events of this log.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`, at least 1 each: an order counts all its line items.
        """
        rows = np.ones(len(positions), dtype=np.int64)
        merged = self._arranged.merged_positions
        if len(merged):
            places = np.minimum(np.searchsorted(merged, positions), len(merged) - 1)
            is_merged = merged[places] == positions
            rows[is_merged] = self._arranged.merged_rows[places[is_merged]]
        return rows

    def purchases_of(self, customer_ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
        """Give the purchases and refunds of some customers.

        Parameters
        ----------
        customer_ids
            A few; the whole log is read once for them.

        Returns
        -------
        dict[str, list[tuple[int, float]]]
            For each customer time in milliseconds and amount, a refund's negative, in order of replay.
        """
        return find_purchases(self._arranged.batches(), customer_ids)

    def _file_and_row(self, position: int) -> tuple[str, int]:
        return self._event_files[position >> ROW_BITS].name, position % ROWS_MAX

    def _id_of(self, position: int) -> str:
        file, row = self._file_and_row(position)
        return f"{file}:{row}"


def _no_events(files: tuple[EventFile, ...], reader: LogReader, options: EventLogOptions) -> SettingsError:
    tally = reader.tally
    what = str(files[0].path) if len(files) == 1 else f"{len(files)} files"
    if not tally.rows_read:
        return SettingsError(f"{what}: no events: there is no data row below the header", code="no_events")
    reasons = [f"{reason} {count}" for reason, count in (tally.ignored + tally.dead_letters).most_common()]
    message = f"{what}: no events: none of {tally.rows_read} rows can be used ({', '.join(reasons)})"
    if tally.unmapped_types:
        names = ", ".join(repr(name)[:40] for name, _ in tally.unmapped_types.most_common(5))
        message += f"; types without a rule in the policy: {names}; add them under [events.types]"
    if reader.first_refusal:
        message += f"; first refusal: {reader.first_refusal}"
    if options.dead_letters_path is not None and tally.dead_letters:
        message += f"; see {options.dead_letters_path}"
    return SettingsError(message, code="no_events")
