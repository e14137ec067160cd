"""The journal of a shard: what an exact replay needs beyond the events, and the replay itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np

from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.effects import Effects
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.events import EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from stream_app.streaming.change_records import ChangeRecords
from stream_app.streaming.draft import DRAFT_ROWS_MAX
from stream_app.streaming.erasure import hash_of_customer, is_erasure
from stream_app.streaming.event_runs import NO_WATERMARK_MS, EventSource, read_run
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.shard import ShardSetup


class JournalEntry(msgspec.Struct, frozen=True):
    """A record of `<app>-journal`.

    Parameters
    ----------
    kind
        `start` (a worker took the shard over), `knowledge` (a version came into force), `tick` or `erase`.
    events_position
        Events before this offset count before it.
    knowledge_version
        In force from here on.
    times_ms
        Of a tick: the ticks that were applied together.
    policy_version
        Of a start.
    customer_hash
        Of an erasure: `hash_of_customer`, since the journal must not hold the id itself.
    """

    kind: str
    events_position: int
    knowledge_version: int = 0
    times_ms: list[int] = []
    policy_version: str = ""
    customer_hash: str = ""


_decoder = msgspec.json.Decoder(JournalEntry)


def read_entry(record: LogRecord) -> JournalEntry:
    """Read a record of the journal.

    Raises
    ------
    IncompatibleStateError
        When it is no such record.
    """
    try:
        return _decoder.decode(record.value or b"")
    except msgspec.MsgspecError as error:
        message = f"offset {record.offset} of the journal cannot be read ({error}); who else writes to it?"
        raise IncompatibleStateError(message, code="unreadable_journal") from error


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay of a journal found.

    Parameters
    ----------
    event_count, tick_count
        What was replayed.
    change_count
        Changes that the replay told.
    equal_count
        Those of them that were published to the byte, up to the first difference.
    published_count
        Changes that were published.
    difference
        The first difference: what was expected, and what was published; None when there is none.
    """

    event_count: int
    tick_count: int
    change_count: int
    equal_count: int
    published_count: int
    difference: tuple[bytes | None, bytes | None] | None

    @property
    def is_equal(self) -> bool:
        """Tell whether exactly what was recomputed has been published."""
        return self.difference is None


class _Comparison:
    """Holds what is recomputed against what was published, record by record."""

    def __init__(self, published: Sequence[bytes]) -> None:
        self._published = published
        self.told_count = 0
        self.difference: tuple[bytes | None, bytes | None] | None = None
        self.equal_count = 0

    def tell(self, values: Sequence[bytes]) -> None:
        others = islice(self._published, self.told_count, self.told_count + len(values))
        for value in values:
            other = next(others, None)
            if value != other and self.difference is None:
                self.difference = (value, other)
            self.equal_count += self.difference is None
        self.told_count += len(values)

    def finish(self) -> None:
        if self.difference is None and self.told_count < len(self._published):
            self.difference = (None, self._published[self.told_count])


class JournalReplay:
    """Recomputes one partition from events, journal and knowledge, and compares with what was published.

    Parameters
    ----------
    log
        Where everything is.
    feed
        What the learner told; caught up.
    setup
        Of the shard.
    """

    def __init__(self, log: Log, feed: KnowledgeFeed, setup: ShardSetup) -> None:
        self._log, self._feed, self._setup = log, feed, setup
        topics, own = setup.topics, setup.partition
        self._events = TopicPartition(topics.events, own)
        self._engine = Engine(setup.policy)
        self._decoder = EventDecoder(setup.policy)
        self._changes = ChangeRecords(self._engine, topics.events, own)
        self._source = EventSource(topics.events, own, setup.trusts_keys)
        self._event_count, self._tick_count = 0, 0

    async def run(self, end: int) -> ReplayResult:
        """Replay everything that was committed.

        Parameters
        ----------
        end
            Events position of the shard's last commit.

        Raises
        ------
        IncompatibleStateError
            When events, journal or knowledge are not complete, or another policy was in force.
        """
        topics, own = self._setup.topics, self._setup.partition
        published = [value async for value in self._values(TopicPartition(topics.segment_changes, own))]
        comparison = _Comparison(published)
        position = (await self._log.bounds(self._events)).start
        knowledge = await self._feed.load(1)
        async for entry in self._entries(TopicPartition(topics.journal, own)):
            if entry.kind == "start":
                self._require(entry, position)
            position = await self._apply(position, entry.events_position, knowledge, comparison)
            if entry.knowledge_version:
                knowledge = await self._feed.load(entry.knowledge_version)
            if entry.kind == "tick":
                self._tick_count += len(entry.times_ms)
                effects = self._engine.ticks(np.array(entry.times_ms, dtype=np.int64), knowledge)
                self._compare(effects, None, knowledge, comparison)
            elif entry.kind == "erase":
                self._erase(entry)
        await self._apply(position, end, knowledge, comparison)
        comparison.finish()
        return ReplayResult(
            self._event_count,
            self._tick_count,
            comparison.told_count,
            comparison.equal_count,
            len(published),
            comparison.difference,
        )

    def rows(self) -> dict[bytes, bytes]:
        """Give the row of each customer after the replay, as bytes."""
        table = self._engine.table
        return {bytes(own): row.tobytes() for own, row in zip(table.ids, table.rows, strict=True)}

    def _require(self, entry: JournalEntry, position: int) -> None:
        policy = self._setup.policy
        if entry.policy_version != policy.content_hash:
            message = (
                f"from offset {entry.events_position} on policy {entry.policy_version} was in force, this one is "
                f"{policy.content_hash}: give the policy file of then with --policy"
            )
            raise IncompatibleStateError(message, code="other_policy")
        if entry.events_position < position:
            message = (
                f"the journal begins at {entry.events_position} of {self._events.topic}, the events at {position}: "
                "the events that it speaks of are gone, so nothing can be recomputed"
            )
            raise IncompatibleStateError(message, code="lost_records")

    async def _apply(self, position: int, end: int, knowledge: Knowledge, comparison: _Comparison) -> int:
        if position >= end:
            return position
        async for chunk in self._log.read(self._events, position, end):
            records = [record for record in chunk if not is_erasure(record)]
            if not records:
                continue
            run = read_run(records, self._decoder, NO_WATERMARK_MS, source=self._source)
            batch = run.decoded.batch
            for start in range(0, len(batch), DRAFT_ROWS_MAX):
                events = batch.select(slice(start, start + DRAFT_ROWS_MAX))
                self._compare(self._engine.apply(events, knowledge), events, knowledge, comparison)
            self._event_count += len(batch)
        return end

    def _erase(self, entry: JournalEntry) -> None:
        ids = self._engine.table.ids
        found = [place for place, own in enumerate(ids.tolist()) if hash_of_customer(own) == entry.customer_hash]
        self._engine.erase(ids[found])

    def _compare(
        self, effects: Effects, events: EventBatch | None, knowledge: Knowledge, comparison: _Comparison
    ) -> None:
        comparison.tell(self._changes.write(effects.changes, events, knowledge))

    async def _entries(self, partition: TopicPartition) -> AsyncIterator[JournalEntry]:
        bounds = await self._log.bounds(partition)
        async for records in self._log.read(partition, bounds.start, bounds.stable_end):
            for record in records:
                yield read_entry(record)

    async def _values(self, partition: TopicPartition) -> AsyncIterator[bytes]:
        bounds = await self._log.bounds(partition)
        async for records in self._log.read(partition, bounds.start, bounds.stable_end):
            for record in records:
                yield record.value or b""


async def replay_partitions(
    log: Log, topics: Topics, policy: Policy, partitions: Sequence[int] | None, *, trusts_keys: bool
) -> dict[int, ReplayResult]:
    """Replay partitions, all of them unless some are named.

    Raises
    ------
    SettingsError
        When there is no such topic or partition, or nothing was committed yet.
    IncompatibleStateError
        As `JournalReplay.run`.
    """
    count = await log.partition_count(topics.events)
    chosen = partitions if partitions else range(count or 0)
    if count is None or max(chosen, default=0) >= count:
        message = f"{topics.events} has {count or 'no'} partitions; name the topic with --events, and partitions it has"
        raise SettingsError(message)
    feed = KnowledgeFeed(log, topics.knowledge, Learner(policy).knowledge)
    await feed.catch_up()
    told = await log.committed([TopicPartition(topics.events, partition) for partition in chosen])
    results = {}
    for partition in chosen:
        end = told.get(TopicPartition(topics.events, partition), 0)
        setup = ShardSetup(policy, topics, partition, count, trusts_keys=trusts_keys)
        results[partition] = await JournalReplay(log, feed, setup).run(end)
    return results
