"""A simulated shop on a log: what a worker writes of it, made by the same engine, learner and codecs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.codec.encoding import ChangeEncoder
from stream_app.adapters.knowledge_json import encode_knowledge
from stream_app.adapters.log.port import Log, Outgoing
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.state_header import StateHeader
from stream_app.adapters.state_records import StateRecord, encode_state_record
from stream_app.backtest.replay import Replay
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Effects
from stream_app.domain.events import EventBatch, Family, event_keys
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from stream_app.simulation.settings import ShopSettings
from stream_app.simulation.shop import simulate

TOPICS = Topics("shop", "events")
ROWS_PER_RECORD = 1500
TICK_MS = 6 * 3_600_000


class RecordingEngine(Engine):
    """An engine that remembers what each of its calls brought about."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.effects: list[tuple[Effects, Knowledge, list[int], list[str]]] = []

    def apply(self, events: EventBatch, knowledge: Knowledge, ticks_ms: NDArray[np.int64] | None = None) -> Effects:
        effects = super().apply(events, knowledge, ticks_ms)
        self.effects.append((effects, knowledge, events.positions.tolist(), list(events.event_ids)))
        return effects

    def ticks(self, times_ms: NDArray[np.int64], knowledge: Knowledge) -> Effects:
        effects = super().ticks(times_ms, knowledge)
        self.effects.append((effects, knowledge, [], []))
        return effects


@dataclass(frozen=True)
class Sources:
    """Where the events of a batch stand in the topic."""

    topic: str
    partition: int
    offsets: list[int]

    def of_event(self, index: int) -> Mapping[str, object]:
        return {"topic": self.topic, "partition": self.partition, "offset": self.offsets[index]}


@dataclass(repr=False)
class ShopLog:
    """Runs a shop and gives what a worker would commit, in order.

    Parameters
    ----------
    settings
        The shop.
    partition_count
        Shards, by the hash of the id.
    topics
        Where it all goes.
    """

    settings: ShopSettings
    partition_count: int = 2
    topics: Topics = TOPICS
    policy: Policy = field(default_factory=lambda: load_policy(None))
    renamed: Mapping[str, str] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shards = Shards(self.policy, self.partition_count)
        self.engines = [RecordingEngine(self.policy) for _ in range(self.partition_count)]
        self.shards.engines[:] = self.engines
        self.replay = Replay(self.shards, Learner(self.policy), [self], TICK_MS)
        terms = {name: function.terms for name, function in self.engines[0].functions.items()}
        self.encoder = ChangeEncoder(self.policy, terms)
        self.known = [0] * self.partition_count
        self.commits = [0] * self.partition_count
        self.events_seen = [0] * self.partition_count
        self.last_version = 0
        self.windows_told = 0
        self.pending: list[Outgoing] = []

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        shard = self.shards.shard_of(events.customer_ids)
        for partition in range(self.partition_count):
            count = int((shard == partition).sum())
            self.events_seen[partition] += count
            self.pending.append(Outgoing(self.topics.events, partition, [b"{}"] * count))
        self._commit(knowledge)

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        self._publish(knowledge, b"switch")
        self._commit(knowledge)

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        self._publish(knowledge, b"renewal")
        figures = self.replay.learner.models.evaluation.closed
        if len(figures) > self.windows_told:
            self.windows_told = len(figures)
            record = orjson.dumps({"time_ms": time_ms, "figures": asdict(figures[-1])})
            self.pending.append(Outgoing(self.topics.knowledge, 0, [record], headers=[[("kind", b"quality")]]))

    def _publish(self, knowledge: Knowledge, kind: bytes) -> None:
        if knowledge.version > self.last_version:
            self.last_version = knowledge.version
            record = encode_knowledge(knowledge)
            self.pending.append(Outgoing(self.topics.knowledge, 0, [record], headers=[[("kind", kind)]]))

    def _commit(self, knowledge: Knowledge) -> None:
        for partition, engine in enumerate(self.engines):
            touched = [effects.touched_rows for effects, *_ in engine.effects]
            for effects, known, offsets, ids in engine.effects:
                records = self.encoder.encode(
                    effects.changes,
                    knowledge_version=known.version,
                    event_ids=ids,
                    sources=Sources(self.topics.events, partition, offsets),
                    scoring=known.scoring,
                )
                self.told += [orjson.loads(record) for record in records]
                keys = effects.changes.customer_ids.tolist()
                self.pending.append(Outgoing(self.topics.segment_changes, partition, records, keys=keys))
            engine.effects.clear()
            rows = np.unique(np.concatenate(touched)) if touched else np.empty(0, dtype=np.int64)
            self._commit_state(partition, rows, knowledge)

    def _commit_state(self, partition: int, rows: NDArray[np.int64], knowledge: Knowledge) -> None:
        engine = self.engines[partition]
        self.commits[partition] += 1
        known, self.known[partition] = self.known[partition], len(engine.table)
        parts = [rows[start : start + ROWS_PER_RECORD] for start in range(0, len(rows), ROWS_PER_RECORD)] or [rows]
        for number, part in enumerate(parts):
            fresh = np.flatnonzero(part >= known)
            header = StateHeader(
                state_hash=self.policy.state_hash,
                policy_hash=self.policy.content_hash,
                app=self.topics.app,
                partition=partition,
                partition_count=self.partition_count,
                positions={self.topics.events: self.events_seen[partition], self.topics.ticks: 0},
                knowledge_version=knowledge.version,
                pending_knowledge_version=knowledge.version,
                clock=engine.clock,
                term_sums=(),
                term_counts=(),
                renewed_day=0,
                batch_number=self.commits[partition],
                part=number,
                part_count=len(parts),
                row_count=len(engine.table),
                customer_count=len(engine.table),
            )
            block = engine.table.gather(part)
            record = StateRecord(
                header,
                part.astype(np.uint32),
                block.view(f"V{block.dtype.itemsize}"),
                engine.table.ids_of(part[fresh]) if len(fresh) else np.empty(0, dtype="S1"),
                fresh.astype(np.uint32),
                np.empty(0, dtype=np.uint32),
            )
            self.pending.append(Outgoing(self.topics.state, partition, [encode_state_record(record)]))

    def batches(self) -> Iterator[EventBatch]:
        """Give the shop's events; positions are offsets in their partitions."""
        offsets = np.zeros(self.partition_count, dtype=np.int64)
        for records in simulate(self.settings, rows_per_batch=4096):
            events = self._batch(records)
            shard = self.shards.shard_of(events.customer_ids)
            for partition in range(self.partition_count):
                own = np.flatnonzero(shard == partition)
                events.positions[own] = offsets[partition] + np.arange(len(own))
                offsets[partition] += len(own)
            yield events

    def run(self) -> Iterator[list[Outgoing]]:
        """Run the shop day by day; gives what was committed in each."""
        for events in self.batches():
            for start in range(0, len(events), 2048):
                self.replay.run([events.select(slice(start, start + 2048))], until_ms=0)
                yield self._drain()
        assert self.replay.next_tick_ms is not None
        self.replay.run([], until_ms=self.settings.end_ms)
        yield self._drain()

    def _drain(self) -> list[Outgoing]:
        drained, self.pending = self.pending, []
        return [outgoing for outgoing in drained if len(outgoing)]

    def _batch(self, records: pa.RecordBatch) -> EventBatch:
        columns = {name: records.column(name).to_pylist() for name in ("customer_id", "event_id", "type")}
        ids = [self.renamed.get(name, name) for name in columns["customer_id"]]
        amounts = np.array([amount or 0.0 for amount in records.column("amount").to_pylist()])
        satisfactions = [np.nan if rate is None else rate for rate in records.column("satisfaction").to_pylist()]
        return EventBatch(
            customer_ids=pack_ids(ids),
            event_ids=columns["event_id"],
            event_keys=event_keys(pack_ids(columns["event_id"])),
            times_ms=np.array(records.column("occurred_at").cast(pa.int64()).to_numpy()),
            families=np.array([Family[name.upper()] for name in columns["type"]], dtype=np.uint8),
            amounts=amounts,
            satisfactions=np.array(satisfactions, dtype=np.float64),
            positions=np.zeros(len(ids), dtype=np.int64),
        )


def make_log(path: Path, partition_count: int = 2) -> Log:
    """Make a log file with the application's topics, and its client."""
    ensure_topics(path, TOPICS, partition_count)
    return SqliteLog(path, TOPICS.app)
