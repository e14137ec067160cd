"""Putting an exported state into a log, for any number of partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import TRANSACTION_BYTES_MAX, Topics
from stream_app.adapters.state_header import StateHeader
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.policy import Policy
from stream_app.domain.population import AxisSketch, PopulationSketch
from stream_app.domain.rows import take_rows
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.learner_machine import LearnerMachine
from stream_app.streaming.learner_state import SavedLearner, encode_learner
from stream_app.streaming.messages import Notice
from stream_app.streaming.recovery import stable_bounds
from stream_app.streaming.state_export import KNOWLEDGE_KINDS, ExportedState, holds_records, read_shard
from stream_app.streaming.state_log import pack_table

NOWHERE = -1
"""Stands for an offset in a topic of the log of the export."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """Where an exported state goes.

    Parameters
    ----------
    topics
        Names of the topics; they exist.
    partition_count
        Of the events.
    continues
        True: the events are those of the export, in a topic that may have more partitions now. False: the topic
        holds only events that came after the export.
    replaces
        True: a state that is there already is given up.
    """

    topics: Topics
    partition_count: int
    continues: bool
    replaces: bool = False


async def import_state(log: Log, policy: Policy, exported: ExportedState, plan: ImportPlan) -> list[int]:
    """Write the state of every shard, knowledge and learner; no worker may be running.

    Nothing starts from a state that was written in part: positions come first, and a shard that has one but not all
    of its rows refuses to start. Whoever was interrupted imports again, replacing what is there.

    Parameters
    ----------
    log
        Where it goes; its group is the application.
    policy
        With which the state was made.
    exported
        What `export_state` gave.
    plan
        Where it goes.

    Returns
    -------
    list[int]
        Customers of each partition; read back from the log and compared with what was to be written.

    Raises
    ------
    IncompatibleStateError
        When it does not fit what is there; it says what to do.
    """
    topics, count = plan.topics, plan.partition_count
    _require_policy(exported, policy)
    positions = await _positions(log, exported, plan)
    await _require_room(log, plan)
    writers = [await log.writer(f"{topics.app}-shard-{partition}") for partition in range(count)]
    learner_writer = await log.writer(f"{topics.app}-learner")
    try:
        for partition, writer in enumerate(writers):
            await writer.commit([], positions[partition])
            state = TopicPartition(topics.state, partition)
            await log.truncate(state, (await log.bounds(state)).end)
        await _write_knowledge(log, policy, exported, (topics, learner_writer))
        shard_of = partitions_of(exported.ids.tolist(), count)
        shards = [
            (np.flatnonzero(shard_of == partition), _header_of(exported, plan, partition, positions[partition]))
            for partition in range(count)
        ]
        # The learner comes before the shards, which are of no use without it.
        populations = [_engine_of(policy, exported, *shard).sketch() for shard in shards]
        await _write_learner(log, policy, exported, (topics, learner_writer, populations))
        for writer, shard in zip(writers, shards, strict=True):
            for records in pack_table(_engine_of(policy, exported, *shard).table, shard[1]):
                await writer.commit([Outgoing(topics.state, shard[1].partition, records)], {})
    finally:
        for writer in (*writers, learner_writer):
            await writer.close()
    return [await _compare(log, policy, exported, (plan, partition, shard_of)) for partition in range(count)]


def _require_policy(exported: ExportedState, policy: Policy) -> None:
    if exported.header.state_hash != policy.state_hash:
        message = (
            f"the export was made under a policy with state hash {exported.header.state_hash}, this policy has "
            f"{policy.state_hash}: give the policy it was made with by --policy"
        )
        raise IncompatibleStateError(message, code="state_policy")


async def _positions(log: Log, exported: ExportedState, plan: ImportPlan) -> list[dict[TopicPartition, int]]:
    """Say where each shard goes on in events and ticks."""
    topics, faults = plan.topics, []
    positions: list[dict[TopicPartition, int]] = []
    for partition in range(plan.partition_count):
        events, ticks = TopicPartition(topics.events, partition), TopicPartition(topics.ticks, partition)
        bounds = await log.bounds(events)
        position = bounds.start
        if plan.continues:
            position = exported.positions.get(partition, bounds.start)
            if partition in exported.positions and await holds_records(log, events, position):
                faults.append(f"{events.topic}-{partition} ends at {bounds.end}, the export at {position}")
        elif topics.events == exported.events and await holds_records(log, events, position):
            faults.append(f"{events.topic}-{partition} reaches from {bounds.start} to {bounds.end}")
        positions.append({events: position, ticks: (await log.bounds(ticks)).end})
    if faults and plan.continues:
        message = f"events came in after the export: {'; '.join(faults)}; stop producers, drain, and export again"
        raise IncompatibleStateError(message, code="state_positions")
    if faults:
        message = (
            f"events of the export seem to be in the topic: {'; '.join(faults)}; say --continue if it is the topic of "
            "the export, or import before producers write to the new one"
        )
        raise IncompatibleStateError(message, code="state_positions")
    return positions


async def _require_room(log: Log, plan: ImportPlan) -> None:
    if plan.replaces:
        return
    for partition in range(plan.partition_count):
        state = TopicPartition(plan.topics.state, partition)
        bounds = await log.bounds(state)
        if bounds.end > bounds.start:
            message = (
                f"{state.topic}-{partition} holds a state already: import under another application name, or give it "
                "up by --replace"
            )
            raise SettingsError(message, code="state_exists")


async def _write_knowledge(log: Log, policy: Policy, exported: ExportedState, target: tuple[Topics, Writer]) -> None:
    """Tell the knowledge that the log does not hold yet."""
    topics, writer = target
    feed = KnowledgeFeed(log, topics.knowledge, Learner(policy).knowledge)
    # What was just committed may not be shown to readers yet.
    await stable_bounds(log, TopicPartition(topics.knowledge, 0))
    await feed.catch_up()
    versions = [own.version for own in exported.notices if own.kind in KNOWLEDGE_KINDS]
    newest = max(versions, default=feed.newest_version)
    if feed.newest_version > newest:
        message = (
            f"{topics.knowledge} has version {feed.newest_version}, the export ends with {newest}: import under "
            "another application name"
        )
        raise IncompatibleStateError(message, code="other_knowledge")
    known = feed.newest_version
    missing = [own for own in exported.notices if own.version > known or own.kind not in KNOWLEDGE_KINDS]
    if feed.closed_day >= exported.header.renewed_day:
        return
    for notices in _chunks(missing):
        # Causes are offsets of another log.
        headers = [replace(own, cause=NOWHERE).headers for own in notices]
        values = [own.content for own in notices]
        await writer.commit([Outgoing(topics.knowledge, 0, values, headers=headers)], {})


def _chunks(notices: Sequence[Notice]) -> Iterator[list[Notice]]:
    """Cut notices into transactions."""
    chunk: list[Notice] = []
    size = 0
    for notice in notices:
        if chunk and size + len(notice.content) > TRANSACTION_BYTES_MAX // 2:
            yield chunk
            chunk, size = [], 0
        chunk.append(notice)
        size += len(notice.content)
    if chunk:
        yield chunk


def _header_of(
    exported: ExportedState, plan: ImportPlan, partition: int, positions: Mapping[TopicPartition, int]
) -> StateHeader:
    header = exported.header
    # Sums add up over the shards, so that it does not matter who has them.
    has_sums = partition == 0
    return replace(
        header,
        app=plan.topics.app,
        partition=partition,
        partition_count=plan.partition_count,
        positions={own.topic: position for own, position in positions.items()},
        term_sums=header.term_sums if has_sums else tuple((0,) * len(own) for own in header.term_sums),
        term_counts=header.term_counts if has_sums else (0,) * len(header.term_counts),
        # Every question is of a closed day, and offsets may be those of another log.
        extra={**header.extra, "answered": NOWHERE},
    )


def _engine_of(policy: Policy, exported: ExportedState, chosen: NDArray[np.int64], header: StateHeader) -> Engine:
    sketch = PopulationSketch(
        header.clock.scoring_version,
        tuple(
            AxisSketch(np.empty(0, dtype=np.int64), np.array(sums, dtype=np.int64), terms)
            for sums, terms in zip(header.term_sums, header.term_counts, strict=True)
        ),
    )
    engine = Engine(policy)
    engine.restore(exported.ids[chosen], take_rows(exported.rows, chosen), header.clock, sketch)
    return engine


async def _write_learner(
    log: Log,
    policy: Policy,
    exported: ExportedState,
    target: tuple[Topics, Writer, Sequence[PopulationSketch]],
) -> None:
    topics, writer, populations = target
    machine = LearnerMachine.from_state(exported.learner, policy, exported.header.partition_count)
    machine.repartition(dict(enumerate(populations)))
    position = (await log.bounds(TopicPartition(topics.learner_input, 0))).end
    records = encode_learner(SavedLearner(position, -1, machine.state()))
    await writer.commit([Outgoing(topics.learner_state, 0, records)], {})


async def _compare(
    log: Log, policy: Policy, exported: ExportedState, which: tuple[ImportPlan, int, NDArray[np.int64]]
) -> int:
    """Read a shard back, and hold it to the export; gives its customers."""
    plan, partition, shard_of = which
    shard = await read_shard(log, plan.topics, policy, partition, plan.partition_count)
    chosen = np.flatnonzero(shard_of == partition)
    is_same = (
        shard is not None
        and shard.ids.tolist() == exported.ids[chosen].tolist()
        and shard.rows.tobytes() == take_rows(exported.rows, chosen).tobytes()
    )
    if not is_same:
        message = (
            f"{plan.topics.state}-{partition} does not hold what was written to it: is a worker running? Stop all of "
            "them, and import again with --replace"
        )
        raise IncompatibleStateError(message, code="state_differs")
    return len(chosen)
