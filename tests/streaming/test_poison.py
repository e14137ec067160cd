"""Input as it comes, shuffled, doubled, spoilt, unkeyed or huge: all of it is counted, and nothing stops the shard."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

from stream_app.adapters.log.port import Log, Outgoing
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.inbox import TAKEN_BYTES_MAX, WAITING_BYTES_MAX
from stream_app.streaming.reports import BatchReport, NobodyWatches, ShardStanding
from tests.streaming.harness import TOPICS, end_of, new_log, opened, records_of, replayed, sales_of, tell_tick, working

PARTITIONS = 1
Record = tuple[bytes | None, bytes | None]
"""Key and value."""


class Counting(NobodyWatches):
    """Adds up what commits report."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.commit_count = 0
        self.largest_output = 0

    def committed(self, report: BatchReport, standing: ShardStanding) -> None:
        for (_, outcome), count in report.events.items():
            self.outcomes[outcome] += count
        self.dead_letters.update(report.dead_letters)
        self.commit_count += 1
        self.largest_output = max(self.largest_output, report.output_bytes)


async def _append(log: Log, records: Sequence[Record]) -> None:
    for start in range(0, len(records), 500):
        part = records[start : start + 500]
        keys, values = [key for key, _ in part], [value for _, value in part]
        await log.append([Outgoing(TOPICS.events, 0, values, keys)])


def run(tmp_path: Path, records: Sequence[Record], end_ms: int) -> tuple[Counting, list[dict[str, object]]]:
    """Let a worker work off records; gives what it counted, and the dead letters."""
    counting = Counting()

    async def work() -> list[dict[str, object]]:
        path = tmp_path / "log.db"
        new_log(path, PARTITIONS)
        async with opened(path) as log:
            await _append(log, records)
            await tell_tick(log, end_ms, PARTITIONS)
            async with working(log, PARTITIONS, counting) as host:
                await host.until_idle(end_ms)
            result = await replayed(log, 0, PARTITIONS)
            assert result.is_equal, result.difference
            return [orjson.loads(value or b"") for value in await records_of(log, TOPICS.dead_letters, 0)]

    return counting, asyncio.run(work())


def test_shuffled_doubled_and_spoilt_input_is_counted_to_the_record(tmp_path: Path) -> None:
    draw = random.Random(4)
    sales = sales_of(ShopSettings(customers=150, days=30, seed=2))
    records: list[Record] = [(sale.customer_id.encode(), sale.value) for sale in sales]
    # A doubled record comes again at once: further apart, a customer may have had more than eight events since (S7).
    doubled = [copy for record in records for copy in ((record, record) if draw.random() < 0.1 else (record,))]
    spoilt: list[Record] = []
    expected: Counter[str] = Counter()
    for record in doubled:
        spoilt.append(record)
        if draw.random() < 0.03:
            kind, poison = draw.choice(
                [
                    ("malformed_record", (b"c1", b"{not json")),
                    ("malformed_record", (b"c1", None)),
                    ("malformed_record", (None, b"")),
                    ("unkeyed", (b"somebody else", record[1])),
                    ("unkeyed", (None, record[1])),
                    ("invalid_utf8", (b"c1", b"\xff\xfe{}")),
                    ("missing_field", (b"c1", b'{"customer_id":"c1","type":"purchase","amount":1}')),
                ]
            )
            spoilt.append(poison)
            expected[kind] += 1
    counting, letters = run(tmp_path, spoilt, end_of(sales))
    assert sum(expected.values()) > 10
    assert Counter(str(letter["reason"]) for letter in letters) == expected == counting.dead_letters
    assert counting.outcomes["duplicate"] == len(doubled) - len(records)
    assert sum(counting.outcomes.values()) + len(letters) == len(spoilt)


def test_events_in_any_order_all_count(tmp_path: Path) -> None:
    sales = sales_of(ShopSettings(customers=100, days=20, seed=6))
    records: list[Record] = [(sale.customer_id.encode(), sale.value) for sale in sales]
    random.Random(8).shuffle(records)
    counting, letters = run(tmp_path, records, end_of(sales))
    assert letters == []
    assert counting.outcomes["applied"] == len(records)


def test_a_partition_with_only_invalid_records_makes_progress(tmp_path: Path) -> None:
    counting, letters = run(tmp_path, [(b"c1", b"nonsense")] * 3000, 3_600_000)
    assert len(letters) == counting.dead_letters["malformed_record"] == 3000


def test_large_records_and_batches_stay_within_bounds(tmp_path: Path) -> None:
    event = (
        b'{"event_id":"%d","customer_id":"c1","type":"purchase","occurred_at":%d,"amount":1,"properties":{"x":"%b"}}'
    )
    large = [(b"c1", event % (number, 1_700_000_000_000 + number, b"x" * 200_000)) for number in range(60)]
    huge: Record = (b"c1", b"y" * 899_000)
    records: list[Record] = [*large[:30], huge, *large[30:]]
    counting, letters = run(tmp_path, records, 1_700_006_400_000)
    assert counting.outcomes["applied"] == len(large)
    (letter,) = letters
    assert letter["is_truncated"]
    assert letter["raw_length_bytes"] == len(huge[1] or b"")
    # 13 MB of events do not fit into one commit.
    assert counting.commit_count >= sum(len(value or b"") for _, value in records) // TAKEN_BYTES_MAX
    assert counting.largest_output < 8_000_000 < WAITING_BYTES_MAX
