"""The learner as a deterministic function of what shards tell: the same records give the same knowledge."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import msgspec
import numpy as np
import orjson

from stream_app.adapters.knowledge_json import decode_knowledge, encode_knowledge
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.population import PopulationSketch
from stream_app.domain.rows import row_dtype
from stream_app.domain.snapshots import Snapshots, join_snapshots
from stream_app.learning.learner import Learner
from stream_app.streaming.messages import (
    ForgettingMessage,
    Notice,
    NoticeKind,
    SketchMessage,
    SketchPurpose,
    SnapshotsMessage,
    decode_input,
    encode_sketch,
    encode_snapshots,
)

STATE_VERSION = 1
QUALITY_DAYS = 7
"""Days between two tellings of how good the predictions were."""


@dataclass(slots=True, eq=False)
class _Round:
    """A question that every shard has to answer before the day's renewal goes on.

    Parameters
    ----------
    kind
        `ASK_FULL` or `ASK_DRY_RUN`.
    question
        Knowledge whose scoring is asked for.
    answers
        Partition to sketch.
    """

    kind: NoticeKind
    question: Knowledge
    answers: dict[int, PopulationSketch] = field(default_factory=dict)


class _WireState(msgspec.Struct):
    state_version: int
    state_hash: str
    partition_count: int
    closed_day: int
    day: int
    time_ms: int
    knowledge: bytes
    round_kind: str
    round_question: bytes
    reports: list[bytes]
    latest: list[bytes]
    answers: list[bytes]
    waiting: list[bytes]
    models: bytes


class LearnerMachine:
    """Renews knowledge day by day from what shards tell (S5).

    Parameters
    ----------
    policy
        What people decide.
    partition_count
        How many shards there are.
    """

    def __init__(self, policy: Policy, partition_count: int) -> None:
        self.policy, self._partition_count = policy, partition_count
        self.learner = Learner(policy)
        self.closed_day = -1
        self.has_forgotten = False
        """True from when a customer was erased until the state was saved: older states still hold the customer."""
        self._row_type = row_dtype(len(policy.axes), policy.horizon_periods)
        self._reports: dict[int, deque[SketchMessage]] = {p: deque() for p in range(partition_count)}
        self._latest: dict[int, PopulationSketch] = {}
        self._waiting: list[Snapshots] = []
        self._round: _Round | None = None
        self._day, self._time_ms = -1, -1
        self._cause = -1
        self._told: list[Notice] = []

    @property
    def missing_partitions(self) -> list[int]:
        """Partitions whose report or answer the next step waits for; all of them when there is nothing to do."""
        if self._round is not None:
            return [own for own in range(self._partition_count) if own not in self._round.answers]
        return [own for own, reports in self._reports.items() if not reports]

    def handle(self, record: bytes, offset: int) -> list[Notice]:
        """Take in a record of `<app>-learner-input`.

        Parameters
        ----------
        record
            Its value.
        offset
            Its offset, which becomes the cause of what is told.

        Returns
        -------
        list[Notice]
            What to tell all shards, in this order.

        Raises
        ------
        IncompatibleStateError
            When it cannot be read, or is of a partition that does not exist.
        """
        message = decode_input(record, self._row_type)
        if not 0 <= message.partition < self._partition_count:
            text = (
                f"partition {message.partition} sent to the learner, which knows {self._partition_count}: "
                "change the number of partitions only as docs/state.md says"
            )
            raise IncompatibleStateError(text, code="partition_count_changed")
        self._cause, self._told = offset, []
        if isinstance(message, SnapshotsMessage):
            self._waiting.append(message.snapshots)
        elif isinstance(message, ForgettingMessage):
            self._forget(message.customer_id)
        elif message.purpose is SketchPurpose.DAY:
            if message.day > self.closed_day:
                self._reports[message.partition].append(message)
        else:
            self._take_answer(message)
        while self._advance():
            pass
        return self._told

    def _forget(self, customer_id: bytes) -> None:
        self._waiting = [_select(own, own.customer_ids != customer_id) for own in self._waiting]
        self.learner.models.forget(customer_id)
        self.has_forgotten = True

    def _take_answer(self, message: SketchMessage) -> None:
        asked = self._round
        if asked is None or message.day != self._day:
            return
        kind = NoticeKind.ASK_FULL if message.purpose is SketchPurpose.FULL else NoticeKind.ASK_DRY_RUN
        if kind is asked.kind and message.sketch.scoring_version == asked.question.scoring.version:
            asked.answers.setdefault(message.partition, message.sketch)

    def _advance(self) -> bool:
        """Do the next step; gives False when something has to come in first."""
        if self._round is None:
            if self.missing_partitions:
                return False
            self._begin_day()
            return True
        if self.missing_partitions:
            return False
        asked, self._round = self._round, None
        answers = [asked.answers[partition] for partition in range(self._partition_count)]
        if asked.kind is NoticeKind.ASK_FULL:
            self._renew(answers)
        else:
            switched = self.learner.switch(self._time_ms, asked.question.scoring, answers)
            self._tell_knowledge(NoticeKind.SWITCH, switched)
            self._close_day()
        return True

    def _begin_day(self) -> None:
        reports = self._reports.values()
        self._day = min(own[0].day for own in reports)
        due = [own[0] for own in reports if own[0].day == self._day]
        self._time_ms = min(report.time_ms for report in due)
        for report in due:
            self._latest[report.partition] = report.sketch
            self._reports[report.partition].popleft()
        self._hand_over_snapshots()
        self.learner.learn(self._time_ms)
        sketches = list(self._latest.values())
        current = self.learner.knowledge.scoring.version
        is_stale = any(sketch.scoring_version not in (0, current) for sketch in sketches)
        if is_stale or self.learner.wants_full_sketch(sketches):
            self._ask(NoticeKind.ASK_FULL, self.learner.knowledge)
        else:
            self._renew(())

    def _hand_over_snapshots(self) -> None:
        """Give the learner what was snapshotted up to the day's tick; the rest waits for the next day."""
        taken = join_snapshots(self._waiting)
        self._waiting = []
        if taken is None:
            return
        is_due = taken.times_ms <= self._time_ms
        self.learner.take_in(_select(taken, is_due))
        if not is_due.all():
            self._waiting.append(_select(taken, ~is_due))

    def _renew(self, full: list[PopulationSketch] | tuple[()]) -> None:
        current = self.learner.knowledge.scoring.version
        # A shard that went on under an older scoring has told buckets that mean nothing now.
        sketches = [
            full[partition] if full and sketch.scoring_version not in (0, current) else sketch
            for partition, sketch in self._latest.items()
        ]
        self._tell_knowledge(NoticeKind.RENEWAL, self.learner.renew(self._time_ms, sketches, full))
        scoring = self.learner.due_scoring(self._time_ms)
        if scoring is None:
            self._close_day()
        else:
            self._ask(NoticeKind.ASK_DRY_RUN, replace(self.learner.knowledge, scoring=scoring))

    def _ask(self, kind: NoticeKind, question: Knowledge) -> None:
        self._round = _Round(kind, question)
        notice = Notice.of_knowledge(kind, self._day, question, self._cause)
        self._told.append(replace(notice, time_ms=self._time_ms))

    def _tell_knowledge(self, kind: NoticeKind, knowledge: Knowledge) -> None:
        self._told.append(Notice.of_knowledge(kind, self._day, knowledge, self._cause))

    def _close_day(self) -> None:
        # Ranking the outcomes of a window takes tens of milliseconds: too long for every day of a backlog.
        is_due = self._day % QUALITY_DAYS == 0
        figures = self.learner.models.evaluation.current() if is_due else None
        if figures is not None:
            content = orjson.dumps(
                {
                    "time_ms": self._time_ms,
                    "figures": asdict(figures),
                    "snapshot_count": self.learner.models.snapshot_count,
                    "label_count": self.learner.models.label_count,
                }
            )
            self._told.append(Notice(NoticeKind.QUALITY, self._day, self._time_ms, 0, self._cause, content))
        version = self.learner.knowledge.version
        self._told.append(Notice(NoticeKind.CLOSED, self._day, self._time_ms, version, self._cause))
        self.closed_day = self._day

    def state(self) -> bytes:
        """Give everything needed to go on, as plain numbers."""
        models = io.BytesIO()
        np.savez(models, **cast("dict[str, Any]", self.learner.models.state()))
        asked = self._round
        purpose = SketchPurpose.FULL if asked is None or asked.kind is NoticeKind.ASK_FULL else SketchPurpose.DRY_RUN
        return msgspec.msgpack.encode(
            _WireState(
                state_version=STATE_VERSION,
                state_hash=self.policy.state_hash,
                partition_count=self._partition_count,
                closed_day=self.closed_day,
                day=self._day,
                time_ms=self._time_ms,
                knowledge=encode_knowledge(self.learner.knowledge),
                round_kind="" if asked is None else asked.kind.value,
                round_question=b"" if asked is None else encode_knowledge(asked.question),
                reports=[encode_sketch(report) for own in self._reports.values() for report in own],
                latest=self._encode(SketchPurpose.DAY, self._latest),
                answers=[] if asked is None else self._encode(purpose, asked.answers),
                waiting=[part for snapshots in self._waiting for part in encode_snapshots(0, snapshots)],
                models=models.getvalue(),
            )
        )

    def repartition(self, populations: Mapping[int, PopulationSketch]) -> None:
        """Go on with another number of shards, between two days.

        Parameters
        ----------
        populations
            Of each shard that there is now, from partition 0 on.

        Raises
        ------
        IncompatibleStateError
            When a day's renewal has begun and is not finished.
        """
        if self._round is not None or any(self._reports.values()):
            message = (
                f"the learner is in the middle of day {self._day}: let the workers run until it has told all of it"
            )
            raise IncompatibleStateError(message, code="not_drained")
        self._partition_count = len(populations)
        self._reports = {partition: deque() for partition in populations}
        self._latest = dict(populations)

    def _encode(self, purpose: SketchPurpose, sketches: Mapping[int, PopulationSketch]) -> list[bytes]:
        return [
            encode_sketch(SketchMessage(purpose, partition, self._day, self._time_ms, sketch))
            for partition, sketch in sketches.items()
        ]

    @classmethod
    def from_state(cls, state: bytes, policy: Policy, partition_count: int) -> LearnerMachine:
        """Make a learner that goes on to the bit.

        Raises
        ------
        IncompatibleStateError
            When it is no state of this version, policy and number of partitions.
        """
        try:
            wire = msgspec.msgpack.decode(state, type=_WireState)
            with np.load(io.BytesIO(wire.models), allow_pickle=False) as stored:
                models = {name: stored[name] for name in stored.files}
        except (msgspec.MsgspecError, ValueError, OSError) as error:
            message = f"the learner's state is damaged ({error}); restore the topic, or start a new application name"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        _require_same(wire, policy, partition_count)
        machine = cls(policy, partition_count)
        machine.learner = Learner(policy, knowledge=decode_knowledge(wire.knowledge))
        machine.learner.models.restore(models)
        machine.closed_day, machine._day, machine._time_ms = wire.closed_day, wire.day, wire.time_ms
        for report in machine._decode(wire.reports):
            machine._reports[report.partition].append(report)
        machine._latest = {own.partition: own.sketch for own in machine._decode(wire.latest)}
        waiting = [decode_input(part, machine._row_type) for part in wire.waiting]
        machine._waiting = [own.snapshots for own in waiting if isinstance(own, SnapshotsMessage)]
        if wire.round_kind:
            answers = {own.partition: own.sketch for own in machine._decode(wire.answers)}
            question = decode_knowledge(wire.round_question)
            machine._round = _Round(NoticeKind(wire.round_kind), question, answers)
        return machine

    def _decode(self, records: list[bytes]) -> list[SketchMessage]:
        messages = [decode_input(record, self._row_type) for record in records]
        return [message for message in messages if isinstance(message, SketchMessage)]


def _require_same(wire: _WireState, policy: Policy, partition_count: int) -> None:
    expected = {
        "state_version": STATE_VERSION,
        "state_hash": policy.state_hash,
        "partition_count": partition_count,
    }
    faults = [
        f"{name} {getattr(wire, name)}, expected {own}" for name, own in expected.items() if getattr(wire, name) != own
    ]
    if faults:
        message = (
            f"the learner's state does not fit: {'; '.join(faults)}; go on with the policy, version and partitions it "
            "was made with, or follow docs/state.md to change them"
        )
        raise IncompatibleStateError(message, code="incompatible_learner_state")


def _select(snapshots: Snapshots, is_chosen: Any) -> Snapshots:
    chosen = np.flatnonzero(is_chosen)
    return Snapshots(snapshots.times_ms[chosen], snapshots.customer_ids[chosen], snapshots.rows[chosen])
