"""Topics of an embedded log: making them, and finding their partitions."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import TopicPartition
from stream_app.adapters.log.sqlite.file import create_file, open_file, starting, writing
from stream_app.adapters.log.topics import Cleanup, Partitions, TopicRule, Topics
from stream_app.adapters.log.urls import SqliteUrl
from stream_app.domain.errors import SettingsError

_RETENTION_SETTING = "retention.ms"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it is to be.

    Parameters
    ----------
    name
        Its name.
    partition_count
        How many partitions it has, at least one.
    cleanup
        What becomes of old records.
    retention_ms
        How long a record is kept from its appending on; None: for ever.
    """

    name: str
    partition_count: int
    cleanup: Cleanup = Cleanup.KEEP
    retention_ms: int | None = None


def ensure_topics(path: Path, topics: Topics, partition_count: int) -> list[str]:
    """Make the log and all topics of an application, those that are missing.

    Parameters
    ----------
    path
        The file of the log; its folder must exist.
    topics
        Their names; the topic of events is made, too.
    partition_count
        Of the events and everything that goes with them, partition by partition.

    Returns
    -------
    list[str]
        Names of those that were made.

    Raises
    ------
    SettingsError
        When a topic has another number of partitions, or the file cannot be used.
    """
    plans = [TopicPlan(topics.events, partition_count)]
    plans += [_plan(name, rule, partition_count) for name, rule in topics.rules().items()]
    return ensure_plans(path, plans)


def ensure_plans(path: Path, plans: list[TopicPlan]) -> list[str]:
    """Make the log and these topics, those that are missing: all of them or none.

    Raises
    ------
    SettingsError
        When a topic has another number of partitions, or the file cannot be used.
    """
    for plan in plans:
        if plan.partition_count < 1:
            message = f"topic {plan.name}: {plan.partition_count} partitions, allowed are 1 or more; correct it"
            raise SettingsError(message, code="invalid_partition_count")
    create_file(path)
    connection = open_file(path, is_writing=True)
    try:
        with starting(path), writing(connection):
            counts = partition_counts(connection)
            faults = tuple(
                f"topic {plan.name}: {counts[plan.name]} partitions, {plan.partition_count} are wanted"
                for plan in plans
                if counts.get(plan.name, plan.partition_count) != plan.partition_count
            )
            if faults:
                message = (
                    f"log {path} has topics of another number of partitions: {'; '.join(faults)}; "
                    "take the number it has, or name a new file and produce the events again"
                )
                raise SettingsError(message, code="other_partition_count")
            made = [plan for plan in plans if plan.name not in counts]
            for plan in made:
                _make(connection, plan)
    finally:
        connection.close()
    return [plan.name for plan in made]


def _plan(name: str, rule: TopicRule, partition_count: int) -> TopicPlan:
    retention_ms = int(rule.config.get(_RETENTION_SETTING, "-1"))
    return TopicPlan(
        name,
        partition_count if rule.partitions is Partitions.AS_EVENTS else 1,
        rule.cleanup,
        retention_ms if retention_ms > 0 else None,
    )


def _make(connection: sqlite3.Connection, plan: TopicPlan) -> None:
    is_compacted = plan.cleanup is Cleanup.COMPACT
    row = (plan.name, is_compacted, plan.retention_ms)
    topic_id = connection.execute(
        "INSERT INTO topics (name, is_compacted, retention_ms) VALUES (?, ?, ?)", row
    ).lastrowid
    connection.executemany(
        "INSERT INTO partitions (topic_id, number) VALUES (?, ?)",
        [(topic_id, number) for number in range(plan.partition_count)],
    )


def partition_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Give the number of partitions of every topic."""
    statement = "SELECT name, count(*) FROM topics JOIN partitions ON topic_id = topics.id GROUP BY name"
    return dict(connection.execute(statement).fetchall())


class PartitionIds:
    """Where partitions stand in a file; topics are only ever added, so what was once found stays true.

    Parameters
    ----------
    path
        The log, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids: dict[TopicPartition, int] = {}

    def find(self, connection: sqlite3.Connection, partition: tuple[str, int]) -> int:
        """Give the id of a partition.

        Raises
        ------
        LogError
            When there is none.
        """
        known = self._ids.get(TopicPartition(*partition))
        if known is not None:
            return known
        statement = "SELECT name, number, partitions.id FROM topics JOIN partitions ON topic_id = topics.id"
        self._ids = {TopicPartition(name, number): found for name, number, found in connection.execute(statement)}
        try:
            return self._ids[TopicPartition(*partition)]
        except KeyError:
            topic, number = partition
            message = (
                f"log {self._path} has no topic {topic} with a partition {number}; make it by: "
                f"stream-app topics create --log {SqliteUrl(self._path)}"
            )
            raise LogError(message) from None
