"""Taking the whole state of an application out of its log, once all of its events have been applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.state_header import StateHeader
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.policy import Policy
from stream_app.domain.rows import RowBlock, is_erased
from stream_app.streaming.learner_machine import LearnerMachine
from stream_app.streaming.learner_state import LearnerReader
from stream_app.streaming.messages import Notice, NoticeKind
from stream_app.streaming.recovery import stable_bounds
from stream_app.streaming.state_reader import RecoveredShard, StateReader

KNOWLEDGE_KINDS = (NoticeKind.RENEWAL, NoticeKind.SWITCH)
_DRAIN = (
    "let one worker run with `--ticks none` while no events come in, until its lag is 0; if shards stand at different "
    "ticks, let it run with ticks for a minute before"
)


@dataclass(frozen=True, slots=True, eq=False)
class ExportedState:
    """All from which an application goes on, whatever the number of its partitions.

    Parameters
    ----------
    ids, rows
        Shape `(n,)`: customers of all shards; nobody who was erased.
    header
        Of all shards: what they have in common; term sums added up, positions empty.
    events
        Topic of the events.
    positions
        Partition of the events to the offset to go on from.
    notices
        Knowledge as it was told, then the last figures of quality and the last closed day.
    learner
        As `LearnerMachine.state` gives it.
    """

    ids: NDArray[np.bytes_]
    rows: RowBlock
    header: StateHeader
    events: str
    positions: Mapping[int, int]
    notices: Sequence[Notice]
    learner: bytes


async def read_shard(
    log: Log, topics: Topics, policy: Policy, partition: int, partition_count: int
) -> RecoveredShard | None:
    """Read one shard from its state log; None when it has never committed."""
    state = TopicPartition(topics.state, partition)
    bounds = await stable_bounds(log, state)
    reader = StateReader(policy, partition, partition_count)
    async for records in log.read(state, bounds.start, bounds.end):
        for record in records:
            reader.add(record.offset, record.value or b"")
    return reader.finish(bounds.start)


async def holds_records(log: Log, partition: TopicPartition, start: int) -> bool:
    """Tell whether there are records from an offset on; markers of transactions take offsets, too."""
    bounds = await log.bounds(partition)
    async for records in log.read(partition, max(start, bounds.start), bounds.end):
        if records:
            return True
    return False


async def export_state(log: Log, topics: Topics, policy: Policy) -> ExportedState:
    """Read everything; no worker may be running.

    Parameters
    ----------
    log
        Where it is.
    topics
        Names of the topics.
    policy
        With which it was made.

    Raises
    ------
    IncompatibleStateError
        When events or ticks wait to be applied, or shards stand at different times; it says what to do.
    """
    count = await log.partition_count(topics.events)
    if not count:
        message = f"there is no topic {topics.events}: give the topic of events by --events"
        raise IncompatibleStateError(message, code="missing_topic")
    shards, faults = [], []
    for partition in range(count):
        shard = await read_shard(log, topics, policy, partition, count)
        if shard is None:
            is_left = await holds_records(log, TopicPartition(topics.events, partition), 0)
            faults += [f"partition {partition} has events and no state"] if is_left else []
            continue
        faults += await _waiting(log, topics, shard.header)
        shards.append(shard)
    faults += _differences([shard.header for shard in shards])
    if faults or not shards:
        message = f"the state cannot be exported: {'; '.join(faults) or 'there is none'}; {_DRAIN}"
        raise IncompatibleStateError(message, code="not_drained")
    notices = await _read_notices(log, topics)
    learner = await _read_learner(log, topics, policy, count)
    if learner.closed_day != shards[0].header.renewed_day:
        message = f"the learner has not told all of day {shards[0].header.renewed_day}; {_DRAIN}"
        raise IncompatibleStateError(message, code="not_drained")
    live = [~is_erased(shard.rows) for shard in shards]
    return ExportedState(
        ids=np.concatenate([shard.ids[own] for shard, own in zip(shards, live, strict=True)]),
        rows=np.concatenate([shard.rows[own] for shard, own in zip(shards, live, strict=True)]),
        header=_merged([shard.header for shard in shards]),
        events=topics.events,
        positions={shard.header.partition: shard.header.positions[topics.events] for shard in shards},
        notices=_kept(notices),
        learner=learner.state(),
    )


async def _waiting(log: Log, topics: Topics, header: StateHeader) -> list[str]:
    """Say what one shard has not applied yet."""
    faults = []
    for topic in (topics.events, topics.ticks):
        own, position = TopicPartition(topic, header.partition), header.positions.get(topic, 0)
        if await holds_records(log, own, position):
            end = (await log.bounds(own)).end
            faults.append(f"{topic}-{header.partition} is applied up to {position} of {end}")
    if header.cursor is not None:
        faults.append(f"partition {header.partition} is in the middle of a sweep")
    if header.extra.get("is_waiting"):
        faults.append(f"partition {header.partition} waits for the knowledge of day {header.renewed_day}")
    return faults


def _differences(headers: Sequence[StateHeader]) -> list[str]:
    """Say in what the shards differ that has to be the same."""
    clocks = {header.clock for header in headers}
    days = {header.renewed_day for header in headers}
    faults = []
    if len(clocks) > 1:
        faults.append(
            f"shards stand at different ticks ({', '.join(map(str, sorted(c.last_tick_ms for c in clocks)))})"
        )
    if len(days) > 1:
        faults.append(f"shards have reported different days ({', '.join(map(str, sorted(days)))})")
    return faults


def _merged(headers: Sequence[StateHeader]) -> StateHeader:
    first = headers[0]
    axes = zip(*(header.term_sums for header in headers), strict=True)
    return StateHeader(
        state_hash=first.state_hash,
        policy_hash=first.policy_hash,
        app=first.app,
        partition=-1,
        partition_count=first.partition_count,
        positions={},
        knowledge_version=max(header.knowledge_version for header in headers),
        pending_knowledge_version=max(header.pending_knowledge_version for header in headers),
        clock=first.clock,
        term_sums=tuple(tuple(map(sum, zip(*own, strict=True))) for own in axes),
        term_counts=tuple(map(sum, zip(*(header.term_counts for header in headers), strict=True))),
        renewed_day=first.renewed_day,
        extra={
            "watermark_ms": max(int(header.extra["watermark_ms"]) for header in headers),
            "answered": max(int(header.extra["answered"]) for header in headers),
            "is_waiting": False,
        },
        customer_count=sum(header.customer_count for header in headers),
    )


async def _read_notices(log: Log, topics: Topics) -> list[Notice]:
    partition = TopicPartition(topics.knowledge, 0)
    bounds = await stable_bounds(log, partition)
    notices: list[Notice] = []
    async for records in log.read(partition, bounds.start, bounds.end):
        notices += map(Notice.read, records)
    return notices


def _kept(notices: Sequence[Notice]) -> list[Notice]:
    """Give the knowledge, and of the rest the last."""
    last = [[own for own in notices if own.kind is kind][-1:] for kind in (NoticeKind.QUALITY, NoticeKind.CLOSED)]
    return [own for own in notices if own.kind in KNOWLEDGE_KINDS] + [own for part in last for own in part]


async def _read_learner(log: Log, topics: Topics, policy: Policy, partition_count: int) -> LearnerMachine:
    """Recover the learner and let it take in all that it was told."""
    state, told = TopicPartition(topics.learner_state, 0), TopicPartition(topics.learner_input, 0)
    bounds = await stable_bounds(log, state)
    reader = LearnerReader()
    async for records in log.read(state, bounds.start, bounds.end):
        reader.add([(record.offset, record.value or b"") for record in records])
    limits = await stable_bounds(log, told)
    machine, position = LearnerMachine(policy, partition_count), limits.start
    if reader.saved is not None:
        machine = LearnerMachine.from_state(reader.saved.state, policy, partition_count)
        position = reader.saved.position
    async for records in log.read(told, position, limits.end):
        for record in records:
            machine.handle(record.value or b"", record.offset)
    return machine
