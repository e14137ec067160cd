"""All benchmarks by name, and how one is run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from benchmarks import (
    backtest,
    embedded_log,
    engine_events,
    engine_sweep,
    event_to_page,
    latency,
    learner,
    memory,
    pipeline,
    simulated_log,
    state_log,
    web_lookup,
    worker_memory,
)
from benchmarks.measurement import Measurement
from benchmarks.peers import race
from benchmarks.scale import FULL, QUICK, Scale

Benchmark = Callable[[Scale], list[Measurement]]

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "embedded_log": embedded_log.run,
        "engine_events": engine_events.run,
        "engine_events_value": engine_events.run_value,
        "engine_sweep": engine_sweep.run,
        "engine_sweep_value": engine_sweep.run_value,
        "learner": learner.run,
        "memory": memory.run,
        "memory_many": memory.run_many,
        "pipeline_embedded": pipeline.run_embedded,
        "pipeline_kafka": pipeline.run_kafka,
        "peers": race.run,
        "latency_kafka": latency.run_kafka,
        "latency_embedded": latency.run_embedded,
        "state_log": state_log.run,
        "worker_memory": worker_memory.run,
        "simulate": simulated_log.run,
        "backtest_year": backtest.run_year,
        "backtest_cdnow": backtest.run_cdnow,
        "web_lookup": web_lookup.run,
        "event_to_page": event_to_page.run,
        "help": backtest.run_help,
    }
)
"""Name to benchmark, in the order of the table."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS")}


def run_isolated(name: str, *, is_quick: bool) -> list[Measurement]:
    """Run a benchmark in a new process on one core, so that nothing of another one is in its memory.

    Parameters
    ----------
    name
        One of `BENCHMARKS`.
    is_quick
        Tiny sizes.

    Returns
    -------
    list[Measurement]

    Raises
    ------
    subprocess.CalledProcessError
        When the benchmark fails; what it printed is on standard error.
    """
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "benchmarks.suite", name, "quick" if is_quick else "full"]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return [Measurement(**fields) for fields in json.loads(done.stdout)]


def _stay_on_one_core() -> None:
    """Bind this process and those it starts to one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main(name: str, size: str) -> None:
    """Run one benchmark here and write its measurements to standard output as JSON."""
    _stay_on_one_core()
    scale = QUICK if size == "quick" else FULL
    json.dump([asdict(row) for row in BENCHMARKS[name](scale)], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
