"""Every fault of a row becomes a dead letter with its code, its number and its own bytes, and only that row."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.event_files.records import RECORD_BYTES_MAX
from tests.event_files.logs import Outcome, open_log, read_log, write

HEADER = "event_id,customer_id,occurred_at,type,amount,currency,rating\n"
GOOD = "e{n},c{n},2024-05-0{n}T10:00:00Z,purchase,1{n}.5,EUR,\n"

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "dead_letter.v1.json").read_text(encoding="utf-8"))

BAD_ROWS = [
    ("wrong_type", "e9,c9,2024-05-09,purchase,twelve,EUR,"),
    ("wrong_type", "e9,c9,2024-05-09,purchase,€12,EUR,"),
    ("wrong_type", "e9,c9,2024-05-09,rating,,,good"),
    ("missing_field", "e9,,2024-05-09,purchase,12,EUR,"),
    ("missing_field", "e9,   ,2024-05-09,purchase,12,EUR,"),
    ("missing_field", "e9,NULL,2024-05-09,purchase,12,EUR,"),
    ("missing_field", "e9,c9,,purchase,12,EUR,"),
    ("missing_field", "e9,c9,2024-05-09,purchase,,EUR,"),
    ("missing_field", ",,,,,,"),
    ("amount_not_finite", "e9,c9,2024-05-09,purchase,NaN,EUR,"),
    ("amount_not_finite", "e9,c9,2024-05-09,purchase,-inf,EUR,"),
    ("amount_not_finite", "e9,c9,2024-05-09,purchase,1e400,EUR,"),
    ("amount_out_of_range", "e9,c9,2024-05-09,purchase,1000000.5,EUR,"),
    ("amount_out_of_range", "e9,c9,2024-05-09,refund,-9e99,EUR,"),
    ("unknown_currency", "e9,c9,2024-05-09,purchase,12,XAU,"),
    ("invalid_time", "e9,c9,yesterday,purchase,12,EUR,"),
    ("invalid_time", "e9,c9,2023-02-29,purchase,12,EUR,"),
    ("invalid_time", "e9,c9,12/1/2010 8:26,purchase,12,EUR,"),
    ("time_out_of_range", "e9,c9,1969-12-31T23:59:59Z,purchase,12,EUR,"),
    ("time_out_of_range", "e9,c9,2200-01-01,purchase,12,EUR,"),
    ("time_in_future", "e9,c9,2025-06-16,purchase,12,EUR,"),
    ("id_too_long", "e9," + "ü" * 129 + ",2024-05-09,purchase,12,EUR,"),
    ("id_too_long", "e" * 257 + ",c9,2024-05-09,purchase,12,EUR,"),
    ("invalid_id", "e9,c\0,2024-05-09,purchase,12,EUR,"),
    ("invalid_id", "e\0,c9,2024-05-09,purchase,12,EUR,"),
    ("invalid_satisfaction", "e9,c9,2024-05-09,rating,,,6"),
    ("invalid_satisfaction", "e9,c9,2024-05-09,rating,,,nan"),
    ("malformed_record", "e9,c9,2024-05-09,purchase"),
    ("malformed_record", "e9,c9,2024-05-09,purchase,12,EUR,,"),
    ("malformed_record", 'e9,"c9,2024-05-09,purchase,12,EUR,'),
    ("malformed_record", '"e9"x,c9,2024-05-09,purchase,12,EUR,'),
    ("record_too_large", "e9," + "x" * RECORD_BYTES_MAX + ",2024-05-09,purchase,12,EUR,"),
]


def hold_to_schema(outcome: Outcome) -> None:
    for letter in outcome.dead_letters:
        jsonschema.validate(letter, SCHEMA)


@pytest.mark.parametrize(("code", "row"), BAD_ROWS, ids=[f"{code}-{i}" for i, (code, _) in enumerate(BAD_ROWS)])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_bad_row_is_refused_alone_with_code_number_and_raw(tmp_path: Path, code: str, row: str, name: str) -> None:
    text = HEADER + GOOD.format(n=1) + row + "\n" + GOOD.format(n=2) + GOOD.format(n=3)
    outcome = read_log(write(tmp_path / name, text))
    assert [event.customer_id for event in outcome.events] == ["c1", "c2", "c3"]
    assert [event.source[1] for event in outcome.events] == [1, 3, 4]
    assert outcome.counts.rows_read == 4
    assert outcome.counts.rows_dead_letter == {code: 1}
    (letter,) = outcome.dead_letters
    assert letter["source"] == {"file": name, "row": 2}
    assert letter["raw"] == row[: 256 * 1024]
    assert letter["reason"] == code
    hold_to_schema(outcome)


@pytest.mark.parametrize(("code", "row"), BAD_ROWS, ids=[f"{code}-{i}" for i, (code, _) in enumerate(BAD_ROWS)])
def test_a_bad_last_row_without_a_line_end_is_refused_alone(tmp_path: Path, code: str, row: str) -> None:
    outcome = read_log(write(tmp_path / "log.csv", HEADER + GOOD.format(n=1) + row))
    assert [event.customer_id for event in outcome.events] == ["c1"]
    assert outcome.counts.rows_dead_letter == {code: 1}
    assert outcome.dead_letters[0]["source"]["row"] == 2


def test_a_row_of_invalid_utf8_is_refused_alone(tmp_path: Path) -> None:
    text = (HEADER + GOOD.format(n=1)).encode() + b"e9,M\xfcller,2024-05-09,purchase,1,,\n" + GOOD.format(n=2).encode()
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert [event.customer_id for event in outcome.events] == ["c1", "c2"]
    (letter,) = outcome.dead_letters
    assert letter["reason"] == "invalid_utf8"
    assert base64.b64decode(letter["raw_base64"]) == b"e9,M\xfcller,2024-05-09,purchase,1,,"
    hold_to_schema(outcome)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.csv.zst"])
def test_a_line_of_ten_megabytes_is_refused_and_the_next_ones_are_read(tmp_path: Path, name: str) -> None:
    if name.endswith("jsonl"):
        good = '{"event_id":"e","customer_id":"c1","occurred_at":"2024-05-01T00:00:00Z","amount":1}\n'
        text = good + '{"event_id":"' + "x" * 10_000_000 + '"}\n' + good
        rows = (1, 2, 3)
    else:
        text = HEADER + GOOD.format(n=1) + "x" * 10_000_000 + "\n" + GOOD.format(n=2)
        rows = (1, 2, 3)
    outcome = read_log(write(tmp_path / name, text))
    assert [event.source[1] for event in outcome.events] == [rows[0], rows[2]]
    (letter,) = outcome.dead_letters
    assert (letter["reason"], letter["source"]["row"]) == ("record_too_large", rows[1])
    assert len(letter["raw"]) == 256 * 1024
    assert letter["is_truncated"]
    hold_to_schema(outcome)


def test_an_unclosed_quote_costs_its_own_line_only_even_in_a_long_file(tmp_path: Path) -> None:
    rows = [f"e{n},c{n},2024-05-01,purchase,{n},EUR,\n" for n in range(60_000)]
    rows[30_000] = 'e30000,c30000,2024-05-01,purchase,1,EUR,"\n'
    letters = tmp_path / "dead_letters.jsonl"
    path = write(tmp_path / "log.csv", HEADER + "".join(rows))
    with open_log(path, dead_letters_path=letters) as log:
        assert log.counts.rows_accepted == 59_999
    letter = json.loads(letters.read_bytes())
    assert letter["source"]["row"] == 30_001
    assert letter["raw"] == rows[30_000].rstrip("\n")


def test_an_unclosed_quote_among_quoted_cells_costs_its_own_line_only(tmp_path: Path) -> None:
    good = [f'"e{n}","c{n}","2024-05-01","purchase","1","EUR",""\n' for n in range(5)]
    bad = '"e9","c9","2024-05-01","purchase","1","EUR,""\n'
    outcome = read_log(write(tmp_path / "log.csv", HEADER + good[0] + bad + "".join(good[1:])))
    assert [event.customer_id for event in outcome.events] == ["c0", "c1", "c2", "c3", "c4"]
    assert [letter["source"]["row"] for letter in outcome.dead_letters] == [2]


def test_blank_lines_are_counted_as_ignored_rows(tmp_path: Path) -> None:
    text = HEADER + GOOD.format(n=1) + "\n  \n" + GOOD.format(n=2) + "\n"
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert outcome.counts.rows_ignored == {"blank_line": 3}
    assert [event.source[1] for event in outcome.events] == [1, 4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_row_of_empty_cells_is_no_blank_line(tmp_path: Path, delimiter: str) -> None:
    text = (HEADER + GOOD.format(n=1) + ",,,,,,\n" + " " * 99 + "\n").replace(",", delimiter)
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert outcome.counts.rows_dead_letter == {"missing_field": 1}
    assert outcome.counts.rows_ignored == {"blank_line": 1}


def test_types_without_a_rule_are_ignored_and_told_by_name(tmp_path: Path) -> None:
    text = HEADER + GOOD.format(n=1) + "e2,,never,login,x,,\n" + "e3,c3,2024-05-03,login,,,\n"
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert outcome.counts.rows_ignored == {"unmapped_type": 2}
    assert outcome.counts.unmapped_types == {"login": 2}


def parquet_row(**fields: Any) -> dict[str, Any]:
    row = {"event_id": "e", "customer_id": "c", "occurred_at": 1_714_557_600_000, "type": "purchase", "amount": 5.0}
    return row | {"currency": "EUR", "rating": None} | fields


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("missing_field", {"customer_id": None}),
        ("missing_field", {"customer_id": ""}),
        ("missing_field", {"occurred_at": None}),
        ("missing_field", {"amount": None}),
        ("amount_not_finite", {"amount": float("nan")}),
        ("amount_not_finite", {"amount": float("inf")}),
        ("amount_out_of_range", {"amount": 1e300}),
        ("unknown_currency", {"currency": "???"}),
        ("time_out_of_range", {"occurred_at": -1}),
        ("time_out_of_range", {"occurred_at": 2**62}),
        ("time_in_future", {"occurred_at": 1_760_000_000_000}),
        ("id_too_long", {"customer_id": "c" * 257}),
        ("invalid_id", {"customer_id": "c\0c"}),
        ("invalid_satisfaction", {"type": "rating", "rating": 9.0}),
    ],
)
def test_a_bad_parquet_row_is_refused_alone_and_kept_as_json(tmp_path: Path, code: str, fields: dict[str, Any]) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([parquet_row(rating=1.0), parquet_row(**fields), parquet_row()]), path)
    outcome = read_log(path)
    assert [event.source[1] for event in outcome.events] == [1, 3]
    (letter,) = outcome.dead_letters
    assert letter["reason"] == code
    assert letter["source"] == {"file": "log.parquet", "row": 2}
    assert json.loads(letter["raw"])["type"] == fields.get("type", "purchase")
    hold_to_schema(outcome)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("malformed_record", "{not json"),
        ("malformed_record", "[1, 2]"),
        ("missing_field", '{"event_id": "e", "occurred_at": "2024-05-01T00:00:00Z", "amount": 1}'),
        ("wrong_type", '{"event_id": "e", "customer_id": "c", "occurred_at": "2024-05-01T00:00:00Z", "amount": "x"}'),
        ("invalid_time", '{"event_id": "e", "customer_id": "c", "occurred_at": "soon", "amount": 1}'),
    ],
)
@pytest.mark.parametrize("mapping", [{}, {"amount": "amount"}])
def test_a_bad_line_of_json_is_refused_alone(tmp_path: Path, code: str, line: str, mapping: dict[str, str]) -> None:
    good = '{"event_id": "a", "customer_id": "c1", "occurred_at": "2024-05-01T00:00:00Z", "amount": 1}'
    outcome = read_log(write(tmp_path / "log.jsonl", f"{good}\n\n{line}\n{good}"), mapping=mapping)
    assert [event.source[1] for event in outcome.events] == [1, 4]
    assert outcome.counts.rows_dead_letter == {code: 1}
    assert outcome.counts.rows_ignored == {"blank_line": 1}
    assert outcome.dead_letters[0]["raw"] == line
    assert outcome.dead_letters[0]["source"]["row"] == 3
    hold_to_schema(outcome)
