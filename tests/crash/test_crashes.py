"""Kill -9 at any moment and at every point: nothing is lost, nothing is told twice, on both logs."""

from __future__ import annotations

import os
import random
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from stream_app.adapters.log.topics import Topics
from tests.crash.crashing_worker import POINTS
from tests.crash.shop import expected_changes, shop
from tests.crash.world import World

KILLS = int(os.environ.get("STREAM_APP_KILLS", "5"))
SEED = int(os.environ.get("STREAM_APP_CRASH_SEED", "1"))
PARTITIONS = 2
IN_TRANSACTION = ("after_outputs", "before_offsets", "after_offsets", "before_end")
LIVES = 6
"""Kills at each point in `make crash`, which has a test for each of them."""

NewWorld = Callable[[str], World]


@pytest.fixture
def new_world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NewWorld]:
    """Make worlds on a kind of log; their workers end with the test."""
    worlds: list[World] = []

    def make(kind: str) -> World:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/log.sqlite".replace("////", "///")
        else:
            url = f"kafka://{request.getfixturevalue('kafka_bootstrap')}"
        name = f"crash-{uuid.uuid4().hex[:12]}"
        worlds.append(World(url, Topics(name, f"{name}-events"), PARTITIONS, tmp_path))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_workers_killed_at_random_lose_nothing_and_tell_nothing_twice(kind: str, new_world: NewWorld) -> None:
    draw, world = random.Random(SEED), new_world(kind)
    world.fill(shop())
    total = 2 * len(shop())
    process = world.start_worker(CRASH_ROWS_MAX="100")
    for until in sorted(draw.randrange(1, total) for _ in range(KILLS)):
        is_done = world.wait(until=until)
        world.kill(process)
        process = world.start_worker(CRASH_ROWS_MAX="100")
        if is_done:
            break
    assert world.wait()
    world.close()
    print(f"log={kind} kills={world.kill_count} events={len(shop())} seed={SEED}")
    assert world.kill_count >= min(KILLS, 3)
    assert world.faults(expected_changes(shop(), PARTITIONS)) == []


def points_of(kind: str) -> list[str]:
    """Give the points that a worker on a log comes by."""
    return [point for point in POINTS if kind == "kafka" or point not in IN_TRANSACTION]


def kill_at_points(world: World, points: Sequence[str], draw: random.Random) -> None:
    """Let one life after the other end at the next point, and the last one finish."""
    for point in points:
        count = draw.randrange(1, 4) if point in ("switch", "recovery") else draw.randrange(1, 20)
        process = world.start_worker(CRASH_POINT=point, CRASH_COUNT=str(count), CRASH_ROWS_MAX="100")
        if world.wait(process=process):
            world.kill(process)
            break
        assert process.returncode == -signal.SIGKILL, world.output()
        world.workers.remove(process)
        world.kill_count += 1
    world.start_worker(CRASH_ROWS_MAX="100")
    assert world.wait()
    world.close()


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_workers_killed_at_every_point_in_turn_lose_nothing_and_tell_nothing_twice(
    kind: str, new_world: NewWorld
) -> None:
    world, points = new_world(kind), points_of(kind)
    world.fill(shop(600, 32))
    # A switch of scoring and a truncation come late, so those that come early go first.
    kill_at_points(world, points, random.Random(f"{SEED}{kind}"))
    print(f"log={kind} points={','.join(points[: world.kill_count])} kills={world.kill_count} seed={SEED}")
    assert world.kill_count > len(points) // 2
    # A shop in which nothing happens would let every worker pass.
    assert sum(map(len, expected_changes(shop(600, 32), PARTITIONS))) > 300
    assert world.faults(expected_changes(shop(600, 32), PARTITIONS)) == []


@pytest.mark.skipif(KILLS <= 5, reason="many kills at each point: `make crash` runs them")
@pytest.mark.parametrize(
    ("kind", "point"), [(kind, point) for kind in ("sqlite", "kafka") for point in points_of(kind)]
)
def test_a_worker_killed_at_a_point_again_and_again_loses_nothing_and_tells_nothing_twice(
    kind: str, point: str, new_world: NewWorld
) -> None:
    world = new_world(kind)
    world.fill(shop(600, 32))
    # The first life leaves something to recover.
    kill_at_points(world, ["after_commit", *[point] * LIVES], random.Random(f"{SEED}{kind}{point}"))
    print(f"log={kind} point={point} kills={world.kill_count} seed={SEED}")
    assert world.faults(expected_changes(shop(600, 32), PARTITIONS)) == []


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_the_same_tests_see_what_is_lost_without_transactions(kind: str, new_world: NewWorld) -> None:
    world = new_world(kind)
    world.fill(shop(600, 32))
    for count in (3, 5):
        process = world.start_worker(
            CRASH_POINT="after_changes", CRASH_COUNT=str(count), CRASH_ROWS_MAX="100", WITHOUT_TRANSACTIONS="1"
        )
        world.wait(process=process)
        assert process.returncode == -signal.SIGKILL, world.output()
        world.workers.remove(process)
    faults = world.faults()
    print(f"log={kind} faults={len(faults)}")
    assert any("published" in fault or "sequences" in fault for fault in faults)
