"""Looking one customer up in the state log, beside running workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.policy import Policy
from stream_app.domain.rows import RowBlock, is_erased
from stream_app.streaming.state_reader import RecoveredShard, StateReader

_TRIES: Final = 3
"""A worker may truncate the log under the reader's hands."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundCustomer:
    """A customer as the last commit left them; the row has shape `(1,)`."""

    partition: int
    row: RowBlock


async def look_up(log: Log, topics: Topics, policy: Policy, customer_id: str) -> FoundCustomer | None:
    """Find a customer: first where their key leads, then everywhere, since producers may partition as they like.

    Raises
    ------
    IncompatibleStateError
        When the state does not fit the policy or this software.
    SettingsError
        When there is no topic of events.
    """
    count = await log.partition_count(topics.events)
    if not count:
        message = f"there is no topic {topics.events}: name the topic of events by --events"
        raise SettingsError(message, code="missing_topic")
    own_id = customer_id.encode()
    likely = int(partitions_of([own_id], count)[0])
    for partition in sorted(range(count), key=lambda own: own != likely):
        shard = await _read(log, topics, policy, (partition, count))
        if shard is None:
            continue
        # Erased rows have empty ids.
        places = np.flatnonzero((shard.ids == own_id) & ~is_erased(shard.rows))
        if len(places):
            return FoundCustomer(partition, shard.rows[places])
    return None


async def _read(log: Log, topics: Topics, policy: Policy, which: tuple[int, int]) -> RecoveredShard | None:
    state = TopicPartition(topics.state, which[0])
    for tries_left in reversed(range(_TRIES)):
        bounds = await log.bounds(state)
        reader = StateReader(policy, *which)
        try:
            # Whoever looks need not wait for the commit that is being made.
            async for records in log.read(state, bounds.start, bounds.stable_end):
                for record in records:
                    reader.add(record.offset, record.value or b"")
            return reader.finish(bounds.start)
        except IncompatibleStateError as error:
            if error.code not in ("state_hole", "missing_state") or not tries_left:
                raise
    return None
