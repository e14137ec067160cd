"""The CI script works from anywhere, finds the CDNOW log beside the clone, and refuses to go without it in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = 'lint:\n\t@echo linted\n\ntest:\n\t@echo "log: $$CDNOW_EVENTS, profile: $$HYPOTHESIS_PROFILE"\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Lay out a clone whose Makefile only tells what it was called for."""
    (tmp_path / "clone" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "clone" / ".ci")
    (tmp_path / "clone" / "Makefile").write_text(STUB)
    return tmp_path / "clone"


def run(clone: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    command = ["bash", str(clone / ".ci" / "run")]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_the_log_beside_the_clone_is_used(clone: Path) -> None:
    log = clone.parent / "shared" / "data" / "cdnow" / "events.csv.gz"
    log.parent.mkdir(parents=True)
    log.touch()
    result = run(clone, CI="true")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["linted", f"log: {log}, profile: ci"]


def test_a_missing_log_stops_ci_before_it_begins(clone: Path) -> None:
    result = run(clone, CI="true")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "CDNOW log is missing" in result.stderr


def test_a_missing_log_does_not_stop_a_developer(clone: Path) -> None:
    result = run(clone)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["linted", "log: , profile: ci"]


def test_the_path_that_was_given_wins(clone: Path) -> None:
    result = run(clone, CI="true", CDNOW_EVENTS="/elsewhere/events.csv.gz")
    assert "log: /elsewhere/events.csv.gz" in result.stdout
