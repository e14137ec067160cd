"""The number of partitions of an application on Kafka is changed in place: grown, exported, imported, compared."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from stream_app.adapters.log.kafka import admin
from stream_app.adapters.log.kafka.clients import server_list
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.topics import Partitions, Topics
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import IncompatibleStateError
from stream_app.streaming.state_export import ExportedState, export_state
from stream_app.streaming.state_import import ImportPlan, import_state
from tests.state.drained import halves, produce_by_key, sales
from tests.streaming import harness

OLD_COUNT, NEW_COUNT = 2, 3


def grow(bootstrap: str, topics: Topics) -> None:
    """Give all topics that go with the events more partitions, as an operator would."""
    client = KafkaAdminClient(bootstrap_servers=server_list(bootstrap))
    try:
        grown = [name for name, rule in topics.rules().items() if rule.partitions is Partitions.AS_EVENTS]
        client.create_partitions({name: NEW_COUNT for name in [topics.events, *grown]})
    finally:
        client.close()


@asynccontextmanager
async def connected(bootstrap: str, topics: Topics) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(bootstrap, topics.app)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


def test_an_application_goes_on_with_more_partitions(
    tmp_path: Path, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = uuid.uuid4().hex
    topics, policy = Topics(f"grown-{own}", f"events-{own}"), load_policy(None)
    monkeypatch.setattr(harness, "TOPICS", topics)
    admin.create_topics(kafka_bootstrap, topics, OLD_COUNT, None)

    async def work(log: KafkaLog, chosen: tuple[harness.Sale, ...], end_ms: int, count: int) -> None:
        await produce_by_key(log, topics.events, chosen, count)
        await harness.tell_tick(log, end_ms, count)
        async with harness.working(log, count) as host:
            await host.until_idle(end_ms)

    async def before(log: KafkaLog) -> ExportedState:
        first, _, middle_ms = halves()
        await work(log, first, middle_ms, OLD_COUNT)
        return await export_state(log, topics, policy)

    async def after(log: KafkaLog, exported: ExportedState) -> list[dict[str, object]]:
        with pytest.raises(IncompatibleStateError, match="state import"):
            async with harness.working(log, NEW_COUNT):
                pass
        plan = ImportPlan(topics, NEW_COUNT, continues=True, replaces=True)
        counts = await import_state(log, policy, exported, plan)
        assert sum(counts) == len(exported.ids)
        assert min(counts) > 0
        await work(log, halves()[1], harness.end_of(sales()), NEW_COUNT)
        return [change for partition in range(NEW_COUNT) for change in await harness.published(log, partition)]

    async def run() -> list[dict[str, object]]:
        async with connected(kafka_bootstrap, topics) as log:
            exported = await before(log)
        grow(kafka_bootstrap, topics)
        async with connected(kafka_bootstrap, topics) as log:
            return await after(log, exported)

    changes = by_customer(asyncio.run(run()))
    assert changes == by_customer(harness.backtest_changes(sales(), tmp_path / "backtest", policy))


def by_customer(changes: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(changes, key=lambda own: (str(own["customer_id"]), int(str(own["sequence"]))))
