"""How long a look-up of a customer takes while a worker works, and how long the server takes to be there."""

from __future__ import annotations

import asyncio
import multiprocessing.synchronize
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.live_application import Events, LiveApplication, shared_out
from benchmarks.measurement import Measurement
from benchmarks.pipeline import PARTITIONS, use_all_cores
from benchmarks.scale import Scale
from benchmarks.warm_shards import WarmShards
from stream_app.adapters.log.opening import open_log

REQUESTS_PER_SECOND = 500
EVENTS_PER_SECOND = 10_000
STEPS_PER_SECOND = 20
CONNECTIONS = 32
SECONDS_FULL, SECONDS_QUICK = 15, 1
WARM_UP_SECONDS = 2
"""Between the first event and the first request."""
CEILING_MS = 10.0
READY_SECONDS_MAX = 120.0


def run(scale: Scale) -> list[Measurement]:
    """Measure a server over an embedded log on which a worker applies events meanwhile."""
    use_all_cores()
    with tempfile.TemporaryDirectory(prefix="stream-app-lookup-") as folder:
        return asyncio.run(_run(scale, Path(folder)))


async def _run(scale: Scale, folder: Path) -> list[Measurement]:
    path = folder / "log.sqlite"
    shards = WarmShards(scale, scale.customers)
    seconds = SECONDS_FULL if scale.is_full else SECONDS_QUICK
    with await asyncio.to_thread(LiveApplication, f"sqlite://{path}", PARTITIONS, folder) as application:
        log = await application.opened()
        await shards.hand_over(log, application)
        application.start_worker()
        await log.stop()
        topics = application.topics
        with serving(path, "--app", topics.app, "--events", topics.events) as (address, started):
            ready_seconds = await _until_ready(address) - started
            with feeding(application, shards.draw(EVENTS_PER_SECOND * (WARM_UP_SECONDS + seconds + 2))):
                await asyncio.sleep(WARM_UP_SECONDS)
                latencies_ms = await _ask(address, shards.ids, seconds)
            await _require_pace(application, seconds)
    return _measurements(scale, latencies_ms, ready_seconds)


async def _require_pace(application: LiveApplication, seconds: int) -> None:
    """Refuse figures beside a worker that did less than it should have."""
    log = await application.opened()
    position = await application.position(log)
    await log.stop()
    if position < EVENTS_PER_SECOND * seconds:
        message = f"the worker applied only {position:,} events"
        raise RuntimeError(message)


def _measurements(scale: Scale, latencies_ms: NDArray[np.float64], ready_seconds: float) -> list[Measurement]:
    middle, high, highest = np.percentile(latencies_ms, (50, 99, 100))
    return [
        Measurement(
            name="web_lookup.p95",
            what=f"GET /v1/customers/ID, 95th percentile, {REQUESTS_PER_SECOND} requests/s, "
            f"{scale.customers:,} customers, a worker at {EVENTS_PER_SECOND:,} events/s",
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


@contextmanager
def serving(path: Path, *arguments: str) -> Iterator[tuple[str, float]]:
    """Start a server over an embedded log; gives where it is, and when it was started."""
    command = [sys.executable, "-m", "stream_app", "web", "--log", f"sqlite://{path}", "--port", "0"]
    command += ["--history", str(path.with_name("history.sqlite")), *arguments]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), started
        finally:
            process.terminate()


@contextmanager
def feeding(application: LiveApplication, events: Events) -> Iterator[None]:
    """Have a process of its own write events at a steady rate; begins when they come."""
    spawning = multiprocessing.get_context("spawn")
    began = spawning.Event()
    arguments = (application.url, application.topics.app, application.topics.events, events, began)
    process = spawning.Process(target=_feed, args=arguments, daemon=True)
    process.start()
    began.wait(READY_SECONDS_MAX)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _feed(url: str, app: str, topic: str, events: Events, began: multiprocessing.synchronize.Event) -> None:
    asyncio.run(_write(events, (url, app, topic), began))


async def _write(events: Events, place: tuple[str, str, str], began: multiprocessing.synchronize.Event) -> None:
    url, app, topic = place
    log = open_log(url, app)
    await log.start()
    per_step = EVENTS_PER_SECOND // STEPS_PER_SECOND
    begin = time.perf_counter()
    for step, start in enumerate(range(0, len(events.keys), per_step)):
        await log.append(shared_out(topic, PARTITIONS, events.part(start, start + per_step)))
        began.set()
        await asyncio.sleep(max(begin + (step + 1) / STEPS_PER_SECOND - time.perf_counter(), 0.0))


@dataclass(slots=True)
class _Connection:
    """A kept connection, over which one request goes at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def get(self, path: str) -> int:
        """Ask for a path; gives the status, once all of the answer is there."""
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


async def _ask(address: str, customers: Sequence[str], seconds: int) -> NDArray[np.float64]:
    """Send requests at fixed times, whether or not earlier ones were answered; a late one counts from its time."""
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await _connect(address))
    count = seconds * REQUESTS_PER_SECOND
    chosen = np.random.default_rng(2).integers(0, len(customers), count).tolist()
    latencies_ms = np.zeros(count)
    begin = asyncio.get_running_loop().time()

    async def ask(number: int) -> None:
        due = begin + number / REQUESTS_PER_SECOND
        connection = await free.get()
        status = await connection.get(f"/v1/customers/{customers[chosen[number]]}")
        assert status == 200, status
        latencies_ms[number] = (asyncio.get_running_loop().time() - due) * 1000
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            wait = begin + number / REQUESTS_PER_SECOND - asyncio.get_running_loop().time()
            if wait > 0.0:
                await asyncio.sleep(wait)
            group.create_task(ask(number))
    while not free.empty():
        await free.get_nowait().close()
    return latencies_ms
