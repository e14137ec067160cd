"""What a shard tells those who measure, once a commit: no cost for each event."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STAGES = ("decode", "engine", "encode", "commit")


@dataclass(slots=True)
class BatchReport:
    """What one commit of a shard held.

    Parameters
    ----------
    partition
        Of the events.
    events
        Number of records by (family name or `unmapped`, outcome): `applied`, `duplicate`, `ignored`.
    dead_letters
        Number by reason code.
    changes
        Number by (axis, from tier, to tier, cause).
    suppressed
        Candidates given up, by axis.
    rescored_count
        Times a customer was scored.
    input_bytes, output_bytes
        Of event records, and of everything that was written.
    seconds
        By stage, see `STAGES`.
    """

    partition: int
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)
    rescored_count: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class ShardStanding:
    """Where a shard stands after a commit.

    Parameters
    ----------
    partition
        Of the events.
    position, end
        Next event to apply, and the end of the partition as far as it is known.
    watermark_ms, last_tick_ms
        Latest event time, and the last tick; below 0 before there is any.
    populations
        Shape `(n_axes, n_tiers_max + 2)`, as `Engine.populations`.
    customer_count
        Customers of the shard.
    knowledge_version
        In force.
    """

    partition: int
    position: int
    end: int
    watermark_ms: int
    last_tick_ms: int
    populations: NDArray[np.int64]
    customer_count: int
    knowledge_version: int


class Observer(Protocol):
    """Whoever measures the worker; called between commits, so it must be quick."""

    def committed(self, report: BatchReport, standing: ShardStanding) -> None:
        """Take note of a commit."""

    def lagging(self, partition: int, lag: int) -> None:
        """Take note of how many records a shard has not applied."""

    def recovered(self, partition: int, customer_count: int, seconds: float) -> None:
        """Take note that a shard was built from its log."""

    def failed(self, partition: int, reason: str) -> None:
        """Take note that a shard begins anew after an error of the log."""

    def revoked(self, partition: int) -> None:
        """Take note that a shard has gone to another worker."""

    def learned(self, version: int, time_ms: int, quality: dict[str, float | None] | None) -> None:
        """Take note that knowledge was renewed, or that quality was told."""


class NobodyWatches:
    """An observer that measures nothing."""

    def committed(self, report: BatchReport, standing: ShardStanding) -> None:
        """Ignore it."""

    def lagging(self, partition: int, lag: int) -> None:
        """Ignore it."""

    def recovered(self, partition: int, customer_count: int, seconds: float) -> None:
        """Ignore it."""

    def failed(self, partition: int, reason: str) -> None:
        """Ignore it."""

    def revoked(self, partition: int) -> None:
        """Ignore it."""

    def learned(self, version: int, time_ms: int, quality: dict[str, float | None] | None) -> None:
        """Ignore it."""
