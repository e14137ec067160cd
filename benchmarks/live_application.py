"""An application on a log, with a worker in a process of its own, every model in force, and a topic full of events."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.scale import Scale
from benchmarks.warm_engine import WarmEngine
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition
from stream_app.adapters.log.topic_setup import create_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import parse_log_url
from stream_app.domain.knowledge import Knowledge
from stream_app.streaming.messages import Notice, NoticeKind

START_MS = 1_767_261_600_000
"""2026-01-01 10:00 UTC; all events come within the hour, so that what is measured is events and not sweeps."""
SPAN_MS = 3_000_000
VERSION = 1_000_000
"""Of the knowledge that is put into force: above all that a learner could publish meanwhile."""
_APPEND_RECORDS = 20_000
_WAIT_S = 600.0
_POLL_S = 0.05


def learned_knowledge(scale: Scale) -> Knowledge:
    """Give knowledge in which every model is in force, with the lines of a population."""
    small = replace(scale, customers=min(scale.customers, 20_000), warm_up_events=min(scale.warm_up_events, 20_000))
    known = WarmEngine(small, sweep_days=1).knowledge
    return replace(known, version=VERSION, scoring=replace(known.scoring, version=2))


@dataclass(frozen=True, slots=True)
class Events:
    """Events as they go into a topic.

    Parameters
    ----------
    keys, values
        Length n: customer ids, and events in JSON of about 150 bytes.
    times_ms
        Shape `(n,)`, rising.
    """

    keys: list[bytes]
    values: list[bytes]
    times_ms: list[int]

    @classmethod
    def drawn(
        cls, count: int, customers: int, seed: int = 7, *, covers_all: bool = False, prefix: bytes = b"e"
    ) -> Events:
        """Draw events of random customers, half of them purchases; of all customers first, where that is asked for.

        Draws into the same topic need a prefix of their event ids each.
        """
        random = np.random.default_rng(seed)
        numbers = random.integers(0, customers, count)
        if covers_all:
            numbers[:customers] = np.arange(customers)
        times_ms = (START_MS + np.sort(random.integers(0, SPAN_MS, count))).tolist()
        amounts = np.round(random.lognormal(3.5, 0.8, count), 2).tolist()
        buys = (random.random(count) < 0.5).tolist()
        keys = [b"c%08d" % number for number in numbers.tolist()]
        stamps = np.datetime_as_string(np.array(times_ms, dtype="datetime64[ms]")).tolist()
        values = [
            b'{"event_id":"%b%09d","customer_id":"%b","type":"%b","occurred_at":"%bZ","amount":%b,"currency":"USD"}'
            % (prefix, place, key, b"purchase" if is_bought else b"browse", stamp.encode(), str(amount).encode())
            for place, (key, is_bought, stamp, amount) in enumerate(zip(keys, buys, stamps, amounts, strict=True))
        ]
        return cls(keys, values, times_ms)

    def part(self, start: int, end: int) -> Events:
        """Give some of them."""
        return Events(self.keys[start:end], self.values[start:end], self.times_ms[start:end])


def shared_out(topic: str, partition_count: int, events: Events) -> list[Outgoing]:
    """Give events to the partitions of their customers, in their order; partitions that get none are left out."""
    owners = partitions_of(events.keys, partition_count)
    outgoing = []
    for partition in range(partition_count):
        own = np.flatnonzero(owners == partition).tolist()
        if own:
            values, keys = [events.values[place] for place in own], [events.keys[place] for place in own]
            times_ms = [events.times_ms[place] for place in own]
            outgoing.append(Outgoing(topic, partition, values, keys, timestamps_ms=times_ms))
    return outgoing


async def fill_topic(log: Log, topic: str, partition_count: int, events: Events) -> None:
    """Write many events into a topic."""
    for start in range(0, len(events.keys), _APPEND_RECORDS):
        await log.append(shared_out(topic, partition_count, events.part(start, start + _APPEND_RECORDS)))


class LiveApplication:
    """Topics, knowledge and a worker on a log; a context manager that ends the worker.

    Parameters
    ----------
    url
        Of the log.
    partition_count
        Of the events.
    folder
        For the worker's output.
    """

    def __init__(self, url: str, partition_count: int, folder: Path) -> None:
        name = f"bench-{uuid.uuid4().hex[:10]}"
        self.url, self.partition_count = url, partition_count
        self.topics = Topics(name, f"{name}-events")
        self._folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        create_topics(parse_log_url(url), self.topics, partition_count, None)

    def __enter__(self) -> LiveApplication:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_worker()

    @property
    def worker_pid(self) -> int:
        """Of the worker."""
        assert self._worker is not None
        return self._worker.pid

    async def opened(self) -> Log:
        """Give a client of the log."""
        log = open_log(self.url, self.topics.app)
        await log.start()
        return log

    async def publish(self, log: Log, knowledge: Knowledge) -> None:
        """Put knowledge into force from the first tick on."""
        notice = Notice.of_knowledge(NoticeKind.SWITCH, 0, knowledge, -1)
        await log.append([Outgoing(self.topics.knowledge, 0, [notice.content], headers=[notice.headers])])

    async def fill(self, log: Log, events: Events) -> None:
        """Write events."""
        await fill_topic(log, self.topics.events, self.partition_count, events)

    def start_worker(self) -> None:
        """Start the worker."""
        command = [sys.executable, "-m", "stream_app", "worker", "--log", self.url, "--app", self.topics.app]
        command += ["--events", self.topics.events, "--ticks", "none", "--log-level", "warning"]
        with (self._folder / f"{self.topics.app}.log").open("ab") as output:
            self._worker = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ)

    def stop_worker(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait()
            self._worker = None

    async def position(self, log: Log) -> int:
        """Give how many events were committed."""
        partitions = [TopicPartition(self.topics.events, p) for p in range(self.partition_count)]
        return sum((await log.committed(partitions)).values())

    async def _state_end(self, log: Log) -> int:
        """Give how far the state records reach that are committed, all partitions together."""
        partitions = [TopicPartition(self.topics.state, p) for p in range(self.partition_count)]
        return sum([(await log.bounds(partition)).stable_end for partition in partitions])

    async def rate(self, log: Log, event_count: int) -> float:
        """Wait until all events are committed; gives events a second from the first commit seen to the last.

        Positions are told up to a fifth of a second after the commit of the last events; its state record tells when
        that was.
        """
        deadline = time.monotonic() + _WAIT_S
        first: tuple[int, float] | None = None
        state_end, committed_at = -1, 0.0
        while time.monotonic() < deadline:
            position, now = await self.position(log), time.perf_counter()
            if first is None and position:
                first = (position, now)
            if (end := await self._state_end(log)) != state_end:
                state_end, committed_at = end, now
            if position >= event_count and first is not None:
                return (position - first[0]) / max(committed_at - first[1], 1e-9)
            if self._worker is None or self._worker.poll() is not None:
                message = f"the worker has ended: see {self._folder}"
                raise RuntimeError(message)
            await asyncio.sleep(_POLL_S)
        message = f"{event_count} events were not committed in {_WAIT_S} s: see {self._folder}"
        raise RuntimeError(message)
