"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np


def describe_machine() -> str:
    """Give processor, memory, versions and load as one line."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    parts = [
        _processor(),
        f"{os.cpu_count()} cores (one used)",
        _memory(),
        platform.platform(terse=True),
        f"Python {platform.python_version()}",
        f"numpy {np.__version__}",
        *(f"{name} {version(name)}" for name in ("pyarrow", "duckdb")),
        f"load before the run {load}",
        f"{datetime.now(tz=UTC):%Y-%m-%d}",
    ]
    return "; ".join(part for part in parts if part)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return ""
    return f"{size / 2**30:.0f} GiB"
