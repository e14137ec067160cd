"""The embedded log keeps itself small: truncation, retention, compaction, and a short write-ahead log."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.compaction import DIRTY_BYTES_MIN, TOMBSTONE_MS
from stream_app.adapters.log.sqlite.housekeeping import Housekeeper
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.adapters.log.topics import Cleanup
from tests.log.clients import plain, read_all

COMPACTED = TopicPartition("current", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.log"
    make(path)
    return path


def make(path: Path) -> None:
    ensure_plans(
        path,
        [
            TopicPlan("state", 2),
            TopicPlan("current", 1, Cleanup.COMPACT),
            TopicPlan("letters", 1, retention_ms=7 * 86_400_000),
        ],
    )


def with_log(path: Path, work: Callable[[SqliteLog, Housekeeper], Awaitable[None]]) -> None:
    async def run() -> None:
        log = SqliteLog(path, "segments")
        await log.start()
        housekeeper = Housekeeper(path)
        try:
            await work(log, housekeeper)
        finally:
            await housekeeper.close()
            await log.stop()

    asyncio.run(run())


def age(path: Path, days: float) -> None:
    """Let everything that is in the log have been appended so many days earlier."""
    connection = sqlite3.connect(path)
    shift = int(days * 86_400_000)
    connection.execute("UPDATE batches SET appended_ms = appended_ms - ?", (shift,))
    connection.execute("UPDATE partitions SET compacted_ms = compacted_ms - ?", (shift,))
    connection.commit()
    connection.close()


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def test_the_space_of_truncated_records_is_used_again(path: Path) -> None:
    random_bytes = random.Random(1).randbytes(200_000)

    async def work(log: SqliteLog, _housekeeper: Housekeeper) -> None:
        sizes = []
        for _ in range(60):
            await log.append([Outgoing("state", 0, [random_bytes] * 5)])
            end = (await log.bounds(TopicPartition("state", 0))).end
            await log.truncate(TopicPartition("state", 0), end - 10)
            sizes.append(size_of(path))
        assert max(sizes) < 30_000_000
        assert max(sizes[30:]) <= max(sizes[:30]) + 1_000_000
        assert len(await read_all(log, TopicPartition("state", 0))) == 10

    with_log(path, work)


def test_the_write_ahead_log_stays_short_while_others_read(path: Path) -> None:
    random_bytes = random.Random(2).randbytes(100_000)

    async def work(log: SqliteLog, _housekeeper: Housekeeper) -> None:
        reader = SqliteLog(path, "page")
        await reader.start()
        seen = 0

        async def read() -> None:
            nonlocal seen
            async for _, records in reader.follow({TopicPartition("state", 1): 0}):
                seen += len(records)

        reading = asyncio.create_task(read())
        for _ in range(100):
            await log.append([Outgoing("state", 1, [random_bytes] * 10)])
            assert path.with_name(path.name + "-wal").stat().st_size < 64_000_000
        while seen < 1000:
            await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait({reading})
        await reader.stop()
        assert path.with_name(path.name + "-wal").stat().st_size < 64_000_000

    with_log(path, work)


def test_a_large_truncation_is_done_in_pieces(path: Path) -> None:
    async def work(log: SqliteLog, _housekeeper: Housekeeper) -> None:
        partition = TopicPartition("state", 0)
        for _ in range(50):
            await log.append([Outgoing("state", 0, [b"%d" % number]) for number in range(100)])
        await log.truncate(partition, 4_990)
        assert await log.bounds(partition) == (4_990, 5_000, 5_000)
        assert [record.offset for record in await read_all(log, partition)] == list(range(4_990, 5_000))

    with_log(path, work)


def test_records_older_than_the_retention_are_forgotten(path: Path) -> None:
    async def work(log: SqliteLog, housekeeper: Housekeeper) -> None:
        letters, state = TopicPartition("letters", 0), TopicPartition("state", 0)
        await log.append([Outgoing("letters", 0, [b"1", b"2"]), Outgoing("state", 0, [b"1"])])
        age(path, 5)
        await log.append([Outgoing("letters", 0, [b"3"], timestamps_ms=[0])])
        await housekeeper.work()
        assert len(await read_all(log, letters)) == 3
        age(path, 3)
        await housekeeper.work()
        # What counts is when it was appended, not the time it bears.
        assert [record.value for record in await read_all(log, letters)] == [b"3"]
        assert await log.bounds(letters) == (2, 3, 3)
        assert len(await read_all(log, state)) == 1

    with_log(path, work)


def test_compaction_keeps_the_last_record_of_each_key_where_it_was(path: Path) -> None:
    async def work(log: SqliteLog, housekeeper: Housekeeper) -> None:
        numbers = random.Random(3)
        padding = numbers.randbytes(400)
        written = []
        for number in range(200):
            keys = [b"c-%d" % numbers.randrange(300) for _ in range(50)]
            values = [b"%d/%d " % (number, place) + padding for place in range(50)]
            headers = [[("place", b"%d" % place)] for place in range(50)]
            await log.append([Outgoing("current", 0, values, keys, headers, [number] * 50)])
            written += keys
        before = await read_all(log, COMPACTED)
        latest = {record.key: plain(record) for record in before}
        offsets = {record.key: record.offset for record in before}
        await housekeeper.work()
        after = await read_all(log, COMPACTED)
        assert len(after) == len(set(written)) < len(before)
        assert {record.key: plain(record) for record in after} == latest
        assert {record.key: record.offset for record in after} == offsets
        assert [record.offset for record in after] == sorted(offsets.values())
        assert (await log.bounds(COMPACTED)).end == 10_000
        await log.append([Outgoing("current", 0, [b"new"], [b"c-1"])])
        assert (await read_all(log, COMPACTED))[-1].offset == 10_000
        middle = after[100].offset
        assert [record.offset for record in await read_all(log, COMPACTED, middle, middle + 1)] == [middle]
        assert [record.offset for record in await read_all(log, COMPACTED, middle + 1)][:-1] == [
            record.offset for record in after[101:]
        ]

    with_log(path, work)


def test_little_that_is_new_waits_for_a_day(path: Path) -> None:
    async def work(log: SqliteLog, housekeeper: Housekeeper) -> None:
        # Nothing has been compacted ever, so the first pass comes at once.
        await log.append([Outgoing("current", 0, [b"1", b"2"], [b"a", b"a"])])
        await housekeeper.work()
        assert len(await read_all(log, COMPACTED)) == 1
        await log.append([Outgoing("current", 0, [b"3"], [b"a"])])
        await housekeeper.work()
        assert len(await read_all(log, COMPACTED)) == 2
        age(path, 1.1)
        await housekeeper.work()
        assert [record.value for record in await read_all(log, COMPACTED)] == [b"3"]
        assert DIRTY_BYTES_MIN > 3

    with_log(path, work)


def test_a_tombstone_goes_a_day_after_what_it_ends(path: Path) -> None:
    async def work(log: SqliteLog, housekeeper: Housekeeper) -> None:
        await log.append([Outgoing("current", 0, [b"1", b"2", None], [b"a", b"b", b"a"])])
        await housekeeper.work()
        assert [record.value for record in await read_all(log, COMPACTED)] == [b"2", None]
        age(path, 2 * TOMBSTONE_MS / 86_400_000)
        await log.append([Outgoing("current", 0, [bytes(600_000)], [b"c"])])
        await housekeeper.work()
        assert [record.key for record in await read_all(log, COMPACTED)] == [b"b", b"c"]

    with_log(path, work)


changes = st.lists(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.booleans()), min_size=1, max_size=6), max_size=12
)


@settings(max_examples=25)
@given(changes=changes, every=st.integers(min_value=1, max_value=4))
def test_whoever_reads_a_compacted_topic_ends_where_everybody_ends(
    tmp_path_factory: pytest.TempPathFactory, changes: list[list[tuple[bytes, bool]]], every: int
) -> None:
    path = tmp_path_factory.mktemp("compacted") / "shop.log"
    make(path)

    async def work(log: SqliteLog, housekeeper: Housekeeper) -> None:
        expected: dict[bytes | None, bytes | None] = {}
        for number, change in enumerate(changes):
            values = [None if is_end else b"%d/%d" % (number, place) for place, (_, is_end) in enumerate(change)]
            keys = [key for key, _ in change]
            await log.append([Outgoing("current", 0, values, keys)])
            expected |= dict(zip(keys, values, strict=True))
            if number % every == 0:
                age(path, 1.1)
                await housekeeper.work()
            told = {record.key: record.value for record in await read_all(log, COMPACTED)}
            assert {key: value for key, value in told.items() if value is not None} == {
                key: value for key, value in expected.items() if value is not None
            }

    with_log(path, work)


class _SlowToClose:
    """Stands for a connection, and notes how many are being closed at the same moment."""

    closing = 0
    closing_max = 0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        _SlowToClose.closing += 1
        time.sleep(0.05)
        _SlowToClose.closing_max = max(_SlowToClose.closing_max, _SlowToClose.closing)
        self._connection.close()
        _SlowToClose.closing -= 1


def test_a_log_that_was_stopped_is_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_SlowToClose, "closing_max", 0)

    async def run() -> None:
        log = SqliteLog(path, "segments")
        await log.start()
        await log.append([Outgoing("state", 0, [b"x"] * 100)])
        assert len(await read_all(log, TopicPartition("state", 0))) == 100
        session = log._opened()
        for owner in (session.reading, session.committer):
            monkeypatch.setattr(owner, "_connection", _SlowToClose(owner._connection))
        await log.stop()

    asyncio.run(run())
    # Two that close at the same moment leave the write-ahead log behind, now and then.
    assert _SlowToClose.closing_max == 1
    assert [file.name for file in path.parent.glob(path.name + "*")] == [path.name]
