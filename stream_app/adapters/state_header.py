"""The header of a state record: what a shard needs to go on, besides its rows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from stream_app.domain.rows import LAYOUT_VERSION
from stream_app.engine import EngineClock


@dataclass(frozen=True, slots=True)
class SweepCursor:
    """How far a sweep has come that was cut into slices.

    Parameters
    ----------
    time_ms
        Its tick.
    after_id
        Customers up to this id, in the order of id bytes, have been swept.
    """

    time_ms: int
    after_id: bytes


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What a shard needs to go on, besides its rows; the same in all records of a commit but for `part`.

    Parameters
    ----------
    state_hash, policy_hash
        Of the policy that the rows were built with.
    app
        Name of the application.
    partition, partition_count
        Which shard, of how many.
    positions
        Topic to the offset to go on from.
    knowledge_version, pending_knowledge_version
        In force, and in force from the next tick on.
    clock
        How far the engine has come.
    term_sums, term_counts
        Of each axis, in the policy's order: what the engine's sketch holds beyond its histograms.
    renewed_day
        UTC day, in days since 1970-01-01, that was last reported as done to the learner.
    cursor
        Of the sweep in progress; None between sweeps.
    extra
        Whatever else the shard wants back, as JSON.
    batch_number
        Number of the commit, counted from 1 without a gap. This and what follows is filled in by the state log.
    part, part_count
        The record's place among those of its commit, counted from 0.
    row_count, customer_count
        Rows of the table after this commit, and those of them that are not erased.
    layout_version
        Of the rows.
    """

    state_hash: str
    policy_hash: str
    app: str
    partition: int
    partition_count: int
    positions: Mapping[str, int]
    knowledge_version: int
    pending_knowledge_version: int
    clock: EngineClock
    term_sums: tuple[tuple[int, ...], ...]
    term_counts: tuple[int, ...]
    renewed_day: int
    cursor: SweepCursor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    batch_number: int = 0
    part: int = 0
    part_count: int = 1
    row_count: int = 0
    customer_count: int = 0
    layout_version: int = LAYOUT_VERSION


def dump_header(header: StateHeader) -> bytes:
    """Write a header as JSON."""
    return orjson.dumps(header, default=_dump_id)


def _dump_id(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError


def read_header(document: dict[str, Any]) -> StateHeader:
    """Read a header that was parsed; whatever is wrong with it is a ValueError, KeyError, TypeError or IndexError."""
    cursor = document["cursor"]
    try:
        after_id = b"" if cursor is None else base64.b64decode(cursor["after_id"], validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return StateHeader(
        **{
            **document,
            "clock": EngineClock(**document["clock"]),
            "term_sums": tuple(map(tuple, document["term_sums"])),
            "term_counts": tuple(document["term_counts"]),
            "cursor": None if cursor is None else SweepCursor(cursor["time_ms"], after_id),
        }
    )
