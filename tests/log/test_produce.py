"""`stream-app produce`: events of files on a topic, each once, and the same for whoever decodes them."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiokafka.partitioner import murmur2

from stream_app.adapters.codec import EventDecoder
from stream_app.adapters.event_files import EventLogOptions, open_event_log
from stream_app.adapters.event_files.event_records import read_records
from stream_app.adapters.log.port import LogRecord, TopicPartition
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.cli import main
from stream_app.domain.policy import Policy
from tests.event_files.logs import RUN_STARTED_MS, make_rules_policy
from tests.log.clients import read_all

Capture = pytest.CaptureFixture[str]

ROWS = """event_id,customer,type,occurred_at,amount,currency,rating,order_id
e1,c-1,purchase,2024-05-01T12:30:00.250Z,59.90,EUR,,
e2,Grüße-7,purchase,2024-05-01T12:31:00Z,0.1,USD,,
e3,c-1,purchase,2024-05-01T12:32:00Z,-5,EUR,,
e4,c-1,refund,2024-05-01T12:33:00Z,-7.25,EUR,,
e5,c-1,rating,2024-05-01T12:34:00Z,,,4,
e6,c-2,rating,2024-05-01T12:35:00Z,,,3.3,
e7,c-2,rating,2024-05-01T12:35:30Z,,,,
e8,c-2,watch,1970-01-02T00:00:00Z,,,,
e9,c-2,browse,2024-05-01T12:37:00Z,17,,,
e10,c-3,Order Completed,2024-05-01T12:38:00Z,10.1,EUR,,o-1
e10,c-3,Order Completed,2024-05-01T12:38:01Z,20.2,EUR,,o-1
e12,c-3,Order Completed,2024-05-01T12:38:02Z,-1,EUR,,o-2
e13,c-4,unknown,2024-05-01T12:39:00Z,1,EUR,,
e14,c-4,purchase,2024-05-01T12:40:00Z,many,EUR,,
,c-5,purchase,2024-05-01T12:41:00Z,3,EUR,,
"""


@pytest.fixture
def rules_policy() -> Policy:
    return make_rules_policy()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(ROWS)
    return path


@pytest.mark.parametrize("events_max", [1, 4, 1000])
def test_whoever_decodes_the_records_gets_the_events_of_the_file(
    file: Path, rules_policy: Policy, events_max: int
) -> None:
    with open_event_log([str(file)], rules_policy, EventLogOptions(run_started_ms=RUN_STARTED_MS)) as log:
        [expected] = log.batches()
        parts = list(read_records(log, rules_policy, events_max=events_max))
    values = [value for part in parts for value in part.values]
    times_ms = np.concatenate([part.times_ms for part in parts])
    decoded = EventDecoder(rules_policy).decode_batch(values, times_ms, np.arange(len(values)))
    assert decoded.refused == []
    events = decoded.batch
    assert len(events) == 12
    assert list(events.event_ids) == list(expected.event_ids)
    for name in ("customer_ids", "times_ms", "families", "amounts", "satisfactions"):
        np.testing.assert_array_equal(getattr(events, name), getattr(expected, name), err_msg=name)
    assert [key for part in parts for key in part.keys] == expected.customer_ids.tolist()


def test_amounts_and_ratings_of_any_decimals_come_back_to_the_bit(tmp_path: Path, rules_policy: Policy) -> None:
    numbers = random.Random(11)
    path = tmp_path / "many.csv"
    rows = ["customer_id,type,occurred_at,amount,currency,rating"]
    for number in range(3000):
        decimals = numbers.randrange(6)
        currency = numbers.choice(["EUR", "USD"])
        amount = round(numbers.uniform(0, 900), decimals)
        rows.append(f"c-{number % 50},purchase,2024-05-01T12:30:00Z,{amount},{currency},")
        rows.append(f"c-{number % 50},rating,2024-05-01T12:30:00Z,,,{round(numbers.uniform(1, 5), decimals)}")
    path.write_text("\n".join(rows))
    with open_event_log([str(path)], rules_policy, EventLogOptions(run_started_ms=RUN_STARTED_MS)) as log:
        [expected] = log.batches()
        [part] = read_records(log, rules_policy, events_max=10_000)
    events = EventDecoder(rules_policy).decode_batch(part.values, part.times_ms, np.arange(len(part))).batch
    np.testing.assert_array_equal(events.amounts, expected.amounts)
    np.testing.assert_array_equal(events.satisfactions, expected.satisfactions)


def test_records_keep_the_type_and_say_money_where_the_policy_looks_for_it(file: Path, rules_policy: Policy) -> None:
    with open_event_log([str(file)], rules_policy, EventLogOptions(run_started_ms=RUN_STARTED_MS)) as log:
        [part] = read_records(log, rules_policy, events_max=100)
    told = {document["event_id"]: document for document in map(json.loads, part.values)}
    assert told["e1"] == {
        "event_id": "e1",
        "customer_id": "c-1",
        "type": "purchase",
        "occurred_at": "2024-05-01T12:30:00.250Z",
        "amount": 59.9,
    }
    assert told["e3"]["amount"] == -5
    assert told["e4"]["amount"] == 7.25
    assert told["e6"]["properties"] == {"rating": 3.3}
    assert told["e12"]["properties"] == {"revenue": -1}
    assert "amount" not in told["e8"]
    assert told[f"{file.name}:15"]["customer_id"] == "c-5"


@pytest.fixture(autouse=True)
def _kept_signal_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-app", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code if isinstance(caught.value.code, int) else 0


def records_of(path: Path, topic: str, partition_count: int) -> list[list[LogRecord]]:
    async def read() -> list[list[LogRecord]]:
        log = SqliteLog(path, "test")
        await log.start()
        try:
            return [await read_all(log, TopicPartition(topic, number)) for number in range(partition_count)]
        finally:
            await log.stop()

    return asyncio.run(read())


def test_every_event_is_written_once_where_kafka_clients_would_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path, shop = tmp_path / "shop.log", tmp_path / "shop.parquet"
    ensure_plans(path, [TopicPlan("orders", 4)])
    assert run(monkeypatch, "simulate", "--customers", 300, "--days", 100, "--seed", 5, "--out", shop) == 0
    count = int(capsys.readouterr().out.split(": ")[1].split(" ")[0].replace(",", ""))
    assert run(monkeypatch, "produce", shop, "--log", f"sqlite://{path}", "--topic", "orders") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"orders: {count:,} events written to sqlite://{path}"
    assert told[1] == (
        f"{count:,} rows = {count:,} events + 0 further lines of orders + 0 copies + 0 ignored + 0 dead letters"
    )
    partitions = records_of(path, "orders", 4)
    assert sum(map(len, partitions)) == count
    ids = set()
    for number, records in enumerate(partitions):
        times_ms = [record.timestamp for record in records]
        assert times_ms == sorted(times_ms)
        for record in records:
            document = json.loads(record.value or b"")
            assert record.key == document["customer_id"].encode()
            assert (murmur2(record.key) & 0x7FFFFFFF) % 4 == number
            ids.add((document["customer_id"], document["event_id"]))
    assert len(ids) == count


def test_refused_and_ignored_rows_are_told_and_counted(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path, letters = tmp_path / "shop.log", tmp_path / "letters.jsonl"
    file.write_text(ROWS.replace("EUR", "USD"))
    ensure_plans(path, [TopicPlan("customer-events", 1)])
    arguments = ["--log", f"sqlite://{path}", "--dead-letters", letters]
    assert run(monkeypatch, "produce", file, *arguments) == 0
    told = capsys.readouterr().out
    # The default policy knows other types than those of this file.
    assert "15 rows = 11 events + 1 further lines of orders + 0 copies + 2 ignored + 1 dead letters" in told
    assert "ignored: unmapped_type 2" in told
    assert "dead letters: wrong_type 1" in told
    assert "types without a rule: 'watch' 1, 'unknown' 1" in told
    assert len(letters.read_text().splitlines()) == 1
    assert len(records_of(path, "customer-events", 1)[0]) == 11


def test_a_topic_that_is_not_there_is_told_before_anything_is_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / "shop.log"
    ensure_plans(path, [TopicPlan("customer-events", 1)])
    assert run(monkeypatch, "produce", file, "--log", f"sqlite://{path}", "--topic", "orders") == 2
    assert "topic orders: there is no such topic" in capsys.readouterr().err


def test_a_log_that_is_not_there_or_named_wrongly_ends_with_one_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert run(monkeypatch, "produce", file, "--log", f"sqlite://{tmp_path}/no.log") == 2
    assert "does not exist; make it by: stream-app topics create" in capsys.readouterr().err
    assert run(monkeypatch, "produce", file, "--log", "shop.log") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "allowed are kafka://host:9092" in lines[0]
