"""Event times of a column, in milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as fixed_offset
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.event_files.text_arrays import Array, can_cast, to_mask
from stream_app.adapters.event_rules import EPOCH_SECONDS_BELOW, parse_time_ms
from stream_app.domain.errors import InvalidEventError, SettingsError
from stream_app.domain.events import MS_PER_SECOND, TIME_MAX_MS, TIME_MIN_MS
from stream_app.domain.refusals import Refusal

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?", re.IGNORECASE)
_STEP_MS = 15 * 60 * MS_PER_SECOND
"""Zones change their offset at whole quarters of an hour, of UTC and of local time, since 1970."""
_US_PER_MS = 1000

# Texts that Arrow reads by itself; what else the rules allow is read one at a time.
_LOCAL = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"
_EPOCH_INTEGER = r"^\d{9,15}$"
_DAY_NUMBER_MIN, _DAY_NUMBER_MAX = 19_700_101, 21_061_231
_TEXT_MAX = 64


@dataclass(frozen=True, slots=True, eq=False)
class TimeColumn:
    """Times of a column.

    Parameters
    ----------
    times_ms
        Shape `(n,)`, int64; 0 where there is a fault.
    faults
        Row to why its time cannot be used.
    """

    times_ms: NDArray[np.int64]
    faults: dict[int, InvalidEventError]


def parse_timezone(name: str | None) -> tzinfo:
    """Read the zone of times that name none.

    Parameters
    ----------
    name
        A zone name as `Europe/Berlin`, `UTC`, or an offset as `+02:00`; None: UTC.

    Raises
    ------
    SettingsError
        Code `invalid_timezone`.
    """
    if name is None or name.strip().upper() in ("UTC", "Z", "GMT"):
        return UTC
    text = name.strip()
    match = _OFFSET.fullmatch(text)
    if match and int(match[2]) <= 23 and int(match[3] or 0) <= 59:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return fixed_offset(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        message = f"--timezone = {name}: no such zone; write a name as Europe/Berlin, UTC, or an offset as +02:00"
        raise SettingsError(message, code="invalid_timezone") from error


class TimeReader:
    """Reads columns of times, whatever type they have.

    Parameters
    ----------
    timezone
        Zone of times that name none. A time that occurs twice when clocks are set back is the first of the two.
    """

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._offsets_ms: dict[int, int] = {}

    def read(self, array: Array) -> TimeColumn:
        """Read a column.

        Parameters
        ----------
        array
            Arrow array of length n: text, timestamps, dates, integers or floats; null is a missing time.
        """
        kind = array.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self._from_timestamps(array)
        if pa.types.is_integer(kind):
            return self._from_integers(array)
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return self._from_floats(array)
        if pa.types.is_string(kind):
            return self._from_texts(array)
        return _refuse_all(array)

    def _from_timestamps(self, array: Array) -> TimeColumn:
        kind = array.type
        unit = pa.timestamp("ms", tz=getattr(kind, "tz", None))
        is_null = to_mask(array.is_null())
        times_ms = _integers(pc.cast(array, unit, safe=False).cast(pa.int64()))
        if getattr(kind, "tz", None) is None:
            times_ms = self._to_utc(times_ms, ~is_null)
        return _checked(times_ms, array, is_null)

    def _from_integers(self, array: Array) -> TimeColumn:
        is_null = to_mask(array.is_null())
        if pa.types.is_uint64(array.type):
            array = pc.cast(pc.min_element_wise(array, pa.scalar(2**62, pa.uint64())), pa.int64())
            array = pc.if_else(pa.array(is_null), pa.scalar(None, pa.int64()), array)
        values = _integers(array.cast(pa.int64()))
        is_day_number = (values >= _DAY_NUMBER_MIN) & (values <= _DAY_NUMBER_MAX) & ~is_null
        is_seconds = (values > -EPOCH_SECONDS_BELOW) & (values < EPOCH_SECONDS_BELOW)
        times_ms = np.where(is_seconds, values * MS_PER_SECOND, values)
        column = _checked(times_ms, array, is_null)
        if is_day_number.any():
            # As epoch seconds these would all lie in August 1970: 20240131 is a date.
            rows = np.flatnonzero(is_day_number)
            dates = self._from_texts(array.take(pa.array(rows)).cast(pa.string()))
            column.times_ms[rows] = dates.times_ms
            for index, error in dates.faults.items():
                column.faults[int(rows[index])] = error
        return column

    def _from_floats(self, array: Array) -> TimeColumn:
        values = np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        is_null = np.isnan(values)
        is_whole = ~is_null & (np.abs(values) < 2.0**62) & (values == np.floor(values))
        if (is_whole | is_null).all():
            return self._from_integers(pa.array(np.where(is_null, 0.0, values).astype(np.int64), mask=is_null))
        is_usable = ~is_null & (np.abs(values) < 2.0**62)
        kept = np.where(is_usable, values, -1.0)
        times_ms = np.rint(np.where(np.abs(kept) < EPOCH_SECONDS_BELOW, kept * MS_PER_SECOND, kept)).astype(np.int64)
        return _checked(times_ms, array, is_null)

    def _from_texts(self, texts: Array) -> TimeColumn:
        times_ms = np.zeros(len(texts), dtype=np.int64)
        faults: dict[int, InvalidEventError] = {}
        if len(texts) == texts.null_count or not self._read_uniform(texts, times_ms):
            self._read_mixed(texts, times_ms, faults)
        is_null = to_mask(texts.is_null())
        is_outside = (times_ms < TIME_MIN_MS) | (times_ms > TIME_MAX_MS)
        self._read_singly(texts, np.flatnonzero(is_outside & ~is_null), times_ms, faults)
        return _checked(times_ms, texts, is_null, faults)

    def _read_uniform(self, texts: Array, times_ms: NDArray[np.int64]) -> bool:
        """Read texts that are all of one kind; False when they are not."""
        for zone in (None, "UTC"):
            # A cast that fails spends a microsecond on each wrong cell: a few cells show whether it is worth trying.
            if not can_cast(texts, pa.timestamp("us", zone)):
                continue
            try:
                moments = pc.cast(texts, pa.timestamp("us", zone))
            except pa.ArrowInvalid:
                continue
            values = _integers(moments.cast(pa.int64())) // _US_PER_MS
            times_ms[:] = values if zone else self._to_utc(values, to_mask(texts.is_valid()))
            return True
        return False

    def _read_mixed(self, texts: Array, times_ms: NDArray[np.int64], faults: dict[int, InvalidEventError]) -> None:
        is_left = to_mask(texts.is_valid())
        for pattern, zone in ((_LOCAL, None), (_ZONED, "UTC")):
            rows = np.flatnonzero(is_left & to_mask(pc.match_substring_regex(texts, pattern)))
            part = texts.take(pa.array(rows))
            try:
                values = _integers(pc.cast(part, pa.timestamp("us", zone)).cast(pa.int64())) // _US_PER_MS
            except pa.ArrowInvalid:
                continue  # One is not in the calendar, as 2023-02-29.
            times_ms[rows] = values if zone else self._to_utc(values, np.ones(len(rows), dtype=np.bool_))
            is_left[rows] = False
        rows = np.flatnonzero(is_left & to_mask(pc.match_substring_regex(texts, _EPOCH_INTEGER)))
        values = _integers(texts.take(pa.array(rows)).cast(pa.int64()))
        times_ms[rows] = np.where(values < EPOCH_SECONDS_BELOW, values * MS_PER_SECOND, values)
        is_left[rows] = False
        self._read_singly(texts, np.flatnonzero(is_left), times_ms, faults)

    def _read_singly(
        self, texts: Array, rows: NDArray[np.int64], times_ms: NDArray[np.int64], faults: dict[int, InvalidEventError]
    ) -> None:
        """Read each different text once by the rules for one event."""
        if not len(rows):
            return
        different = pc.dictionary_encode(texts.take(pa.array(rows)))
        found = np.zeros(len(different.dictionary), dtype=np.int64)
        errors: dict[int, InvalidEventError] = {}
        for index, text in enumerate(different.dictionary.to_pylist()):
            try:
                found[index] = parse_time_ms(text, self._timezone)
            except InvalidEventError as error:
                errors[index] = error
        codes = _integers(different.indices)
        times_ms[rows] = found[codes]
        if errors:
            is_bad = np.isin(codes, np.fromiter(errors, dtype=np.int64))
            for row, code in zip(rows[is_bad].tolist(), codes[is_bad].tolist(), strict=True):
                faults[row] = errors[code]

    def _to_utc(self, local_ms: NDArray[np.int64], is_given: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Take local times of the zone to UTC."""
        if self._timezone is UTC:
            return local_ms
        is_inside = is_given & (local_ms > -TIME_MAX_MS) & (local_ms < 2 * TIME_MAX_MS)
        steps, places = np.unique(np.where(is_inside, local_ms, 0) // _STEP_MS, return_inverse=True)
        offsets_ms = np.fromiter((self._offset_ms(step) for step in steps.tolist()), dtype=np.int64, count=len(steps))
        return np.asarray(local_ms - offsets_ms[places])

    def _offset_ms(self, step: int) -> int:
        offset_ms = self._offsets_ms.get(step)
        if offset_ms is None:
            local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=step * _STEP_MS)
            offset = local.replace(tzinfo=self._timezone).utcoffset() or timedelta()
            offset_ms = self._offsets_ms[step] = round(offset / timedelta(milliseconds=1))
        return offset_ms


def _integers(array: Array) -> NDArray[np.int64]:
    if array.null_count:
        array = pc.fill_null(array, 0)
    return np.array(array.to_numpy(zero_copy_only=False), dtype=np.int64)


def _checked(
    times_ms: NDArray[np.int64],
    array: Array,
    is_null: NDArray[np.bool_],
    faults: dict[int, InvalidEventError] | None = None,
) -> TimeColumn:
    """Add faults for missing times and times out of range."""
    faults = {} if faults is None else faults
    is_outside = (times_ms < TIME_MIN_MS) | (times_ms > TIME_MAX_MS)
    for index in np.flatnonzero(is_null | is_outside).tolist():
        if index in faults:
            continue
        if is_null[index]:
            message = "event time is empty, must be given; mend the row"
            faults[index] = InvalidEventError(message, code=Refusal.MISSING_FIELD.value)
        else:
            message = f"event time = {str(array[index])[:_TEXT_MAX]}, must lie between 1970 and 2106; mend the row"
            faults[index] = InvalidEventError(message, code=Refusal.TIME_OUT_OF_RANGE.value)
    return TimeColumn(times_ms, faults)


def _refuse_all(array: Array) -> TimeColumn:
    message = (
        f"event time has the column type {array.type}, must be text, a timestamp, a date or a number; mend the file"
    )
    error = InvalidEventError(message, code=Refusal.WRONG_TYPE.value)
    return TimeColumn(np.zeros(len(array), dtype=np.int64), dict.fromkeys(range(len(array)), error))
