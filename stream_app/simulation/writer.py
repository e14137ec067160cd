"""Event logs and truth as files: Parquet, CSV and JSON Lines, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from stream_app.domain.errors import SettingsError

EVENT_ENDINGS = (".parquet", ".csv", ".csv.gz", ".csv.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst")
TRUTH_ENDINGS = (".parquet", ".csv")

_ROW_GROUP_ROWS = 1_000_000
_REPETITIVE_COLUMNS = {"customer_id", "type", "currency", "satisfaction"}
"""Columns of events that Parquet keeps as dictionaries; the others would outgrow theirs."""
_CODECS = {".gz": "gzip", ".zst": "zstd"}
_DATE_CHARACTERS = 10


class TableWriter(Protocol):
    """Takes record batches of one schema."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""

    def close(self) -> None:
        """Write what is left."""


def ending_of(path: Path, allowed: tuple[str, ...]) -> str:
    """Give the ending that says how to write the file.

    Raises
    ------
    SettingsError
        When the name has none of the allowed endings.
    """
    for ending in sorted(allowed, key=len, reverse=True):
        if path.name.endswith(ending) and path.name != ending:
            return ending
    message = f"file = {path}: its ending is not known, allowed are {', '.join(allowed)}; rename it"
    raise SettingsError(message, code="unknown_file_ending")


def check_target(path: Path) -> Path:
    """Give the real path of a file to be written, after a look whether it can be.

    Raises
    ------
    SettingsError
        When it is a directory or no ordinary file, or when its directory is missing or not writable.
    """
    path = Path(os.path.realpath(path))
    try:
        fault = _target_fault(path)
    except OSError as error:
        fault = f"cannot be written: {error.strerror}; choose another name"
    if fault is not None:
        message = f"file = {path} {fault}"
        raise SettingsError(message, code="unwritable_file")
    return path


def _target_fault(path: Path) -> str | None:
    """Say what is wrong with a file to be written, and what to do."""
    if path.is_dir():
        return "is a directory; name a file in it"
    if path.exists() and not path.is_file():
        return "is not an ordinary file; name another one"
    if not path.parent.is_dir():
        return f"cannot be written, there is no directory {path.parent}; create it first"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"cannot be written, its directory {path.parent} is not writable; choose another one"
    return None


@contextmanager
def written_whole(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give temporary names beside the files; they appear under their own names once all went well.

    Raises
    ------
    SettingsError
        When the operating system refuses, as on a full disk.
    """
    partials = [path.with_name(f".{path.name}.{os.getpid()}.partial") for path in paths]
    try:
        yield partials
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)
    except OSError as error:
        names = " and ".join(str(path) for path in paths)
        message = f"{names} cannot be written: {error.strerror or error}; make room or choose another place"
        raise SettingsError(message, code="unwritable_file") from error
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def open_writer(path: Path, ending: str, schema: pa.Schema) -> TableWriter:
    """Open a file for record batches in the form that the ending says."""
    if ending == ".parquet":
        return _ParquetWriter(path, schema)
    codec = _CODECS.get(Path(ending).suffix)
    if ending.startswith(".csv"):
        return _CsvWriter(path, schema, codec)
    return _JsonLinesWriter(path, codec)


class _ParquetWriter:
    """Row groups of a million rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        repetitive = [field.name for field in schema if field.name in _REPETITIVE_COLUMNS]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repetitive)
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=self._rows)
        self._waiting, self._rows = [], 0


class _CsvWriter:
    """Comma, one header line, empty cells for nulls, times as RFC 3339."""

    def __init__(self, path: Path, schema: pa.Schema, codec: str | None) -> None:
        self._sink = pa.output_stream(path, compression=codec)
        self._times = [index for index, field in enumerate(schema) if pa.types.is_timestamp(field.type)]
        self._schema = schema
        for index in self._times:
            self._schema = self._schema.set(index, pa.field(schema.names[index], pa.string()))
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        self._sink.write(",".join(self._schema.names).encode() + b"\n")
        self._writer = pyarrow.csv.CSVWriter(self._sink, self._schema, write_options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [rfc3339(column) if index in self._times else column for index, column in enumerate(batch.columns)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


class _JsonLinesWriter:
    """One native event a line; what an event does not have is left out."""

    def __init__(self, path: Path, codec: str | None) -> None:
        self._sink = pa.output_stream(path, compression=codec)

    def write(self, batch: pa.RecordBatch) -> None:
        lines = json_lines(batch)
        # The texts lie one after the other in the array's data buffer: that is the file already.
        self._sink.write(lines.buffers()[2])

    def close(self) -> None:
        self._sink.close()


def rfc3339(times: pa.Array) -> pa.Array:
    """Give times in UTC as text with milliseconds and Z; nulls stay null."""
    texts = times.cast(pa.timestamp("ms")).cast(pa.string())
    texts = pc.utf8_replace_slice(texts, _DATE_CHARACTERS, _DATE_CHARACTERS + 1, "T")
    return pc.binary_join_element_wise(texts, "Z", "")


def json_lines(batch: pa.RecordBatch) -> pa.Array:
    """Give each event as the text of its native JSON object, with a line end.

    Ids, types and codes of the simulation hold no character that JSON would have to escape.
    """
    return pc.binary_join_element_wise(
        '{"event_id":"', batch["event_id"],
        '","customer_id":"', batch["customer_id"],
        '","type":"', batch["type"],
        '","occurred_at":"', rfc3339(batch["occurred_at"]), '"',
        _optional(',"amount":', batch["amount"], ""),
        _optional(',"currency":"', batch["currency"], '"'),
        _optional(',"order_id":"', batch["order_id"], '"'),
        _optional(',"properties":{"satisfaction":', batch["satisfaction"], "}"),
        "}\n",
        "",
    )  # fmt: skip


def _optional(before: str, column: pa.Array, after: str) -> pa.Array:
    return pc.fill_null(pc.binary_join_element_wise(before, column.cast(pa.string()), after, ""), "")
