"""Values as the wire contracts write them: times, texts, numbers, ids of changes, pieces that recur."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.domain.events import MS_PER_DAY, MS_PER_MINUTE
from stream_app.domain.policy import Policy

_CHANGE_ID_BYTES = 16
CHANGE_ID_DIGITS = 2 * _CHANGE_ID_BYTES
"""Length of the id of a change."""
_MINUTES_PER_DAY = MS_PER_DAY // MS_PER_MINUTE
_MS_PER_SECOND = 1000
_SECONDS_PER_MINUTE = 60
_TIME_PARTS = np.dtype([("date", "S11"), ("minute", "S6"), ("second", "S3"), ("millisecond", "S4")])
_ESCAPED = b'"\\' + bytes(range(0x20))
"""What cannot stand in a JSON text as it is."""


def format_time(time_ms: int) -> str:
    """Write a time, in milliseconds since 1970-01-01 UTC, as RFC 3339 in UTC with milliseconds.

    Examples
    --------
    >>> format_time(1_709_200_800_500)
    '2024-02-29T10:00:00.500Z'
    """
    return str(np.datetime_as_string(np.datetime64(time_ms, "ms"), timezone="UTC"))


def write_times(times_ms: NDArray[np.int64]) -> list[bytes]:
    """Write times as `format_time` does, in a fifth of the time where most of them are of one day.

    Parameters
    ----------
    times_ms
        Shape `(n,)`: milliseconds since 1970-01-01 UTC.

    Examples
    --------
    >>> write_times(np.array([1_709_200_800_500]))
    [b'2024-02-29T10:00:00.500Z']
    """
    if not len(times_ms):
        return []
    days, in_day = np.divmod(np.asarray(times_ms, dtype=np.int64), MS_PER_DAY)
    minutes, in_minute = np.divmod(in_day, MS_PER_MINUTE)
    seconds, in_second = np.divmod(in_minute, _MS_PER_SECOND)
    minute_texts, second_texts, millisecond_texts = _clock_texts()
    texts = np.empty(len(days), dtype=_TIME_PARTS)
    texts["date"] = _date_texts(days)
    texts["minute"] = minute_texts[minutes]
    texts["second"] = second_texts[seconds]
    texts["millisecond"] = millisecond_texts[in_second]
    written: list[bytes] = texts.view(f"S{_TIME_PARTS.itemsize}").tolist()
    return written


def _date_texts(days: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """Write days since 1970-01-01 as dates with the `T` behind them; shape `(1,)` if all are the same."""
    if (days == days[0]).all():
        return np.char.add(np.datetime_as_string(days[:1].astype("datetime64[D]")).astype("S10"), b"T")
    found, places = np.unique(days, return_inverse=True)
    return np.char.add(np.datetime_as_string(found.astype("datetime64[D]")).astype("S10"), b"T")[places]


@cache
def _clock_texts() -> tuple[NDArray[np.bytes_], NDArray[np.bytes_], NDArray[np.bytes_]]:
    """Write all minutes of a day, seconds of a minute and milliseconds of a second."""
    return (
        np.array([b"%02d:%02d:" % divmod(minute, 60) for minute in range(_MINUTES_PER_DAY)]),
        np.array([b"%02d." % second for second in range(_SECONDS_PER_MINUTE)]),
        np.array([b"%03dZ" % millisecond for millisecond in range(_MS_PER_SECOND)]),
    )


def change_ids(customer_ids: Sequence[bytes], sequences: Sequence[int]) -> list[bytes]:
    """Give the ids of segment changes: the same change always has the same id, whoever writes it.

    Parameters
    ----------
    customer_ids
        Length n: UTF-8 without NUL.
    sequences
        Length n: the customers' sequence numbers.

    Returns
    -------
    list[bytes]
        blake2b-128 of the customer id, a NUL, and the decimal sequence number, as 32 hex digits.
    """
    # A copy of a hash costs half as much as a new one.
    copy = blake2b(digest_size=_CHANGE_ID_BYTES).copy
    digests = []
    for pair in zip(customer_ids, sequences, strict=True):
        digest = copy()
        digest.update(b"%b\0%d" % pair)
        digests.append(digest.digest())
    digits = b"".join(digests).hex().encode()
    return [digits[start : start + CHANGE_ID_DIGITS] for start in range(0, len(digits), CHANGE_ID_DIGITS)]


def write_texts(texts: Sequence[bytes]) -> list[bytes]:
    r"""Write texts as JSON.

    Parameters
    ----------
    texts
        Length n: UTF-8.

    Examples
    --------
    >>> write_texts([b"c-1", b'"'])
    [b'"c-1"', b'"\\""']
    """
    if not texts:
        return []
    quoted = b'"' + b'"\n"'.join(texts) + b'"'
    # Two quotes around each text and a line end between two are all there is where nothing has to be escaped.
    if len(quoted) - len(quoted.translate(None, _ESCAPED)) == 3 * len(texts) - 1:
        return quoted.split(b"\n")
    return [orjson.dumps(text.decode()) for text in texts]


def write_numbers(values: NDArray[np.float64] | NDArray[np.integer]) -> list[bytes]:
    """Write numbers as JSON, so that they read back to the bit; NaN is null.

    Parameters
    ----------
    values
        Shape `(n,)`, n > 0.

    Examples
    --------
    >>> write_numbers(np.array([0.1, 3.0, np.nan]))
    [b'0.1', b'3.0', b'null']
    """
    # orjson 3.13 writes beyond its buffer when an array holds many numbers of 24 characters and more; a list is safe,
    # gives the same text, and takes 12 ns a number more.
    return orjson.dumps(values.tolist())[1:-1].split(b",")


class KeptPieces:
    """Pieces of records that depend on a few small numbers alone, each written once.

    Parameters
    ----------
    write
        Writes the pieces of one combination of codes; always the same number of pieces.
    """

    def __init__(self, write: Callable[[tuple[int, ...]], tuple[bytes, ...]]) -> None:
        self._write = write
        self._kept: dict[bytes, tuple[bytes, ...]] = {}

    def columns(self, codes: NDArray[np.int8]) -> list[list[bytes]]:
        """Give the pieces of many combinations.

        Parameters
        ----------
        codes
            Shape `(n, n_codes)`, n > 0; of few combinations.

        Returns
        -------
        list[list[bytes]]
            For each piece, n of them.
        """
        keys = np.ascontiguousarray(codes).view(f"V{codes.shape[1]}").reshape(-1).tolist()
        for key in set(keys).difference(self._kept):
            self._kept[key] = self._write(tuple(np.frombuffer(key, dtype=np.int8).tolist()))
        written = [*map(self._kept.__getitem__, keys)]
        return [[pieces[place] for pieces in written] for place in range(len(written[0]))]


def write_segment(policy: Policy, states: Sequence[int]) -> tuple[bytes, bytes]:
    """Write a segment and its treatment, each as a JSON object.

    Parameters
    ----------
    policy
        Names the axes and tiers, and has a treatment for every segment.
    states
        For each axis a tier index, `UNRATED` or `PROSPECT`.
    """
    tiers = policy.name_segment(states)
    treatment = policy.treatment_for(tiers)
    return (
        orjson.dumps(dict(zip(policy.axis_names, tiers, strict=True))),
        orjson.dumps({"channel": treatment.channel, "action": treatment.action}),
    )
