"""`stream-app backtest` from start to end: a simulated year, and the CDNOW log."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.commands import CommandRun, run_command
from benchmarks.measurement import Measurement
from benchmarks.scale import Scale
from benchmarks.simulated_log import cache_folder, event_count, simulated_log

YEAR_GOAL = 120_000.0
YEAR_FLOOR = 70_000.0
YEAR_MEMORY_CEILING_GB = 3.5
CDNOW_VARIABLE = "CDNOW_EVENTS"
CDNOW_CEILING_SECONDS = 40.0
CDNOW_REPETITIONS = 3
HELP_CEILING_SECONDS = 0.3
HELP_REPETITIONS = 5


def run_year(scale: Scale) -> list[Measurement]:
    """Measure a year of a simulated shop, weekly sweep: rate and peak memory of one run."""
    log = simulated_log(scale)
    count = event_count(log)
    taken, summary = _backtest([str(log), "--sweep", "7d"])
    what = f"`stream-app backtest --sweep 7d`, {count:,} events of {scale.log_customers:,} customers in Parquet"
    return [
        Measurement(
            name="backtest_year.rate",
            what=f"{what}: events over whole wall time",
            unit="events/s",
            value=count / taken.wall_seconds,
            floor=YEAR_FLOOR,
            goal=YEAR_GOAL,
            notes=f"{count / taken.processor_seconds:,.0f} by processor time; {_stages(taken, summary)}",
        ),
        Measurement(
            name="backtest_year.memory",
            what=f"{what}: peak memory",
            unit="GB",
            value=taken.peak_bytes / 1e9,
            floor=YEAR_MEMORY_CEILING_GB,
            is_ceiling=True,
        ),
    ]


def run_cdnow(scale: Scale) -> list[Measurement]:
    """Measure the CDNOW log with a daily sweep, imports included."""
    what = "`stream-app backtest` of the CDNOW log, daily sweep, imports included"
    log = os.environ.get(CDNOW_VARIABLE)
    if not log:
        notes = f"set {CDNOW_VARIABLE} to the path of the CDNOW event log"
        return [Measurement(name="backtest_cdnow", what=what, unit="s", value=None, notes=notes)]
    runs = [_backtest([log]) for _ in range(CDNOW_REPETITIONS if scale.is_full else 1)]
    best, summary = min(runs, key=lambda run: run[0].wall_seconds)
    return [
        Measurement(
            name="backtest_cdnow",
            what=what,
            unit="s",
            value=best.wall_seconds,
            middle=median(taken.wall_seconds for taken, _ in runs),
            floor=CDNOW_CEILING_SECONDS,
            is_ceiling=True,
            notes=f"{best.processor_seconds:.1f} s of processor time; {_stages(best, summary)}",
        )
    ]


def run_help(scale: Scale) -> list[Measurement]:
    """Measure how long the command line takes to say what it can do."""
    runs = [run_command(["--help"]) for _ in range(HELP_REPETITIONS if scale.is_full else 1)]
    return [
        Measurement(
            name="help",
            what="`stream-app --help`",
            unit="s",
            value=min(taken.wall_seconds for taken in runs),
            middle=median(taken.wall_seconds for taken in runs),
            floor=HELP_CEILING_SECONDS,
            is_ceiling=True,
            notes=f"{min(taken.processor_seconds for taken in runs):.2f} s of processor time",
        )
    ]


def _backtest(arguments: list[str]) -> tuple[CommandRun, dict[str, Any]]:
    # A temporary folder of the system may lie in memory, and the year's changes take more than a gigabyte.
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="backtest-") as folder:
        taken = run_command(["backtest", *arguments, "--out", folder])
        return taken, json.loads((Path(folder) / "summary.json").read_bytes())


def _stages(taken: CommandRun, summary: dict[str, Any]) -> str:
    """Say where the time went; what no stage counts are imports, summary and report."""
    seconds = {stage: value for stage, value in summary["duration_seconds"].items() if stage != "total"}
    seconds["other"] = taken.wall_seconds - sum(seconds.values())
    return ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())
