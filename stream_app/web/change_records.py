"""Segment changes as the history keeps and finds them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import msgspec

HOUR_MS = 3_600_000


class WireChange(msgspec.Struct, gc=False):
    """What is looked up of a segment change; the record itself is kept as it came."""

    customer_id: str
    sequence: int
    axis: str
    from_tier: str | None
    to_tier: str
    cause: str
    effective_at: str


NO_TIER = -1
"""Stands for `null`: the customer was rated for the first time."""


class ChangeFilter(NamedTuple):
    """Which changes are asked for; None: any.

    Parameters
    ----------
    axis, from_tier, to_tier
        Places in the policy; `NO_TIER` for first ratings.
    cause
        Name of the cause.
    since_ms, until_ms
        `since_ms <= time < until_ms`.
    """

    axis: int | None = None
    from_tier: int | None = None
    to_tier: int | None = None
    cause: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class StoredChange(NamedTuple):
    """A change as it was published, its number in this file, its time, and its number among those of the customer."""

    number: int
    time_ms: int
    sequence: int
    record: bytes


class HourCount(NamedTuple):
    """How many changes of a kind there were in the step that begins with an hour, in hours since 1970-01-01 UTC."""

    hour: int
    axis: int
    from_tier: int
    to_tier: int
    cause: str
    changes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Where records that are taken in together come from.

    Parameters
    ----------
    topic, partition
        Their partition.
    next_offset
        Where to go on after them.
    last
        `fingerprint` of the last of them, by which a log that was made anew is told from the one that was read.
    """

    topic: str
    partition: int
    next_offset: int
    last: bytes


class Position(NamedTuple):
    """How far a partition was read: the offset to go on from, and the fingerprint of the record before it."""

    next_offset: int
    last: bytes


def fingerprint(record: bytes | None) -> bytes:
    """Give a short hash of a record."""
    return blake2b(record or b"", digest_size=16).digest()
