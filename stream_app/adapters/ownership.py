"""Between a host that assigns partitions and the runtime that owns them: what is whose, and where it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import LogRecord, TopicPartition
from stream_app.adapters.log.topics import Topics

ROOM_POLL_S: Final = 0.005
"""How often it is seen whether there is room again for partitions that were paused."""

logger = logging.getLogger(__name__)


class Runtime(Protocol):
    """Does the work; owns shards and the learner while they are assigned."""

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        """Take over what is new among all that is assigned now, before any of its records flows.

        Parameters
        ----------
        partitions
            All partitions of the events that are assigned now, those that it has already among them.
        owns_learner
            Whether the learner's input is assigned now.

        Returns
        -------
        dict[TopicPartition, int]
            Where to go on in events, ticks and the learner's input, of what is new.
        """

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        """Give up what it has of these: wait for the running commit, close."""

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        """Take in records of a partition that was assigned; it never waits, see `wants`."""

    def wants(self, partition: TopicPartition) -> bool:
        """Tell whether there is room for more records of a partition."""

    async def run(self) -> None:
        """Do what is to be done in the background, until it is cancelled."""

    async def stop(self) -> None:
        """Give everything up."""


class Source(Protocol):
    """From where records come: Faust's consumer, whatever the log."""

    async def seek_wait(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Go on from these offsets."""

    def pause_partitions(self, tps: set[TopicPartition]) -> None:
        """Deliver no more of these."""

    def resume_partitions(self, tps: set[TopicPartition]) -> None:
        """Deliver them again."""


class Reach(NamedTuple):
    """From where to where a source had read; offsets have holes, so that records do not tell.

    Parameters
    ----------
    start, end
        None where the source does not tell.
    """

    start: int | None = None
    end: int | None = None


class Ownership:
    """Keeps the runtime in step with what the group assigns to this process.

    Each record is handed over exactly once while its partition is owned without a break.

    Parameters
    ----------
    topics
        Names of the topics.
    runtime
        Does the work.
    """

    def __init__(self, topics: Topics, runtime: Runtime) -> None:
        self._topics = topics
        self._runtime = runtime
        self._shards: set[int] = set()
        self._has_learner = False
        self._generation: int | None = None
        self._next: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._pause_begun = asyncio.Event()
        self._taking: asyncio.Task[dict[TopicPartition, int]] | None = None
        self._is_stopped = False

    async def take(self, assigned: set[TopicPartition], generation: int, source: Source) -> None:
        """Give up what was lost, take over what is new, and seek; nothing flows meanwhile.

        Parameters
        ----------
        assigned
            All that is assigned now.
        generation
            Of the group; it grows by one with each assignment.
        source
            Where to seek.

        Raises
        ------
        LogError
            When events and ticks of a partition were assigned to different processes.
        """
        if self._is_stopped:
            return
        self._taking = asyncio.ensure_future(self._take(assigned, generation))
        positions = await self._taking
        self._paused.clear()
        self._next = positions
        await source.seek_wait(positions)
        logger.info("partitions taken generation=%s partitions=%s", generation, _shown(positions))

    async def _take(self, assigned: set[TopicPartition], generation: int) -> dict[TopicPartition, int]:
        shards = self._shards_of(assigned)
        owns_learner = TopicPartition(self._topics.learner_input, 0) in assigned
        has_missed = self._generation is not None and generation != self._generation + 1
        self._generation = generation
        # Whoever missed an assignment cannot know what others have done with its partitions meanwhile.
        lost = self._shards if has_missed else self._shards - shards
        loses_learner = self._has_learner and (has_missed or not owns_learner)
        if lost or loses_learner:
            await self._runtime.revoke(set(lost), loses_learner)
        self._shards, self._has_learner = set(shards), owns_learner
        if has_missed:
            self._next.clear()
        new = await self._runtime.assign(set(shards), owns_learner)
        positions = {tp: new[tp] if tp in new else self._next.get(tp, -1) for tp in assigned}
        unknown = sorted(tp for tp, offset in positions.items() if offset < 0)
        if unknown:
            message = f"nobody has said where to go on in {unknown}"
            raise LogError(message)
        return positions

    def _shards_of(self, assigned: set[TopicPartition]) -> set[int]:
        of_events = {partition for topic, partition in assigned if topic == self._topics.events}
        of_ticks = {partition for topic, partition in assigned if topic == self._topics.ticks}
        if of_events != of_ticks:
            message = (
                f"events {sorted(of_events)} and ticks {sorted(of_ticks)} were assigned to one process, and have to be "
                "the same: see that both topics have as many partitions, and that all workers are of one version"
            )
            raise LogError(message)
        return of_events

    async def hand_over(
        self, partition: TopicPartition, reach: Reach, records: Sequence[LogRecord], source: Source
    ) -> None:
        """Hand records over that have not been handed over yet.

        Parameters
        ----------
        partition
            Whose they are; one that is not owned is dropped, since its new owner reads it.
        reach
            From where to where the source had read, if it tells.
        records
            In order.
        source
            Is told to pause the partition when there is no more room.

        Raises
        ------
        LogError
            When records before these are missing.
        """
        expected = self._next.get(partition)
        if expected is None or self._is_stopped:
            return
        if reach.start is not None and reach.start > expected:
            message = f"records {expected} to {reach.start} of {partition} were not delivered"
            raise LogError(message)
        if records and records[0].offset < expected:
            records = [record for record in records if record.offset >= expected]
        if not records:
            return
        self._next[partition] = records[-1].offset + 1 if reach.end is None else reach.end
        await self._runtime.hand_over(partition, records)
        if not self._runtime.wants(partition):
            source.pause_partitions({partition})
            self._paused.add(partition)
            self._pause_begun.set()

    async def make_room(self, source: Source) -> None:
        """Let paused partitions flow again as soon as there is room; until cancelled."""
        while True:
            await self._pause_begun.wait()
            self._pause_begun.clear()
            while self._paused:
                wanted = {partition for partition in self._paused if self._runtime.wants(partition)}
                if wanted:
                    self._paused -= wanted
                    source.resume_partitions(wanted)
                await asyncio.sleep(ROOM_POLL_S)

    async def stop(self) -> None:
        """Give everything up: what runs is finished, nothing more is begun."""
        self._is_stopped = True
        if self._taking is not None and not self._taking.done():
            self._taking.cancel()
            await asyncio.wait({self._taking})
        await self._runtime.stop()


def _shown(positions: Mapping[TopicPartition, int]) -> str:
    return ",".join(f"{topic}-{partition}@{offset}" for (topic, partition), offset in sorted(positions.items()))
