"""The read model over a real broker: the same answers, although transactions leave holes in its logs."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from stream_app.adapters.log.kafka.admin import create_topics
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.topics import Topics
from stream_app.domain.rating import states_of
from stream_app.simulation.settings import ShopSettings
from stream_app.web.api import create_api
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.web.api_client import ApiClient
from tests.web.shop_log import ShopLog

PARTITIONS = 2
DEADLINE_S = 120.0


@asynccontextmanager
async def following(model: ReadModel, bootstrap: str) -> AsyncIterator[Follower]:
    log = KafkaLog(bootstrap, "web")
    follower = Follower(model, log)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])
        await log.stop()


async def until_level(model: ReadModel, shop: ShopLog) -> None:
    """Wait until the model says that it has read everything."""
    async with asyncio.timeout(DEADLINE_S):
        while not (
            model.is_ready
            and [model.progress_of(number).batch_number for number in range(PARTITIONS)] == shop.commits
            and model.changes_as_of_ms == model.as_of_ms
        ):
            await asyncio.sleep(0.02)


def check(model: ReadModel, shop: ShopLog) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    for engine in shop.engines:
        rows = engine.table.rows
        states = states_of(rows["held"], rows["purchase_count"] > 0)
        counts.update(shop.policy.name_segment(own) for own in states.tolist())
    codes = model.customers.codes
    assert {codes.name(code): count for code, count in model.customers.populations.items()} == dict(counts)
    assert model.history.change_count() == len(shop.told)


async def write_and_follow(bootstrap: str, shop: ShopLog, history: Path) -> str:
    log = KafkaLog(bootstrap, "shop")
    await log.start()
    writer = await log.writer("shop")
    model = ReadModel(shop.policy, shop.topics, history)
    async with following(model, bootstrap):
        for step in shop.run():
            await writer.commit(step, {})
        await until_level(model, shop)
        check(model, shop)
        status = (await ApiClient(create_api(model, WebSettings())).call("GET", "/v1/status")).json()
        assert status["state"] == "live"
        assert status["knowledge"]["version"] == shop.last_version
    await writer.close()
    await log.stop()
    generation = model.history.generation
    model.close()
    return generation


async def read_again(bootstrap: str, shop: ShopLog, history: Path) -> str:
    model = ReadModel(shop.policy, shop.topics, history)
    async with following(model, bootstrap):
        await until_level(model, shop)
        check(model, shop)
        assert model.changes_seen == 0
    generation = model.history.generation
    model.close()
    return generation


def test_the_model_follows_a_broker_and_goes_on_after_a_restart(kafka_bootstrap: str, tmp_path: Path) -> None:
    app = f"app-{uuid.uuid4().hex[:12]}"
    topics = Topics(app, f"{app}-events")
    create_topics(kafka_bootstrap, topics, PARTITIONS, 1)
    shop = ShopLog(ShopSettings(customers=220, days=40, seed=4), PARTITIONS, topics)
    history = tmp_path / "history.db"
    generation = asyncio.run(write_and_follow(kafka_bootstrap, shop, history))
    assert asyncio.run(read_again(kafka_bootstrap, shop, history)) == generation
