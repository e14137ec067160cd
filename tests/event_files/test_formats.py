"""The same events come out of every format, and cells mean what their text says."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.event_files.numbers import parse_number
from stream_app.domain.events import Family
from tests.event_files.logs import Event, read_log, write

ROWS: list[dict[str, Any]] = [
    {
        "event_id": "e1",
        "customer_id": "00001",
        "occurred_at": "2024-05-01T10:00:00Z",
        "type": "purchase",
        "amount": 12.5,
    },
    {"event_id": "e2", "customer_id": "Mü ller", "occurred_at": "2024-05-01T10:00:00.123Z", "type": "browse"},
    {
        "event_id": "e3",
        "customer_id": "c3",
        "occurred_at": "2024-05-01T12:00:00+02:00",
        "type": "refund",
        "amount": -3.0,
    },
    {"event_id": "e4", "customer_id": "c3", "occurred_at": "2024-05-02T00:00:00Z", "type": "purchase", "amount": -4.0},
    {"event_id": "e5", "customer_id": "c5", "occurred_at": "2024-05-03T00:00:00Z", "type": "watch"},
    {"event_id": "e6", "customer_id": "c6", "occurred_at": "2024-05-03T00:00:00Z", "amount": 8.0, "currency": "usd"},
    {"event_id": "e7", "customer_id": "c7", "occurred_at": "2024-05-04T00:00:00Z", "type": "rating", "rating": 4},
    {
        "event_id": "e8",
        "customer_id": 'a "b", c',
        "occurred_at": "2024-05-05T00:00:00Z",
        "type": "purchase",
        "amount": 0.0,
    },
]
COLUMNS = ("event_id", "customer_id", "occurred_at", "type", "amount", "currency", "rating")


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",", line_end: str = "\n") -> str:
    def cell(value: object) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if delimiter in text or '"' in text else text

    lines = [delimiter.join(COLUMNS)] + [delimiter.join(cell(row.get(name)) for name in COLUMNS) for row in rows]
    return line_end.join(lines) + line_end


def as_json(rows: list[dict[str, Any]]) -> str:
    native = [{key: value for key, value in row.items() if key != "rating"} for row in rows]
    for row, source in zip(native, rows, strict=True):
        if "rating" in source:
            row["properties"] = {"rating": source["rating"]}
    return "".join(json.dumps(row) + "\n" for row in native)


def without_file(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e.customer_id, e.event_id, e.time_ms, e.family, e.amount, e.satisfaction, e.source[1]) for e in events]


def test_events_have_the_family_amount_and_satisfaction_that_the_policy_says(tmp_path: Path) -> None:
    events = read_log(write(tmp_path / "log.csv", as_csv(ROWS))).events
    assert [(e.customer_id, e.family, e.amount, e.satisfaction) for e in events] == [
        ("00001", Family.PURCHASE, 12.5, None),
        ("c3", Family.REFUND, 3.0, None),
        ("Mü ller", Family.BROWSE, 0.0, None),
        ("c3", Family.REFUND, 4.0, None),
        ("c5", Family.CONTENT, 0.5, None),
        ("c6", Family.PURCHASE, 4.0, None),
        ("c7", Family.FEEDBACK, 0.0, 0.75),
        ('a "b", c', Family.PURCHASE, 0.0, None),
    ]


@pytest.mark.parametrize(
    "name", ["log.csv.gz", "log.csv.zst", "log.tsv", "log.txt", "log.CSV", "log.jsonl", "log.ndjson.zst"]
)
def test_every_text_format_gives_the_same_events(tmp_path: Path, name: str) -> None:
    expected = read_log(write(tmp_path / "log.csv", as_csv(ROWS))).events
    text = as_json(ROWS) if "json" in name else as_csv(ROWS, "\t" if "tsv" in name else "|" if "txt" in name else ",")
    assert without_file(read_log(write(tmp_path / name, text)).events) == without_file(expected)


def test_mapped_json_gives_the_same_events(tmp_path: Path) -> None:
    expected = read_log(write(tmp_path / "log.csv", as_csv(ROWS))).events
    mapping = {"satisfaction": "properties.rating"}
    assert without_file(read_log(write(tmp_path / "log.jsonl", as_json(ROWS)), mapping=mapping).events) == without_file(
        expected
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize(
    "text_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
)
def test_parquet_gives_the_same_events(tmp_path: Path, unit: str, zone: str | None, text_type: pa.DataType) -> None:
    rows = [row for row in ROWS if "." not in row["occurred_at"]]
    expected = read_log(write(tmp_path / "log.csv", as_csv(rows))).events
    moments = [dt.datetime.fromisoformat(row["occurred_at"]).astimezone(dt.UTC).replace(tzinfo=None) for row in rows]
    times = pa.array(moments, pa.timestamp(unit))
    if zone is not None:
        times = times.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
    columns = {name: pa.array([row.get(name) for row in rows]) for name in COLUMNS if name != "occurred_at"}
    for name in ("event_id", "customer_id", "type", "currency"):
        columns[name] = columns[name].cast(text_type)
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(columns | {"occurred_at": times}), path)
    assert without_file(read_log(path).events) == without_file(expected)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_line_ends_byte_order_marks_and_delimiters_are_recognised(
    tmp_path: Path, end: str, mark: bytes, delimiter: str
) -> None:
    expected = read_log(write(tmp_path / "plain.csv", as_csv(ROWS))).events
    path = write(tmp_path / "log.csv", mark + as_csv(ROWS, delimiter, end).encode())
    assert without_file(read_log(path).events) == without_file(expected)


def test_quoted_cells_may_hold_line_ends_and_odd_quotes_elsewhere_do_not_disturb_them(tmp_path: Path) -> None:
    text = (
        "customer_id,occurred_at,amount,note\n"
        'c1,2024-05-01,1,"two\nlines, and ""quotes"""\n'
        'c2,2024-05-02,2,5" screen\n'
        'c3,2024-05-03,3,"blank after" \r\n'
        '"c4",2024-05-04,"4",""\n'
    )
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert [(e.customer_id, e.amount, e.source[1]) for e in outcome.events] == [
        ("c1", 1.0, 1),
        ("c2", 2.0, 2),
        ("c3", 3.0, 3),
        ("c4", 4.0, 4),
    ]


def amounts_of(path: Path, **options: Any) -> list[float]:
    return [event.amount for event in read_log(path, **options).events]


def test_a_decimal_comma_is_recognised_from_the_amounts(tmp_path: Path) -> None:
    text = (
        "customer_id;occurred_at;amount\nc;2024-05-01;12,50\nc;2024-05-02;1.234,5\nc;2024-05-03;1,234\nc;2024-05-04;7\n"
    )
    assert amounts_of(write(tmp_path / "log.csv", text)) == [12.5, 1234.5, 1.234, 7.0]


def test_a_given_decimal_mark_settles_what_would_be_ambiguous(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "customer_id;occurred_at;amount\nc;2024-05-01;1,234\nc;2024-05-02;3\n")
    outcome = read_log(path)
    assert outcome.counts.rows_dead_letter == {"wrong_type": 1}
    assert amounts_of(path, decimal=",") == [1.234, 3.0]
    assert amounts_of(path, decimal=".") == [1234.0, 3.0]


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("12", None, 12.0),
        ("+1.5e3", None, 1500.0),
        ("1,234.50", None, 1234.5),
        ("1.234,50", None, 1234.5),
        ("1,234,567", None, 1234567.0),
        ("1 234,50", None, 1234.5),
        ("1'234.50", None, 1234.5),
        ("1\u00a0234", None, 1234.0),
        ("\u2212 5", None, None),
        ("\u22125", None, -5.0),
        ("0,999", None, 0.999),
        ("1,234", None, None),
        ("12,34", ".", None),
        ("12.34", ",", None),
        ("1.234", ",", 1234.0),
        ("1,23,456", ".", None),
        ("12 €", None, None),
        ("(5.00)", None, None),
        ("1_000", None, None),
        ("0x10", None, None),
        ("\u0661", None, None),
        ("", None, None),
    ],
)
def test_a_number_is_read_only_where_it_can_mean_one_thing(text: str, mark: str | None, number: float | None) -> None:
    assert parse_number(text, mark) == number


def table_log(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([7, 12345], pa.int32()), ["7", "12345"]),
        (pa.array([7, 2**64 - 1], pa.uint64()), ["7", str(2**64 - 1)]),
        (pa.array([7.0, 12345.0]), ["7", "12345"]),
        (pa.array([decimal.Decimal("7.00"), decimal.Decimal("12345.00")]), ["7", "12345"]),
        (pa.array([decimal.Decimal(7), decimal.Decimal(10**20)]), ["7", str(10**20)]),
        (pa.array(["007", "12345.0"]), ["007", "12345.0"]),
    ],
)
def test_numeric_customer_ids_of_parquet_become_their_decimal_text(
    tmp_path: Path, ids: pa.Array, expected: list[str]
) -> None:
    path = table_log(tmp_path / "log.parquet", customer_id=ids, date=[dt.date(2024, 5, 1)] * 2, amount=[1, 2])
    assert [event.customer_id for event in read_log(path).events] == expected


def test_structures_of_parquet_are_reached_by_dotted_paths(tmp_path: Path) -> None:
    rows = [
        {"user": {"id": "a", "x.y": None}, "ts": DAY_MS, "properties": {"revenue": "7,50", "x": {"cur": "USD"}}},
        {"user": {"id": "b", "x.y": "e1"}, "ts": DAY_MS, "properties": {"revenue": "1.000,00", "x": None}},
        {"user": {"id": "c", "x.y": "e2"}, "ts": DAY_MS, "properties": None},
    ]
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    outcome = read_log(path, mapping={"currency": "properties.x.cur", "event_id": "user.x.y"})
    told = [(e.customer_id, e.event_id, e.amount) for e in outcome.events]
    assert told == [("a", "log.parquet:1", 3.75), ("b", "e1", 1000.0)]
    assert outcome.counts.rows_dead_letter == {"missing_field": 1}


def test_uuid_columns_of_parquet_are_read_as_text(tmp_path: Path) -> None:
    name = uuid.UUID(int=7)
    ids = pa.array([name.bytes], pa.uuid())
    path = table_log(tmp_path / "log.parquet", customer_id=ids, date=[dt.date(2024, 5, 1)], amount=[1])
    assert [event.customer_id for event in read_log(path).events] == [str(name)]


@pytest.mark.parametrize("ids", [pa.array([1.0, 1.5]), pa.array([1.0, 2.0**60]), pa.array([1.0, float("inf")])])
def test_fractions_and_inexact_integers_are_refused_as_customer_ids(tmp_path: Path, ids: pa.Array) -> None:
    path = table_log(tmp_path / "log.parquet", customer_id=ids, date=[dt.date(2024, 5, 1)] * 2, amount=[1, 2])
    assert read_log(path).counts.rows_dead_letter == {"wrong_type": 1}


DAY_MS = 1_714_521_600_000
"""2024-05-01 in UTC."""
MIDNIGHT = dt.datetime.fromtimestamp(DAY_MS / 1000, dt.UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([DAY_MS]),
        pa.array([DAY_MS // 1000], pa.int32()),
        pa.array([DAY_MS / 1000]),
        pa.array([float(DAY_MS)]),
        pa.array([20240501]),
        pa.array(["20240501"]),
        pa.array([str(DAY_MS)]),
        pa.array([str(DAY_MS // 1000)]),
        pa.array(["2024-05-01"]),
        pa.array(["2024-05-01 00:00"]),
        pa.array(["2024-05-01T02:00:00.000000+02:00"]),
        pa.array(["2024-05-01 00:00:00 UTC"]),
        pa.array(["2024-05-01T00:00:00.0000009Z"]),
        pa.array([dt.date(2024, 5, 1)], pa.date32()),
        pa.array([dt.date(2024, 5, 1)], pa.date64()),
        pa.array([MIDNIGHT], pa.timestamp("ns")),
    ],
    ids=str,
)
def test_a_time_may_be_written_in_many_ways(tmp_path: Path, times: pa.Array) -> None:
    path = table_log(tmp_path / "log.parquet", customer_id=["c"], ts=times, amount=[1])
    assert [event.time_ms for event in read_log(path).events] == [DAY_MS]
    if pa.types.is_string(times.type) or pa.types.is_integer(times.type):
        path = write(tmp_path / "log.csv", f"customer_id,ts,amount\nc,{times[0].as_py()},1\n")
        assert [event.time_ms for event in read_log(path).events] == [DAY_MS]


def test_times_of_several_kinds_in_one_column_are_all_read(tmp_path: Path) -> None:
    times = [
        "2024-05-01",
        "2024-05-01T02:00:00+02:00",
        str(DAY_MS),
        "20240501",
        "2024-05-01T00:00:00.123456789Z",
        "soon",
    ]
    text = "customer_id,ts,amount\n" + "".join(f"c,{time},1\n" for time in times)
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert [event.time_ms for event in outcome.events] == [DAY_MS] * 4 + [DAY_MS + 123]
    assert outcome.counts.rows_dead_letter == {"invalid_time": 1}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "+02:00", "+0200", "UTC+2"])
@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl"])
def test_the_time_zone_holds_for_times_that_name_none(tmp_path: Path, zone: str, name: str) -> None:
    path = tmp_path / name
    if name == "log.parquet":
        pq.write_table(pa.table({"customer_id": ["c"], "ts": [MIDNIGHT], "amount": [1]}), path)
    elif name == "log.jsonl":
        write(path, '{"event_id": "e", "customer_id": "c", "occurred_at": "2024-05-01T00:00:00", "amount": 1}\n')
    else:
        write(path, "customer_id,ts,amount\nc,2024-05-01T00:00:00,1\nc,2024-05-01T00:00:00Z,1\n")
    events = read_log(path, timezone=zone).events
    assert events[0].time_ms == DAY_MS - 2 * 3_600_000
    assert [event.time_ms for event in events[1:]] in ([], [DAY_MS])


def test_summer_time_is_the_zones_own_and_a_doubled_hour_is_the_first(tmp_path: Path) -> None:
    times = ("2024-03-31 01:59", "2024-03-31 03:00", "2024-10-27 02:30", "2024-10-27 03:00")
    text = "customer_id,ts,amount\n" + "".join(f"c,{time},1\n" for time in times)
    events = read_log(write(tmp_path / "log.csv", text), timezone="Europe/Berlin").events
    hours = [event.time_ms / 3_600_000 for event in events]
    assert hours[1] - hours[0] == pytest.approx(1 / 60)
    assert hours[3] - hours[2] == pytest.approx(1.5)


def test_an_empty_type_is_the_default_type_and_a_log_without_types_says_so(tmp_path: Path) -> None:
    with_types = read_log(
        write(tmp_path / "a.csv", "customer_id,ts,type,amount\nc,2024-05-01,,1\nc,2024-05-01,refund,1\n")
    )
    without = read_log(write(tmp_path / "b.csv", "customer_id,ts,amount\nc,2024-05-01,1\n"))
    assert [event.family for event in with_types.events] == [Family.PURCHASE, Family.REFUND]
    assert (with_types.has_types, without.has_types) == (True, False)


def test_missing_event_ids_are_made_of_file_and_row(tmp_path: Path) -> None:
    outcome = read_log(write(tmp_path / "log.csv", "customer_id,ts,amount\nc,2024-05-02,1\nc,2024-05-01,1\n"))
    assert [event.event_id for event in outcome.events] == ["log.csv:2", "log.csv:1"]
    assert not outcome.has_event_ids


def test_a_log_with_some_event_ids_keeps_them_and_makes_the_others(tmp_path: Path) -> None:
    text = "id,customer_id,ts,amount\n,c,2024-05-01,1\nx,c,2024-05-02,1\n"
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert [event.event_id for event in outcome.events] == ["log.csv:1", "x"]
    assert outcome.has_event_ids


def test_native_json_without_event_ids_gets_them_of_file_and_row(tmp_path: Path) -> None:
    line = '{"customer_id": "c", "occurred_at": "2024-05-01T00:00:00Z", "type": "purchase", "amount": 2}\n'
    outcome = read_log(write(tmp_path / "log.jsonl", line * 3))
    assert [event.event_id for event in outcome.events] == ["log.jsonl:1", "log.jsonl:2", "log.jsonl:3"]
    assert not outcome.has_event_ids


def test_segment_calls_are_read_as_they_are(tmp_path: Path) -> None:
    call = {
        "type": "track",
        "messageId": "m1",
        "userId": "u1",
        "event": "Order Completed",
        "timestamp": "2024-05-01T00:00:00Z",
        "properties": {"revenue": 25.0},
    }
    lines = [
        call,
        call | {"type": "identify", "messageId": "m2"},
        call | {"messageId": "m3", "userId": None, "anonymousId": "a"},
    ]
    outcome = read_log(write(tmp_path / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines)))
    assert [(e.customer_id, e.event_id, e.amount) for e in outcome.events] == [("u1", "m1", 25.0)]
    assert outcome.counts.rows_ignored == {"unmapped_type": 1, "no_customer": 1}


def test_flat_json_of_any_shape_is_read_by_dotted_paths_and_known_names(tmp_path: Path) -> None:
    rows = [
        {"user": {"id": 12}, "ts": DAY_MS, "properties": {"revenue": "7,50"}},
        {"user": {"id": "x"}, "ts": "2024-05-01", "properties": {"revenue": 3}},
        {"user": {"id": 1.5}, "ts": "2024-05-01", "properties": {"revenue": 3}},
        {"user": {"id": True}, "ts": "2024-05-01", "properties": {"revenue": 3}},
        {"user": {}, "ts": 20240501, "properties": None},
    ]
    path = write(tmp_path / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    outcome = read_log(path, mapping={"amount": "properties.revenue"})
    assert [(e.customer_id, e.amount, e.time_ms) for e in outcome.events] == [("12", 7.5, DAY_MS), ("x", 3.0, DAY_MS)]
    assert outcome.counts.rows_dead_letter == {"wrong_type": 2, "missing_field": 1}
    assert without_file(read_log(path).events) == without_file(outcome.events)
