"""What operators see: counts of commits, populations, and whether the worker lives and is ready."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import SettingsError
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.metrics import Metrics, PopulationCollector
from stream_app.streaming.metrics_server import MetricsServer
from tests.streaming.harness import end_of, new_log, opened, produce, published, sales_of, tell_tick, working

PARTITIONS = 2


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text: str, name: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
    return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}


def test_metrics_count_what_was_committed(tmp_path: Path) -> None:
    sales = sales_of(ShopSettings(customers=150, days=40, seed=5))
    registry = CollectorRegistry()
    is_ready = False

    async def run() -> tuple[str, int, int]:
        path = tmp_path / "log.db"
        new_log(path, PARTITIONS)
        async with opened(path) as log:
            await produce(log, sales, PARTITIONS)
            await tell_tick(log, end_of(sales), PARTITIONS)
            async with working(log, PARTITIONS, observer=Metrics(registry, lambda: 1 << 41)) as host:
                registry.register(PopulationCollector(host.worker, load_policy(None)))
                await host.until_idle(end_of(sales))
                server = MetricsServer(registry, is_alive=lambda: True, is_ready=lambda: is_ready)
                server.start("127.0.0.1", 0)
                try:
                    assert get(server.port, "/livez") == (200, "ok\n")
                    assert get(server.port, "/readyz") == (503, "not yet\n")
                    assert get(server.port, "/")[0] == 404
                    text = get(server.port, "/metrics")[1]
                finally:
                    server.stop()
            changes = [len(await published(log, partition)) for partition in range(PARTITIONS)]
            return text, sum(changes), len({sale.customer_id for sale in sales})

    text, change_count, customer_count = asyncio.run(run())
    events = samples(text, "segmentation_events_total")
    assert sum(events.values()) == len(sales)
    assert {label for label in events if 'outcome="applied"' in label}
    assert change_count > 10
    assert sum(samples(text, "segmentation_segment_changes_total").values()) == change_count
    assert sum(samples(text, "segmentation_segment_customers").values()) == customer_count
    assert samples(text, "segmentation_lag_records") == {'{partition="0"}': 0.0, '{partition="1"}': 0.0}
    assert "c0000" not in text


def test_an_address_in_use_is_told_in_one_line() -> None:
    first = MetricsServer(CollectorRegistry(), is_alive=lambda: True, is_ready=lambda: True)
    first.start("127.0.0.1", 0)
    second = MetricsServer(CollectorRegistry(), is_alive=lambda: True, is_ready=lambda: True)
    try:
        with pytest.raises(SettingsError, match="choose another --metrics-port"):
            second.start("127.0.0.1", first.port)
    finally:
        first.stop()
