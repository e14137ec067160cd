"""Event times of a batch, read as columns of characters; what is not plain is left to the scalar rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_rules import EPOCH_SECONDS_BELOW, parse_time_ms
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import MS_PER_DAY, MS_PER_SECOND, TIME_MAX_MS, TIME_MIN_MS

TIME_WIDTH = 36
"""Bytes of the longest text that is read as columns."""
_SECOND_END = len("2024-05-01T12:30:00")
_UTC_WIDTH = len("Z")
_OFFSET_WIDTH = len("+00:00")
_FRACTION_DIGITS_MAX = 9
_EPOCH_YEAR = 1970
_LAST_WHOLE_YEAR = 2105


def read_times_ms(values: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read event times.

    Parameters
    ----------
    values
        Length n: text, integers, floats or None.

    Returns
    -------
    times_ms
        Shape `(n,)`: milliseconds since 1970-01-01 UTC, the same as `parse_time_ms` gives.
    is_read
        Shape `(n,)`: False where there is no time, or one that the rules refuse.
    """
    try:
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    except TypeError:
        return _read_mixed(values)
    return _read_texts(values, lengths)


def _read_mixed(values: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if all(type(value) is int for value in values):
        try:
            return read_epoch_times(np.array(values, dtype=np.int64))
        except OverflowError:
            pass
    times_ms = np.zeros(len(values), dtype=np.int64)
    is_read = np.zeros(len(values), dtype=np.bool_)
    for index, value in enumerate(values):
        _read_one(value, index, times_ms, is_read)
    return times_ms, is_read


def _read_one(value: Any, index: int, times_ms: NDArray[np.int64], is_read: NDArray[np.bool_]) -> None:
    try:
        times_ms[index] = parse_time_ms(value)
        is_read[index] = True
    except InvalidEventError:
        pass


def read_epoch_times(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read epoch times in seconds or milliseconds, shape `(n,)`; gives what `read_times_ms` does."""
    is_seconds = (values < EPOCH_SECONDS_BELOW) & (values >= TIME_MIN_MS)
    times_ms = np.where(is_seconds, values * MS_PER_SECOND, values)
    return times_ms, (times_ms >= TIME_MIN_MS) & (times_ms <= TIME_MAX_MS)


def _read_texts(values: Sequence[str], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        packed = np.array(values, dtype=f"S{TIME_WIDTH}")
    except UnicodeEncodeError:
        packed = np.array([text if text.isascii() else "" for text in values], dtype=f"S{TIME_WIDTH}")
    times_ms, is_read = read_packed_times(packed.view(np.uint8).reshape(len(values), TIME_WIDTH), lengths)
    for index in np.flatnonzero(~is_read).tolist():
        _read_one(values[index], index, times_ms, is_read)
    return times_ms, is_read


def read_packed_times(
    characters: NDArray[np.uint8], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read texts that stand in the rows of an array.

    Parameters
    ----------
    characters
        Shape `(n, TIME_WIDTH)`: their bytes; what is behind a text does not count.
    lengths
        Shape `(n,)`: bytes of each text; of longer ones the beginning stands there.

    Returns
    -------
    times_ms, is_read
        As of `read_times_ms`; only texts of the usual layout are read.
    """
    times_ms = np.zeros(len(lengths), dtype=np.int64)
    is_read = np.zeros(len(lengths), dtype=np.bool_)
    for length in np.unique(lengths).tolist():
        if not _SECOND_END < length <= TIME_WIDTH:
            continue
        of_length = np.flatnonzero(lengths == length)
        group = characters[of_length, :length]
        is_utc = group[:, -1] == ord("Z")
        for zone_width, members in ((_UTC_WIDTH, is_utc), (_OFFSET_WIDTH, ~is_utc)):
            if members.any():
                rows = of_length[members]
                times_ms[rows], is_read[rows] = _read_layout(np.ascontiguousarray(group[members].T), zone_width)
    return times_ms, is_read


def _read_layout(characters: NDArray[np.uint8], zone_width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read times of one layout: date, time, perhaps a fraction, and a zone.

    Parameters
    ----------
    characters
        Shape `(length, n)`: one row for each place in the text.
    zone_width
        How many characters the zone takes at the end.
    """
    zone_begin = len(characters) - zone_width
    fraction_digits = zone_begin - _SECOND_END - 1
    is_read = np.ones(characters.shape[1], dtype=np.bool_)
    if zone_begin < _SECOND_END or fraction_digits == 0 or fraction_digits > _FRACTION_DIGITS_MAX:
        return np.zeros(characters.shape[1], dtype=np.int64), ~is_read

    def number(begin: int, end: int) -> NDArray[np.int64]:
        value = np.zeros(characters.shape[1], dtype=np.int64)
        for place in range(begin, end):
            digit = characters[place] - np.uint8(ord("0"))
            np.logical_and(is_read, digit <= 9, out=is_read)
            value = value * 10 + digit
        return value

    def hold(condition: NDArray[np.bool_]) -> None:
        np.logical_and(is_read, condition, out=is_read)

    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    fraction_ms = np.zeros(characters.shape[1], dtype=np.int64)
    if fraction_digits > 0:
        number(_SECOND_END + 1, zone_begin)
        kept_digits = min(fraction_digits, 3)
        fraction_ms = number(_SECOND_END + 1, _SECOND_END + 1 + kept_digits) * 10 ** (3 - kept_digits)
        hold(characters[_SECOND_END] == ord("."))
    hold((characters[4] == ord("-")) & (characters[7] == ord("-")))
    hold((characters[10] == ord("T")) | (characters[10] == ord(" ")))
    hold((characters[13] == ord(":")) & (characters[16] == ord(":")))
    hold((year >= _EPOCH_YEAR) & (year <= _LAST_WHOLE_YEAR) & (month >= 1) & (month <= 12))
    hold((hour <= 23) & (minute <= 59) & (second <= 59))
    month_number = np.where(is_read, (year - _EPOCH_YEAR) * 12 + month - 1, 0)
    first_day, next_first_day = _first_days(month_number), _first_days(month_number + 1)
    hold((day >= 1) & (day <= next_first_day - first_day))
    times_ms = (first_day + day - 1) * MS_PER_DAY
    times_ms += ((hour * 60 + minute) * 60 + second) * MS_PER_SECOND + fraction_ms
    if zone_width == _OFFSET_WIDTH:
        zone_hour, zone_minute = number(zone_begin + 1, zone_begin + 3), number(zone_begin + 4, zone_begin + 6)
        is_behind = characters[zone_begin] == ord("-")
        hold(is_behind | (characters[zone_begin] == ord("+")))
        hold((characters[zone_begin + 3] == ord(":")) & (zone_hour <= 23) & (zone_minute <= 59))
        times_ms -= np.where(is_behind, -1, 1) * (zone_hour * 60 + zone_minute) * 60 * MS_PER_SECOND
    hold(times_ms >= TIME_MIN_MS)
    return times_ms, is_read


def _first_days(month_numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give days since 1970-01-01 of the first of each month, itself counted since 1970-01."""
    return month_numbers.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
