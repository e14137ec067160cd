"""What the learner has told so far, as every shard of a worker sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.knowledge import Knowledge
from stream_app.streaming.messages import Notice, NoticeKind

KEPT_NOTICES = 64
"""Versions of knowledge kept in memory; older ones are read from the log when a shard asks for them."""
_KNOWLEDGE = (NoticeKind.RENEWAL, NoticeKind.SWITCH)
_QUESTIONS = (NoticeKind.ASK_FULL, NoticeKind.ASK_DRY_RUN)


class KnowledgeFeed:
    """Follows `<app>-knowledge` outside of any group, so that every worker sees all of it.

    Parameters
    ----------
    log
        Where it is.
    topic
        Its name.
    first
        The version that holds before anything was told.
    """

    def __init__(self, log: Log, topic: str, first: Knowledge) -> None:
        self._log, self._partition = log, TopicPartition(topic, 0)
        self._position = 0
        self._first = first
        self._scoring_of: dict[int, int] = {first.version: first.scoring.version}
        self._newest_of: dict[int, int] = {first.scoring.version: first.version}
        self._offsets: dict[int, int] = {}
        self._cache: dict[int, Knowledge] = {first.version: first}
        self._contents: dict[int, Notice] = {}
        self._questions: list[tuple[int, Notice]] = []
        self.newest_version = first.version
        self.closed_day = -1
        self.last_cause = -1
        self.quality: Notice | None = None
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever something was told."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.remove(listener)

    async def start(self) -> None:
        """Read all that was told, then follow."""
        await self.catch_up()
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="knowledge")

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def catch_up(self) -> None:
        """Read what was told until now."""
        bounds = await self._log.bounds(self._partition)
        start = max(self._position, bounds.start)
        async for records in self._log.read(self._partition, start, bounds.stable_end):
            self._take(records)

    async def _follow(self) -> None:
        while True:
            try:
                async for _, records in self._log.follow({self._partition: self._position}):
                    self._take(records)
            except LogError:
                # The broker is away; whoever commits notices first and says so.
                await asyncio.sleep(1.0)
            except IncompatibleStateError as error:
                self._failure = error
                self._tell()
                return

    def _take(self, records: object) -> None:
        assert isinstance(records, list | tuple)
        for record in records:
            if record.offset >= self._position:
                self._position = record.offset + 1
                self._take_one(record)
        self._tell()

    def _take_one(self, record: LogRecord) -> None:
        notice = Notice.read(record)
        self.last_cause = max(self.last_cause, notice.cause)
        if notice.kind is NoticeKind.CLOSED:
            self.closed_day = max(self.closed_day, notice.day)
            self._questions = [own for own in self._questions if own[1].day > self.closed_day]
        elif notice.kind in _QUESTIONS:
            self._questions.append((record.offset, notice))
        elif notice.kind is NoticeKind.QUALITY:
            self.quality = notice
        elif notice.kind in _KNOWLEDGE and notice.version > self.newest_version:
            # A scoring is followed by lines for it until the next switch.
            scoring = self._scoring_of[self.newest_version] + (notice.kind is NoticeKind.SWITCH)
            self.newest_version = notice.version
            self._scoring_of[notice.version] = scoring
            self._newest_of[scoring] = notice.version
            self._offsets[notice.version] = record.offset
            self._contents[notice.version] = notice
            if len(self._contents) > KEPT_NOTICES:
                oldest = next(iter(self._contents))
                del self._contents[oldest]
                self._cache.pop(oldest, None)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def newest(self) -> Knowledge | None:
        """Give the newest knowledge of all, which a tick may bring into force."""
        return self._cached(self.newest_version)

    def newest_for(self, scoring_version: int) -> Knowledge | None:
        """Give the newest knowledge with a scoring; 0 stands for rows without any; None if it is unknown."""
        if scoring_version == 0:
            return self.newest()
        version = self._newest_of.get(scoring_version)
        return None if version is None else self._cached(version)

    def questions_after(self, offset: int) -> list[tuple[int, Notice]]:
        """Give the learner's questions of days that are not closed yet, told after an offset."""
        if self._failure is not None:
            raise self._failure
        return [own for own in self._questions if own[0] > offset]

    async def load(self, version: int) -> Knowledge:
        """Give a version, from the log if need be.

        Raises
        ------
        IncompatibleStateError
            When the log does not hold it.
        """
        known = self._cached(version)
        if known is not None:
            return known
        offset = self._offsets.get(version)
        if offset is not None:
            async for records in self._log.read(self._partition, offset, offset + 1):
                for record in records:
                    return Notice.read(record).knowledge
        message = (
            f"{self._partition.topic} does not hold version {version}, under which rows were written: restore the "
            "topic; it must be kept as long as the events"
        )
        raise IncompatibleStateError(message, code="missing_knowledge")

    def _cached(self, version: int) -> Knowledge | None:
        known = self._cache.get(version)
        if known is None and version in self._contents:
            known = self._cache[version] = self._contents[version].knowledge
        return known
