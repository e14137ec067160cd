"""The event log that `stream-app simulate` writes for the backtest, kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.commands import CommandRun, run_command
from benchmarks.measurement import Measurement
from benchmarks.scale import Scale

CACHE_VARIABLE = "STREAM_APP_BENCHMARK_CACHE"
PURCHASES_PER_YEAR = 5.0
ACTIVITY = 0.22
"""With these a customer has ten events in a year on average, three of them purchases."""
SEED = 1
EVENTS_PROMISED = 10_000_000
CEILING_SECONDS = 120.0


def run(scale: Scale) -> list[Measurement]:
    """Measure how long the simulated shop takes."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="simulate-") as folder:
        path = Path(folder) / "shop.parquet"
        taken = _simulate(scale, path)
        count = event_count(path)
        _keep(path, scale)
    return [
        Measurement(
            name="simulate.year",
            what=f"`stream-app simulate`, {scale.log_customers:,} customers, {scale.log_days} days, to Parquet; "
            f"scaled to {EVENTS_PROMISED:,} events",
            unit="s",
            value=taken.wall_seconds * EVENTS_PROMISED / count,
            floor=CEILING_SECONDS,
            is_ceiling=True,
            notes=f"{count:,} events in {taken.wall_seconds:.1f} s, {taken.processor_seconds:.1f} s of processor time, "
            f"peak {taken.peak_bytes / 1e9:.2f} GB",
        )
    ]


def simulated_log(scale: Scale) -> Path:
    """Give the path of the log, which is made once."""
    path = _cache_path(scale)
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="log-") as folder:
            fresh = Path(folder) / "shop.parquet"
            _simulate(scale, fresh)
            _keep(fresh, scale)
    return path


def event_count(path: Path) -> int:
    """Count the events of a log."""
    return int(pq.read_metadata(path).num_rows)


def _simulate(scale: Scale, path: Path) -> CommandRun:
    return run_command(
        [
            "simulate",
            *("--customers", str(scale.log_customers), "--days", str(scale.log_days), "--seed", str(SEED)),
            *("--purchases-per-year", str(PURCHASES_PER_YEAR), "--activity", str(ACTIVITY), "--out", str(path)),
        ]
    )


def _keep(path: Path, scale: Scale) -> None:
    """Move a finished log to its place, so that nobody ever reads half a log."""
    path.replace(_cache_path(scale))


def _cache_path(scale: Scale) -> Path:
    name = f"shop-{scale.log_customers}-{scale.log_days}-{SEED}-{PURCHASES_PER_YEAR:g}-{ACTIVITY:g}.parquet"
    return cache_folder() / name


def cache_folder() -> Path:
    """Give the folder for logs, outside the repository."""
    chosen = os.environ.get(CACHE_VARIABLE)
    general = os.environ.get("XDG_CACHE_HOME")
    beside = Path(general) if general else Path.home() / ".cache"
    folder = Path(chosen) if chosen else beside / "stream-app-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
