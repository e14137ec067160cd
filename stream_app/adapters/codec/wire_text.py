"""Values as the wire contracts write them: times, segments with their treatments, ids of changes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.domain.policy import Policy

_CHANGE_ID_BYTES = 16


def format_times(times_ms: NDArray[np.int64]) -> list[str]:
    """Write times as RFC 3339 in UTC with milliseconds.

    Parameters
    ----------
    times_ms
        Shape `(n,)`: milliseconds since 1970-01-01 UTC.

    Examples
    --------
    >>> format_times(np.array([1_709_200_800_500]))
    ['2024-02-29T10:00:00.500Z']
    """
    if not len(times_ms):
        return []
    if (times_ms == times_ms[0]).all():
        return format_times_each(times_ms[:1]) * len(times_ms)
    return format_times_each(times_ms)


def format_times_each(times_ms: NDArray[np.int64]) -> list[str]:
    """Write each time, even when all are the same."""
    moments = np.asarray(times_ms, dtype=np.int64).astype("datetime64[ms]")
    texts: list[str] = np.datetime_as_string(moments, unit="ms", timezone="UTC").tolist()
    return texts


def change_ids(customer_ids: Sequence[bytes], sequences: Sequence[int]) -> list[str]:
    """Give the ids of segment changes: the same change always has the same id, whoever writes it.

    Parameters
    ----------
    customer_ids
        Length n: UTF-8 without NUL.
    sequences
        Length n: the customers' sequence numbers.

    Returns
    -------
    list[str]
        blake2b-128 of the customer id, a NUL, and the decimal sequence number, as 32 hex digits.
    """
    # A copy of a hash costs half as much as a new one.
    beginning = blake2b(digest_size=_CHANGE_ID_BYTES)
    ids = []
    for pair in zip(customer_ids, sequences, strict=True):
        digest = beginning.copy()
        digest.update(b"%b\0%d" % pair)
        ids.append(digest.hexdigest())
    return ids


def write_numbers(values: NDArray[np.float64]) -> list[bytes]:
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


class SegmentTexts:
    """Segments and their treatments as JSON, each written once.

    Parameters
    ----------
    policy
        Names the axes and tiers, and has a treatment for every segment.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._kept: dict[tuple[int, ...], tuple[bytes, bytes]] = {}

    def write(self, segments: NDArray[np.int8]) -> list[tuple[bytes, bytes]]:
        """Write segments and treatments.

        Parameters
        ----------
        segments
            Shape `(n, n_axes)`: tier indices, `UNRATED` or `PROSPECT`.

        Returns
        -------
        list[tuple[bytes, bytes]]
            Length n: the segment and the treatment, each a JSON object.
        """
        keys = [*map(tuple, segments.tolist())]
        for key in set(keys).difference(self._kept):
            self._kept[key] = self._texts(key)
        return [*map(self._kept.__getitem__, keys)]

    def _texts(self, key: tuple[int, ...]) -> tuple[bytes, bytes]:
        tiers = self._policy.name_segment(key)
        treatment = self._policy.treatment_for(tiers)
        segment = dict(zip(self._policy.axis_names, tiers, strict=True))
        return (
            orjson.dumps(segment),
            orjson.dumps({"channel": treatment.channel, "action": treatment.action}),
        )
