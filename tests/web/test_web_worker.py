"""Over the log of a real worker, the read model tells what the worker's engines hold, and forgets whom it erases."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stream_app.adapters.log.port import Log, Outgoing, TopicPartition
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.rating import states_of
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.erasure import COMMAND_HEADER, ERASE
from stream_app.web.api import create_api
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.streaming.harness import (
    TOPICS,
    Host,
    end_of,
    new_log,
    opened,
    produce,
    published,
    sales_of,
    tell_tick,
    working,
)
from tests.web.api_client import ApiClient
from tests.web.test_web_following import until

PARTITIONS = 2
SALES = sales_of(ShopSettings(customers=220, days=40, seed=4))


async def is_level(model: ReadModel, log: Log) -> bool:
    """Tell whether the model has read all rows and changes."""
    for number in range(PARTITIONS):
        progress = model.progress_of(number)
        state = (await log.bounds(TopicPartition(TOPICS.state, number))).end
        changes = (await log.bounds(TopicPartition(TOPICS.segment_changes, number))).end
        if progress.state_position < state or progress.changes_position < changes:
            return False
    return model.is_ready and model.changes_as_of_ms == model.as_of_ms


async def until_level(model: ReadModel, log: Log) -> None:
    async with asyncio.timeout(120):
        while not await is_level(model, log):
            await asyncio.sleep(0.01)


def rows_of(host: Host) -> dict[bytes, bytes]:
    found = {}
    for shard in host.worker.shards.values():
        table = shard.shard.engine.table
        live = ~table.is_erased(np.arange(len(table)))
        found.update({i: r.tobytes() for i, r, own in zip(table.ids.tolist(), table.rows, live, strict=True) if own})
    return found


def segments_of(host: Host) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for shard in host.worker.shards.values():
        engine = shard.shard.engine
        live = engine.table.live_rows()
        rows = engine.table.rows[live]
        states = states_of(rows["held"], rows["purchase_count"] > 0)
        counts.update(load_policy(None).name_segment(own) for own in states.tolist())
    return counts


def check_equal(model: ReadModel, host: Host, told: list[dict[str, object]]) -> None:
    rows = rows_of(host)
    assert len(model.customers) == len(rows)
    for customer_id, row in rows.items():
        place = model.customers.find(customer_id)
        assert model.customers.rows_at(np.array([place])).tobytes() == row
    codes = model.customers.codes
    assert {codes.name(code): count for code, count in model.customers.populations.items()} == dict(segments_of(host))
    assert model.history.change_count() == len(told)


def names_in(folder: Path, name: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if name in path.read_bytes()]


def test_the_model_tells_what_the_worker_holds_and_forgets_whom_it_erases(tmp_path: Path) -> None:
    history = tmp_path / "history"
    victim = Counter(sale.customer_id for sale in SALES).most_common(1)[0][0]
    asyncio.run(_follow_worker(tmp_path / "log.db", history, victim))
    assert names_in(history, victim.encode()) == []


async def _follow_worker(path: Path, history: Path, victim: str) -> None:
    new_log(path, PARTITIONS)
    model = ReadModel(load_policy(None), TOPICS, history / "history.db")
    async with opened(path) as log, opened(path, "web") as reading, working(log, PARTITIONS) as host:
        follower = Follower(model, reading)
        following = asyncio.create_task(follower.run())
        half = len(SALES) // 2
        for part in (SALES[:half], SALES[half:]):
            await produce(log, part, PARTITIONS)
            await tell_tick(log, end_of(part), PARTITIONS)
            await host.until_idle(end_of(part))
            await until_level(model, log)
            told = [change for number in range(PARTITIONS) for change in await published(log, number)]
            check_equal(model, host, told)
        assert model.as_of_ms == end_of(SALES)
        client = ApiClient(create_api(model, WebSettings()))
        assert (await ask(client, f"/v1/customers/{victim}/history"))["items"]
        await erase(log, host, victim)
        await until(lambda: model.customers.find(victim.encode()) < 0)
        assert len(model.customers) == len(rows_of(host))
        await check_gone(client, victim)
        follower.rebuild()
        generation = model.history.generation
        # The topic still tells of the customer; once rows have been read, the history forgets again.
        await until(lambda: model.history.generation != generation and model.is_ready)
        await until_level(model, log)
        await until(lambda: not model.may_hold_erased and not model.history.changes_of(victim.encode(), 0, 1))
        await check_gone(client, victim)
        following.cancel()
        await asyncio.wait([following])
    model.close()


async def erase(log: Log, host: Host, victim: str) -> None:
    own = next(sale.partition(PARTITIONS) for sale in SALES if sale.customer_id == victim)
    command = Outgoing(TOPICS.events, own, [b"{}"], [victim.encode()], [[(COMMAND_HEADER, ERASE)]])
    await log.append([command])
    await host.until(lambda: victim.encode() not in rows_of(host))


async def ask(client: ApiClient, path: str) -> Any:
    return (await client.call("GET", path)).json()


async def check_gone(client: ApiClient, victim: str) -> None:
    for part in ("", "/history", "/why"):
        assert (await ask(client, f"/v1/customers/{victim}{part}"))["code"] == "unknown_customer"
    told = (await ask(client, "/v1/changes?limit=500"))["items"]
    assert told
    assert victim not in {change["customer_id"] for change in told}
