"""Topics of an application on any log: making them, and checking them before anything starts."""

from __future__ import annotations

import asyncio

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.topics import Partitions, Topics
from stream_app.adapters.log.urls import KafkaUrl, LogUrl, SqliteUrl
from stream_app.domain.errors import SettingsError

SQLITE_PARTITIONS_DEFAULT = 1
"""A file is read and written by one process, which more partitions do not make faster."""


def create_topics(url: LogUrl, topics: Topics, partition_count: int | None, replication: int | None) -> list[str]:
    """Make all topics of an application, those that are missing, the events among them.

    Parameters
    ----------
    url
        Of the log.
    topics
        Their names.
    partition_count
        Of the events; None takes the number that they have, and 1 for a new file.
    replication
        Copies of each partition on Kafka; None takes the cluster's default.

    Returns
    -------
    list[str]
        Names of those that were made.

    Raises
    ------
    SettingsError
        With all faults.
    LogError
        When the log does not answer.
    """
    if isinstance(url, KafkaUrl):
        from stream_app.adapters.log.kafka import admin

        return admin.create_topics(url.bootstrap, topics, partition_count, replication)
    if replication is not None:
        message = "--replication: a file has no copies; leave it out"
        raise SettingsError(message, code="invalid_replication")
    from stream_app.adapters.log.sqlite.topic_tables import ensure_topics

    count = partition_count or asyncio.run(_counts(url, [topics.events])).get(topics.events)
    return ensure_topics(url.path, topics, count or SQLITE_PARTITIONS_DEFAULT)


def check_topics(url: LogUrl, topics: Topics) -> int:
    """Check the topics of an application, and on Kafka all else that the worker relies on.

    Parameters
    ----------
    url
        Of the log.
    topics
        Their names.

    Returns
    -------
    int
        Partitions of the events.

    Raises
    ------
    SettingsError
        With all faults; each says what to do.
    LogError
        When the log does not answer.
    """
    if isinstance(url, KafkaUrl):
        from stream_app.adapters.log.kafka import admin

        return admin.check_topics(url.bootstrap, topics)
    rules = topics.rules()
    counts = asyncio.run(_counts(url, [topics.events, *rules]))
    count = counts.get(topics.events, 0)
    wanted = {name: count if rule.partitions is Partitions.AS_EVENTS else 1 for name, rule in rules.items()}
    faults = [
        f"{name}: there is no such topic: run `stream-app topics create --log {url}`"
        for name in [topics.events, *rules]
        if name not in counts
    ]
    if not faults:
        faults = [
            f"{name}: {counts[name]} partitions, {wanted[name]} are needed, as many as {topics.events} has"
            for name in rules
            if counts[name] != wanted[name]
        ]
    if faults:
        message = f"log {url} cannot be used as it is"
        raise SettingsError(message, code="unsuitable_log", faults=tuple(faults))
    return count


async def _counts(url: SqliteUrl, names: list[str]) -> dict[str, int]:
    """Give the numbers of partitions of those topics that there are."""
    if not url.path.exists():
        return {}
    log = open_log(url, "")
    try:
        await log.start()
        told = {name: await log.partition_count(name) for name in names}
    except LogError as error:
        raise SettingsError(str(error), code="unreadable_log") from error
    finally:
        await log.stop()
    return {name: count for name, count in told.items() if count is not None}
