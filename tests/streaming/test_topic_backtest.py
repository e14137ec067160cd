"""A backtest of a topic tells, to the byte, what a worker has published that read the same topic."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.urls import parse_topic_url
from stream_app.adapters.policy_file import default_text, load_policy
from stream_app.backtest.comparison.policies import load_policies
from stream_app.backtest.comparison.run import run_comparison
from stream_app.backtest.run import BacktestResult, run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.topic_log import TopicSource, fix_ends
from stream_app.backtest.watermark_merge import merge_by_watermark
from stream_app.cli import main
from stream_app.domain.errors import SettingsError
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.erasure import COMMAND_HEADER, ERASE
from tests.streaming.harness import (
    TOPICS,
    Sale,
    end_of,
    new_log,
    opened,
    records_of,
    sales_of,
    tell_tick,
    without_source,
    working,
)

DAY_MS = 86_400_000
POISON = b'{"event_id":'


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record as it comes to the topic."""

    partition: int
    arrived_ms: int
    key: bytes | None
    value: bytes | None


@cache
def sales() -> tuple[Sale, ...]:
    return tuple(sales_of(ShopSettings(customers=150, days=110, seed=5)))


@cache
def arrivals(partition_count: int) -> tuple[Arrival, ...]:
    """Give the sales as a rough world delivers them: some late, some twice, some spoilt, some under another key."""
    draw = random.Random(4)
    arrived = []
    for sale in sales():
        own, key = sale.partition(partition_count), sale.customer_id.encode()
        delay_ms = draw.randrange(1, 4 * DAY_MS) if draw.random() < 0.06 else 0
        arrived.append(Arrival(own, sale.time_ms + delay_ms, key, sale.value))
        if draw.random() < 0.04:
            arrived.append(Arrival(own, sale.time_ms + delay_ms + draw.randrange(1000), key, sale.value))
        if draw.random() < 0.02:
            value = draw.choice([POISON, b"\xff", b"[]"])
            arrived.append(Arrival(draw.randrange(partition_count), sale.time_ms, key, value))
        if draw.random() < 0.02:
            arrived.append(
                Arrival(draw.randrange(partition_count), sale.time_ms, draw.choice([None, b"x"]), sale.value)
            )
    return tuple(sorted(arrived, key=lambda own: own.arrived_ms))


async def write(log: SqliteLog, records: Sequence[Arrival], partition_count: int) -> None:
    for partition in range(partition_count):
        own = [record for record in records if record.partition == partition]
        values, keys = [record.value for record in own], [record.key for record in own]
        times_ms = [record.arrived_ms for record in own]
        await log.append([Outgoing(TOPICS.events, partition, values, keys, timestamps_ms=times_ms)])


def write_arrivals(path: Path) -> None:
    """Make a log of one partition that no worker has read."""

    async def run() -> None:
        new_log(path, 1)
        async with opened(path) as log:
            await write(log, arrivals(1), 1)

    asyncio.run(run())


def run_worker(path: Path, partition_count: int) -> list[list[bytes]]:
    """Run a worker over the arrivals; gives what it published, by partition."""

    async def run() -> list[list[bytes]]:
        new_log(path, partition_count)
        async with opened(path) as log:
            await write(log, arrivals(partition_count), partition_count)
            await tell_tick(log, end_of(sales()), partition_count)
            async with working(log, partition_count) as host:
                await host.until_idle(end_of(sales()))
            published = [await records_of(log, TOPICS.segment_changes, own) for own in range(partition_count)]
            letters = [await records_of(log, TOPICS.dead_letters, own) for own in range(partition_count)]
        (path.parent / "letters.jsonl").write_bytes(
            b"".join(b"%b\n" % (own or b"") for part in letters for own in part)
        )
        return [[value or b"" for value in values] for values in published]

    return asyncio.run(run())


def backtest_topic(path: Path, out: Path, **settings: object) -> BacktestResult:
    source = TopicSource(parse_topic_url(f"sqlite://{path}", TOPICS.events, ""))
    chosen = {"policy": load_policy(None), "out": out, "run_started_ms": 1 << 41, "order": "arrival"}
    return run_backtest(BacktestSettings(topic=source, **(chosen | settings)))  # type: ignore[arg-type]


def by_partition(lines: Sequence[bytes], partition_count: int) -> list[list[bytes]]:
    partitions: list[list[bytes]] = [[] for _ in range(partition_count)]
    for line in lines:
        partitions[Sale(json.loads(line)["customer_id"], 0, b"").partition(partition_count)].append(line)
    return partitions


@pytest.mark.parametrize("partition_count", [1, 3])
def test_changes_and_dead_letters_of_a_topic_are_those_that_the_worker_published(
    tmp_path: Path, partition_count: int
) -> None:
    published = run_worker(tmp_path / "log.db", partition_count)
    result = backtest_topic(tmp_path / "log.db", tmp_path / "out", shard_count=2)
    changes = (tmp_path / "out" / "changes.jsonl").read_bytes().splitlines()
    assert sum(map(len, published)) > 60
    assert by_partition(changes, partition_count) == published
    sources = [json.loads(line)["source"] for line in changes]
    assert sum(set(source) == {"topic", "partition", "offset"} for source in sources) > 30
    letters = (tmp_path / "out" / "dead_letters.jsonl").read_bytes()
    assert letters == (tmp_path / "letters.jsonl").read_bytes()
    rows = result.summary["rows"]
    assert rows["read"] == len(arrivals(partition_count))
    assert sum(rows["dead_letters"].values()) == letters.count(b"\n")
    assert rows["dead_letters"].keys() >= {"unkeyed", "malformed_record", "invalid_utf8"}
    assert rows["dead_letters"]["unkeyed"] > 5
    assert rows["duplicates"] > 5


def test_a_file_of_the_same_arrivals_gives_the_same_changes_but_for_their_sources(tmp_path: Path) -> None:
    async def fill() -> None:
        new_log(tmp_path / "log.db", 2)
        async with opened(tmp_path / "log.db") as log:
            await write(log, arrivals(2), 2)

    asyncio.run(fill())
    backtest_topic(tmp_path / "log.db", tmp_path / "topic")
    lines = _lines_by_watermark(2)
    (tmp_path / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    settings = BacktestSettings(
        patterns=(str(tmp_path / "events.jsonl"),),
        policy=load_policy(None),
        out=tmp_path / "file",
        run_started_ms=1 << 41,
        order="arrival",
    )
    run_backtest(settings)
    found, expected = (
        [without_source(json.loads(line)) for line in (tmp_path / name / "changes.jsonl").read_bytes().splitlines()]
        for name in ("topic", "file")
    )
    assert len(found) > 60
    assert found == expected


def _lines_by_watermark(partition_count: int) -> list[bytes]:
    """Give the events that are keyed, by the latest event time so far in their partition: one at a time, in Python."""
    placed, decoder = [], EventDecoder(load_policy(None))
    for partition in range(partition_count):
        watermark_ms = 0
        for record in (own for own in arrivals(partition_count) if own.partition == partition):
            event = decoder.decode_batch([record.value or b""], record.arrived_ms, np.arange(1))
            if record.key in event.batch.customer_ids.tolist():
                watermark_ms = max(watermark_ms, int(event.batch.times_ms[0]))
                placed.append((watermark_ms, partition, record.value or b""))
    return [line for _, _, line in sorted(placed, key=lambda own: own[:2])]


def test_late_events_stay_where_they_were_and_never_hold_the_other_partitions_up() -> None:
    partitions = [[10, 40, 20, 50], [15, 41, 1, 42, 42], [], [40]]
    for size in (1, 2, 5):
        batches = [_batches(place, times, size) for place, times in enumerate(partitions)]
        merged = [row["place"] for batch in merge_by_watermark(batches) for row in batch.to_pylist()]
        assert merged == ["0.0", "1.0", "0.1", "0.2", "3.0", "1.1", "1.2", "1.3", "1.4", "0.3"]


def _batches(place: int, times: Sequence[int], size: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(times), size):
        part = times[start : start + size]
        names = [f"{place}.{start + number}" for number in range(len(part))]
        yield pa.RecordBatch.from_arrays([pa.array(part, pa.int64()), pa.array(names)], ["time_ms", "place"])


def test_commands_to_erase_bring_no_event_and_are_counted(tmp_path: Path) -> None:
    async def run() -> None:
        new_log(tmp_path / "log.db", 1)
        async with opened(tmp_path / "log.db") as log:
            await write(log, [Arrival(0, own.time_ms, own.customer_id.encode(), own.value) for own in sales()], 1)
            key = sales()[0].customer_id.encode()
            await log.append([Outgoing(TOPICS.events, 0, [b"{}"], [key], [[(COMMAND_HEADER, ERASE)]])])

    asyncio.run(run())
    result = backtest_topic(tmp_path / "log.db", tmp_path / "out")
    assert result.summary["rows"]["ignored"]["erase_command"] == 1
    assert result.summary["rows"]["read"] == len(sales()) + 1


def test_events_at_or_after_the_end_that_is_asked_for_are_left_out(tmp_path: Path) -> None:
    write_arrivals(tmp_path / "log.db")
    end_ms = sales()[len(sales()) * 4 // 5].time_ms
    result = backtest_topic(tmp_path / "log.db", tmp_path / "out", to_ms=end_ms)
    changes = [*map(json.loads, (tmp_path / "out" / "changes.jsonl").read_text().splitlines())]
    assert changes
    assert max(own["effective_at"] for own in changes) <= str(np.datetime64(end_ms, "ms")) + "Z"
    accepted = sum(own.time_ms < end_ms for own in sales())
    assert result.summary["rows"]["applied"] == accepted
    assert result.summary["rows"]["ignored"]["after_to"] >= len(sales()) - accepted


def test_fixed_ends_leave_out_what_is_written_later(tmp_path: Path) -> None:
    async def add() -> None:
        async with opened(tmp_path / "log.db") as log:
            last = sales()[-1]
            await write(log, [Arrival(0, last.time_ms, last.customer_id.encode(), last.value)], 1)

    write_arrivals(tmp_path / "log.db")
    source = fix_ends(TopicSource(parse_topic_url(f"sqlite://{tmp_path / 'log.db'}", TOPICS.events, "")))
    asyncio.run(add())
    settings = BacktestSettings(
        topic=source, policy=load_policy(None), out=tmp_path / "out", run_started_ms=0, order="arrival"
    )
    assert run_backtest(settings).summary["rows"]["read"] == len(arrivals(1))
    assert fix_ends(source) == source


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--map", "customer_id=c"], "--map: says how to read files"),
        (["--delimiter", ";"], "--delimiter: says how to read files"),
        (["--order", "event"], "--order event: a topic counts in the order in which it was written"),
        (["--save-state", "x"], "a topic, which counts as it was written, cannot be cut in two by time"),
        (["more.csv"], "a topic is replayed alone"),
        (["--topic", "nowhere"], "there is no such topic"),
    ],
)
def test_what_means_nothing_for_a_topic_is_refused_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    new_log(tmp_path / "log.db", 1)
    command = ["stream-app", "backtest", f"sqlite://{tmp_path / 'log.db'}", "--out", str(tmp_path / "out"), *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.jsonl"))


def test_an_empty_topic_is_refused_and_leaves_no_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_log(tmp_path / "log.db", 1)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(SettingsError, match="no events: the topic is empty"):
        backtest_topic(tmp_path / "log.db", tmp_path / "out")
    assert not list((tmp_path / "temporary").iterdir())


def test_policies_are_compared_over_the_same_records_of_a_topic(tmp_path: Path) -> None:
    write_arrivals(tmp_path / "log.db")
    paths = [tmp_path / f"{name}.toml" for name in ("first", "second")]
    for path in paths:
        path.write_text(default_text())
    policies = load_policies(paths, 7 * 1440)
    settings = BacktestSettings(
        topic=TopicSource(parse_topic_url(f"sqlite://{tmp_path / 'log.db'}", TOPICS.events, "")),
        policy=policies[0].policy,
        out=tmp_path / "compared",
        run_started_ms=0,
        order="arrival",
    )
    comparison = run_comparison(settings, policies)
    assert [run.summary["rows"]["read"] for run in comparison.result.runs] == [len(arrivals(1))] * 2
    assert (tmp_path / "compared" / "first" / "changes.jsonl").stat().st_size
    assert comparison.report.exists()
