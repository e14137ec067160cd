"""Fixtures of the tests of stored state."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.state.drained import first_half


@pytest.fixture(scope="session")
def first_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a log whose events have all been applied."""
    path = tmp_path_factory.mktemp("first") / "old.db"
    asyncio.run(first_half(path))
    return path


@pytest.fixture
def drained(first_log: Path, tmp_path: Path) -> Path:
    """Give such a log that a test may change."""
    return Path(shutil.copy(first_log, tmp_path / "old.db"))
