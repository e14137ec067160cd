"""A worker process whose runtime only writes down what it is told; for tests of what is around the runtime."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream_app.adapters.faust_app import Hosting, build_app
from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.port import LogRecord, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import parse_log_url

FENCED_WAIT_S = 15.0
"""Longer than the timeout of a session, so that whoever lost its partitions has been told."""


class Committer:
    """Commits what one owner was handed over, list by list, in a task of its own."""

    def __init__(self, runtime: RecordingRuntime, name: str, writer: Writer) -> None:
        self._runtime, self._name, self._writer = runtime, name, writer
        self.waiting: asyncio.Queue[tuple[TopicPartition, Sequence[LogRecord]] | None] = asyncio.Queue()
        self._is_given_up = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while (taken := await self.waiting.get()) is not None:
            await self._commit(*taken)

    async def _commit(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        """Commit a list, once: after an error, which a broker under load may give, see whether it is in."""
        end = records[-1].offset + 1
        output = Outgoing(self._runtime.topics.journal, partition.partition, [record.value for record in records])
        for _ in range(3):
            try:
                await self._writer.commit([output], {partition: end})
            except LogError as error:
                self._runtime.note("commit failed", error=str(error), topic=partition.topic, number=partition.partition)
                if await self._is_over(error):
                    return
                await self._writer.close()
                self._writer = await self._runtime.writer(self._name)
                if await self._runtime.committed(partition) >= end:
                    return
            else:
                return
        raise AssertionError(self._name)

    async def _is_over(self, error: LogError) -> bool:
        """Tell whether somebody else owns it now; then a new writer would fence the new owner."""
        if isinstance(error, FencedError):
            # Either the new owner has begun and the rebalance that tells us is on its way, or a transaction took too
            # long for the broker. A worker would end here, and whoever comes after it goes on.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_given_up.wait(), FENCED_WAIT_S)
        return self._is_given_up.is_set()

    async def close(self) -> None:
        """Finish the running commit, and begin nothing more."""
        self._is_given_up.set()
        while not self.waiting.empty():
            self.waiting.get_nowait()
        self.waiting.put_nowait(None)
        await self._task
        await self._writer.close()


class RecordingRuntime:
    """Commits every list that it gets, goes on from what is committed, and writes one line per call.

    Parameters
    ----------
    url
        Of the log.
    topics
        Names of the topics.
    notes
        File that lines are appended to.
    """

    def __init__(self, url: str, topics: Topics, notes: Path) -> None:
        self.topics = topics
        self._notes = notes.open("a")
        self._log = open_log(url, topics.app)
        self._owners: dict[str, Committer] = {}

    def note(self, what: str, **details: Any) -> None:
        line = {"at": time.time(), "pid": os.getpid(), "what": what, **details}
        self._notes.write(json.dumps(line) + "\n")
        self._notes.flush()

    async def start(self) -> None:
        await self._log.start()
        self.note("started")

    def _sources(self, name: str) -> list[TopicPartition]:
        if name == "learner":
            return [TopicPartition(self.topics.learner_input, 0)]
        return [TopicPartition(topic, int(name)) for topic in (self.topics.events, self.topics.ticks)]

    async def writer(self, name: str) -> Writer:
        return await self._log.writer(f"{self.topics.app}-{name}")

    async def committed(self, partition: TopicPartition) -> int:
        return (await self._log.committed([partition])).get(partition, 0)

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        names = [*map(str, sorted(partitions)), *(["learner"] if owns_learner else [])]
        new: dict[TopicPartition, int] = {}
        for name in names:
            if name not in self._owners:
                self._owners[name] = Committer(self, name, await self.writer(name))
                sources = self._sources(name)
                committed = await self._log.committed(sources)
                new |= {tp: committed.get(tp, 0) for tp in sources}
        self.note("assign", partitions=sorted(partitions), owns_learner=owns_learner, new=_plain(new))
        return new

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        self.note("revoke", partitions=sorted(partitions), lost_learner=lost_learner)
        for name in [*map(str, sorted(partitions)), *(["learner"] if lost_learner else [])]:
            if name in self._owners:
                await self._owners.pop(name).close()

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        name = "learner" if partition.topic == self.topics.learner_input else str(partition.partition)
        self._owners[name].waiting.put_nowait((partition, records))
        offsets = [record.offset for record in records]
        self.note("hand_over", topic=partition.topic, partition=partition.partition, offsets=offsets)

    def wants(self, partition: TopicPartition) -> bool:
        return True

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        for owner in self._owners.values():
            await owner.close()
        await self._log.stop()
        self.note("stop")
        self._notes.close()


def _plain(positions: dict[TopicPartition, int]) -> dict[str, int]:
    return {f"{topic}-{partition}": offset for (topic, partition), offset in positions.items()}


def main(url: str, app_name: str, events: str, notes: str) -> None:
    topics = Topics(app_name, events)

    async def open_runtime(_end: Any) -> RecordingRuntime:
        runtime = RecordingRuntime(url, topics, Path(notes))
        await runtime.start()
        return runtime

    app = build_app(Hosting(parse_log_url(url), topics, open_runtime))
    app.finalize()
    app.Worker(loglevel="info").execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
