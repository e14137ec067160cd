"""Files to spool: every row is accepted, ignored or refused, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa

from stream_app.adapters.event_files.byte_blocks import ByteBlocks
from stream_app.adapters.event_files.columns import check_mapping
from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.delimited import read_delimited
from stream_app.adapters.event_files.discovery import EventFile, FileFormat
from stream_app.adapters.event_files.json_lines import read_json_lines
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.options import EventLogOptions, ReadProgress, RowTally
from stream_app.adapters.event_files.parquet import read_parquet
from stream_app.adapters.event_files.rows import ReadChunk
from stream_app.adapters.event_files.spool import ROW_BITS, Spool
from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy


class LogReader:
    """Reads the files of a log one after the other.

    Parameters
    ----------
    policy
        What event types mean.
    options
        How to read.

    Raises
    ------
    SettingsError
        When mapping or time zone are wrong.
    """

    def __init__(self, policy: Policy, options: EventLogOptions) -> None:
        check_mapping(options.mapping)
        self._options = options
        self._normaliser = Normaliser(policy, options)
        self._bytes_before = 0
        self._bytes_total = 0
        self.tally = RowTally()
        self.first_refusal = ""

    @property
    def has_types(self) -> bool:
        """Whether any file says what its events are."""
        return self._normaliser.has_types

    @property
    def event_types(self) -> tuple[str, ...]:
        """The event types that were read; one's number is its place."""
        return self._normaliser.event_types

    def read(self, files: tuple[EventFile, ...], spool: Spool, dead_letters: DeadLetterFile) -> None:
        """Read all files.

        Raises
        ------
        SettingsError
            When one cannot be used.
        """
        self._bytes_total = sum(file.size_bytes for file in files)
        for file in files:
            rows_before = self.tally.rows_read
            chunks = self._chunks(file)
            while (chunk := self._next(chunks, file, rows_before)) is not None:
                self._take(file, chunk, spool, dead_letters)
            self._bytes_before += file.size_bytes

    def note_phase(self, phase: Literal["merge", "sort"]) -> None:
        """Tell that another phase begins."""
        self._tell(phase, self._bytes_total)

    def _next(self, chunks: Iterator[ReadChunk], file: EventFile, rows_before: int) -> ReadChunk | None:
        try:
            return next(chunks, None)
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            message = (
                f"{file.path}: is broken or cut off after {self.tally.rows_read - rows_before} readable rows "
                f"({reason}); nothing was used of it: fetch the file again, or leave it out"
            )
            raise SettingsError(message, code="broken_event_file") from error

    def _chunks(self, file: EventFile) -> Iterator[ReadChunk]:
        if file.format is FileFormat.PARQUET:
            return read_parquet(file, self._normaliser, self._note_bytes)
        blocks = ByteBlocks(file, self._note_bytes)
        read = read_json_lines if file.format is FileFormat.JSON_LINES else read_delimited
        return read(blocks, self._normaliser)

    def _take(self, file: EventFile, chunk: ReadChunk, spool: Spool, dead_letters: DeadLetterFile) -> None:
        tally = self.tally
        tally.rows_read += chunk.row_count
        tally.rows_accepted += len(chunk.accepted)
        for reason, count in chunk.ignored.items():
            tally.count_ignored(reason, count)
        for name, count in chunk.unmapped_types.items():
            tally.count_unmapped(name, count)
        for row in chunk.refused:
            tally.dead_letters[row.code.value] += 1
        if chunk.refused and not self.first_refusal:
            row = chunk.refused[0]
            self.first_refusal = f"{file.name} row {chunk.first_row + row.index}: {row.message}"
        dead_letters.write(file.name, chunk.first_row, chunk.refused)
        spool.add(chunk.accepted, (file.ordinal << ROW_BITS) + chunk.first_row + chunk.accepted.indices)

    def _note_bytes(self, bytes_of_file: int) -> None:
        self._tell("read", self._bytes_before + bytes_of_file)

    def _tell(self, phase: Literal["read", "merge", "sort"], bytes_read: int) -> None:
        if self._options.on_progress is not None:
            progress = ReadProgress(phase, bytes_read, self._bytes_total, self.tally.rows_read)
            self._options.on_progress(progress)
