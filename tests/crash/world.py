"""An application on a real log, in processes of its own, and what must be true of it whatever befell them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition
from stream_app.adapters.log.topic_setup import create_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import parse_log_url
from stream_app.adapters.policy_file import load_policy
from stream_app.learning.learner import Learner
from stream_app.streaming.journal import JournalReplay
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.recovery import recover_shard
from stream_app.streaming.shard import ShardSetup
from stream_app.streaming.ticks import GRID_MS, TickRecord, encode_tick
from tests.streaming.harness import Sale

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("crashing_worker.py")
DEADLINE_S = 300.0
POLL_S = 0.05
CLOSE_S = 30.0


@dataclass(slots=True)
class World:
    """One application and its workers.

    Parameters
    ----------
    url
        Of the log.
    topics
        Of the application; the log has none of them yet.
    partition_count
        Of the events.
    folder
        For the output of the workers.
    """

    url: str
    topics: Topics
    partition_count: int
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kill_count: int = 0
    end_ms: int = 0
    _started: int = 0

    def fill(self, sales: Sequence[Sale], replication: int | None = None) -> None:
        """Make the topics, and write events and the tick after the last of them."""
        create_topics(parse_log_url(self.url), self.topics, self.partition_count, replication)
        self.end_ms = (max(sale.time_ms for sale in sales) // GRID_MS + 1) * GRID_MS
        asyncio.run(self._fill(sales))

    async def _fill(self, sales: Sequence[Sale]) -> None:
        log = await self._opened()
        try:
            owners = partitions_of([sale.customer_id.encode() for sale in sales], self.partition_count).tolist()
            for partition in range(self.partition_count):
                own = [sale for sale, owner in zip(sales, owners, strict=True) if owner == partition]
                for start in range(0, len(own), 2000):
                    part = own[start : start + 2000]
                    values, keys = [sale.value for sale in part], [sale.customer_id.encode() for sale in part]
                    times_ms = [sale.time_ms for sale in part]
                    await log.append([Outgoing(self.topics.events, partition, values, keys, timestamps_ms=times_ms)])
            ends = {str(p): (await log.bounds(self._events(p))).end for p in range(self.partition_count)}
            tick = encode_tick(TickRecord(self.end_ms, ends))
            await log.append([Outgoing(self.topics.ticks, p, [tick]) for p in range(self.partition_count)])
        finally:
            await log.stop()

    async def _opened(self) -> Log:
        log = open_log(self.url, self.topics.app)
        await log.start()
        return log

    def _events(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topics.events, partition)

    def start_worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker; variables are those of `crashing_worker.py`."""
        self._started += 1
        own = {
            "STREAM_APP_LOG": self.url,
            "STREAM_APP_APP": self.topics.app,
            "STREAM_APP_EVENTS": self.topics.events,
            "STREAM_APP_TICKS": "none",
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / f"worker-{self._started}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT)],
                env=os.environ | own | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.workers.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a worker as `kill -9` does."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.workers.remove(process)
        self.kill_count += 1

    def close(self) -> None:
        """End all workers in order: one that is killed may leave a transaction open for half a minute."""
        for process in self.workers:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.workers:
            try:
                process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.workers.clear()

    def progress(self) -> int:
        """Give how many events and ticks were committed so far."""
        return asyncio.run(self._progress_now())

    async def _progress_now(self) -> int:
        log = await self._opened()
        try:
            return await self._progress(log)
        finally:
            await log.stop()

    async def _progress(self, log: Log) -> int:
        journals = [TopicPartition(self.topics.journal, p) for p in range(self.partition_count)]
        events = [self._events(p) for p in range(self.partition_count)]
        told = await log.committed(events)
        return sum(told.values()) + sum([(await log.bounds(own)).stable_end for own in journals])

    async def _is_done(self, log: Log) -> bool:
        partitions = range(self.partition_count)
        wanted = [TopicPartition(topic, p) for topic in (self.topics.events, self.topics.ticks) for p in partitions]
        told = await log.committed(wanted)
        return all([told.get(own, 0) >= (await log.bounds(own)).end for own in wanted])

    def wait(self, *, until: int | None = None, process: subprocess.Popen[bytes] | None = None) -> bool:
        """Wait for progress, for the end of everything, or for the end of a process; True when everything is done."""
        return bool(asyncio.run(self._wait(until, process)))

    async def _wait(self, until: int | None, process: subprocess.Popen[bytes] | None) -> bool:
        log = await self._opened()
        deadline = time.monotonic() + DEADLINE_S
        try:
            while time.monotonic() < deadline:
                try:
                    if await self._is_done(log):
                        return True
                    if until is not None and await self._progress(log) >= until:
                        return False
                except LogError:
                    # A broker is away just now, as the test wants it.
                    await asyncio.sleep(POLL_S)
                if process is not None and process.poll() is not None:
                    return False
                for worker in self.workers:
                    if worker is not process and worker.poll() not in (None, 70, -signal.SIGKILL):
                        message = f"worker {worker.pid} ended with {worker.returncode}\n{self.output()}"
                        raise AssertionError(message)
                await asyncio.sleep(POLL_S)
        finally:
            await log.stop()
        message = f"not done after {DEADLINE_S} s\n{self.output()}"
        raise AssertionError(message)

    def output(self) -> str:
        """Give what the workers said last."""
        told = []
        for path in sorted(self.folder.glob("worker-*.log"), key=lambda own: own.stat().st_mtime)[-4:]:
            lines = path.read_text(errors="replace").splitlines()
            lines = [line for line in lines if not line.rstrip().endswith(("Starting...", "Stopping..."))]
            told.append("\n".join([f"--- {path.name}", *lines[-40:]]))
        return "\n".join(told)

    def faults(self, expected: Sequence[Sequence[dict[str, object]]] | None = None) -> list[str]:
        """Say what is lost, twice or otherwise wrong; nothing when all promises were kept.

        Parameters
        ----------
        expected
            Changes by partition, without their sources; None: only the journal is the judge.
        """
        return asyncio.run(self._faults(expected))

    async def _faults(self, expected: Sequence[Sequence[dict[str, object]]] | None) -> list[str]:
        log = await self._opened()
        try:
            faults: list[str] = []
            for partition in range(self.partition_count):
                faults += await self._faults_of(log, partition)
                if expected is not None:
                    published = await self._changes(log, partition)
                    if published != list(expected[partition]):
                        faults.append(
                            f"partition {partition}: {len(published)} changes published, "
                            f"{len(expected[partition])} expected by the backtest, or others"
                        )
            return faults
        finally:
            await log.stop()

    async def _changes(self, log: Log, partition: int) -> list[dict[str, object]]:
        own = TopicPartition(self.topics.segment_changes, partition)
        bounds = await log.bounds(own)
        changes = []
        async for records in log.read(own, bounds.start, bounds.end):
            for record in records:
                change = orjson.loads(record.value or b"")
                changes.append({name: value for name, value in change.items() if name != "source"})
        return changes

    async def _faults_of(self, log: Log, partition: int) -> list[str]:
        faults = []
        policy = load_policy(None)
        feed = KnowledgeFeed(log, self.topics.knowledge, Learner(policy).knowledge)
        await feed.catch_up()
        setup = ShardSetup(policy, self.topics, partition, self.partition_count)
        shard = await recover_shard(log, feed, setup)
        end = (await log.bounds(self._events(partition))).end
        if shard.progress.events_position < end:
            faults.append(f"partition {partition}: events from {shard.progress.events_position} to {end} are missing")
        replay = JournalReplay(log, feed, setup)
        result = await replay.run(shard.progress.events_position)
        if not result.is_equal:
            faults.append(
                f"partition {partition}: {result.published_count} changes published, {result.change_count} recomputed, "
                f"first difference: {result.difference}"
            )
        if replay.rows() != {
            bytes(own): row.tobytes() for own, row in zip(shard.engine.table.ids, shard.engine.table.rows, strict=True)
        }:
            faults.append(f"partition {partition}: the state is not that of the replay")
        sequences: dict[str, list[int]] = {}
        for change in await self._changes(log, partition):
            sequences.setdefault(str(change["customer_id"]), []).append(int(str(change["sequence"])))
        wrong = [name for name, own in sequences.items() if own != list(range(1, len(own) + 1))]
        if wrong:
            faults.append(f"partition {partition}: sequences of {len(wrong)} customers have gaps or repeats")
        return faults
