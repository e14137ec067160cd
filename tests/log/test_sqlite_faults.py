"""What an embedded log says when it cannot be used: one line with what to do, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.file import FORMAT_VERSION
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.role import WorkerRole
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans, ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import IncompatibleStateError, SettingsError, StreamAppError
from tests.disks import mounted
from tests.log.clients import read_all

ROOT = Path(__file__).parents[2]
STATE = TopicPartition("state", 0)
NOBODY = 65_534
DEADLINE_S = 180
"""Starting a process takes seconds on a busy machine."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.log"
    ensure_plans(path, [TopicPlan("state", 2)])
    return path


def with_log(path: Path, work: Callable[[SqliteLog], Awaitable[None]]) -> None:
    async def run() -> None:
        log = SqliteLog(path, "segments")
        await log.start()
        try:
            await work(log)
        finally:
            await log.stop()

    asyncio.run(run())


async def nothing(_log: SqliteLog) -> None:
    return


def refusal(path: Path) -> StreamAppError:
    with pytest.raises(StreamAppError) as caught:
        with_log(path, nothing)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"These are notes.\n" * 1000)
    with pytest.raises(SettingsError, match="it is no SQLite file"):
        ensure_plans(path, [TopicPlan("state", 1)])
    assert "it is no SQLite file" in str(refusal(path))
    assert path.read_bytes() == b"These are notes.\n" * 1000


def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE books (title TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="another kind of database; name another file"):
        ensure_plans(path, [TopicPlan("state", 1)])
    assert "another kind of database" in str(refusal(path))
    assert path.read_bytes() == before


def test_a_log_of_another_version_is_refused_and_told_what_to_do(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    connection.close()
    error = refusal(path)
    assert isinstance(error, IncompatibleStateError)
    assert f"has format version {FORMAT_VERSION + 1}, this software has {FORMAT_VERSION}; use the version" in str(error)
    with pytest.raises(IncompatibleStateError):
        ensure_plans(path, [TopicPlan("state", 2)])


def test_a_log_that_does_not_exist_is_not_made_by_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.log"
    assert f"make it by: stream-app topics create --log sqlite://{path}" in str(refusal(path))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no folder .*/data; make it"):
        ensure_plans(tmp_path / "data" / "shop.log", [TopicPlan("state", 1)])


def test_a_folder_in_the_place_of_a_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop.log").mkdir()
    with pytest.raises(SettingsError):
        ensure_plans(tmp_path / "shop.log", [TopicPlan("state", 1)])


def test_another_number_of_partitions_is_refused_with_all_topics_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.log"
    topics = Topics("segments", "customer-events")
    made = ensure_topics(path, topics, 4)
    assert sorted(made) == sorted(["customer-events", *topics.rules()])
    assert ensure_topics(path, topics, 4) == []
    with pytest.raises(SettingsError) as caught:
        ensure_topics(path, topics, 8)
    assert "topic customer-events: 4 partitions, 8 are wanted" in str(caught.value)
    assert "topic segments-learner-input" not in str(caught.value)
    with pytest.raises(SettingsError, match="0 partitions, allowed are 1 or more"):
        ensure_topics(path, Topics("segments", "other-events"), 0)


def as_nobody(work: Callable[[], object]) -> str:
    """Run something in a process without the rights of root; give what it raised."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            os.write(write_end, b"nothing was raised")
        except BaseException as error:
            os.write(write_end, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as told:
        return told.read().decode()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may read; pytest's own belong to one user."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_read_only_folder_is_told(public_folder: Path) -> None:
    path = public_folder / "shop.log"
    ensure_plans(path, [TopicPlan("state", 1)])
    public_folder.chmod(0o555)
    told = as_nobody(lambda: with_log(path, nothing))
    assert told.startswith("SettingsError: ")
    assert "read-only; give this user the right to write there" in told
    made = as_nobody(lambda: ensure_plans(public_folder / "new.log", [TopicPlan("state", 1)]))
    assert made.startswith("SettingsError: ")
    assert "it cannot be opened; check that its folder exists and that this user may write there" in made


FILL = """
import asyncio, resource, signal, sys
from pathlib import Path
from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.log import SqliteLog

async def main():
    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    log = SqliteLog(path, "segments")
    await log.start()
    writer = await log.writer("shard-0")
    value = bytes(range(256)) * 400
    for number in range(1000):
        try:
            await writer.commit(
                [Outgoing("state", part, [b"%d " % number + value]) for part in range(2)],
                {TopicPartition("state", 0): number + 1},
            )
        except LogError as error:
            print(number, error)
            await writer.close()
            await log.stop()
            return
        value = value[1:] + value[:1]

asyncio.run(main())
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    with mounted(tmp_path / "disk", "6m") as disk:
        yield disk.folder


def fill(path: Path, limit_bytes: int) -> tuple[int, str]:
    """Commit until the disk is full; give the number of commits, and what was said then."""
    script = path.parent.parent / "fill.py"
    script.write_text(FILL)
    command = [sys.executable, str(script), str(path), str(limit_bytes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    count, _, told = result.stdout.strip().partition(" ")
    assert "\n" not in told
    return int(count), told


def require_commits(path: Path, count: int) -> None:
    """See that there is exactly what was committed."""

    async def look(log: SqliteLog) -> None:
        for partition in (STATE, TopicPartition("state", 1)):
            records = await read_all(log, partition)
            assert [int((record.value or b"").split(b" ")[0]) for record in records] == list(range(count))
        assert await log.committed([STATE]) == {STATE: count}

    with_log(path, look)


def test_a_full_disk_ends_with_one_line_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    path = small_disk / "shop.log"
    ensure_plans(path, [TopicPlan("state", 2)])
    count, told = fill(path, 0)
    assert count > 3
    assert "the disk is full; free space and start again" in told or "is it full?" in told
    # Elsewhere there is space again, and everything that was durable.
    for file in small_disk.iterdir():
        shutil.copy(file, tmp_path / file.name)
    require_commits(tmp_path / "shop.log", count)
    with_log(tmp_path / "shop.log", lambda log: log.append([Outgoing("state", 0, [b"more"])]))


def test_a_file_that_may_not_grow_ends_with_one_line_and_loses_nothing(path: Path) -> None:
    count, told = fill(path, 3 << 20)
    assert count > 3
    assert "free space" in told or "is it full?" in told
    require_commits(path, count)


def test_a_damaged_page_is_told_and_never_read_as_something_else(path: Path) -> None:
    # What could be packed would leave most of the file to pages that nobody reads.
    draw = random.Random(11)
    values = [draw.randbytes(20_000) for _ in range(60)]

    async def write(log: SqliteLog) -> None:
        for value in values:
            await log.append([Outgoing("state", 0, [value])])
        await log.append([Outgoing("state", 1, [b"whole"])])

    with_log(path, write)
    # Pages that are still in the write-ahead log are read from there.
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(size // 3, size * 2 // 3, 8192):
            file.seek(place)
            file.write(draw.randbytes(600))
    outcomes: list[bytes | None] = []

    async def read_some(log: SqliteLog) -> None:
        async for chunk in log.read(STATE, 0, 1000):
            outcomes.extend(record.value for record in chunk)

    async def read(log: SqliteLog) -> None:
        with pytest.raises(LogError) as caught:
            await read_some(log)
        assert "\n" not in str(caught.value)
        assert "damaged" in str(caught.value)
        assert "restore a copy" in str(caught.value)

    with_log(path, read)
    assert all(value in values for value in outcomes)


HOLD = """
import sys, time
from pathlib import Path
from stream_app.adapters.log.sqlite.role import WorkerRole
role = WorkerRole(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_worker_is_refused_until_the_first_one_is_gone(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(SettingsError) as caught:
            WorkerRole(path)
        assert caught.value.code == "second_worker"
        assert f"log {path} already has a worker (process {first.pid})" in str(caught.value)
        # Everybody else may read and write.
        with_log(path, lambda log: log.append([Outgoing("state", 0, [b"1"])]))
        first.kill()
    role = WorkerRole(path)
    role.release()
    role.release()


def test_a_second_worker_process_ends_with_one_line_and_code_2(path: Path) -> None:
    role = WorkerRole(path)
    try:
        command = [sys.executable, "-m", "stream_app", "worker", "--log", f"sqlite://{path}", "--log-level", "warning"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    finally:
        role.release()
    assert result.returncode == 2
    [line] = [line for line in result.stderr.splitlines() if "worker" in line]
    assert f"log {path} already has a worker (process {os.getpid()})" in line
    assert "Traceback" not in result.stderr


PRODUCE = """
import asyncio, sys
from pathlib import Path
from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.log.sqlite.log import SqliteLog

async def main():
    log = SqliteLog(Path(sys.argv[1]), "producers")
    await log.start()
    for number in range(150):
        value = b"%s/%d" % (sys.argv[2].encode(), number)
        await log.append([Outgoing("state", part, [value] * 20) for part in range(2)])
    await log.stop()

asyncio.run(main())
"""


def test_several_processes_produce_while_another_one_commits_and_follows(path: Path) -> None:
    async def follow(log: SqliteLog) -> None:
        names = ["a", "b", "c"]
        script = ["-c", PRODUCE, str(path)]
        processes = [await asyncio.create_subprocess_exec(sys.executable, *script, name, cwd=ROOT) for name in names]
        writer = await log.writer("shard-0")
        seen: dict[str, list[int]] = {name: [] for name in [*names, "own"]}
        own = 0
        async for _, records in log.follow({STATE: 0}):
            for record in records:
                name, number = (record.value or b"").decode().split("/")
                seen[name].append(int(number))
            if own < 50:
                await writer.commit([Outgoing("state", 0, [b"own/%d" % own])], {})
                own += 1
            if len(seen["own"]) == 50 and all(len(seen[name]) == 3000 for name in names):
                break
        for name in names:
            assert seen[name] == [number for number in range(150) for _ in range(20)]
        assert seen["own"] == list(range(50))
        assert [await process.wait() for process in processes] == [0, 0, 0]

    with_log(path, lambda log: asyncio.wait_for(follow(log), DEADLINE_S))
