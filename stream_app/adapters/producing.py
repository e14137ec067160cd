"""Events of files onto a topic, each to the partition where Kafka's clients would put its customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from stream_app.adapters.event_files import EventLog
from stream_app.adapters.event_files.event_records import EventRecords, read_records
from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing
from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy

EVENTS_MAX: Final = 8192
"""Events that are written at a time: some 1.5 MB, far below what a transaction may hold."""


async def produce(
    events: EventLog, policy: Policy, log: Log, topic: str, on_written: Callable[[int], None] | None = None
) -> int:
    """Write all events of files to a topic.

    Parameters
    ----------
    events
        What was read.
    policy
        The one it was read under.
    log
        Started.
    topic
        Must exist.
    on_written
        Is told the number of events of each part that is durable.

    Returns
    -------
    int
        Events written: all of them, each once.

    Raises
    ------
    SettingsError
        When there is no such topic; nothing was written.
    LogError
        When the log failed; the message says how many were written before.
    """
    partition_count = await log.partition_count(topic)
    if partition_count is None:
        message = f"topic {topic}: there is no such topic; make it by: stream-app topics create, or name another one"
        raise SettingsError(message, code="missing_topic")
    written = 0
    for records in read_records(events, policy, events_max=EVENTS_MAX):
        try:
            await log.append(_outgoing(records, topic, partition_count))
        except LogError as error:
            message = (
                f"{error}; {written:,} of {events.counts.event_count:,} events are written, and some of the next "
                f"{len(records):,} may be; an event that comes twice within its customer's last 8 counts once"
            )
            raise LogError(message) from error
        written += len(records)
        if on_written is not None:
            on_written(len(records))
    return written


def _outgoing(records: EventRecords, topic: str, partition_count: int) -> list[Outgoing]:
    partitions = partitions_of(records.keys, partition_count)
    outgoing = []
    for partition in np.unique(partitions).tolist():
        places = np.flatnonzero(partitions == partition)
        chosen = places.tolist()
        outgoing.append(
            Outgoing(
                topic,
                partition,
                [records.values[place] for place in chosen],
                [records.keys[place] for place in chosen],
                None,
                records.times_ms[places].tolist(),
            )
        )
    return outgoing
