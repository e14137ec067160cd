"""How long a look-up of a customer takes while rows change, and how long the server takes to be there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement
from benchmarks.scale import Scale
from stream_app.adapters.knowledge_json import encode_knowledge
from stream_app.adapters.log.port import Log, Outgoing
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.state_header import StateHeader
from stream_app.adapters.state_records import StateRecord, encode_state_record
from stream_app.domain.policy import Policy
from stream_app.domain.population import BUCKET_COUNT, AxisSketch, PopulationSketch, bucket_of
from stream_app.domain.rows import NOT_HELD, row_dtype
from stream_app.domain.scores import SCORES, build_functions
from stream_app.engine import EngineClock
from stream_app.learning.learner import Learner

TOPICS = Topics("segments", "customer-events")
REQUESTS_PER_SECOND = 500
ROWS_PER_SECOND = 10_000
COMMITS_PER_SECOND = 10
CONNECTIONS = 32
SECONDS_FULL, SECONDS_QUICK = 15, 1
CEILING_MS = 10.0
NOW_MS = 1_700_006_400_000
ROWS_PER_RECORD = 2000
READY_SECONDS_MAX = 120.0


class MadeUpShop:
    """Customers with made-up rows, as state records: what a look-up costs does not depend on what is in a row.

    Parameters
    ----------
    policy
        Lays out the rows.
    customer_count
        How many.
    """

    def __init__(self, policy: Policy, customer_count: int) -> None:
        self._policy, self._random = policy, np.random.default_rng(1)
        self._dtype = row_dtype(len(policy.axes), policy.horizon_periods)
        self._functions = build_functions(policy, SCORES)
        self.ids = np.array([b"customer-%08d" % number for number in range(customer_count)])
        self._histograms = np.zeros((len(policy.axes), BUCKET_COUNT), dtype=np.int64)
        self._commits = 0

    def record(self, numbers: NDArray[np.int64], *, has_ids: bool) -> bytes:
        """Make a commit with new values for some rows."""
        self._commits += 1
        rows = np.zeros(len(numbers), dtype=self._dtype)
        rows["held"] = self._random.integers(0, 3, rows["held"].shape)
        rows["candidate"] = NOT_HELD
        rows["score"] = self._random.gamma(3.0, 1.0, rows["score"].shape)
        for axis, function in enumerate(self._functions.values()):
            rows["bucket"][:, axis] = bucket_of(rows["score"][:, axis], function.bucket_width)
            if has_ids:
                np.add.at(self._histograms[axis], rows["bucket"][:, axis], 1)
        rows["purchase_count"] = rows["basket_count"] = 3
        rows["first_purchase_s"] = rows["last_purchase_s"] = NOW_MS // 1000
        rows["clock_ms"] = NOW_MS
        header = StateHeader(
            state_hash=self._policy.state_hash,
            policy_hash=self._policy.content_hash,
            app=TOPICS.app,
            partition=0,
            partition_count=1,
            positions={TOPICS.events: 0},
            knowledge_version=2,
            pending_knowledge_version=2,
            clock=EngineClock(NOW_MS, 0, 1),
            term_sums=(),
            term_counts=(),
            renewed_day=0,
            batch_number=self._commits,
        )
        named = np.arange(len(numbers) if has_ids else 0)
        ids = self.ids[numbers[named]] if has_ids else np.empty(0, dtype="S1")
        none = np.empty(0, dtype=np.uint32)
        packed = rows.view(f"V{self._dtype.itemsize}")
        return encode_state_record(
            StateRecord(header, numbers.astype(np.uint32), packed, ids, named.astype(np.uint32), none)
        )

    def everybody(self) -> Iterator[bytes]:
        """Make the commits that bring all customers."""
        for start in range(0, len(self.ids), ROWS_PER_RECORD):
            yield self.record(np.arange(start, min(start + ROWS_PER_RECORD, len(self.ids))), has_ids=True)

    def some(self) -> bytes:
        """Make the commit of a tenth of a second."""
        count = min(ROWS_PER_SECOND // COMMITS_PER_SECOND, len(self.ids))
        return self.record(self._random.choice(len(self.ids), count, replace=False), has_ids=False)

    def knowledge(self) -> bytes:
        """Draw lines for everybody."""
        terms = [len(function.terms) for function in self._functions.values()]
        sketches = tuple(
            AxisSketch(histogram, np.zeros(count, dtype=np.int64), int(histogram.sum()))
            for histogram, count in zip(self._histograms, terms, strict=True)
        )
        return encode_knowledge(Learner(self._policy).renew(NOW_MS, [PopulationSketch(1, sketches)]))


def run(scale: Scale) -> list[Measurement]:
    """Measure a server over an embedded log to which commits go on being written."""
    if hasattr(os, "sched_setaffinity"):
        # Server, log and client are three parties: one core would measure how they wait for each other.
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    policy = load_policy(None)
    shop = MadeUpShop(policy, scale.customers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite"
        ensure_topics(path, TOPICS, 1)
        asyncio.run(_write_everybody(SqliteLog(path, TOPICS.app), shop))
        with serving(path) as (address, started):
            ready_seconds = asyncio.run(_until_ready(address)) - started
            seconds = SECONDS_FULL if scale.is_full else SECONDS_QUICK
            latencies_ms = asyncio.run(_ask(SqliteLog(path, TOPICS.app), shop, address, seconds))
    return _measurements(scale, latencies_ms, ready_seconds)


def _measurements(scale: Scale, latencies_ms: NDArray[np.float64], ready_seconds: float) -> list[Measurement]:
    middle, high, highest = np.percentile(latencies_ms, (50, 99, 100))
    return [
        Measurement(
            name="web_lookup.p95",
            what=f"GET /v1/customers/ID, 95th percentile, {REQUESTS_PER_SECOND} requests/s, "
            f"{scale.customers:,} customers, {ROWS_PER_SECOND:,} rows/s changing",
            unit="ms",
            value=float(np.percentile(latencies_ms, 95)),
            floor=CEILING_MS,
            is_ceiling=True,
            notes=f"{len(latencies_ms):,} requests; median {middle:.1f}, 99th {high:.1f}, longest {highest:.1f} ms",
        ),
        Measurement(
            name="web_lookup.ready",
            what=f"`stream-app web` from start until all rows are read, {scale.customers:,} customers",
            unit="s",
            value=ready_seconds,
            is_ceiling=True,
        ),
    ]


async def _write_everybody(log: Log, shop: MadeUpShop) -> None:
    await log.start()
    for record in shop.everybody():
        await log.append([Outgoing(TOPICS.state, 0, [record])])
    headers = [[("kind", b"renewal")]]
    await log.append([Outgoing(TOPICS.knowledge, 0, [shop.knowledge()], headers=headers)])
    await log.stop()


@contextmanager
def serving(path: Path, *arguments: str) -> Iterator[tuple[str, float]]:
    """Start a server over a log; gives where it is, and when it was started."""
    command = [sys.executable, "-m", "stream_app", "web", "--log", f"sqlite://{path}", "--port", "0"]
    command += ["--history", str(path.with_name("history.sqlite")), *arguments]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), started
        finally:
            process.terminate()


@dataclass(slots=True)
class _Connection:
    """A kept connection, over which one request goes at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def get(self, path: str) -> int:
        """Ask for a path; gives the status."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await self.reader.readexactly(int(lengths[0].partition(b":")[2]))
        return int(head.split(b" ", 2)[1])

    async def close(self) -> None:
        """Close it, and wait for that."""
        self.writer.close()
        await self.writer.wait_closed()


async def _connect(address: str) -> _Connection:
    parts = urlsplit(address)
    return _Connection(*await asyncio.open_connection(parts.hostname, parts.port))


async def _until_ready(address: str) -> float:
    connection = await _connect(address)
    deadline = time.perf_counter() + READY_SECONDS_MAX
    while await connection.get("/readyz") != 200:
        if time.perf_counter() > deadline:
            message = "the server was not ready in time"
            raise TimeoutError(message)
        await asyncio.sleep(0.02)
    ready = time.perf_counter()
    await connection.close()
    return ready


async def _ask(log: Log, shop: MadeUpShop, address: str, seconds: int) -> NDArray[np.float64]:
    """Send requests at fixed times, whether or not earlier ones were answered; a late one counts from its time."""
    await log.start()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await _connect(address))
    writing = asyncio.create_task(_go_on_writing(log, shop))
    count = seconds * REQUESTS_PER_SECOND
    chosen = np.random.default_rng(2).integers(0, len(shop.ids), count)
    latencies_ms = np.zeros(count)
    begin = asyncio.get_running_loop().time()

    async def ask(number: int) -> None:
        due = begin + number / REQUESTS_PER_SECOND
        connection = await free.get()
        status = await connection.get(f"/v1/customers/{shop.ids[chosen[number]].decode()}")
        assert status == 200, status
        latencies_ms[number] = (asyncio.get_running_loop().time() - due) * 1000
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            wait = begin + number / REQUESTS_PER_SECOND - asyncio.get_running_loop().time()
            if wait > 0.0:
                await asyncio.sleep(wait)
            group.create_task(ask(number))
    writing.cancel()
    await asyncio.wait([writing])
    while not free.empty():
        await free.get_nowait().close()
    await log.stop()
    return latencies_ms


async def _go_on_writing(log: Log, shop: MadeUpShop) -> None:
    while True:
        record = await asyncio.to_thread(shop.some)
        await log.append([Outgoing(TOPICS.state, 0, [record])])
        await asyncio.sleep(1.0 / COMMITS_PER_SECOND)
