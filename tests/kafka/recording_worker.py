"""A worker process whose runtime only writes down what it is told; for tests of what is around the runtime."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream_app.adapters.faust_app import Hosting, build_app
from stream_app.adapters.log.errors import FencedError
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.port import LogRecord, Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import parse_log_url


class RecordingRuntime:
    """Commits the position of every list it gets at once, and goes on from there; writes one line per call.

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
        self._topics = topics
        self._notes = notes.open("a")
        self._log = open_log(url, topics.app)
        self._writers: dict[str, Any] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._positions: dict[TopicPartition, int] = {}

    def note(self, what: str, **details: Any) -> None:
        line = {"at": time.time(), "pid": os.getpid(), "what": what, **details}
        self._notes.write(json.dumps(line) + "\n")
        self._notes.flush()

    async def start(self) -> None:
        await self._log.start()
        self.note("started")

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        names = {f"{self._topics.app}-{number}": number for number in partitions}
        owned = [TopicPartition(topic, n) for n in partitions for topic in (self._topics.events, self._topics.ticks)]
        if owns_learner:
            names[f"{self._topics.app}-learner"] = 0
            owned.append(TopicPartition(self._topics.learner_input, 0))
        for name in names.keys() - self._writers.keys():
            self._writers[name] = await self._log.writer(name)
        committed = await self._log.committed(owned)
        new = {tp: committed.get(tp, 0) for tp in owned if tp not in self._positions}
        self._positions |= new
        self.note("assign", partitions=sorted(partitions), owns_learner=owns_learner, new=_plain(new))
        return new

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        self.note("revoke", partitions=sorted(partitions), lost_learner=lost_learner)
        names = [f"{self._topics.app}-{number}" for number in partitions]
        if lost_learner:
            names.append(f"{self._topics.app}-learner")
            self._positions.pop(TopicPartition(self._topics.learner_input, 0), None)
        for number in partitions:
            for topic in (self._topics.events, self._topics.ticks):
                self._positions.pop(TopicPartition(topic, number), None)
        for name in names:
            if name in self._writers:
                await self._writers.pop(name).close()

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        if partition.topic == self._topics.learner_input:
            writer = self._writers[f"{self._topics.app}-learner"]
        else:
            writer = self._writers[f"{self._topics.app}-{partition.partition}"]
        values = [record.value for record in records]
        end = records[-1].offset + 1
        output = Outgoing(self._topics.journal, partition.partition, values)
        try:
            # Events and ticks come from two agents, and commits of a writer one after the other.
            async with self._locks[id(writer)]:
                await writer.commit([output], {partition: end})
        except FencedError:
            # The new owner has begun; the rebalance that tells us is on its way.
            self.note("fenced", topic=partition.topic, partition=partition.partition)
            return
        self._positions[partition] = end
        offsets = [record.offset for record in records]
        self.note("hand_over", topic=partition.topic, partition=partition.partition, offsets=offsets)

    def wants(self, partition: TopicPartition) -> bool:
        return True

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        for writer in self._writers.values():
            await writer.close()
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
