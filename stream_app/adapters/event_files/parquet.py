"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_app.adapters.event_files.columns import ColumnChoice, choose_columns, expects_money, require_amount
from stream_app.adapters.event_files.dialect import SAMPLE_ROWS_MAX, recognise_decimal
from stream_app.adapters.event_files.discovery import EventFile
from stream_app.adapters.event_files.ids import clean_cells
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.rows import ReadChunk, RefusedRow
from stream_app.adapters.event_files.text_arrays import Array
from stream_app.adapters.event_files.text_chunks import renumbered
from stream_app.domain.refusals import Refusal

BATCH_ROWS = 1 << 16


def read_parquet(file: EventFile, normaliser: Normaliser, on_bytes: Callable[[int], None]) -> Iterator[ReadChunk]:
    """Read a Parquet file.

    Raises
    ------
    SettingsError
        When it lacks a required column.
    OSError, pa.ArrowException
        When it is broken.
    """
    with pq.ParquetFile(str(file.path)) as source:
        names = list(_paths(source.schema_arrow))
        choice = choose_columns(str(file.path), names, normaliser.options.mapping)
        _require_amount(file, source, names, choice, normaliser)
        normaliser.has_types = normaliser.has_types or "type" in choice.indices
        chosen = {field: names[index] for field, index in choice.indices.items()}
        first_row = 1
        decimal = normaliser.options.decimal
        row_total = max(source.metadata.num_rows, 1)
        wanted = list(dict.fromkeys(chosen.values()))
        for batch in source.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=True):
            if batch.num_rows:
                columns = {field: _column(batch, name) for field, name in chosen.items()}
                decimal = decimal or _recognise_decimal(columns)
                yield _chunk(batch, columns, normaliser, decimal, first_row)
                first_row += batch.num_rows
                on_bytes(file.size_bytes * (first_row - 1) // row_total)
    on_bytes(file.size_bytes)


def _require_amount(
    file: EventFile, source: pq.ParquetFile, names: list[str], choice: ColumnChoice, normaliser: Normaliser
) -> None:
    if "amount" in choice.indices:
        return
    policy = normaliser.policy
    types = {policy.default_event_type}
    if "type" in choice.indices:
        column = names[choice.indices["type"]]
        head = next(source.iter_batches(batch_size=1024, columns=[column]), None)
        texts, _ = plain_array(pa.nulls(0) if head is None else _column(head, column))
        types = {str(name or policy.default_event_type) for name in texts.unique().to_pylist()}
    require_amount(str(file.path), names, choice, is_needed=expects_money(policy, types))


def _chunk(
    batch: pa.RecordBatch, arrays: dict[str, Array], normaliser: Normaliser, decimal: str | None, first_row: int
) -> ReadChunk:
    refused: dict[int, tuple[Refusal, str]] = {}
    columns: dict[str, Array] = {}
    for field, array in arrays.items():
        plain, is_invalid = plain_array(array)
        columns[field] = clean_cells(plain)
        for index in np.flatnonzero(is_invalid).tolist():
            refused.setdefault(index, (Refusal.INVALID_UTF8, f"{field} is no UTF-8; mend the export"))
    indices = np.arange(batch.num_rows)
    if refused:
        indices = np.delete(indices, list(refused))
        columns = {field: array.take(pa.array(indices)) for field, array in columns.items()}
    normalised = normaliser.normalise(columns, decimal)
    for place, fault in normalised.faults.items():
        refused[int(indices[place])] = fault
    rows = [
        RefusedRow(index, code, message, row_as_json(batch, index))
        for index, (code, message) in sorted(refused.items())
    ]
    return ReadChunk(
        first_row=first_row,
        row_count=batch.num_rows,
        accepted=renumbered(normalised.accepted, indices),
        refused=rows,
        ignored=normalised.ignored,
        unmapped_types=normalised.unmapped_types,
    )


def _paths(schema: pa.Schema) -> Iterator[str]:
    """Give the columns, those of a structure by their dotted paths."""
    for field in schema:
        yield from _paths_below(field, field.name)


def _paths_below(field: pa.Field, path: str) -> Iterator[str]:
    if pa.types.is_struct(field.type):
        for inner in field.type:
            yield from _paths_below(inner, f"{path}.{inner.name}")
    else:
        yield path


def _column(batch: pa.RecordBatch, path: str) -> Array:
    if path in batch.schema.names:
        return batch.column(path)
    name, _, rest = path.partition(".")
    while name not in batch.schema.names:
        more, _, rest = rest.partition(".")
        name = f"{name}.{more}"
    array = batch.column(name)
    while rest:
        name, _, rest = rest.partition(".")
        while array.type.get_field_index(name) < 0:
            more, _, rest = rest.partition(".")
            name = f"{name}.{more}"
        array = pc.struct_field(array, [array.type.get_field_index(name)])
    return array


def _recognise_decimal(columns: dict[str, Array]) -> str | None:
    texts: list[str] = []
    for field in ("amount", "satisfaction"):
        if field in columns:
            plain, _ = plain_array(columns[field])
            if pa.types.is_string(plain.type):
                texts += [text for text in plain.slice(0, SAMPLE_ROWS_MAX).to_pylist() if text]
    return recognise_decimal(texts)


def plain_array(array: Array) -> tuple[Array, Any]:
    """Give a column as a plain type, and which of its texts are no UTF-8, shape `(n,)`."""
    nothing_invalid = np.zeros(len(array), dtype=np.bool_)
    if isinstance(array.type, pa.BaseExtensionType):
        values = [None if value is None else str(value) for value in array.to_pylist()]
        return pa.array(values, pa.string()), nothing_invalid
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_string(kind):
        return _validated(array.cast(pa.binary()))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _validated(array.cast(pa.binary()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return _validated(array.cast(pa.binary()))
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.string()), nothing_invalid
    return array, nothing_invalid


def _validated(array: Array) -> tuple[Array, Any]:
    try:
        return array.cast(pa.string()), np.zeros(len(array), dtype=np.bool_)
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        is_invalid = np.zeros(len(array), dtype=np.bool_)
        for index, value in enumerate(array.to_pylist()):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(None)
                is_invalid[index] = True
        return pa.array(texts, pa.string()), is_invalid


def row_as_json(batch: pa.RecordBatch, index: int) -> bytes:
    """Write the columns of a row that are read as one JSON object."""
    row = {name: column[index].as_py() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    return orjson.dumps(row, default=_as_text, option=orjson.OPT_NON_STR_KEYS)


def _as_text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
