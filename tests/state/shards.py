"""Headers, tables and logs for the tests of stored state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream_app.adapters.state_header import StateHeader
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.policy import Policy
from stream_app.domain.rows import row_dtype
from stream_app.domain.table import CustomerTable
from stream_app.engine import EngineClock
from stream_app.streaming.state_log import StateLog
from stream_app.streaming.state_reader import RecoveredShard, StateReader
from tests.factories import make_policy

PARTITION = 3
PARTITION_COUNT = 8


def make_header(policy: Policy, **overrides: Any) -> StateHeader:
    """Make the header of partition 3 of 8, with some fields replaced."""
    fields: dict[str, Any] = {
        "state_hash": policy.state_hash,
        "policy_hash": policy.content_hash,
        "app": "shop",
        "partition": PARTITION,
        "partition_count": PARTITION_COUNT,
        "positions": {"events": 1_000, "shop-ticks": 7},
        "knowledge_version": 4,
        "pending_knowledge_version": 5,
        "clock": EngineClock(1_700_000_000_000, 19_675, 2),
        "term_sums": ((1, -(2**62), 3),),
        "term_counts": (9,),
        "renewed_day": 19_674,
    }
    return StateHeader(**(fields | overrides))


def make_table(policy: Policy, rows_max: int = 1 << 17) -> CustomerTable:
    """Make an empty table."""
    dtype = row_dtype(len(policy.axes), policy.horizon_periods)
    return CustomerTable(dtype, policy.sweep_period_minutes, rows_max)


@dataclass(slots=True)
class LoggedTable:
    """A table that changes at random, with a log beside it that is truncated where its books say so."""

    policy: Policy = field(default_factory=make_policy)
    books: StateLog = field(default_factory=StateLog)
    records: dict[int, bytes] = field(default_factory=dict)
    next_offset: int = 0
    log_start: int = 0
    written_rows: int = 0
    table: CustomerTable = field(init=False)
    saved_count: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def __post_init__(self) -> None:
        self.table = make_table(self.policy)

    def commit(self, ids: list[str], erased_ids: list[str] | None = None, **header: Any) -> list[bytes]:
        """Touch and erase customers, and write a commit."""
        rows = np.unique(self.table.find_or_add(pack_ids(ids)))
        block = self.table.gather(rows)
        block["gross_spend"] = self.random.random(len(rows))
        self.table.scatter(rows, block)
        if erased_ids:
            gone = np.unique(self.table.find(pack_ids(erased_ids)))
            gone = gone[gone >= 0]
            self.table.erase(gone)
            rows = np.concatenate((rows, gone))
        packed = self.books.pack(self.table, rows, make_header(self.policy, **header), self.saved_count)
        self.write(packed)
        return packed

    def write(self, packed: list[bytes]) -> None:
        """Append records, and truncate."""
        offsets = [self.next_offset + place for place in range(len(packed))]
        self.records |= dict(zip(offsets, packed, strict=True))
        # A marker of the transaction takes an offset, too.
        self.next_offset = offsets[-1] + 2
        self.saved_count = len(self.table)
        start = self.books.committed(offsets)
        if start is not None:
            assert start >= self.log_start
            self.log_start = start
            self.records = {offset: record for offset, record in self.records.items() if offset >= start}

    def recover(self) -> RecoveredShard | None:
        """Read the log."""
        return read(self.policy, self.records, self.log_start)


def read(policy: Policy, records: Mapping[int, bytes], log_start: int = 0) -> RecoveredShard | None:
    """Read records as partition 3 of 8."""
    reader = StateReader(policy, PARTITION, PARTITION_COUNT)
    for offset, record in records.items():
        reader.add(offset, record)
    return reader.finish(log_start)
