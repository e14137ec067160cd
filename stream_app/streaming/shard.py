"""A shard: the customers of one partition, the steps that change them, and what each commit has to hold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.current_segments import CurrentSegmentEncoder
from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.codec.encoding import change_headers
from stream_app.adapters.log.port import Headers, LogRecord, Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.state_header import StateHeader, SweepCursor
from stream_app.domain.effects import Cause, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.snapshots import dry_run_stride
from stream_app.engine import Engine
from stream_app.streaming.change_records import ChangeRecords
from stream_app.streaming.draft import DRAFT_ROWS_MAX, Draft, DraftWriter
from stream_app.streaming.erasure import hash_of_customer
from stream_app.streaming.event_runs import NO_WATERMARK_MS, DeadLetter, EventRun, EventSource, read_run
from stream_app.streaming.messages import (
    SketchMessage,
    SketchPurpose,
    encode_forgetting,
    encode_sketch,
    encode_snapshots,
)
from stream_app.streaming.reports import BatchReport, ShardStanding
from stream_app.streaming.state_log import StateLog
from stream_app.streaming.state_reader import RecoveredShard
from stream_app.streaming.ticks import GRID_MS, TickSchedule, ToldTick, decode_tick

NO_DAY = -1


@dataclass(frozen=True, slots=True)
class ShardSetup:
    """What a shard is told at its start.

    Parameters
    ----------
    policy
        What people decide.
    topics
        Names of the topics.
    partition, partition_count
        Which shard, of how many.
    trusts_keys
        True: customers are in their partitions whatever the keys of records are.
    rows_max
        Rows after which a commit is due.
    """

    policy: Policy
    topics: Topics
    partition: int
    partition_count: int
    trusts_keys: bool = False
    rows_max: int = DRAFT_ROWS_MAX


@dataclass(slots=True)
class ShardProgress:
    """How far a shard has come beyond what its rows and its engine hold.

    Parameters
    ----------
    events_position, ticks_position
        Offsets to go on from.
    watermark_ms
        Latest event time; below 0 before there is any.
    reported_day
        UTC day that was last reported to the learner.
    answered
        Offset of the last question of the learner that was answered.
    is_waiting
        True until the reported day's knowledge has come or was given up.
    """

    events_position: int
    ticks_position: int
    watermark_ms: int = NO_WATERMARK_MS
    reported_day: int = NO_DAY
    answered: int = -1
    is_waiting: bool = False


class Shard:
    """Applies events and ticks and gathers what is to be committed; it does no input or output.

    Parameters
    ----------
    setup
        What it is told.
    knowledge
        In force.
    recovered
        What its log held; None for a new shard.
    starts
        Positions of a new shard in events and ticks.
    """

    def __init__(
        self, setup: ShardSetup, knowledge: Knowledge, recovered: RecoveredShard | None, starts: tuple[int, int]
    ) -> None:
        policy, topics = setup.policy, setup.topics
        self.setup, self.policy = setup, policy
        self.engine = Engine(policy)
        self.in_force = knowledge
        self._decoder = EventDecoder(policy)
        self._changes = ChangeRecords(self.engine, topics.events, setup.partition)
        self._source = EventSource(topics.events, setup.partition, setup.trusts_keys)
        self._writer = DraftWriter(topics, setup.partition, CurrentSegmentEncoder(policy))
        self._urn = f"urn:stream-app:{topics.app}"
        self.progress = ShardProgress(*starts)
        self.cursor: SweepCursor | None = None
        self.state_log = StateLog() if recovered is None else recovered.log
        if recovered is not None:
            self._restore(recovered)
        self.schedule = TickSchedule(self.engine.last_tick_ms, GRID_MS)
        self._known_rows = len(self.engine.table)
        self._draft = Draft(setup.rows_max)
        self._dead_letters: list[DeadLetter] = []
        self._state_records = 0
        self.report = BatchReport(setup.partition)
        self._note_start()

    def _restore(self, recovered: RecoveredShard) -> None:
        header = recovered.header
        self.engine.restore(recovered.ids, recovered.rows, header.clock, recovered.sketch)
        extra = header.extra
        self.progress = ShardProgress(
            events_position=header.positions[self.setup.topics.events],
            ticks_position=header.positions[self.setup.topics.ticks],
            watermark_ms=int(extra["watermark_ms"]),
            reported_day=header.renewed_day,
            answered=int(extra["answered"]),
            is_waiting=bool(extra["is_waiting"]),
        )
        self.cursor = header.cursor

    def _note_start(self) -> None:
        self._draft.note(
            kind="start",
            events_position=self.progress.events_position,
            time_ms=self.engine.last_tick_ms,
            knowledge_version=self.in_force.version,
            policy_version=self.policy.content_hash,
        )

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """Offsets to go on from."""
        topics, own = self.setup.topics, self.setup.partition
        return {
            TopicPartition(topics.events, own): self.progress.events_position,
            TopicPartition(topics.ticks, own): self.progress.ticks_position,
        }

    @property
    def is_full(self) -> bool:
        """Tell whether a commit is due before more is done."""
        return self._draft.is_full

    def read(self, records: Sequence[LogRecord]) -> EventRun:
        """Decode records of events; at least one, none of them before the position."""
        started = time.perf_counter()
        run = read_run(records, self._decoder, self.progress.watermark_ms, source=self._source)
        self._dead_letters += run.dead_letters
        self.progress.events_position = run.position
        self.report.input_bytes += run.byte_count
        self.report.dead_letters.update(letter.code.value for letter in run.dead_letters)
        for reason, count in run.decoded.ignored_counts.items():
            self.report.events["unmapped", reason] += count
        self.report.seconds["decode"] += time.perf_counter() - started
        return run

    def tell_ticks(self, records: Sequence[LogRecord]) -> None:
        """Take in ticks that the log tells."""
        own = self.setup.partition
        ticks = [(record.offset, decode_tick(record.value or b"")) for record in records]
        self.schedule.tell(ToldTick(offset, tick.time_ms, tick.events_end(own)) for offset, tick in ticks)

    def adopt(self, knowledge: Knowledge | None) -> None:
        """Take over newer knowledge for what follows."""
        if knowledge is None or knowledge.version <= self.in_force.version:
            return
        self.in_force = knowledge
        self._draft.note(
            kind="knowledge",
            events_position=self.progress.events_position,
            time_ms=self.engine.last_tick_ms,
            knowledge_version=knowledge.version,
        )

    def apply(self, run: EventRun) -> None:
        """Apply the next events of a run, up to the next tick."""
        schedule = self.schedule
        offset = schedule.next_told_end(self.progress.events_position)
        part = run.until(time_ms=schedule.next_on_grid_ms, offset=offset, count_max=self.setup.rows_max)
        events = run.decoded.batch.select(part)
        started = time.perf_counter()
        effects = self.engine.apply(events, self.in_force)
        self.report.seconds["engine"] += time.perf_counter() - started
        run.used = part.stop
        self.progress.watermark_ms = int(run.watermarks[part.stop - 1])
        self.progress.events_position = run.position
        self._count_events(events, effects)
        self._take(effects, events)

    def finish(self, end: int) -> None:
        """Note that everything before an offset is used up."""
        self.progress.events_position = end

    def due_ticks(self, run: EventRun | None) -> NDArray[np.int64]:
        """Give the ticks to apply before the next event; see `TickSchedule.due`."""
        event_ms = None if run is None else run.next_watermark_ms
        return self.schedule.due(self.progress.events_position, event_ms)

    def tick(self, times_ms: NDArray[np.int64]) -> None:
        """Apply ticks that belong together, all at once."""
        started = time.perf_counter()
        effects = self.engine.ticks(times_ms, self.in_force)
        self.report.seconds["engine"] += time.perf_counter() - started
        self._take(effects, None)
        self.finish_ticks(times_ms)

    def take_slice(self, effects: Effects, cursor: SweepCursor) -> None:
        """Take in a slice of a sweep that is done piece by piece."""
        self.cursor = cursor
        self._take(effects, None)

    def finish_ticks(self, times_ms: NDArray[np.int64]) -> None:
        """Note that ticks were applied; the first of a day is reported to the learner."""
        self.cursor = None
        last_ms = int(times_ms[-1])
        self.schedule.applied(last_ms)
        self._draft.note(
            kind="tick",
            times_ms=times_ms.tolist(),
            events_position=self.progress.events_position,
            knowledge_version=self.in_force.version,
        )
        day = last_ms // MS_PER_DAY
        if day > self.progress.reported_day:
            self.progress.reported_day, self.progress.is_waiting = day, True
            self._answer(SketchPurpose.DAY, day, last_ms, None)

    def erase(self, customer_id: bytes) -> None:
        """Forget a customer: the row, the current segment, and what the learner has."""
        rows = self.engine.erase(np.array([customer_id], dtype=np.bytes_))
        self._draft.touch(rows)
        self._draft.tombstones.append(customer_id)
        self._draft.tell_learner([encode_forgetting(self.setup.partition, customer_id)])
        self._draft.note(
            kind="erase",
            events_position=self.progress.events_position,
            knowledge_version=self.in_force.version,
            customer_hash=hash_of_customer(customer_id),
        )

    def answer(self, purpose: SketchPurpose, day: int, question: tuple[int, int, Knowledge]) -> None:
        """Answer a question of the learner: its offset, its time, and the knowledge whose scoring is asked for."""
        offset, time_ms, knowledge = question
        self.progress.answered = offset
        self._answer(purpose, day, time_ms, knowledge)

    def _answer(self, purpose: SketchPurpose, day: int, time_ms: int, knowledge: Knowledge | None) -> None:
        if knowledge is None:
            sketch = self.engine.sketch()
        else:
            stride = dry_run_stride(knowledge.sample_limit) if purpose is SketchPurpose.DRY_RUN else 1
            sketch = self.engine.full_sketch(knowledge.scoring, time_ms, stride)
        message = SketchMessage(purpose, self.setup.partition, day, time_ms, sketch)
        self._draft.tell_learner([encode_sketch(message)])

    def write(self, pending_version: int) -> list[Outgoing]:
        """Give the records of the next commit; the state records come last."""
        started = time.perf_counter()
        progress, topics = self.progress, self.setup.topics
        progress.ticks_position = self.schedule.ticks_position(progress.events_position, progress.ticks_position)
        letters = [letter for letter in self._dead_letters if letter.offset < progress.events_position]
        self._dead_letters = self._dead_letters[len(letters) :]
        draft, self._draft = self._draft, Draft(self.setup.rows_max)
        outgoing = self._writer.write(draft, self.engine, letters, knowledge_version=self.in_force.version)
        state = self.state_log.pack(
            self.engine.table, draft.touched_rows(), self._header(pending_version), new_from=self._known_rows
        )
        self._known_rows = len(self.engine.table)
        outgoing.append(Outgoing(topics.state, self.setup.partition, state))
        self._state_records = len(state)
        self.report.output_bytes += sum(len(value or b"") for own in outgoing for value in own.values)
        self.report.seconds["encode"] += time.perf_counter() - started
        return outgoing

    def committed(self, state_offset: int) -> tuple[BatchReport, int | None]:
        """Note that the records of `write` are in the log; gives the report, and where to truncate the state log."""
        report, self.report = self.report, BatchReport(self.setup.partition)
        # Nobody else writes to the partition, so the records of a transaction follow one another.
        offsets = range(state_offset, state_offset + self._state_records)
        return report, self.state_log.committed(offsets)

    def standing(self, end: int) -> ShardStanding:
        """Tell where the shard stands."""
        return ShardStanding(
            partition=self.setup.partition,
            position=self.progress.events_position,
            end=max(end, self.progress.events_position),
            watermark_ms=self.progress.watermark_ms,
            last_tick_ms=self.engine.last_tick_ms,
            populations=self.engine.populations(),
            customer_count=self.engine.table.customer_count,
            knowledge_version=self.in_force.version,
        )

    def _take(self, effects: Effects, events: EventBatch | None) -> None:
        started = time.perf_counter()
        changes = effects.changes
        values = self._changes.write(changes, events, self.in_force)
        headers: list[Headers] = [*change_headers(changes, values, source=self._urn)] if len(changes) else []
        self._draft.tell_changes(changes, values, headers)
        self._draft.touch(effects.touched_rows)
        if effects.snapshots is not None:
            self._draft.tell_learner(encode_snapshots(self.setup.partition, effects.snapshots))
        self.report.rescored_count += effects.rescored_count
        self._count_changes(effects)
        self.report.seconds["encode"] += time.perf_counter() - started

    def _count_events(self, events: EventBatch, effects: Effects) -> None:
        for outcome, chosen in (("applied", ~effects.is_duplicate), ("duplicate", effects.is_duplicate)):
            counts = np.bincount(events.families[chosen], minlength=len(Family))
            for family in np.flatnonzero(counts).tolist():
                self.report.events[Family(family).name.lower(), outcome] += int(counts[family])

    def _count_changes(self, effects: Effects) -> None:
        changes = effects.changes
        for axis, count in enumerate(effects.suppressed_counts.tolist()):
            if count:
                self.report.suppressed[self.policy.axes[axis].name] += count
        if not len(changes):
            return
        columns = (changes.axes, changes.from_tiers + 1, changes.to_tiers, changes.causes)
        sizes = [int(column.max()) + 1 for column in columns]
        kinds, counts = np.unique(np.ravel_multi_index(columns, sizes), return_counts=True)
        parts = (part.tolist() for part in np.unravel_index(kinds, sizes))
        for axis, before, after, cause, count in zip(*parts, counts.tolist(), strict=True):
            tiers = self.policy.axes[axis].tiers
            names = (self.policy.axes[axis].name, tiers[before - 1] if before else "none", tiers[after])
            self.report.changes[*names, Cause(cause).name.lower()] += count

    def _header(self, pending_version: int) -> StateHeader:
        progress, topics = self.progress, self.setup.topics
        term_sums, term_counts = self.engine.term_totals()
        return StateHeader(
            state_hash=self.policy.state_hash,
            policy_hash=self.policy.content_hash,
            app=topics.app,
            partition=self.setup.partition,
            partition_count=self.setup.partition_count,
            positions={topics.events: progress.events_position, topics.ticks: progress.ticks_position},
            knowledge_version=self.in_force.version,
            pending_knowledge_version=max(pending_version, self.in_force.version),
            clock=self.engine.clock,
            term_sums=term_sums,
            term_counts=term_counts,
            renewed_day=progress.reported_day,
            cursor=self.cursor,
            extra={
                "watermark_ms": progress.watermark_ms,
                "answered": progress.answered,
                "is_waiting": progress.is_waiting,
            },
        )
