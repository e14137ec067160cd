"""Lines of JSON objects of any shape, whose fields are found by a mapping or by well-known names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from stream_app.adapters.codec.single_event import parse_object
from stream_app.adapters.event_files.columns import REQUIRED_FIELDS, choose_columns, expects_money, require_amount
from stream_app.adapters.event_files.dialect import recognise_decimal
from stream_app.adapters.event_files.ids import EXACT_INTEGER_MAX, clean_cells
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.records import RecordBlock
from stream_app.adapters.event_files.rows import ReadChunk, RefusedRow
from stream_app.adapters.event_files.text_arrays import Array
from stream_app.adapters.event_files.text_chunks import chunk_of
from stream_app.adapters.event_rules import encode_text, parse_time_ms, shown
from stream_app.domain.errors import InvalidEventError, SettingsError
from stream_app.domain.refusals import Refusal

NESTING_MAX = 4
_NUMBER_FIELDS = ("amount", "satisfaction")
_INTEGER_DIGITS_MAX = 18
_TEXT_TIME_DIGITS_MIN = 9


class MappedJsonReader:
    """Reads objects by the paths of their fields.

    Parameters
    ----------
    name
        Of the file, for messages.
    sample
        First objects of the file; their paths are its columns.
    normaliser
        Policy, options, and the rules for columns.
    """

    def __init__(self, name: str, sample: list[dict[str, Any]], normaliser: Normaliser) -> None:
        self._name = name
        self._normaliser = normaliser
        options, policy = normaliser.options, normaliser.policy
        columns = _columns(sample)
        # A rare field may not occur among the first objects: whether it exists shows at the end of the file.
        self._unseen = {
            field: path
            for field, path in options.mapping.items()
            if path and field not in REQUIRED_FIELDS and not _names(path, columns)
        }
        choice = choose_columns(name, [*columns, *self._unseen.values()], options.mapping)
        names = [*columns, *self._unseen.values()]
        self._paths = {field: names[index] for field, index in choice.indices.items()}
        types = {policy.default_event_type}
        if "type" in self._paths:
            normaliser.has_types = True
            values = (value_at(document, self._paths["type"]) for document in sample)
            types = {value if isinstance(value, str) and value else policy.default_event_type for value in values}
        require_amount(name, names, choice, is_needed=expects_money(policy, types))
        texts = (value_at(d, self._paths[f]) for d in sample for f in _NUMBER_FIELDS if f in self._paths)
        self._decimal = options.decimal or recognise_decimal(text for text in texts if isinstance(text, str))

    def chunk(self, records: RecordBlock, first_row: int) -> ReadChunk:
        """Judge the lines of a block."""
        bad = {record.index: record for record in records.bad}
        values: dict[str, list[Any]] = {field: [] for field in self._paths}
        sound: list[int] = []
        blank_count = 0
        for index, (start, end) in enumerate(zip(records.starts.tolist(), records.ends.tolist(), strict=True)):
            if index in bad:
                continue
            line = records.data[start:end]
            if not line.strip():
                blank_count += 1
                continue
            try:
                row = self._row(line)
            except InvalidEventError as error:
                bad[index] = RefusedRow(index, Refusal(error.code), str(error), records.raw_of(index))
                continue
            sound.append(index)
            for field, value in row.items():
                values[field].append(value)
        columns = {field: clean_cells(_array(field, cells)) for field, cells in values.items()}
        for field in [field for field in self._unseen if columns[field].null_count < len(columns[field])]:
            del self._unseen[field]
        normalised = self._normaliser.normalise(columns, self._decimal)
        return chunk_of(records, first_row, np.array(sound, dtype=np.int64), normalised, bad, blank_count=blank_count)

    def finish(self) -> None:
        """Refuse mapped paths that no object has.

        Raises
        ------
        SettingsError
            Code `unknown_columns`.
        """
        if self._unseen:
            faults = ", ".join(f"--map {field}={path}" for field, path in sorted(self._unseen.items()))
            message = f"{self._name}: {faults}: no object has this field; check the path, as properties.revenue"
            raise SettingsError(message, code="unknown_columns")

    def _row(self, line: bytes) -> dict[str, Any]:
        document: Any = None
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            document = parse_object(line)
        if not isinstance(document, dict):
            document = parse_object(line)
        row: dict[str, Any] = {}
        for field, path in self._paths.items():
            value: Any = value_at(document, path)
            if value is not None and type(value) not in (str, int, float):
                wanted = "text or a number"
                message = f"{path} = {shown(value)}, must be {wanted}; mend the row"
                raise InvalidEventError(message, code=Refusal.WRONG_TYPE.value)
            if isinstance(value, str):
                encode_text(value, field=path)
            elif value is not None and field not in _NUMBER_FIELDS and field != "occurred_at":
                value = _id_text(path, value)
            row[field] = value
        return row


def _id_text(path: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < EXACT_INTEGER_MAX:
        return str(int(value))
    message = f"{path} = {value}, must be text or a whole number below 2^53; mend the row"
    raise InvalidEventError(message, code=Refusal.WRONG_TYPE.value)


def _array(field: str, values: list[Any]) -> Array:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return pa.array(values, pa.string())
    if field in _NUMBER_FIELDS and str not in kinds:
        return pa.array([None if value is None else _as_float(value) for value in values], pa.float64())
    if field == "occurred_at" and kinds == {int} and all(value is None or abs(value) < 2**62 for value in values):
        return pa.array(values, pa.int64())
    as_text = _time_text if field == "occurred_at" else _number_text
    return pa.array(
        [value if value is None or isinstance(value, str) else as_text(value) for value in values], pa.string()
    )


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _number_text(value: Any) -> str:
    return repr(_as_float(value)) if isinstance(value, float) or abs(value) >= 10**_INTEGER_DIGITS_MAX else str(value)


def _time_text(value: Any) -> str:
    """Write an epoch time so that it is read as one again."""
    text = repr(value) if isinstance(value, float) else str(value)[: 2 * _INTEGER_DIGITS_MAX]
    if len(text.lstrip("-").partition(".")[0]) == len("20240131") and isinstance(value, int):
        return text
    try:
        return str(np.datetime64(parse_time_ms(value), "ms")) + "Z"
    except InvalidEventError:
        return text


def _names(path: str, columns: list[str]) -> bool:
    wanted = path.strip().lower()
    return any(column == path or column.strip().lower() == wanted for column in columns)


def _columns(sample: list[dict[str, Any]]) -> list[str]:
    """Give the paths of values; one that is an object in some lines and null in others is none."""
    paths = dict.fromkeys(path for document in sample for path in _paths(document))
    objects = {path[:dot] for path in paths for dot in range(len(path)) if path[dot] == "."}
    return [path for path in paths if path not in objects]


def _paths(document: dict[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and depth < NESTING_MAX:
            yield from _paths(value, f"{path}.", depth + 1)
        else:
            yield path


def value_at(document: dict[str, Any], path: str) -> Any:
    """Give what stands at a dotted path, or under a key that holds the dots itself; None when nothing does."""
    if path in document:
        return document[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = document.get(head)
        if isinstance(inner, dict):
            found = value_at(inner, rest)
            if found is not None:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None
