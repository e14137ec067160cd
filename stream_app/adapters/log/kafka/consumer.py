"""The consumer of a Kafka cluster inside Faust: one event per partition and poll, its value the list of records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from faust.transport.consumer import ensure_TP, ensure_TPset
from faust.transport.drivers import aiokafka as faust_aiokafka
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from stream_app.adapters.log.delivery import (
    END_HEADER,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    POSITION_HEADER,
    UnknownOffsets,
)
from stream_app.adapters.log.kafka.assignor import CoPartitionAssignor
from stream_app.adapters.log.kafka.clients import (
    FETCH_BYTES_MAX,
    FETCHER_LOOK_MS,
    HEARTBEAT_MS,
    REQUEST_TIMEOUT_MS,
    SESSION_TIMEOUT_MS,
    common_settings,
    hand_out_as_parsed,
)

FETCH_WAIT_MS: Final = 10
"""A partition that was read waits for the long poll of the others on its broker: 1,500 ms in Faust. 10 ms gave 42 ms at
p99 with 10,000 events/s, 5 ms and 20 ms gave more."""
PARTITION_FETCH_BYTES: Final = 2_097_152
"""Some 14,000 events that were not compressed: a backlog comes in large pieces, and 100 partitions fit in memory."""
POLL_RECORDS_MAX: Final = 8192
"""Parsing more at once would keep the interpreter from the event loop for longer than 20 ms."""
PARTIAL_POLL_S: Final = 0.01
"""How long a poll may take while some partitions are left out: one that comes back in is seen after it."""
MAX_POLL_INTERVAL_MS: Final = 1_000_000
"""Nobody polls during a recovery; the watchdog, not the group, ends a worker that makes no progress."""
REBALANCE_TIMEOUT_MS: Final = 60_000
GROUP_CHECK_S: Final = 1.0
_MS_PER_S: Final = 1000

logger = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """What a poll took of a partition.

    Parameters
    ----------
    start, end
        Where fetching stood before and after; holes are counted in.
    records
        Between the two, in order; maybe none.
    """

    start: int
    end: int
    records: list[Any]


class BatchConsumerThread(faust_aiokafka.AIOKafkaConsumerThread):
    """The thread in which heartbeats and fetches go on while the event loop computes."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        """Make the group's consumer; Faust's reads what was aborted, waits 1.5 s, and splits what belongs together."""
        conf = self.app.conf
        hosts = [f"{url.host}:{url.port or transport.default_port}" for url in transport.url]
        # Faust's recovery of tables, of which there are none, asks for it.
        self._assignor = CoPartitionAssignor
        return AIOKafkaConsumer(
            **common_settings(",".join(hosts)) | {"request_timeout_ms": max(REQUEST_TIMEOUT_MS, SESSION_TIMEOUT_MS)},
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[CoPartitionAssignor],
            enable_auto_commit=False,
            isolation_level="read_committed",
            # Where to go on is in the state log; an offset that is not there must not become another one in silence.
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            consumer_timeout_ms=FETCHER_LOOK_MS,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            max_poll_records=POLL_RECORDS_MAX,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        )

    async def on_start(self) -> None:
        """Start the group's consumer."""
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher
        # aiokafka fetches nothing from a broker for 100 ms while records of one of its partitions wait to be polled.
        # It has no setting for that.
        assert isinstance(fetcher._prefetch_backoff, float)
        fetcher._prefetch_backoff = 0.0

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[Any], timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        """Take what was fetched, or wait for something; called in this thread, as seeks are."""
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout or 0.0)
        with fetcher._subscriptions.fetch_context():
            while True:
                hand_out_as_parsed(consumer, active_partitions)
                taken = await self._take(fetcher, active_partitions, max_records)
                left_s = deadline - loop.time()
                if taken or left_s <= 0:
                    return taken
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=left_s)
                if done:
                    waiter.result()
                else:
                    waiter.cancel()

    @staticmethod
    async def _take(fetcher: Any, active_partitions: set[Any], max_records: int | None) -> dict[Any, Fetched]:
        subscriptions = fetcher._subscriptions
        if subscriptions.reassignment_in_progress:
            return {}
        assignment = subscriptions.subscription.assignment
        states = {tp: assignment.state_value(tp) for tp in active_partitions if tp in assignment.tps}
        starts = {tp: state.position for tp, state in states.items() if state.has_valid_position}
        # With timeout 0 it gives way to nobody: no seek comes between the positions before and after.
        records = await fetcher.fetched_records(starts.keys(), timeout=0, max_records=max_records) if starts else {}
        ends = {tp: states[tp].position for tp in starts if states[tp].has_valid_position}
        # A position moves without records over the ends of transactions.
        return {tp: Fetched(starts[tp], end, records.get(tp, [])) for tp, end in ends.items() if end != starts[tp]}

    async def check_group(self) -> None:
        """Raise what keeps this process out of the group."""
        self._ensure_consumer()._coordinator.check_errors()

    def close(self) -> None:
        """Do nothing: `stop` closes. Faust calls this in the wrong thread when a rebalance meets a shutdown."""


class BatchConsumer(faust_aiokafka.Consumer):
    """Faust's consumer with a batch per partition and poll instead of a record.

    Nothing is committed by Faust, and no position of the group is looked at: whoever recovers seeks. What was fetched
    but not delivered, because a rebalance came between, is read again.
    """

    app: Any
    _thread: BatchConsumerThread

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._read_offset = UnknownOffsets()
        # Where fetching stands, and where the last delivery ended; between them there are only holes.
        self._positions: dict[Any, int] = {}
        self._delivered: dict[Any, int] = {}
        self._changed = asyncio.Event()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """Poll once: one message per partition that has something new.

        Parameters
        ----------
        timeout
            Seconds to wait for something.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        generation = self.app.consumer_generation_id
        try:
            polled = await self._poll(timeout)
        except KafkaError as error:
            # Such as an offset that is gone: recovery looks at everything anew and says what to do.
            await self._give_up(error)
            return
        for partition, fetched in polled.items():
            if self.should_stop or not self.flow_active or generation != self.app.consumer_generation_id:
                return
            tp = ensure_TP(partition)
            if fetched.start != self._positions.get(tp):
                await self._go_back(tp)
                continue
            self._positions[tp] = fetched.end
            if fetched.records:
                start, self._delivered[tp] = self._delivered[tp], fetched.end
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._batch_message(tp, fetched, start)

    async def _give_up(self, error: KafkaError) -> None:
        """End the process; what rights are missing has to be mended by a person, everything else is tried again."""
        is_right_missing = isinstance(error, GroupAuthorizationFailedError | TopicAuthorizationFailedError)
        advice = "grant READ on the group and the topics, with kafka-acls" if is_right_missing else "starting again"
        code = EXIT_REFUSED if is_right_missing else EXIT_TRY_AGAIN
        self.app.ending.call(code, f"group {self.app.conf.id}: {error!r}: {advice}")
        await self.wait_until_stopped()

    @Service.task
    async def _watch_group(self) -> None:
        """Look for what keeps this process out of the group; aiokafka tells it only to those who poll."""
        while not self.should_stop:
            await self.sleep(GROUP_CHECK_S)
            if not self.should_stop:
                try:
                    await self._thread.call_thread(self._thread.check_group)
                except KafkaError as error:
                    await self._give_up(error)

    async def _go_back(self, tp: Any) -> None:
        """Read again from where deliveries stand: a poll that was begun before a rebalance has taken records away."""
        if tp in self._positions:
            logger.info("reading again topic=%s partition=%s offset=%s", tp.topic, tp.partition, self._positions[tp])
            await self._thread.seek_wait({tp: self._positions[tp]})

    async def _poll(self, timeout: float) -> Mapping[Any, Fetched]:
        """Fetch from the partitions that are active now; where there are none, wait until that changes."""
        self._changed.clear()
        active = {tp for tp in self._get_active_partitions() if tp in self._positions}
        self.not_waiting_next_records.clear()
        try:
            if not active:
                await self._wait_for_change(timeout)
                return {}
            is_partial = len(active) < len(self._positions)
            polled = await self._getmany(active, min(timeout, PARTIAL_POLL_S) if is_partial else timeout)
            return cast("Mapping[Any, Fetched]", polled)
        finally:
            self.not_waiting_next_records.set()

    async def _wait_for_change(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    def _batch_message(self, tp: Any, fetched: Fetched, start: int) -> Any:
        last = fetched.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / _MS_PER_S,
            last.timestamp_type,
            [(POSITION_HEADER, b"%d" % start), (END_HEADER, b"%d" % fetched.end)],
            None,
            cast("bytes", fetched.records),
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        """Go on from these offsets."""
        sought = {TP(*tp): offset for tp, offset in partitions.items()}
        self._positions |= sought
        self._delivered |= sought
        await self._thread.seek_wait(partitions)

    async def _seek(self, partition: Any, offset: int) -> None:
        await self.seek_wait({partition: offset})

    async def perform_seek(self) -> None:
        """Go on behind what was delivered last, or where somebody sought to."""
        assigned = ensure_TPset(self.assignment())
        self._positions = {tp: offset for tp, offset in self._positions.items() if tp in assigned}
        self._delivered = {tp: offset for tp, offset in self._delivered.items() if tp in assigned}
        await self._thread.seek_wait(self._positions)

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Do as `perform_seek`: positions of the group are for those who measure lag."""
        await self.perform_seek()
        return self._positions

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        """Poll partitions again that were paused."""
        super().resume_partitions(ensure_TPset(tps))
        self._changed.set()

    def on_buffer_drop(self, tp: Any) -> None:
        """Poll a partition again whose buffer has room."""
        super().on_buffer_drop(tp)
        self._changed.set()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Do nothing: positions are committed with the outputs, through the log port."""
        return False

    def _new_offset(self, tp: Any) -> int | None:
        return None

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Do nothing: nothing is acknowledged."""

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Do nothing: it would complain that nothing is committed; the worker watches its own progress."""
