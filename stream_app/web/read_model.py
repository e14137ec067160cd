"""What the API knows: customers, changes, knowledge, and how far each partition has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from stream_app.adapters.log.topics import Topics
from stream_app.adapters.state_records import StateRecord
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.history import FeatureLayout
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.scores import SCORES, ScoreFunction, build_functions
from stream_app.web.change_records import Batch, StoredChange
from stream_app.web.customers import CustomerColumns
from stream_app.web.history import History
from stream_app.web.knowledge_shelf import KnowledgeShelf
from stream_app.web.progress import PartitionProgress, RateMeter

IN_FORCE = ("renewal", "switch")
"""Kinds of records whose knowledge comes into force."""


class ReadModel:
    """Everything that is known of the topics. One thread changes and reads it; only the history is behind a lock.

    Parameters
    ----------
    policy
        The policy the worker runs under.
    topics
        Names of the application's topics.
    history_path
        File of the change history; None keeps it in memory.
    identity
        Which log it is, as `kafka://host:9092`; another one, or another application or policy, makes the history anew.
    """

    def __init__(self, policy: Policy, topics: Topics, history_path: Path | None = None, identity: str = "") -> None:
        self.policy, self.topics = policy, topics
        self.functions: dict[str, ScoreFunction] = build_functions(policy, SCORES)
        self.layout = FeatureLayout.from_policy(policy)
        self.customers = CustomerColumns(policy)
        axes = [(axis.name, axis.tiers) for axis in policy.axes]
        self.history = History(history_path, f"{identity} {topics.app} {policy.state_hash}", axes)
        self.knowledge = KnowledgeShelf()
        self.knowledge.restore(self.history.knowledge())
        self.partitions: dict[int, PartitionProgress] = {}
        self.events_rate, self.changes_rate = RateMeter(), RateMeter()
        self.changes_seen = 0
        self.rows_applied = 0
        self.fault: str | None = None
        self.may_hold_erased = True
        """The history may hold changes of customers who were erased, read before it was known or after."""
        self._listeners: list[Callable[[Sequence[StoredChange]], None]] = []

    def close(self) -> None:
        """Close the history."""
        self.history.close()

    @property
    def is_ready(self) -> bool:
        """Tell whether the rows of all partitions are there."""
        return bool(self.partitions) and all(progress.is_read for progress in self.partitions.values())

    @property
    def as_of_ms(self) -> int:
        """Up to when all rows are there, in all partitions that have seen any time; -1 before they have been read."""
        if not self.is_ready:
            return -1
        return min((own.time_ms for own in self.partitions.values() if own.time_ms >= 0), default=-1)

    @property
    def changes_as_of_ms(self) -> int:
        """Up to when all changes are there, likewise; they are read side by side with the rows."""
        return min((own.changes_ms for own in self.partitions.values() if own.time_ms >= 0), default=-1)

    @property
    def watermark_ms(self) -> int:
        """Latest event time of the partition that is furthest behind; -1 before the first event."""
        times = [progress.watermark_ms for progress in self.partitions.values() if progress.watermark_ms >= 0]
        return min(times, default=-1)

    def progress_of(self, partition: int) -> PartitionProgress:
        """Give a partition's progress, to be brought up to date by whoever follows its topics."""
        return self.partitions.setdefault(partition, PartitionProgress())

    def knowledge_of(self, partition: int) -> Knowledge | None:
        """Give the knowledge that a partition's rows were scored by."""
        return self.knowledge.of_version(self.progress_of(partition).knowledge_version)

    def listen(self, listener: Callable[[Sequence[StoredChange]], None]) -> None:
        """Tell somebody of all changes that come from now on; called where they are taken in."""
        self._listeners.append(listener)

    def apply_state(self, partition: int, record: StateRecord) -> None:
        """Take in a state record.

        Raises
        ------
        IncompatibleStateError
            When it was written under another policy.
        """
        header = record.header
        if header.state_hash != self.policy.state_hash:
            message = "the state log is of another policy; start with the --policy that the worker runs under"
            raise IncompatibleStateError(message, code="other_policy_state")
        erased = self.customers.apply(partition, record)
        if erased:
            self.history.forget_customers([name.encode() for name in erased], self.history.last_number)
            self.may_hold_erased = True
        self.rows_applied += len(record.row_numbers)
        progress = self.progress_of(partition)
        watermark_ms = self.customers.watermark_of(record)
        progress.watermark_ms = max(progress.watermark_ms, watermark_ms)
        if header.part + 1 < header.part_count:
            # The commit is whole with its last record.
            return
        progress.events_position = int(header.positions.get(self.topics.events, 0))
        progress.tick_ms = max(progress.tick_ms, header.clock.last_tick_ms)
        progress.knowledge_version = header.knowledge_version

    def forget_partition(self, partition: int) -> None:
        """Begin with a partition's rows anew; what is known of its changes stays."""
        self.customers.forget_partition(partition)
        self.partitions[partition] = PartitionProgress(changes_position=self.progress_of(partition).changes_position)

    def mark_rates(self, now_seconds: float) -> None:
        """Note how much has come until now."""
        self.events_rate.mark(now_seconds, sum(progress.events_position for progress in self.partitions.values()))
        self.changes_rate.mark(now_seconds, self.changes_seen)

    def store_changes(self, batch: Batch, records: Sequence[bytes | None]) -> list[StoredChange]:
        """Put changes into the history; may be called from another thread, one call after the other."""
        return self.history.add_changes(batch, records)

    def tell(self, changes: Sequence[StoredChange]) -> None:
        """Tell those who listen of changes that were stored."""
        self.changes_seen += len(changes)
        for listener in self._listeners:
            listener(changes)

    def apply_knowledge(self, batch: Batch, records: Sequence[tuple[str, bytes]]) -> None:
        """Take in records of the knowledge topic, each with its kind; what shards are asked is left out."""
        figures = []
        for kind, record in records:
            if kind == "quality":
                figures.append((int(orjson.loads(record)["time_ms"]), record))
            elif kind in IN_FORCE:
                self.knowledge.add(record)
        if figures:
            self.history.add_quality(batch, figures)
        needed = [p.knowledge_version for p in self.partitions.values() if p.knowledge_version > 0]
        self.knowledge.let_go(min(needed, default=0))
        self.history.keep_knowledge(batch, self.knowledge.records(), oldest=self.knowledge.oldest_version)
