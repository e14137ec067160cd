"""What all tests share: Hypothesis profiles, and the CDNOW log of real purchases."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

# In the background of a shell, SIGINT is ignored; so it would be by the processes that tests start, and end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester", "tests.kafka.plugin"]

# Deadlines would measure the machine, and "too slow" its load: neither is a promise of ours.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))

TOGETHER = "tests/crash/"
"""Tests that kill processes wait for timeouts, several at a time, and are not to have each other's load as well."""
FIRST = (TOGETHER, "tests/kafka/", "tests/test_benchmarks.py", "tests/supervisor/", "tests/backtest/")
"""Files that take minutes: what is short comes last, so that no process waits long for another at the end."""

CDNOW_VARIABLE = "CDNOW_EVENTS"
CDNOW_MISSING = f"the CDNOW log is not here: give the path of its events.csv.gz in {CDNOW_VARIABLE}"


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """One process for each file, and one for all files that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling:
    """Say how tests are shared out among processes."""
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    return next((turn for turn, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


@pytest.fixture(scope="session")
def cdnow_events_path() -> Path:
    """Path of the CDNOW log; without it the test is skipped loudly, and fails where CI is true."""
    value = os.environ.get(CDNOW_VARIABLE)
    if not value:
        if os.environ.get("CI") == "true":
            pytest.fail(CDNOW_MISSING, pytrace=False)
        pytest.skip(CDNOW_MISSING)
    path = Path(value)
    if not path.is_file():
        pytest.fail(f"{CDNOW_VARIABLE} = {value} is no file: give the path of events.csv.gz or unset it", pytrace=False)
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which promises were not checked because the CDNOW log is missing."""
    skipped = [
        report.nodeid
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and CDNOW_VARIABLE in report.longrepr[2]
    ]
    if not skipped:
        return
    terminalreporter.section("NOT CHECKED: promises on the CDNOW log", sep="!", yellow=True, bold=True)
    terminalreporter.line(CDNOW_MISSING)
    for nodeid in skipped:
        terminalreporter.line(f"  not checked: {nodeid}")
