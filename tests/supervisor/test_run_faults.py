"""What `stream-app run` says of what it cannot use, and of disks that are full or damaged."""

from __future__ import annotations

import random
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.supervisor.plan import LOG_NAME
from tests.disks import SmallDisk, mounted
from tests.supervisor.runs import TOPICS, check_that_nothing_is_lost_or_twice, free_port, running, stream_app


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Less than the shop's history needs."""
    with mounted(tmp_path / "disk", "12m") as disk:
        yield disk


def _other_version(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    path = folder / "out" / "run" / LOG_NAME
    ensure_topics(path, TOPICS, 2)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    return []


def _no_database(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    (folder / "out" / "run" / LOG_NAME).write_bytes(b"not a database" * 1000)
    return []


def _file_for_folder(folder: Path) -> list[str]:
    (folder / "taken").touch()
    return ["--folder", "taken"]


def _kafka(folder: Path) -> list[str]:
    return ["--log", "kafka://localhost:9092"]


def _bad_policy(folder: Path) -> list[str]:
    (folder / "policy.toml").write_text("[axes.value]\ntiers = []\n")
    return ["--policy", "policy.toml"]


def _other_partitions(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    ensure_topics(folder / "out" / "run" / LOG_NAME, TOPICS, 2)
    return ["--partitions", "3"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_other_version, "version"),
        (_no_database, "no log|not a"),
        (_file_for_folder, "--folder taken cannot be written to"),
        (_kafka, "on Kafka, start `worker` and `web`"),
        (_bad_policy, "policy"),
        (_other_partitions, "2 partitions, 3 are wanted"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_started(
    tmp_path: Path, prepare: Callable[[Path], list[str]], said: str
) -> None:
    result = stream_app("run", *prepare(tmp_path), folder=tmp_path)
    assert result.returncode == 2
    assert re.search(said, result.stderr)
    assert result.stderr.startswith("stream-app: ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = stream_app("run", "--port", str(other.getsockname()[1]), folder=tmp_path)
    assert result.returncode == 2
    assert "address already in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_full_disk_is_told_and_with_more_space_it_goes_on(small_disk: SmallDisk) -> None:
    folder = small_disk.folder
    ended = stream_app("run", "--port", free_port(), "--customers", "2000", folder=folder)
    assert ended.returncode == 2
    told = [line for line in ended.stderr.splitlines() if line.startswith("stream-app: ")]
    assert len(told) == 1
    assert "no space is left" in told[0]
    small_disk.grow("400m")
    with running(folder, "--customers", "2000") as run:
        run.wait_for_events(3000)
        run.wait_until("changes", lambda: run.status().get("changes", 0) > 200)
        assert run.stop() == 0
    check_that_nothing_is_lost_or_twice(folder)


def test_a_damaged_log_is_told_with_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_for_events(2000)
        assert run.stop() == 0
    path = tmp_path / "out" / "run" / LOG_NAME
    draw = random.Random(3)
    # Pages that are still in the write-ahead log are read from there.
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    size = path.stat().st_size
    with path.open("r+b") as file:
        for place in range(size // 4, size * 3 // 4, 16_384):
            file.seek(place)
            file.write(draw.randbytes(1500))
    ended = stream_app("run", "--port", free_port(), "--customers", "400", folder=tmp_path)
    assert ended.returncode == 2
    told = [line for line in ended.stderr.splitlines() if line.startswith("stream-app: ")]
    assert len(told) == 1
    assert "damaged" in told[0]
    assert "restore a copy" in told[0]
