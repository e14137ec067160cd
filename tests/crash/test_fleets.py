"""Workers that join, leave, die and sleep, and brokers that die under them: the changes are those of the backtest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_app.adapters.log.topics import Topics
from tests.crash.shop import expected_changes, shop
from tests.crash.world import World
from tests.kafka.broker import KafkaCluster

SEED = int(os.environ.get("STREAM_APP_CRASH_SEED", "1"))
ROUNDS = max(1, int(os.environ.get("STREAM_APP_KILLS", "5")) // 20)
"""How often each kind of mishap comes: once on every run, five times in `make crash`."""
PARTITIONS = 5
"""Not to be divided evenly by two, three or four workers."""
EXIT_TRY_AGAIN = 70
Mishap = Callable[[], None]


class Fleet:
    """Workers on one application, of which any may meet with any mishap.

    Parameters
    ----------
    world
        The application.
    seed
        Of who is met by what.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._sleepers: list[subprocess.Popen[bytes]] = []
        self.told: list[str] = []

    def _note(self, what: str) -> None:
        self.told.append(what)

    def _somebody(self) -> subprocess.Popen[bytes]:
        return self._draw.choice(self._world.workers)

    def join(self) -> None:
        """Let one more come."""
        self._world.start_worker(CRASH_ROWS_MAX="20")
        self._note("join")

    def leave(self) -> None:
        """Send one away in an orderly way."""
        leaver = self._somebody()
        leaver.send_signal(signal.SIGTERM)
        # One that is still loading has not begun anything, and ends like any process. One that has slept may be about
        # to give up.
        codes = (0, -signal.SIGTERM, *([EXIT_TRY_AGAIN] if leaver in self._sleepers else ()))
        assert leaver.wait(60) in codes, self._world.output()
        self._world.workers.remove(leaver)
        self._note("leave")

    def die(self) -> None:
        """Kill one, and start another in its place, as a supervisor would."""
        self._world.kill(self._somebody())
        self._world.start_worker(CRASH_ROWS_MAX="20")
        self._note("die")

    def sleep(self) -> None:
        """Stop one until the others have gone on without it, then let it go on as a zombie."""
        sleeper = self._somebody()
        sleeper.send_signal(signal.SIGSTOP)
        self._sleepers.append(sleeper)
        before = self._world.progress()
        # Its partitions do not move before its session has ended; afterwards everybody's do.
        self._world.wait(until=before + 400)
        sleeper.send_signal(signal.SIGCONT)
        self._note("sleep")

    def replace_failed(self) -> None:
        """Start those again that gave up on the log, as a supervisor would."""
        for worker in list(self._world.workers):
            if worker.poll() == EXIT_TRY_AGAIN:
                self._world.workers.remove(worker)
                self._world.start_worker(CRASH_ROWS_MAX="20")
                self._note("try again")


def new_world(bootstrap: str, folder: Path, replication: int | None = None) -> World:
    name = f"fleet-{uuid.uuid4().hex[:12]}"
    world = World(f"kafka://{bootstrap}", Topics(name, f"{name}-events"), PARTITIONS, folder)
    world.fill(shop(), replication)
    return world


@pytest.fixture
def world(kafka_bootstrap: str, tmp_path: Path) -> Iterator[World]:
    """An application whose events wait for workers."""
    made = new_world(kafka_bootstrap, tmp_path)
    yield made
    made.close()


def test_workers_that_join_leave_die_and_sleep_lose_nothing_and_tell_nothing_twice(world: World) -> None:
    fleet = Fleet(world, SEED)
    mishaps: list[Mishap] = [fleet.join, fleet.die, fleet.leave, fleet.sleep] * ROUNDS
    random.Random(SEED).shuffle(mishaps)
    fleet.join()
    fleet.join()
    step = len(shop()) // (len(mishaps) + 1)
    for number, mishap in enumerate(mishaps, start=1):
        if world.wait(until=number * step):
            break
        fleet.replace_failed()
        if len(world.workers) < 2:
            fleet.join()
        mishap()
    assert world.wait()
    world.close()
    print(f"partitions={PARTITIONS} events={len(shop())} seed={SEED} mishaps={fleet.told}")
    assert len(fleet.told) >= 4
    assert world.faults(expected_changes(shop(), PARTITIONS)) == []


def test_brokers_killed_in_rotation_under_two_workers_lose_nothing(
    kafka_three_brokers: KafkaCluster, tmp_path: Path
) -> None:
    cluster = kafka_three_brokers
    world = new_world(cluster.bootstrap, tmp_path, cluster.replication)
    try:
        fleet = Fleet(world, SEED)
        fleet.join()
        fleet.join()
        kills = 3 * ROUNDS
        step = len(shop()) // (kills + 1)
        for number in range(kills):
            is_done = world.wait(until=(number + 1) * step)
            broker = cluster.brokers[number % len(cluster.brokers)]
            broker.kill()
            broker.start()
            cluster.wait_until_ready()
            fleet.replace_failed()
            if is_done:
                break
        while not world.wait(until=world.progress() + 200):
            fleet.replace_failed()
        print(f"brokers=3 kills={kills} events={len(shop())} workers={fleet.told}")
        assert world.faults(expected_changes(shop(), PARTITIONS)) == []
    finally:
        world.close()
