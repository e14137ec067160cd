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
    bash = shutil.which("bash")
    assert bash is not None
    command = [bash, str(clone / ".ci" / "run")]
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


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """Lay out a PATH with what the script needs, an apt-get that only tells its arguments, neither Java nor browser."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "echo", "id", "make", "sh"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    installer = folder / "apt-get"
    installer.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/installed\n')
    installer.chmod(0o755)
    return folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root installs")
def test_ci_installs_broker_and_browser_where_they_are_missing(clone: Path, bare_path: Path, tmp_path: Path) -> None:
    result = run(clone, PATH=str(bare_path), CI="true", CDNOW_EVENTS="/somewhere")
    assert result.returncode == 0, result.stderr
    update, install = (tmp_path / "installed").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("openjdk-17-jre-headless maven chromium")


def test_ci_stops_without_broker_and_browser_where_they_cannot_be_installed(clone: Path, bare_path: Path) -> None:
    (bare_path / "apt-get").unlink()
    result = run(clone, PATH=str(bare_path), CI="true", CDNOW_EVENTS="/somewhere")
    assert result.returncode == 1
    assert "Java 17 or newer and Maven are missing" in result.stderr
    assert "Chromium is missing" in result.stderr


def test_nothing_is_installed_for_a_developer(clone: Path, bare_path: Path, tmp_path: Path) -> None:
    assert run(clone, PATH=str(bare_path)).returncode == 0
    assert not (tmp_path / "installed").exists()


def test_nothing_is_installed_where_cluster_and_browser_are_given(clone: Path, bare_path: Path, tmp_path: Path) -> None:
    variables = {"CI": "true", "CDNOW_EVENTS": "/somewhere", "KAFKA_BOOTSTRAP": "127.0.0.1:9092", "CHROMIUM": "/there"}
    assert run(clone, PATH=str(bare_path), **variables).returncode == 0
    assert not (tmp_path / "installed").exists()
