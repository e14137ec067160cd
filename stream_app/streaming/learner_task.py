"""The one task of an application that learns: it reads what shards tell, publishes knowledge, and saves its state."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

import orjson

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import LogRecord, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.policy import Policy
from stream_app.streaming.learner_machine import LearnerMachine
from stream_app.streaming.learner_state import LearnerReader, SavedLearner, encode_learner
from stream_app.streaming.messages import Notice, NoticeKind
from stream_app.streaming.persistence import keep_working
from stream_app.streaming.recovery import stable_bounds
from stream_app.streaming.shard_task import Services

SAVED_BYTES_MIN = 8_000_000
"""Input after which the state is saved at the earliest."""
SAVED_RATIO = 3
"""Input, as a multiple of the last saved state, after which it is saved again: that costs a third
of the input's bytes, and recovery reads four times the state at most."""

_logger = logging.getLogger(__name__)


class LearnerTask:
    """Runs the learner on a log. `open`, then `run` until it is closed or fails.

    Parameters
    ----------
    services
        What tasks share.
    policy
        What people decide.
    topics
        Names of the topics.
    partition_count
        Number of shards.
    """

    def __init__(self, services: Services, policy: Policy, topics: Topics, partition_count: int) -> None:
        self._services, self._policy, self._topics = services, policy, topics
        self._partition_count = partition_count
        self._input = TopicPartition(topics.learner_input, 0)
        self._state = TopicPartition(topics.learner_state, 0)
        self._waiting: deque[LogRecord] = deque()
        self._seen = 0
        self._position = 0
        self._published_cause = -1
        self._unsaved_bytes, self._saved_bytes = 0, 0
        self._wake = asyncio.Event()
        self._is_closing = False
        self._writer: Writer | None = None
        self._machine: LearnerMachine | None = None
        self.progress_count = 0

    @property
    def machine(self) -> LearnerMachine:
        """The learner as it was recovered."""
        assert self._machine is not None
        return self._machine

    @property
    def waiting_count(self) -> int:
        """Records that were handed over and are not handled yet."""
        return len(self._waiting)

    async def open(self) -> dict[TopicPartition, int]:
        """Take the learner over: fence earlier owners, recover, and say where to go on in its input."""
        log = self._services.log
        await self._drop_writer()
        self._writer = await log.writer(f"{self._topics.app}-learner")
        bounds = await stable_bounds(log, self._state)
        reader = LearnerReader()
        async for records in log.read(self._state, bounds.start, bounds.end):
            reader.add([(record.offset, record.value or b"") for record in records])
        await stable_bounds(log, TopicPartition(self._topics.knowledge, 0))
        await self._services.feed.catch_up()
        self._published_cause = self._services.feed.last_cause
        limits = await log.bounds(self._input)
        saved = reader.saved
        if saved is None:
            if limits.start > 0:
                message = f"{self._state.topic} holds no state, and the beginning of {self._input.topic} is gone"
                raise self._refusal(message)
            self._machine = LearnerMachine(self._policy, self._partition_count)
            self._position = 0
        else:
            if not limits.start <= saved.position <= limits.end:
                reach = f"{self._input.topic}, which reaches from {limits.start} to {limits.end}"
                message = f"the learner goes on at {saved.position} of {reach}"
                raise self._refusal(message)
            self._machine = LearnerMachine.from_state(saved.state, self._policy, self._partition_count)
            self._position = saved.position
            self._saved_bytes = len(saved.state)
        self._seen = self._position
        self._unsaved_bytes = 0
        self._waiting.clear()
        _logger.info("learner recovered topic=%s partition=%d offset=%d", *self._input, self._position)
        return {self._input: self._position}

    def _refusal(self, what: str) -> IncompatibleStateError:
        message = f"{what}: restore the topics from a copy, or begin under another application name (--app)"
        return IncompatibleStateError(message, code="lost_learner_state")

    def hand_over(self, records: Sequence[LogRecord]) -> None:
        """Take in records of the input; those that are known already are dropped."""
        fresh = [record for record in records if record.offset >= self._seen]
        if fresh:
            self._seen = fresh[-1].offset + 1
            self._waiting.extend(fresh)
            self._wake.set()

    def ask_to_close(self) -> None:
        """Have `run` end after the running commit."""
        self._is_closing = True
        self._wake.set()

    async def run(self) -> None:
        """Work until closed.

        Raises
        ------
        FencedError
            When another worker has taken the learner.
        LogError
            When the log failed too often.
        """
        await keep_working(self._work, self._begin_anew, self._failed, lambda: self._is_closing)

    def _failed(self, error: LogError) -> None:
        _logger.warning("learner begins anew topic=%s partition=%d error=%s", *self._input, error)

    async def close(self) -> None:
        """Give up the writer. `run` must end before."""
        if self._writer is not None:
            await self._writer.close()
            self._writer = None

    async def _drop_writer(self) -> None:
        """Close the writer of an earlier attempt, if there is one."""
        try:
            await self.close()
        except LogError as error:
            _logger.warning("closing failed topic=%s partition=%d error=%s", *self._input, error)

    async def _begin_anew(self) -> None:
        end = self._seen
        positions = await self.open()
        start = positions[self._input]
        if start < end:
            async for records in self._services.log.read(self._input, start, end):
                self.hand_over(records)

    async def _work(self) -> None:
        while not self._is_closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            record = self._waiting.popleft()
            value = record.value or b""
            notices = self.machine.handle(value, record.offset)
            self._position = record.offset + 1
            self._unsaved_bytes += len(value)
            # What a former life has told already is not told again.
            if notices and record.offset > self._published_cause:
                await self._publish(notices)
            if self.machine.has_forgotten or self._unsaved_bytes > max(
                SAVED_BYTES_MIN, SAVED_RATIO * self._saved_bytes
            ):
                await self._save()
            self.progress_count += 1
            await asyncio.sleep(0)

    async def _publish(self, notices: Sequence[Notice]) -> None:
        values = [notice.content for notice in notices]
        headers = [notice.headers for notice in notices]
        await self._commit([Outgoing(self._topics.knowledge, 0, values, headers=headers)])
        for notice in notices:
            if notice.kind is NoticeKind.QUALITY:
                figures = orjson.loads(notice.content)["figures"]
                self._services.observer.learned(notice.version, notice.time_ms, figures)
            elif notice.kind in (NoticeKind.RENEWAL, NoticeKind.SWITCH):
                self._services.observer.learned(notice.version, notice.time_ms, None)

    async def _save(self) -> None:
        """Save the state and let the log forget what is in it."""
        state = self.machine.state()
        saved = SavedLearner(self._position, -1, state)
        offset = await self._commit([Outgoing(self._state.topic, 0, encode_learner(saved))])
        self._saved_bytes, self._unsaved_bytes = len(state), 0
        self.machine.has_forgotten = False
        try:
            await self._services.log.truncate(self._input, self._position)
            await self._services.log.truncate(self._state, offset)
        except LogError as error:
            _logger.warning("not truncated topic=%s partition=%d error=%s", *self._input, error)

    async def _commit(self, outgoing: Sequence[Outgoing]) -> int:
        if self._writer is None:
            message = "the learner's writer is closed"
            raise LogError(message)
        return (await self._writer.commit(outgoing, {self._input: self._position}))[-1]
