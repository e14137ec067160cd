"""A network that is late and breaks off, a stranger who holds a transaction open: nothing is lost, or it is told."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.log.topics import Topics
from tests.crash.shop import expected_changes, shop
from tests.crash.world import World
from tests.kafka.broker import HOST, KafkaCluster, free_ports
from tests.kafka.plugin import start_cluster
from tests.kafka.proxy import SlowProxy

PARTITIONS = 2
EXIT_TRY_AGAIN = 70
RESETS = 3
STRANGER_TIMEOUT_MS = 600_000


@dataclass(frozen=True)
class Proxied:
    """A broker with an address of its own and one behind a proxy."""

    cluster: KafkaCluster
    proxy: SlowProxy
    address: str


@pytest.fixture
def proxied() -> Iterator[Proxied]:
    """A broker that has a second address, whose clients all come through a proxy."""
    own_port, proxy_port = free_ports(2)

    def settings(listeners: str) -> dict[str, str]:
        plain = listeners.partition(",")[0]
        return {
            "listeners": f"{listeners},PROXIED://{HOST}:{own_port}",
            "advertised.listeners": f"{plain},PROXIED://{HOST}:{proxy_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        }

    cluster = start_cluster(1, settings)
    try:
        with SlowProxy(proxy_port, own_port, seed=1) as proxy:
            yield Proxied(cluster, proxy, f"{HOST}:{proxy_port}")
    finally:
        cluster.stop()


def new_world(bootstrap: str, folder: Path) -> World:
    name = f"net-{uuid.uuid4().hex[:12]}"
    return World(f"kafka://{bootstrap}", Topics(name, f"{name}-events"), PARTITIONS, folder)


def test_a_network_that_is_seconds_late_and_breaks_off_loses_nothing(proxied: Proxied, tmp_path: Path) -> None:
    world = new_world(proxied.cluster.bootstrap, tmp_path)
    sales = shop()
    world.fill(sales)

    def start() -> None:
        world.start_worker(CRASH_ROWS_MAX="200", STREAM_APP_LOG=f"kafka://{proxied.address}")

    try:
        start()
        for number in range(1, RESETS + 1):
            if world.wait(until=number * len(sales) // (RESETS + 1)):
                break
            # Answers of one to three seconds, a round trip; and whatever is on its way when all connections go is gone.
            proxied.proxy.delay(0.5, 1.5)
            world.wait(until=world.progress() + 1)
            proxied.proxy.reset()
            world.wait(until=world.progress() + 1)
            proxied.proxy.delay(0.0, 0.0)
            for worker in list(world.workers):
                if worker.poll() == EXIT_TRY_AGAIN:
                    world.workers.remove(worker)
                    start()
        assert world.wait()
        print(f"events={len(sales)} resets={proxied.proxy.reset_count} workers={len(list(tmp_path.glob('worker-*')))}")
        assert proxied.proxy.reset_count >= 1
        assert world.faults(expected_changes(sales, PARTITIONS)) == []
    finally:
        world.close()


def test_a_transaction_of_a_stranger_is_named_and_recovery_goes_on_when_it_ends(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    world = new_world(kafka_bootstrap, tmp_path)
    sales = shop(120, 32)
    world.fill(sales)
    state = world.topics.state

    async def held_open() -> None:
        stranger = AIOKafkaProducer(
            bootstrap_servers=kafka_bootstrap.split(","),
            transactional_id=f"{state}-stranger",
            transaction_timeout_ms=STRANGER_TIMEOUT_MS,
        )
        await stranger.start()
        await stranger.begin_transaction()
        await stranger.send_and_wait(state, b"open", partition=0)
        # It tries four times, each as long as it waits for the transaction.
        worker = world.start_worker(CRASH_FOREIGN_S="5")
        while worker.poll() is None:
            await asyncio.sleep(0.1)
        assert worker.returncode == EXIT_TRY_AGAIN, world.output()
        assert f"open on {state}-0 since offset 0" in world.output()
        assert "kafka-transactions" in world.output()
        world.workers.remove(worker)
        await stranger.abort_transaction()
        await stranger.stop()

    try:
        asyncio.run(held_open())
        world.start_worker()
        assert world.wait()
        assert world.faults(expected_changes(sales, PARTITIONS)) == []
    finally:
        world.close()
