"""Files to spool: every row is accepted, ignored or refused, and counted."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from stream_app.adapters.event_files.byte_blocks import ByteBlocks
from stream_app.adapters.event_files.columns import check_mapping
from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.delimited import read_delimited
from stream_app.adapters.event_files.discovery import EventFile, FileFormat
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.options import EventLogOptions, ReadProgress, RowTally
from stream_app.adapters.event_files.parquet import read_parquet
from stream_app.adapters.event_files.rows import ReadChunk
from stream_app.adapters.event_files.spool import ROW_BITS, Spool
from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy


class LogReader:
    """Reads the files of a log one after the other."""

    def __init__(self, policy: Policy, options: EventLogOptions) -> None:
        check_mapping(options.mapping)
        self._options = options
        self._normaliser = Normaliser(policy, options)
        self._tally = RowTally()
        self._bytes_before = 0
        self._bytes_total = 0
        self.has_types = False

    def read(self, files: tuple[EventFile, ...], spool: Spool, dead_letters: DeadLetterFile) -> RowTally:
        """Read all files.

        Raises
        ------
        SettingsError
            When one cannot be used.
        """
        self._bytes_total = sum(file.size_bytes for file in files)
        for file in files:
            rows_before = self._tally.rows_read
            try:
                for chunk in self._chunks(file):
                    self._take(file, chunk, spool, dead_letters)
            except (OSError, pa.ArrowException) as error:
                raise _broken(file, error, self._tally.rows_read - rows_before) from error
            self._bytes_before += file.size_bytes
        return self._tally

    def _chunks(self, file: EventFile) -> Iterator[ReadChunk]:
        if file.format is FileFormat.PARQUET:
            return read_parquet(file, self._normaliser, self._note_bytes)
        return read_delimited(ByteBlocks(file, self._note_bytes), self._normaliser)

    def _take(self, file: EventFile, chunk: ReadChunk, spool: Spool, dead_letters: DeadLetterFile) -> None:
        tally = self._tally
        tally.rows_read += chunk.row_count
        tally.rows_accepted += len(chunk.accepted)
        for reason, count in chunk.ignored.items():
            tally.count_ignored(reason, count)
        for name, count in chunk.unmapped_types.items():
            tally.count_unmapped(name, count)
        for row in chunk.refused:
            tally.dead_letters[row.code] += 1
        dead_letters.write(file.name, chunk.first_row, chunk.refused)
        spool.add(chunk.accepted, (file.ordinal << ROW_BITS) + chunk.first_row + chunk.accepted.indices)

    def _note_bytes(self, bytes_of_file: int) -> None:
        if self._options.on_progress is not None:
            done = self._bytes_before + bytes_of_file
            self._options.on_progress(ReadProgress("read", done, self._bytes_total, self._tally.rows_read))


def _broken(file: EventFile, error: Exception, rows_readable: int) -> SettingsError:
    reason = " ".join(str(error).split())
    message = (
        f"{file.path}: is broken or cut off after {rows_readable} readable rows ({reason}); nothing was used of it: "
        "fetch the file again, or leave it out"
    )
    return SettingsError(message, code="broken_event_file")
