"""Bytes a customer: rows, ids and index of an engine's table, as the operating system counts them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.events import EventSource
from benchmarks.measurement import Measurement
from benchmarks.scale import Scale
from stream_app.adapters.policy_file import load_policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner

CEILING = 600.0
BATCH_EVENTS = 16_384
_KIB = 1024


def run_many(scale: Scale) -> list[Measurement]:
    """Measure the larger population."""
    return [_measure(scale.customers_many)]


def run(scale: Scale) -> list[Measurement]:
    """Measure the smaller population."""
    return [_measure(scale.customers)]


def resident_bytes() -> int | None:
    """Give the memory that this process has in use now; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    return None


def _measure(customer_count: int) -> Measurement:
    what = f"memory a customer, {customer_count:,} customers: row, id and index"
    name = f"memory.{customer_count}"
    source = EventSource(customer_count)
    policy = load_policy(None)
    everyone = source.first_purchases()
    _fill(Engine(policy), source, everyone[:1])
    gc.collect()
    before = resident_bytes()
    if before is None:
        return Measurement(name=name, what=what, unit="bytes", value=None, notes="needs /proc/self/status (Linux)")
    engine = Engine(policy)
    _fill(engine, source, everyone)
    gc.collect()
    after = resident_bytes()
    assert after is not None
    table = engine.table
    parts = f"row {table.rows.dtype.itemsize}, index {table.index_byte_count / customer_count:.0f}, the rest is the id"
    return Measurement(
        name=name,
        what=what,
        unit="bytes",
        value=(after - before) / customer_count,
        floor=CEILING,
        is_ceiling=True,
        notes=parts,
    )


def _fill(engine: Engine, source: EventSource, customers: NDArray[np.int64]) -> None:
    knowledge = Learner(engine.policy).knowledge
    for start in range(0, len(customers), BATCH_EVENTS):
        raw = source.draw(customers[start : start + BATCH_EVENTS], only_purchases=True)
        engine.apply(raw.batch(), knowledge)
