"""Event logs and truth as files: Parquet, CSV and JSON Lines, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    fault = None
    if path.is_dir():
        fault = "is a directory; name a file in it"
    elif path.exists() and not path.is_file():
        fault = "is not an ordinary file; name another one"
    elif not path.parent.is_dir():
        fault = f"cannot be written, its directory {path.parent} does not exist; create it first"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        fault = f"cannot be written, its directory {path.parent} is not writable; choose another one"
    if fault is not None:
        message = f"file = {path} {fault}"
        raise SettingsError(message, code="unwritable_file")
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside the file; the file appears under its own name only if all went well.

    Raises
    ------
    SettingsError
        When the operating system refuses, as on a full disk.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        message = f"file = {path} cannot be written: {error.strerror or error}; free some space or choose another one"
        raise SettingsError(message, code="unwritable_file") from error
    finally:
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
    """Row groups of a million rows; ids are not put into dictionaries, which they would only outgrow."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        dictionaries = [field.name for field in schema if field.name in {"customer_id", "type", "currency", "satisfaction"}]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionaries)
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
        fields = [pa.field(field.name, pa.string()) if index in self._times else field for index, field in enumerate(schema)]
        self._schema = pa.schema(fields)
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
