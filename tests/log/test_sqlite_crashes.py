"""The embedded log loses nothing that it said was durable, and shows nothing by halves, whatever ends its process.

`LOG_KILLS=100` kills more often than the default; the seed of each kill is printed when a test fails.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.writing import CHECKPOINT_BYTES
from tests.log.clients import read_all
from tests.log.committing import CHANGES, CURRENT, KEYS, SOURCE, STATE, STATE_KEPT, make

KILLS = int(os.environ.get("LOG_KILLS", "10"))
ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 180.0


def start(path: Path, seed: int, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.log.committing", str(path), str(seed), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill_at_random(path: Path, seed: int, *options: str) -> int:
    """Let a process commit, kill it at a random moment, and give the last commit that it said was durable."""
    with start(path, seed, *options) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.Random(seed).uniform(0.0, 0.4))
        finally:
            process.kill()
        return last_number(process.stdout)


def last_number(output: IO[str]) -> int:
    told = [line for line in output.read().split("\n") if line.isdigit()]
    return int(told[-1]) if told else 0


def numbers_of(values: list[bytes | None]) -> list[int]:
    return [int((value or b"").split(b" ")[0]) for value in values]


def faults_of(path: Path, durable: int) -> list[str]:
    """Name everything that is not as it must be after a crash: 0 to m everywhere, with m at least what was durable."""

    async def look() -> list[str]:
        log = SqliteLog(path, "segments")
        await log.start()
        try:
            position = (await log.committed([SOURCE])).get(SOURCE, 0)
            faults = []
            if not durable <= position <= durable + 1:
                faults.append(f"position {position}, but {durable} was durable")
            for partition in [*CHANGES, STATE]:
                numbers = numbers_of([record.value for record in await read_all(log, partition)])
                first = (await log.bounds(partition)).start
                if numbers != list(range(first, position)):
                    faults.append(f"{partition}: {numbers[:3]}...{numbers[-3:]} instead of {first} to {position}")
                if first > max(0, position - STATE_KEPT):
                    faults.append(f"{partition}: forgotten up to {first}, although {STATE_KEPT} are kept")
            latest = {int(record.key or b""): int(record.value or b"") for record in await read_all(log, CURRENT)}
            expected = {number % KEYS: number for number in range(max(0, position - KEYS), position)}
            if latest != expected:
                faults.append(f"current: {latest} instead of {expected}")
        finally:
            await log.stop()
        connection = sqlite3.connect(path)
        [verdict] = connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()
        return [*faults, *([] if verdict == "ok" else [verdict])]

    return asyncio.run(look())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.log"
    make(path)
    return path


def test_a_killed_process_leaves_every_commit_whole(path: Path) -> None:
    durable = 0
    for seed in range(KILLS):
        durable = max(durable, kill_at_random(path, seed))
        assert faults_of(path, durable) == [], f"seed {seed}"
        # A commit that was not told of any more is there as well, and the next process goes on behind it.
        durable = position_of(path)
    assert durable > KILLS


def test_this_harness_sees_a_commit_that_is_in_two(path: Path) -> None:
    durable = 0
    for seed in range(100):
        durable = max(durable, kill_at_random(path, seed, "--torn"))
        if faults_of(path, durable):
            return
        durable = position_of(path)
    pytest.fail("100 kills of a build without transactions were not seen")


def snapshot(path: Path, folder: Path) -> Path:
    """Copy a log that is in use, with what a power failure would leave of its write-ahead log."""
    copy = folder / path.name
    shutil.copy(path, copy)
    shutil.copy(path.with_name(path.name + "-wal"), copy.with_name(copy.name + "-wal"))
    return copy


@pytest.mark.parametrize("damage", ["cut", "zeroed", "garbled"])
def test_a_torn_write_takes_only_the_last_commits_and_each_as_a_whole(path: Path, tmp_path: Path, damage: str) -> None:
    with start(path, 7, "--small") as process:
        assert process.stdout is not None
        while process.stdout.readline() != "23\n":
            assert process.poll() is None
        process.kill()
    numbers = random.Random(damage)
    size = path.with_name(path.name + "-wal").stat().st_size
    # Only what is not in the file yet can be torn: its write-ahead log is synchronised before anything is moved.
    assert 100_000 < size < CHECKPOINT_BYTES
    seen = set()
    for attempt in range(12):
        folder = tmp_path / f"{damage}-{attempt}"
        folder.mkdir()
        copy = snapshot(path, folder)
        tear(copy.with_name(copy.name + "-wal"), damage, numbers.randrange(size), numbers)
        position = position_of(copy)
        # How much is left depends on where it was torn; what is left must be whole.
        assert faults_of(copy, position) == [], f"{damage} attempt {attempt}"
        seen.add(position)
    assert len(seen) > 1


def tear(file: Path, damage: str, place: int, numbers: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.seek(0, os.SEEK_END)
        size = opened.tell()
        if damage == "cut":
            opened.truncate(place)
            return
        opened.seek(place)
        length = min(size - place, 5_000)
        opened.write(bytes(length) if damage == "zeroed" else numbers.randbytes(length))


def position_of(path: Path) -> int:
    async def look() -> int:
        log = SqliteLog(path, "segments")
        await log.start()
        try:
            return (await log.committed([SOURCE])).get(SOURCE, 0)
        finally:
            await log.stop()

    return asyncio.run(look())


def test_a_killed_writer_holds_nobody_up(path: Path) -> None:
    durable = kill_at_random(path, 5)
    begun = time.monotonic()
    again = kill_at_random(path, 6)
    assert again >= durable
    assert time.monotonic() - begun < START_DEADLINE_S
