"""The consumer of an embedded log inside Faust: one event per partition and poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from faust.transport import base
from faust.transport.consumer import ensure_TPset
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from stream_app.adapters.interpreter import take_short_turns
from stream_app.adapters.log.delivery import POSITION_HEADER, UnknownOffsets
from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import TopicPartition
from stream_app.adapters.log.sqlite.batches import Record
from stream_app.adapters.log.sqlite.housekeeping import Housekeeper
from stream_app.adapters.log.sqlite.reading import CHUNK_RECORDS_MAX
from stream_app.adapters.log.sqlite.role import WorkerRole
from stream_app.adapters.log.sqlite.session import Session
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans, partition_counts

HOUSEKEEPING_S: Final = 30.0
_MS_PER_S: Final = 1000
_CREATE_TIME: Final = 0


class SqliteConsumer(base.Consumer):
    """Reads all partitions of the topics that the app subscribes to, and owns them all.

    The value of an event is the list of its records; its offset is that of the last one. A partition goes on where it
    was left unless somebody seeks; it begins where it was sought to during the assignment, else at the group's
    position, else at its start. Acknowledging only tells Faust that nobody works on an event any more; nothing is
    committed by it.
    """

    def __init__(self, transport: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(transport, *arguments, **named)
        self._path: Path = transport.path
        self._read_offset = UnknownOffsets()
        self._topics: frozenset[str] = frozenset()
        self._counts: dict[str, int] = {}
        self._assigned: set[Any] = set()
        self._positions: dict[Any, int] = {}
        self._ends: dict[Any, int] = {}
        self._is_widened = False
        self._rebalance: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._role: WorkerRole | None = None

    async def on_start(self) -> None:
        """Take the worker's role and connect."""
        # Each statement of a commit gives the interpreter away.
        take_short_turns()
        self._role = WorkerRole(self._path)
        self._session = Session(self._path, self.app.conf.id)
        self._counts = await self._session.reading.run(partition_counts)
        await super().on_start()

    async def on_stop(self) -> None:
        """Wait for what is being worked on, if Faust is set to, and close."""
        await super().on_stop()
        if self._rebalance is not None:
            self._rebalance.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._role is not None:
            self._role.release()

    @Service.task
    async def _keep_house(self) -> None:
        """Compact and forget, now and then: only the one worker does so."""
        housekeeper = Housekeeper(self._path)
        try:
            while not self.should_stop:
                await self.sleep(HOUSEKEEPING_S)
                if not self.should_stop:
                    await self._work(housekeeper)
        finally:
            await housekeeper.close()

    async def _work(self, housekeeper: Housekeeper) -> None:
        try:
            await housekeeper.work()
        except LogError as error:
            # What cannot be cleaned up does not keep events from being worked on; the next round tries again.
            self.log.warning("housekeeping failed path=%s error=%s", self._path, error)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of these topics; what Faust does about it goes on in the background.

        It waits there for a future that is done only after this has returned.

        Raises
        ------
        LogError
            When one of them does not exist.
        """
        chosen = frozenset(topics)
        if chosen == self._topics:
            return
        self._counts = await self._opened().reading.run(partition_counts)
        missing = sorted(chosen - self._counts.keys())
        if missing:
            message = f"log {self._path} has no topic {', '.join(missing)}; make the topics first"
            raise LogError(message)
        self._topics = chosen
        self._rebalance = asyncio.ensure_future(self._take(chosen))

    async def _take(self, topics: frozenset[str]) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(set(self._assigned))
        self._positions.clear()
        self._assigned = {TP(topic, number) for topic in topics for number in range(self._counts[topic])}
        self.app.consumer_generation_id += 1
        await self.on_partitions_assigned(set(self._assigned), self.app.consumer_generation_id)

    def assignment(self) -> set[Any]:
        """Give the partitions that are read."""
        return set(self._assigned)

    async def _seek(self, partition: Any, offset: int) -> None:
        self._positions[TP(*partition)] = offset

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        """Go on from these offsets."""
        for partition, offset in partitions.items():
            await self.seek(partition, offset)

    async def perform_seek(self) -> None:
        """Settle where each partition begins."""
        await self.seek_to_committed()

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Give where each partition goes on; one that nobody has sought, at the group's position or its start."""
        session = self._opened()
        unsettled = [TopicPartition(*one) for one in self._assigned if one not in self._positions]
        told = await session.committed(unsettled) if unsettled else {}
        for one in unsettled:
            self._positions[TP(*one)] = told[one] if one in told else (await session.reach(one)).start
        return {one: self._positions[one] for one in self._assigned}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """Read once: one message per partition that has something new.

        Parameters
        ----------
        timeout
            Seconds to wait for something.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        generation = self.app.consumer_generation_id
        deadline = self.loop.time() + timeout
        while self.flow_active and not self.should_stop:
            watch = self._opened().watch
            seen = watch.version()
            self._is_widened = False
            behind = await self._find_behind()
            for partition in behind:
                position = self._positions[partition]
                records, next_offset = await self._read(partition, position)
                if not self._goes_on(generation):
                    return
                if self._positions.get(partition) != position:
                    continue  # Somebody sought meanwhile.
                self._positions[partition] = next_offset
                if records:
                    yield partition, self._batch_message(partition, records, position)
            left_s = deadline - self.loop.time()
            if behind or left_s <= 0:
                return
            await watch.wait_for_change(seen, left_s, self._is_called)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        raise NotImplementedError  # `getmany` does it all.

    def _to_message(self, tp: Any, record: Any) -> Any:
        raise NotImplementedError  # There is no message of a single record.

    def _goes_on(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation

    def _is_called(self) -> bool:
        return self._is_widened or not self.flow_active

    async def _find_behind(self) -> list[Any]:
        """Give the partitions that may be read and have something new."""
        active = [one for one in self._get_active_partitions() if one in self._positions]
        ends = await self._opened().ends([TopicPartition(*one) for one in active])
        self._ends = {one: ends[TopicPartition(*one)] for one in active}
        for one, end in self._ends.items():
            self.app.monitor.track_tp_end_offset(one, end)
        return [one for one in active if self._positions[one] < self._ends[one]]

    async def _read(self, partition: Any, position: int) -> tuple[list[Record], int]:
        session = self._opened()
        reader = await session.reader(TopicPartition(*partition))
        records_max = self.app.conf.broker_max_poll_records or CHUNK_RECORDS_MAX
        return await session.reading.run(reader.read, position, self._ends[partition], records_max)

    def _batch_message(self, partition: Any, records: list[Record], position: int) -> Any:
        last = records[-1]
        return ConsumerMessage(
            partition.topic,
            partition.partition,
            last.offset,
            last.timestamp / _MS_PER_S,
            _CREATE_TIME,
            [(POSITION_HEADER, b"%d" % position)],
            None,
            cast("bytes", records),
            None,
            tp=partition,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_drop(self, tp: Any) -> None:
        """Read a partition again whose buffer has room."""
        super().on_buffer_drop(tp)
        self._is_widened = True

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        """Read partitions again that were paused."""
        super().resume_partitions(ensure_TPset(tps))
        self._is_widened = True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Do nothing: positions are committed with the outputs, through the log port."""
        return False

    async def _commit(self, _offsets: Mapping[Any, int]) -> bool:
        return False

    def ack(self, message: Any) -> bool:
        """Note that nobody works on an event any more."""
        is_first = not message.acked
        message.acked = True
        self._unacked_messages.discard(message)
        waiting = self._waiting_for_ack
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        return is_first

    async def position(self, tp: Any) -> int | None:
        """Give the offset that is read next."""
        return self._positions.get(tp)

    async def earliest_offsets(self, *partitions: Any) -> Mapping[Any, int]:
        """Give the first offsets that are kept."""
        return {one: (await self._opened().reach(TopicPartition(*one))).start for one in partitions}

    async def highwaters(self, *partitions: Any) -> Mapping[Any, int]:
        """Give the offsets of the next records."""
        return {one: (await self._opened().reach(TopicPartition(*one))).end for one in partitions}

    def highwater(self, tp: Any) -> int:
        """Give the offset of the next record, as of the last poll."""
        return self._ends.get(tp, 0)

    def topic_partitions(self, topic: str) -> int | None:
        """Give the number of partitions of a topic."""
        return self._counts.get(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Give the partition of a key, unless one is named."""
        count = self._counts.get(topic)
        if count is None or partition is not None:
            return partition
        return int(partitions_of([key or b""], count)[0])

    async def create_topic(self, topic: str, partitions: int, replication: int, **_settings: Any) -> None:
        """Make a topic unless it is there; replication and other settings mean nothing here."""
        ensure_plans(self._path, [TopicPlan(topic, partitions)])
        self._counts = await self._opened().reading.run(partition_counts)

    def _new_topicpartition(self, topic: str, partition: int) -> Any:
        return TP(topic, partition)

    def _opened(self) -> Session:
        if self._session is None:
            message = f"log {self._path} is closed"
            raise LogError(message)
        return self._session
