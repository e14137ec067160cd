"""The state log: customers recovered a second, and what a commit costs a row."""

from __future__ import annotations

import numpy as np

from benchmarks.events import EventSource
from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import Scale
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.state_header import StateHeader
from stream_app.domain.policy import Policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from stream_app.streaming.state_log import StateLog
from stream_app.streaming.state_reader import StateReader

GOAL, FLOOR = 500_000.0, 250_000.0
"""Customers recovered a second: at a log of twice the table, and of three times."""
CUSTOMERS_MAX = 400_000
"""Rates hardly depend on how many there are; the log lies in memory beside two tables."""
COMMIT_ROWS, SMALL_COMMIT_ROWS = 1_000, 30
_SEED = 11


class LoggedShard:
    """A shard of buyers, and the records of its state log; nothing is ever truncated."""

    def __init__(self, scale: Scale, *, rows_min: int) -> None:
        self.policy = load_policy(None)
        self.engine = Engine(self.policy)
        source = EventSource(min(scale.customers, CUSTOMERS_MAX))
        knowledge = Learner(self.policy).knowledge
        everyone = source.first_purchases()
        for start in range(0, len(everyone), scale.batch_events):
            raw = source.draw(everyone[start : start + scale.batch_events], only_purchases=True)
            self.engine.apply(raw.batch(), knowledge)
        self.books = StateLog(rows_min=rows_min)
        self.records: list[bytes] = []
        self.count = 0
        self.random = np.random.default_rng(_SEED)
        self.header = _header(self.policy, self.engine)
        self.commit(np.arange(len(self.engine.table)), 0)

    def commit(self, rows: np.ndarray, new_from: int, *, keeps: bool = True) -> None:
        """Write rows."""
        packed = self.books.pack(self.engine.table, rows, self.header, new_from)
        self.books.committed(range(self.count, self.count + len(packed)))
        self.count += len(packed)
        if keeps:
            self.records += packed

    def some_rows(self, count: int) -> np.ndarray:
        """Draw rows that a batch of events would touch."""
        return np.unique(self.random.integers(0, len(self.engine.table), count))


def run(scale: Scale) -> list[Measurement]:
    """Measure recovery at logs of two and three times the table, and commits of two sizes."""
    return [
        _recovery(scale, 2, COMMIT_ROWS),
        _recovery(scale, 3, COMMIT_ROWS),
        _recovery(scale, 2, SMALL_COMMIT_ROWS),
        _pack(scale, COMMIT_ROWS),
        _pack(scale, SMALL_COMMIT_ROWS),
    ]


def _recovery(scale: Scale, log_ratio: int, commit_rows: int) -> Measurement:
    shard = LoggedShard(scale, rows_min=1 << 40)
    customers = len(shard.engine.table)
    while shard.books.size_rows < log_ratio * customers:
        shard.commit(shard.some_rows(commit_rows), customers)
    stopwatch, counts = Stopwatch(), []
    for _ in range(min(scale.repetitions, 3)):
        stopwatch.begin_repetition()
        with stopwatch.timed():
            _recover(shard)
        counts.append(customers)
    rate = Rate.of(counts, stopwatch)
    is_small = commit_rows == SMALL_COMMIT_ROWS
    return Measurement(
        name=f"state_log.recovery_{log_ratio}{'_small' if is_small else ''}",
        what=f"live customers recovered, log of {log_ratio} tables, {commit_rows} rows a commit",
        unit="customers/s",
        value=rate.best,
        middle=rate.middle,
        floor=None if is_small else FLOOR,
        goal=GOAL if log_ratio == 2 and not is_small else None,
        notes=rate.note,
    )


def _recover(shard: LoggedShard) -> None:
    reader = StateReader(shard.policy, 0, 1)
    for offset, record in enumerate(shard.records):
        reader.add(offset, record)
    recovered = reader.finish()
    assert recovered is not None
    engine = Engine(shard.policy)
    engine.restore(recovered.ids, recovered.rows, recovered.header.clock, recovered.sketch)


def _pack(scale: Scale, commit_rows: int) -> Measurement:
    shard = LoggedShard(scale, rows_min=0)
    customers = len(shard.engine.table)
    stopwatch, counts = Stopwatch(), []
    commits = max(1, customers // commit_rows // 2)
    for _ in range(2 * commits):
        shard.commit(shard.some_rows(commit_rows), customers, keeps=False)
    for _ in range(min(scale.repetitions, 3)):
        touched = [shard.some_rows(commit_rows) for _ in range(commits)]
        stopwatch.begin_repetition()
        with stopwatch.timed():
            for rows in touched:
                shard.commit(rows, customers, keeps=False)
        counts.append(sum(map(len, touched)))
    rate = Rate.of(counts, stopwatch)
    name = "pack" if commit_rows == COMMIT_ROWS else "pack_small"
    return Measurement(
        name=f"state_log.{name}",
        what=f"touched rows packed, {commit_rows} a commit, with those written anew and the books",
        unit="rows/s",
        value=rate.best,
        middle=rate.middle,
        notes=f"{rate.note}; the log holds {shard.books.size_rows / customers:.2f} tables",
    )


def _header(policy: Policy, engine: Engine) -> StateHeader:
    term_sums, term_counts = engine.term_totals()
    return StateHeader(
        state_hash=policy.state_hash,
        policy_hash=policy.content_hash,
        app="benchmark",
        partition=0,
        partition_count=1,
        positions={"events": 1},
        knowledge_version=1,
        pending_knowledge_version=1,
        clock=engine.clock,
        term_sums=term_sums,
        term_counts=term_counts,
        renewed_day=-1,
    )
