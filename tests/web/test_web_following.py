"""The model follows the log: it goes on where it was, begins anew when it has to, and says what is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from stream_app.adapters.log.port import Bounds, Log, Outgoing, TopicPartition
from stream_app.adapters.state_records import StateRecord, decode_state_record, encode_state_record
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.web.api import create_api
from stream_app.web.change_records import Batch, ChangeFilter
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.factories import make_policy
from tests.web.api_client import ApiClient
from tests.web.conftest import Shop
from tests.web.reading import read_all
from tests.web.shop_log import TOPICS, make_log

COMPARED = ("/v1/segments", "/v1/changes", "/v1/populations", "/v1/migrations", "/v1/quality", "/v1/distribution")


class CountingLog:
    """A log that counts which records are read from it.

    Parameters
    ----------
    log
        The log itself.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._path = getattr(log, "_path")  # noqa: B009 - the port has no path
        self.counts: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def follow(self, starts: Any) -> Any:
        async for partition, records in self._log.follow(starts):
            self.counts[partition.topic] = self.counts.get(partition.topic, 0) + len(records)
            yield partition, records


def answers(model: ReadModel) -> list[Any]:
    client = ApiClient(create_api(model, WebSettings()))
    return [client.get(path).json() for path in COMPARED]


def read(shop: Shop, history: Path | None, log: Any = None, identity: str = "test") -> ReadModel:
    model = ReadModel(shop.source.policy, TOPICS, history, identity)
    asyncio.run(read_all(model, log or make_log(shop.path)))
    return model


def test_after_a_restart_changes_and_knowledge_are_not_read_again(shop: Shop, tmp_path: Path) -> None:
    first = read(shop, tmp_path / "history.db")
    told, generation = answers(first), first.history.generation
    first.close()
    log = CountingLog(make_log(shop.path))
    second = read(shop, tmp_path / "history.db", log)
    assert answers(second) == told
    assert second.history.generation == generation
    assert log.counts.get(TOPICS.segment_changes, 0) == 0
    assert log.counts.get(TOPICS.knowledge, 0) == 0
    second.close()


@pytest.mark.parametrize("harm", ["lost", "empty", "garbage", "cut", "other"])
def test_a_history_that_is_lost_or_damaged_is_made_anew(
    shop: Shop, model: ReadModel, tmp_path: Path, harm: str
) -> None:
    path = tmp_path / "history.db"
    first = read(shop, path)
    first.close()
    if harm == "lost":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "garbage":
        path.write_bytes(b"no database " * 1000)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        with sqlite3.connect(path) as database:
            database.execute("UPDATE about SET value = 'something else' WHERE name = 'identity'")
        database.close()
    second = read(shop, path)
    assert answers(second) == answers(model)
    second.close()


def test_a_log_that_was_made_anew_is_read_from_its_beginning(shop: Shop, tmp_path: Path) -> None:
    first = read(shop, tmp_path / "history.db")
    first.close()
    path = tmp_path / "other.db"

    async def write_other() -> None:
        log = make_log(path)
        await log.start()
        changes = await records_of(make_log(shop.path), TopicPartition(TOPICS.segment_changes, 0))
        await log.append([Outgoing(TOPICS.segment_changes, 0, changes[5:])])
        await log.append([Outgoing(TOPICS.segment_changes, 1, changes[:5])])
        await log.stop()

    asyncio.run(write_other())
    second = ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db", "test")
    asyncio.run(read_all(second, make_log(path)))
    count = asyncio.run(end_of(path, TopicPartition(TOPICS.segment_changes, 0)))
    assert second.history.change_count() == count + 5
    second.close()


async def records_of(log: Log, partition: TopicPartition) -> list[bytes]:
    await log.start()
    bounds: Bounds = await log.bounds(partition)
    chunks = [chunk async for chunk in log.read(partition, bounds.start, bounds.end)]
    await log.stop()
    return [record.value for chunk in chunks for record in chunk if record.value is not None]


async def end_of(path: Path, partition: TopicPartition) -> int:
    log = make_log(path)
    await log.start()
    end = (await log.bounds(partition)).end
    await log.stop()
    return end


def state_records(shop: Shop, partition: int = 0) -> list[StateRecord]:
    packed = asyncio.run(records_of(make_log(shop.path), TopicPartition(TOPICS.state, partition)))
    return [decode_state_record(record) for record in packed]


def test_rebuilding_gives_the_same_answers(shop: Shop, tmp_path: Path) -> None:
    model = ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db")
    log, watching = make_log(shop.path), make_log(shop.path)
    follower = Follower(model, log)

    async def rebuild() -> bool:
        await watching.start()
        task = asyncio.create_task(follower.run())
        await until(lambda: model.is_ready and model.history.change_count() == len(shop.source.told))
        generation, rows = model.history.generation, model.rows_applied
        follower.rebuild()
        await until(lambda: model.history.generation != generation)
        await until(lambda: model.is_ready and model.history.change_count() == len(shop.source.told))
        task.cancel()
        await asyncio.wait([task])
        await watching.stop()
        return model.rows_applied >= 2 * rows

    assert asyncio.run(rebuild())
    model.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not is_so():
            await asyncio.sleep(0.01)


def test_rows_are_read_again_from_the_start_when_commits_are_missing(shop: Shop, tmp_path: Path) -> None:
    records = state_records(shop)
    path = tmp_path / "log.db"
    model = ReadModel(shop.source.policy, TOPICS)

    async def skip() -> None:
        log = make_log(path)
        await log.start()
        await append_state(log, records[:3])
        task = asyncio.create_task(Follower(model, make_log(path)).run())
        await until(lambda: model.is_ready)
        # What comes next is not the next commit: those between were never seen.
        await append_state(log, records[6:9])
        await until(lambda: model.progress_of(0).batch_number == records[8].header.batch_number)
        task.cancel()
        await asyncio.wait([task])
        await log.stop()

    asyncio.run(skip())
    expected = ReadModel(shop.source.policy, TOPICS)
    for record in records[:3] + records[6:9]:
        expected.apply_state(0, record)
    assert model.customers.populations == expected.customers.populations
    model.close()
    expected.close()


def test_rows_that_were_truncated_away_unread_are_read_again_from_the_start(shop: Shop, tmp_path: Path) -> None:
    records = state_records(shop)
    path = tmp_path / "log.db"
    model = ReadModel(shop.source.policy, TOPICS)

    async def write(new: list[StateRecord], before: int) -> None:
        log = make_log(path)
        await log.start()
        await append_state(log, new)
        await log.truncate(TopicPartition(TOPICS.state, 0), before)
        await log.stop()
        await read_all(model, make_log(path))

    asyncio.run(write(records[:3], 0))
    # All that is still told is told again by records from the seventh on.
    asyncio.run(write(records[3:40], 6))
    start = asyncio.run(start_of(path))
    assert start > 3
    expected = ReadModel(shop.source.policy, TOPICS)
    for record in records[start:40]:
        expected.apply_state(0, record)
    assert model.customers.populations == expected.customers.populations
    model.close()
    expected.close()


async def start_of(path: Path) -> int:
    log = make_log(path)
    await log.start()
    start = (await log.bounds(TopicPartition(TOPICS.state, 0))).start
    await log.stop()
    return start


async def append_state(log: Log, records: list[StateRecord]) -> None:
    packed = [encode_state_record(record) for record in records]
    await log.append([Outgoing(TOPICS.state, 0, packed)])


def test_topics_that_are_not_there_yet_are_waited_for(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    make_log(path)
    connection = sqlite3.connect(path)
    connection.close()
    other = ReadModel(shop.source.policy, type(TOPICS)("later", "events"))

    async def wait() -> str | None:
        task = asyncio.create_task(Follower(other, make_log(path)).run())
        await until(lambda: other.fault is not None)
        task.cancel()
        await asyncio.wait([task])
        return other.fault

    assert "start the worker of later" in str(asyncio.run(wait()))
    client = ApiClient(create_api(other, WebSettings()))
    assert client.get("/v1/status").json()["state"] == "disconnected"
    assert client.get("/readyz").status_code == 503
    other.close()


def test_the_state_of_another_policy_is_refused(shop: Shop) -> None:
    model = ReadModel(make_policy(), TOPICS)
    with pytest.raises(IncompatibleStateError, match="another policy"):
        model.apply_state(0, state_records(shop)[0])
    model.close()


def test_two_servers_do_not_share_a_history(shop: Shop, tmp_path: Path) -> None:
    first = ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db")
    first.store_changes(Batch(TOPICS.segment_changes, 0, 1, b""), [])
    with pytest.raises(SettingsError, match="in use by another server"):
        ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db")
    first.close()


def test_a_history_that_cannot_be_written_is_refused_in_a_line(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--history"):
        ReadModel(shop.source.policy, TOPICS, tmp_path / "file" / "history.db")


def test_erased_customers_are_forgotten_with_their_history(shop: Shop) -> None:
    model = ReadModel(shop.source.policy, TOPICS)
    for partition in range(2):
        for record in state_records(shop, partition):
            model.apply_state(partition, record)
        model.progress_of(partition).is_read = True
    told = [change for change in shop.source.told if change["customer_id"] == "c00000020"]
    model.store_changes(Batch(TOPICS.segment_changes, 0, 1, b""), [orjson.dumps(c) for c in shop.source.told])
    client = ApiClient(create_api(model, WebSettings()))
    assert client.get("/v1/customers/c00000020/history").json()["items"] == told
    partition, row = next(
        (number, engine.table.find(np.array([b"c00000020"]))[0])
        for number, engine in enumerate(shop.source.engines)
        if engine.table.find(np.array([b"c00000020"]))[0] >= 0
    )
    before = len(model.customers)
    last = state_records(shop, partition)[-1]
    none = np.empty(0, dtype=np.uint32)
    erasing = StateRecord(last.header, none, last.rows[:0], np.empty(0, "S1"), none, np.array([row], dtype=np.uint32))
    for _ in range(2):
        model.apply_state(partition, erasing)
        assert len(model.customers) == before - 1
        for part in ("", "/history", "/why"):
            assert client.get(f"/v1/customers/c00000020{part}").status_code == 404
    assert all(b"c00000020" not in change.record for change in model.history.changes(ChangeFilter(), None, 10_000))
    assert int(model.customers.histograms[0].sum()) == sum(
        count
        for code, count in model.customers.populations.items()
        if model.customers.codes.name(code)[0] != "prospect"
    )
    model.close()


def test_a_full_disk_is_told_and_nothing_is_lost_once_there_is_room(shop: Shop, tmp_path: Path) -> None:
    model = ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db", "test")
    database = model.history._database
    database.execute("PRAGMA max_page_count = 60")

    async def fill() -> str | None:
        task = asyncio.create_task(Follower(model, make_log(shop.path)).run())
        await until(lambda: model.fault is not None and "full" in model.fault)
        fault = model.fault
        database.execute("PRAGMA max_page_count = 1000000")
        await until(lambda: model.history.change_count() == len(shop.source.told) and model.fault is None)
        task.cancel()
        await asyncio.wait([task])
        return fault

    assert "the history cannot be used: database or disk is full" in str(asyncio.run(fill()))
    told = model.history.changes(ChangeFilter(), None, 10**6)
    assert sorted(orjson.loads(change.record)["change_id"] for change in told) == sorted(
        change["change_id"] for change in shop.source.told
    )
    model.close()
