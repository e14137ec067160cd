"""A topic on a real broker is copied to a keyed one, once, and a backtest of it tells what one of a file tells."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import cast

import pytest

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition
from stream_app.adapters.log.urls import parse_topic_url
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.rekeying import Keying, Rekeying, RekeyPlan
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.topic_log import TopicSource
from stream_app.simulation.settings import ShopSettings
from tests.kafka.kafka_case import KafkaCase
from tests.log.clients import Clients, read_all
from tests.streaming.harness import FailingLog, Sale, backtest_changes, sales_of, without_source

SOURCES, TARGETS = 2, 3
DEADLINE_S = 300.0


async def _fill(log: Log, topic: str, sales: list[Sale]) -> None:
    """Write sales without keys to partitions at random, and something that names nobody to each."""
    draw = random.Random(2)
    parts: list[list[Sale]] = [[] for _ in range(SOURCES)]
    for sale in sales:
        parts[draw.randrange(SOURCES)].append(sale)
    for partition, part in enumerate(parts):
        await log.append([Outgoing(topic, partition, [b"spoilt"], [b"old"], timestamps_ms=[part[0].time_ms])])
        values, times_ms = [sale.value for sale in part], [sale.time_ms for sale in part]
        await log.append([Outgoing(topic, partition, values, timestamps_ms=times_ms)])


async def _copied(clients: Clients, plan: RekeyPlan) -> int:
    """Copy with failures around commits until all is copied; gives how many lives it took."""
    lives, draw = 0, random.Random(3)
    while True:
        lives += 1
        log = await clients.start(plan.owner)
        failing = FailingLog(log, lambda _: draw.random() < 0.25, is_committed=lives % 2 == 0)
        rekeying = Rekeying(cast("Log", failing), plan)
        try:
            await rekeying.start()
            await rekeying.copy()
        except LogError:
            continue
        else:
            return lives
        finally:
            await rekeying.stop()


def test_a_copied_topic_gives_the_changes_of_the_events_it_was_made_of(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.adapters.rekeying.COMMIT_RECORDS_MAX", 300)
    sales, case = sales_of(ShopSettings(customers=150, days=100, seed=8)), KafkaCase(kafka_bootstrap)

    async def copy() -> str:
        async with asyncio.timeout(DEADLINE_S), Clients(case) as clients:
            plan = RekeyPlan(await case.topic(SOURCES), await case.topic(TARGETS))
            await _fill(await clients.start(), plan.source, sales)
            assert await _copied(clients, plan) > 2
            log = await clients.start(plan.owner)
            again = Rekeying(log, plan)
            await again.start()
            await again.copy()
            await again.stop()
            assert again.counts == dict.fromkeys(Keying, 0)
            copied = [len(await read_all(log, TopicPartition(plan.target, own))) for own in range(TARGETS)]
            assert sum(copied) == len(sales) + SOURCES
            return plan.target

    topic = asyncio.run(copy())
    source = TopicSource(parse_topic_url(f"kafka://{kafka_bootstrap}/{topic}", None, ""))
    settings = BacktestSettings(
        topic=source, policy=load_policy(None), out=tmp_path / "topic", run_started_ms=0, order="arrival"
    )
    result = run_backtest(settings)
    assert result.summary["rows"]["read"] == len(sales) + SOURCES
    assert result.summary["rows"]["dead_letters"] == {"malformed_record": SOURCES}
    changes = [*map(json.loads, (tmp_path / "topic" / "changes.jsonl").read_bytes().splitlines())]
    assert {own["source"].get("topic") for own in changes} <= {topic, None}
    expected = backtest_changes(sales, tmp_path / "file", load_policy(None))
    assert len(expected) > 30
    assert _by_customer([without_source(own) for own in changes]) == _by_customer(expected)


def _by_customer(changes: list[dict[str, object]]) -> dict[object, list[dict[str, object]]]:
    told = defaultdict(list)
    for change in changes:
        told[change["customer_id"]].append(change)
    return dict(told)
