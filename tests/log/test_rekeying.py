"""A topic is copied to one keyed by customer id: nothing is lost, and nothing twice, however it is interrupted."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from stream_app.adapters.codec.single_event import read_customer_id
from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.adapters.rekeying import Keying, Rekeying, RekeyPlan
from stream_app.cli import main
from stream_app.domain.errors import InvalidEventError, SettingsError
from tests.log.clients import plain, read_all
from tests.streaming.harness import FailingLog, opened
from tests.unit.codec_records import APPENDED_MS, native, track

SOURCES, TARGETS = 3, 4
DEADLINE_S = 120.0
PLAN = RekeyPlan("raw", "keyed")
Source = list[tuple[bytes | None, bytes | None]]


def new_topics(path: Path, sources: int = SOURCES) -> None:
    ensure_plans(path, [TopicPlan("raw", sources), TopicPlan("keyed", TARGETS)])


def draw_records(draw: random.Random, count: int) -> Source:
    """Draw keys and values: events and calls of customers, and what names nobody."""
    records: Source = []
    for number in range(count):
        customer = f"c-{draw.randrange(40)}"
        value: bytes | None = json.dumps(
            draw.choice([native(customer_id=customer, event_id=str(number)), track(userId=customer)])
        ).encode()
        if draw.random() < 0.1:
            value = draw.choice([None, b"", b"\xff", b"[1]", b'{"type":"purchase"}', b'{"customer_id":true}'])
        records.append((draw.choice([None, customer.encode(), b"session-%d" % number, b""]), value))
    return records


async def fill(log: Log, partition: int, records: Source, start_ms: int = APPENDED_MS) -> None:
    """Append records a second apart, each with a header that says where it came from."""
    await log.append(
        [
            Outgoing(
                "raw",
                partition,
                values=[value for _, value in records],
                keys=[key for key, _ in records],
                headers=[[("from", b"%d-%d" % (partition, number))] for number in range(len(records))],
                timestamps_ms=[start_ms + number * 1000 for number in range(len(records))],
            )
        ]
    )


async def copy(log: Log) -> Rekeying:
    rekeying = Rekeying(log, PLAN)
    try:
        await rekeying.start()
        await rekeying.copy()
    finally:
        await rekeying.stop()
    return rekeying


def wanted_key(key: bytes | None, value: bytes | None) -> bytes | None:
    try:
        return read_customer_id(value or b"").encode()
    except InvalidEventError:
        return key


async def hold_copied(log: Log) -> int:
    """Hold that each record is there once, in its place, and in the order of its source; gives their number."""
    expected: Counter[tuple[int, object]] = Counter()
    for partition in range(SOURCES):
        for record in await read_all(log, TopicPartition("raw", partition)):
            key = wanted_key(record.key, record.value)
            placing = (record.value or b"") if key is None else key
            place = int(partitions_of([placing], TARGETS)[0])
            expected[place, (record.timestamp, key, record.value, *record.headers)] += 1
    found: Counter[tuple[int, object]] = Counter()
    for partition in range(TARGETS):
        copied = [plain(record) for record in await read_all(log, TopicPartition("keyed", partition))]
        origins = [tuple(map(int, headers[0][1].split(b"-"))) for *_, headers in copied]
        for source in range(SOURCES):
            numbers = [number for own, number in origins if own == source]
            assert numbers == sorted(numbers)
        found.update((partition, (time_ms, key, value, *headers)) for time_ms, key, value, headers in copied)
    assert found == expected
    return found.total()


def test_each_record_goes_to_the_partition_of_its_customer_with_time_and_headers_kept(tmp_path: Path) -> None:
    draw = random.Random(1)

    async def run() -> Rekeying:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            for partition in range(SOURCES):
                await fill(log, partition, draw_records(draw, 300))
            rekeying = await copy(log)
            assert await hold_copied(log) == 900
            return rekeying

    counts = asyncio.run(run()).counts
    assert sum(counts.values()) == 900
    assert all(counts[keying] > 5 for keying in Keying)


def test_records_of_different_partitions_go_by_their_time(tmp_path: Path) -> None:
    event = json.dumps(native(customer_id="one")).encode()

    async def run() -> list[int]:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            for partition in range(SOURCES):
                await fill(log, partition, [(None, event)] * 50, APPENDED_MS + partition)
            await copy(log)
            own = TopicPartition("keyed", int(partitions_of([b"one"], TARGETS)[0]))
            return [record.timestamp for record in await read_all(log, own)]

    times = asyncio.run(run())
    assert len(times) == 150
    assert times == sorted(times)


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_copy_that_is_killed_around_its_commits_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, *, is_committed: bool
) -> None:
    monkeypatch.setattr("stream_app.adapters.rekeying.COMMIT_RECORDS_MAX", 17)
    draw = random.Random(seed)
    lives, copied = 0, 0

    async def live() -> bool:
        """Copy until a commit fails; gives True when everything is copied."""
        nonlocal copied
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            failing = cast("Log", FailingLog(log, lambda _: draw.random() < 0.3, is_committed=is_committed))
            rekeying = Rekeying(failing, PLAN)
            try:
                await rekeying.start()
                await rekeying.copy()
            except LogError:
                return False
            finally:
                copied += sum(rekeying.counts.values())
            # Nothing is closed in the end: a process that dies does not do that either.
            return True

    async def run() -> int:
        nonlocal lives
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db") as log:
            for partition in range(SOURCES):
                await fill(log, partition, draw_records(draw, 200))
        is_done = False
        while not is_done:
            lives += 1
            is_done = await live()
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            assert (await copy(log)).counts[Keying.REKEYED] == 0
            return await hold_copied(log)

    assert asyncio.run(run()) == 600
    assert lives > 3
    # A commit whose answer was lost is in the topic, but in nobody's count.
    assert copied == 600 if not is_committed else copied < 600


def test_processes_that_are_killed_leave_a_copy_that_is_whole_in_the_end(tmp_path: Path) -> None:
    path, count = tmp_path / "log.db", 12_000
    command = [sys.executable, "-m", "stream_app", "rekey", "--log", f"sqlite://{path}"]
    command += ["--from-topic", PLAN.source, "--to-topic", PLAN.target]

    async def copied(log: Log) -> int:
        return sum([(await log.bounds(TopicPartition("keyed", own))).end for own in range(TARGETS)])

    async def live(log: Log) -> bool:
        """Run a process and kill it after its first commit; gives True when it had come to its end before."""
        before = await copied(log)
        process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while await copied(log) == before and process.returncode is None:
                    await asyncio.sleep(0.001)
        finally:
            if process.returncode is None:
                process.kill()
            code = await process.wait()
        assert code in {0, -signal.SIGKILL}
        return code == 0

    async def run() -> tuple[int, int]:
        new_topics(path)
        async with opened(path, PLAN.owner) as log:
            for partition in range(SOURCES):
                await fill(log, partition, draw_records(random.Random(partition), count))
            kills = 0
            while not await live(log):
                kills += 1
            return kills, await hold_copied(log)

    kills, total = asyncio.run(run())
    assert total == SOURCES * count
    assert kills >= 2


class _TornWriter:
    """A writer that commits records and positions one after the other, and may die in between."""

    def __init__(self, writer: Writer, fails: Callable[[], bool]) -> None:
        self._writer, self._fails = writer, fails

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        offsets = await self._writer.commit(outgoing, {})
        if outgoing and self._fails():
            message = "died between records and positions"
            raise LogError(message)
        await self._writer.commit([], positions)
        return offsets

    async def close(self) -> None:
        await self._writer.close()


def test_these_tests_see_what_a_copy_in_two_transactions_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.adapters.rekeying.COMMIT_RECORDS_MAX", 17)
    failures = iter([False, True])

    async def run() -> None:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            await fill(log, 0, draw_records(random.Random(1), 60))
            torn = FailingLog(log, lambda _: False, is_committed=True)
            monkeypatch.setattr(torn, "writer", _torn(log, lambda: next(failures, False)))
            with pytest.raises(LogError, match="died between"):
                await copy(cast("Log", torn))
            await copy(log)
            with pytest.raises(AssertionError):
                await hold_copied(log)

    asyncio.run(run())


def _torn(log: Log, fails: Callable[[], bool]) -> Callable[[str], Awaitable[Writer]]:
    async def writer(name: str) -> Writer:
        return _TornWriter(await log.writer(name), fails)

    return writer


def test_a_second_copy_takes_over_from_the_first_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.adapters.rekeying.COMMIT_RECORDS_MAX", 10)

    async def run() -> int:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log, opened(tmp_path / "log.db", PLAN.owner) as other:
            for partition in range(SOURCES):
                await fill(log, partition, draw_records(random.Random(partition), 100))
            first, second = Rekeying(log, PLAN), Rekeying(other, PLAN)
            await first.start()
            await second.start()
            with pytest.raises(FencedError):
                await first.copy()
            await second.copy()
            return await hold_copied(log)

    assert asyncio.run(run()) == 300


def test_what_comes_later_is_copied_by_the_next_run_or_by_one_that_follows(tmp_path: Path) -> None:
    async def run() -> int:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            await fill(log, 0, draw_records(random.Random(1), 50))
            first = Rekeying(log, PLAN)
            await first.start()
            assert first.left == 50
            await fill(log, 1, draw_records(random.Random(2), 30))
            await first.copy()
            assert sum(first.counts.values()) == 50
            await first.stop()
            second = Rekeying(log, PLAN)
            await second.start()
            await second.copy()
            following = asyncio.ensure_future(second.follow())
            await fill(log, 2, draw_records(random.Random(3), 20))
            async with asyncio.timeout(60):
                while sum(second.counts.values()) < 50:
                    await asyncio.sleep(0.01)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await second.stop()
            return await hold_copied(log)

    assert asyncio.run(run()) == 100


async def _use_target(log: Log) -> None:
    await log.append([Outgoing("keyed", 1, [b"x"])])


async def _lose_records(log: Log) -> None:
    await fill(log, 0, draw_records(random.Random(1), 5))
    await copy(log)
    await fill(log, 0, draw_records(random.Random(2), 5))
    await log.truncate(TopicPartition("raw", 0), 10)
    if (await log.bounds(TopicPartition("raw", 0))).start <= 5:
        pytest.skip("the log keeps what it may forget")


@pytest.mark.parametrize(
    ("prepare", "plan", "told"),
    [
        (_use_target, PLAN, "holds records, but group rekey-raw-to-keyed has no positions"),
        (_lose_records, PLAN, "were deleted before they were copied"),
        (None, RekeyPlan("raw", "raw"), "cannot be copied onto itself"),
        (None, RekeyPlan("raw", "nowhere"), "topic nowhere: there is no such topic"),
    ],
)
def test_a_copy_that_could_lose_or_double_records_is_refused_with_what_to_do(
    tmp_path: Path, prepare: Callable[[Log], Awaitable[None]] | None, plan: RekeyPlan, told: str
) -> None:
    async def run() -> None:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", plan.owner) as log:
            if prepare is not None:
                await prepare(log)
            with pytest.raises(SettingsError, match=told):
                await Rekeying(log, plan).start()

    asyncio.run(run())


def test_a_commit_that_fails_names_the_largest_record_in_it(tmp_path: Path) -> None:
    begun: list[str] = []

    def fails(name: str) -> bool:
        begun.append(name)
        return len(begun) > 1

    async def run() -> None:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db", PLAN.owner) as log:
            await fill(log, 1, [(None, b"small"), (None, b"large" * 1000), (None, b"small")])
            rekeying = Rekeying(cast("Log", FailingLog(log, fails, is_committed=False)), PLAN)
            await rekeying.start()
            with pytest.raises(LogError, match="the largest record of this commit is raw-1 offset 1, 5,0"):
                await rekeying.copy()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _kept_signal_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_the_command_tells_what_became_of_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records: Source = [
        (b"c-1", json.dumps(native(customer_id="c-1")).encode()),
        (None, json.dumps(native(customer_id="c-2")).encode()),
        (b"old", json.dumps(track(userId="c-3")).encode()),
        (b"old", b"spoilt"),
        (None, b"spoilt"),
    ]

    async def run() -> None:
        new_topics(tmp_path / "log.db")
        async with opened(tmp_path / "log.db") as log:
            await fill(log, 0, records)

    asyncio.run(run())
    url = f"sqlite://{tmp_path / 'log.db'}"
    monkeypatch.setattr(
        sys, "argv", ["stream-app", "rekey", "--log", url, "--from-topic", "raw", "--to-topic", "keyed"]
    )
    for expected in (
        "5 records = 2 with a new key + 1 keyed already + 1 without a customer, by their old key "
        "+ 1 without a customer or key",
        "0 records = 0 with a new key",
    ):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out
