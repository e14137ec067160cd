"""The change of the number of partitions: stop, drain, export, create, import, compare, go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import IncompatibleStateError, SettingsError, StreamAppError
from stream_app.learning.learner import Learner
from stream_app.streaming.export_file import read_export, write_export
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.recovery import recover_shard
from stream_app.streaming.shard import ShardSetup
from stream_app.streaming.state_export import ExportedState, export_state
from stream_app.streaming.state_import import ImportPlan, import_state
from tests.state.drained import OLD_COUNT, halves, produce_by_key, sales
from tests.streaming.harness import (
    TOPICS,
    FailingLog,
    backtest_changes,
    end_of,
    new_log,
    opened,
    produce,
    published,
    tell_tick,
    working,
)


async def changes_of(log: Log, count: int) -> list[dict[str, object]]:
    return [change for partition in range(count) for change in await published(log, partition)]


async def second_half(path: Path, count: int) -> list[dict[str, object]]:
    """Let the new shards work on what came after; gives their changes."""
    async with opened(path) as log:
        await produce_by_key(log, TOPICS.events, halves()[1], count)
        await tell_tick(log, end_of(sales()), count)
        async with working(log, count) as host:
            await host.until_idle(end_of(sales()))
        return await changes_of(log, count)


def by_customer(changes: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(changes, key=lambda own: (str(own["customer_id"]), int(str(own["sequence"]))))


@pytest.mark.parametrize("new_count", [1, 5])
def test_with_another_number_of_partitions_the_changes_stay_those_of_a_backtest(
    drained: Path, tmp_path: Path, new_count: int
) -> None:
    policy = load_policy(None)
    new, file = tmp_path / "new.db", tmp_path / "state.npz"

    async def run() -> tuple[list[dict[str, object]], list[int]]:
        async with opened(drained) as log:
            changes = await changes_of(log, OLD_COUNT)
            write_export(file, await export_state(log, TOPICS, policy))
        new_log(new, new_count)
        async with opened(new) as log:
            plan = ImportPlan(TOPICS, new_count, continues=False)
            counts = await import_state(log, policy, read_export(file, policy), plan)
        return changes + await second_half(new, new_count), counts

    changes, counts = asyncio.run(run())
    assert sum(counts) == len({sale.customer_id for sale in halves()[0]})
    assert (np.array(counts) > 0).all()
    expected = backtest_changes(sales(), tmp_path / "backtest", policy)
    assert len(expected) > 60
    assert by_customer(changes) == by_customer(expected)


def test_what_is_exported_again_after_an_import_is_what_was_exported(drained: Path, tmp_path: Path) -> None:
    policy = load_policy(None)
    new = tmp_path / "new.db"

    async def run() -> tuple[ExportedState, ExportedState]:
        async with opened(drained) as log:
            exported = await export_state(log, TOPICS, policy)
        new_log(new, 4)
        async with opened(new) as log:
            await import_state(log, policy, exported, ImportPlan(TOPICS, 4, continues=False))
            return exported, await export_state(log, TOPICS, policy)

    first, second = asyncio.run(run())
    order, again = np.argsort(first.ids), np.argsort(second.ids)
    assert first.ids[order].tolist() == second.ids[again].tolist()
    assert first.rows[order].tobytes() == second.rows[again].tobytes()
    assert (first.header.clock, first.header.renewed_day) == (second.header.clock, second.header.renewed_day)
    assert (first.header.term_sums, first.header.term_counts) == (second.header.term_sums, second.header.term_counts)
    assert [own.content for own in first.notices] == [own.content for own in second.notices]


def test_an_export_survives_its_file(drained: Path, tmp_path: Path) -> None:
    policy = load_policy(None)
    file = tmp_path / "state.npz"

    async def run() -> ExportedState:
        async with opened(drained) as log:
            return await export_state(log, TOPICS, policy)

    exported = asyncio.run(run())
    write_export(file, exported)
    again = read_export(file, policy)
    assert again.header == exported.header
    assert again.ids.tolist() == exported.ids.tolist()
    assert again.rows.tobytes() == exported.rows.tobytes()
    assert (again.events, again.positions, again.learner) == (exported.events, exported.positions, exported.learner)
    assert [(own.headers, own.content) for own in again.notices] == [
        (own.headers, own.content) for own in exported.notices
    ]
    file.write_bytes(file.read_bytes()[:-1_000])
    with pytest.raises(IncompatibleStateError, match="export it again"):
        read_export(file, policy)
    with pytest.raises(SettingsError, match="state export"):
        read_export(tmp_path / "missing", policy)


async def _more_events(log: Log) -> None:
    await produce(log, halves()[1][:5], OLD_COUNT)


async def _a_tick(log: Log) -> None:
    await tell_tick(log, end_of(sales()), OLD_COUNT)


@pytest.mark.parametrize(
    ("happens", "what"),
    [(_more_events, "events-. is applied up to"), (_a_tick, "test-ticks-0 is applied up to 1 of 2")],
)
def test_what_was_not_drained_is_not_exported(drained: Path, happens: Callable[[Log], object], what: str) -> None:
    async def run() -> None:
        async with opened(drained) as log:
            done = happens(log)
            assert asyncio.iscoroutine(done)
            await done
            await export_state(log, TOPICS, load_policy(None))

    with pytest.raises(IncompatibleStateError, match=what) as caught:
        asyncio.run(run())
    assert caught.value.code == "not_drained"
    assert "--ticks none" in str(caught.value)


@pytest.mark.parametrize(
    ("commits", "starts"),
    [
        # Before its position is told, a shard cannot know that there will be a state.
        (0, ["new", "new", "new"]),
        (2, ["lost_state", "lost_state", "new"]),
        (3, ["lost_state", "lost_state", "lost_state"]),
        (5, ["lost_state", "lost_state", "lost_state"]),
        (6, ["whole", "lost_state", "lost_state"]),
        (7, ["whole", "whole", "lost_state"]),
    ],
)
def test_no_shard_starts_from_an_import_that_was_interrupted(
    drained: Path, tmp_path: Path, commits: int, starts: list[str]
) -> None:
    policy, count = load_policy(None), 3
    made = 0

    def fails(_: str) -> bool:
        nonlocal made
        made += 1
        return made > commits

    async def run() -> list[str]:
        async with opened(drained) as log:
            exported = await export_state(log, TOPICS, policy)
        new_log(tmp_path / "new.db", count)
        plan = ImportPlan(TOPICS, count, continues=False)
        async with opened(tmp_path / "new.db") as log:
            with pytest.raises(LogError, match="the broker is away"):
                await import_state(FailingLog(log, fails, is_committed=False), policy, exported, plan)
            found = [await start_of(log, partition, count) for partition in range(count)]
            again = ImportPlan(TOPICS, count, continues=False, replaces=True)
            assert sum(await import_state(log, policy, exported, again)) == len(exported.ids)
        return found

    assert asyncio.run(run()) == starts


async def start_of(log: Log, partition: int, count: int) -> str:
    """Say how a shard starts: new, with all that is its own, or why not."""
    policy = load_policy(None)
    feed = KnowledgeFeed(log, TOPICS.knowledge, Learner(policy).knowledge)
    try:
        shard = await recover_shard(log, feed, ShardSetup(policy, TOPICS, partition, count))
    except StreamAppError as error:
        return error.code
    return "whole" if len(shard.engine.table) else "new"


def test_a_state_that_is_there_is_not_overwritten_by_chance(drained: Path, tmp_path: Path) -> None:
    policy = load_policy(None)

    async def run(*, continues: bool) -> None:
        async with opened(drained) as log:
            exported = await export_state(log, TOPICS, policy)
            await import_state(log, policy, exported, ImportPlan(TOPICS, OLD_COUNT, continues=continues))

    with pytest.raises(SettingsError, match="--replace"):
        asyncio.run(run(continues=True))
    with pytest.raises(IncompatibleStateError, match="--continue"):
        asyncio.run(run(continues=False))


def test_events_after_the_export_keep_it_from_being_imported_into_the_same_topic(drained: Path, tmp_path: Path) -> None:
    policy = load_policy(None)

    async def run() -> None:
        async with opened(drained) as log:
            exported = await export_state(log, TOPICS, policy)
            await produce(log, halves()[1][:1], OLD_COUNT)
            await import_state(log, policy, exported, ImportPlan(TOPICS, OLD_COUNT, continues=True, replaces=True))

    with pytest.raises(IncompatibleStateError, match="events came in after the export"):
        asyncio.run(run())


def test_a_state_can_be_put_back_in_its_own_place(drained: Path, tmp_path: Path) -> None:
    policy, path = load_policy(None), drained

    async def run() -> list[dict[str, object]]:
        async with opened(path) as log:
            exported = await export_state(log, TOPICS, policy)
            own = [partitions_of(exported.ids.tolist(), OLD_COUNT) == p for p in range(OLD_COUNT)]
            plan = ImportPlan(TOPICS, OLD_COUNT, continues=True, replaces=True)
            counts = await import_state(log, policy, exported, plan)
            assert counts == [int(one.sum()) for one in own]
            for partition in range(OLD_COUNT):
                bounds = await log.bounds(TopicPartition(TOPICS.state, partition))
                assert bounds.start > 0
        return await second_half(path, OLD_COUNT)

    changes = asyncio.run(run())
    assert by_customer(changes) == by_customer(backtest_changes(sales(), tmp_path / "backtest", policy))


def test_an_export_of_another_policy_is_refused(drained: Path, tmp_path: Path) -> None:
    policy = load_policy(None)
    file = tmp_path / "state.npz"

    async def run() -> None:
        async with opened(drained) as log:
            write_export(file, await export_state(log, TOPICS, policy))

    asyncio.run(run())
    with np.load(file) as stored:
        arrays = dict(stored)
    about = orjson.loads(arrays["about"].tobytes())
    about["header"]["state_hash"] = "another"
    arrays["about"] = np.frombuffer(orjson.dumps(about), dtype=np.uint8)
    np.savez(file, **arrays)
    file = file if file.exists() else file.with_suffix(".npz")
    with pytest.raises(IncompatibleStateError, match="use the version and the policy"):
        read_export(file, policy)
