"""Memory of a whole worker that owns everybody: while it works off a backlog, and after it was started again."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks.live_application import Events, LiveApplication, learned_knowledge
from benchmarks.measurement import Measurement
from benchmarks.pipeline import PARTITIONS, use_all_cores
from benchmarks.scale import Scale
from stream_app.adapters.log.port import Log
from tests.kafka.broker import KafkaCluster

CEILING_GB = 1.2
EVENTS_EACH = 1.3
"""Events a customer: everybody buys, and some come again."""
_RESTART_EVENTS = 10_000
_KIB = 1024


def run(scale: Scale) -> list[Measurement]:
    """Measure the largest resident size of a worker on Kafka, from its start on."""
    use_all_cores()
    with KafkaCluster(1) as cluster, tempfile.TemporaryDirectory(prefix="stream-app-memory-") as folder:
        peaks = asyncio.run(_peaks(scale, f"kafka://{cluster.bootstrap}", Path(folder)))
    what = f"largest memory of a worker on Kafka with {scale.customers:,} customers in {PARTITIONS} partitions"
    return [
        _row("worker_memory.backlog", f"{what}, working off a backlog", peaks[0]),
        _row("worker_memory.restart", f"{what}, recovering and going on", peaks[1]),
    ]


def _row(name: str, what: str, peak_bytes: int) -> Measurement:
    return Measurement(
        name=name, what=what, unit="GB", value=peak_bytes / 1e9, floor=CEILING_GB, goal=None, is_ceiling=True
    )


async def _peaks(scale: Scale, url: str, folder: Path) -> tuple[int, int]:
    count = int(scale.customers * EVENTS_EACH)
    knowledge = learned_knowledge(scale)
    with await asyncio.to_thread(LiveApplication, url, PARTITIONS, folder) as application:
        log = await application.opened()
        try:
            await application.publish(log, knowledge)
            await application.fill(log, Events.drawn(count, scale.customers, covers_all=True))
            backlog = await _peak_until(log, application, count)
            application.stop_worker()
            await application.fill(log, Events.drawn(_RESTART_EVENTS, scale.customers, seed=8, prefix=b"r"))
            return backlog, await _peak_until(log, application, count + _RESTART_EVENTS)
        finally:
            await log.stop()


async def _peak_until(log: Log, application: LiveApplication, count: int) -> int:
    """Start the worker, wait until all is committed, and give its largest resident size in bytes."""
    application.start_worker()
    await application.rate(log, count)
    status = Path(f"/proc/{application.worker_pid}/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak) * _KIB
