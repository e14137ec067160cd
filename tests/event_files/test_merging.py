"""Line items of one order become one event; a naive grouping in plain Python says the same."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.event_files.merging import LineMerger
from stream_app.adapters.event_files.spool import LINE_SCHEMA
from stream_app.domain.events import Family
from tests.event_files.logs import open_log, read_log, write

HEADER = "event_id,customer_id,ts,type,amount,order_id\n"


def test_lines_of_an_order_are_one_event_wherever_they_stand(tmp_path: Path) -> None:
    text = HEADER + (
        "e1,a,2024-05-03,purchase,5,o1\n"
        "e2,a,2024-05-02,purchase,1,o2\n"
        "e3,b,2024-05-01,purchase,7,o1\n"
        "e4,a,2024-05-04,purchase,,\n"
        "e5,a,2024-05-01T12:00:00Z,purchase,0.25,o1\n"
        "e6,a,2024-05-05,purchase,3,\n"
        "e7,a,2024-05-06,purchase,3,\n"
    )
    outcome = read_log(write(tmp_path / "log.csv", text))
    assert [(e.event_id, e.customer_id, e.amount, e.row_count, e.source[1]) for e in outcome.events] == [
        ("e3", "b", 7.0, 1, 3),
        ("e1", "a", 5.25, 2, 1),
        ("e2", "a", 1.0, 1, 2),
        ("e6", "a", 3.0, 1, 6),
        ("e7", "a", 3.0, 1, 7),
    ]
    assert outcome.counts.rows_merged == 1
    assert outcome.counts.rows_dead_letter == {"missing_field": 1}


def test_in_arrival_order_an_order_stands_where_its_first_line_stands(tmp_path: Path) -> None:
    text = HEADER + "e1,a,2024-05-03,purchase,5,o1\ne2,a,2024-05-02,purchase,1,\ne3,a,2024-05-01,purchase,2,o1\n"
    events = read_log(write(tmp_path / "log.csv", text), order="arrival").events
    assert [(e.event_id, e.amount) for e in events] == [("e1", 7.0), ("e2", 1.0)]
    assert events[0].time_ms < events[1].time_ms


@pytest.mark.parametrize(
    ("amounts", "family", "amount"),
    [
        ((10, -3), Family.PURCHASE, 7.0),
        ((-10, 3), Family.REFUND, 7.0),
        ((-4, -3), Family.REFUND, 7.0),
        ((4, -4), Family.PURCHASE, 0.0),
    ],
)
def test_the_sign_of_the_sum_decides_between_purchase_and_refund(
    tmp_path: Path, amounts: tuple[int, int], family: Family, amount: float
) -> None:
    text = HEADER + "".join(f"e{n},a,2024-05-01,purchase,{value},o1\n" for n, value in enumerate(amounts))
    (event,) = read_log(write(tmp_path / "log.csv", text)).events
    assert (event.family, event.amount) == (family, amount)


def test_a_refund_and_behaviour_with_the_id_of_an_order_stay_events_of_their_own(tmp_path: Path) -> None:
    text = HEADER + (
        "e1,a,2024-05-01,purchase,5,o1\n"
        "e2,a,2024-05-02,refund,2,o1\n"
        "e3,a,2024-05-03,browse,,o1\n"
        "e4,a,2024-05-04,browse,,o1\n"
        "e5,a,2024-05-05,refund,-1,o1\n"
    )
    events = read_log(write(tmp_path / "log.csv", text)).events
    assert [(e.event_id, e.family, e.amount) for e in events] == [
        ("e1", Family.PURCHASE, 5.0),
        ("e2", Family.REFUND, 1.0),
        ("e3", Family.BROWSE, 0.0),
        ("e4", Family.BROWSE, 0.0),
    ]


def test_orders_are_merged_across_files_of_different_formats(tmp_path: Path) -> None:
    first = write(tmp_path / "1.csv", HEADER + "e1,a,2024-05-01,purchase,5,o1\n")
    line = '{"event_id":"e2","customer_id":"a","occurred_at":"2024-05-02T00:00:00Z","amount":-7,"order_id":"o1"}\n'
    second = write(tmp_path / "2.jsonl", line)
    (event,) = read_log([first, second]).events
    assert (event.event_id, event.amount, event.family, event.row_count) == ("e1", 2.0, Family.REFUND, 2)


LINES = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["o1", "o2", ""]),
        st.integers(0, 5),
        st.integers(-500, 500).map(lambda cents: cents / 100),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40)
@given(lines=LINES)
def test_merging_agrees_with_a_naive_grouping(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, int, float]]
) -> None:
    rows = [
        f"e{n},{who},{10**12 + time},purchase,{amount},{order}\n" for n, (who, order, time, amount) in enumerate(lines)
    ]
    groups: dict[Any, list[int]] = defaultdict(list)
    for n, (who, order, _, _) in enumerate(lines):
        groups[(who, order) if order else n].append(n)
    expected = []
    for members in groups.values():
        total = 0.0
        for n in members:
            total += lines[n][3]
        time = min(lines[n][2] for n in members) + 10**12
        family = Family.REFUND if total < 0 else Family.PURCHASE
        expected.append((time, members[0] + 1, lines[members[0]][0], family, abs(total), len(members)))
    path = write(tmp_path_factory.mktemp("log") / "log.csv", HEADER + "".join(rows))
    outcome = read_log(path)
    told = [(e.time_ms, e.source[1], e.customer_id, e.family, e.amount, e.row_count) for e in outcome.events]
    assert told == sorted(expected)


def line_batch(rows: list[tuple[str, float]]) -> pa.RecordBatch:
    count = len(rows)
    columns: dict[str, Any] = {
        "customer_id": ["c"] * count,
        "event_id": [None] * count,
        "time_ms": list(range(count)),
        "family": [0] * count,
        "amount": [amount for _, amount in rows],
        "satisfaction": [float("nan")] * count,
        "position": list(range(count)),
        "order_id": [order for order, _ in rows],
        "type_code": [0] * count,
    }
    return pa.RecordBatch.from_pydict(columns, schema=LINE_SCHEMA)


@given(data=st.data(), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_sums_do_not_depend_on_where_the_sort_cuts_its_batches(data: st.DataObject, sizes: list[int]) -> None:
    rng = np.random.default_rng(sum(sizes))
    rows = [
        (f"o{group:02d}", float(amount)) for group, size in enumerate(sizes) for amount in rng.lognormal(0, 3, size)
    ]
    whole = line_batch(rows)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(rows) - 1, 1)), max_size=8)))
    bounds = [0, *[cut for cut in cuts if cut < len(rows)], len(rows)]
    parts = [whole.slice(start, stop - start) for start, stop in pairwise(bounds)]
    one, many = LineMerger(), LineMerger()
    expected = pa.Table.from_batches(list(one.merge([whole])))
    found = pa.Table.from_batches(list(many.merge(parts)))
    for name in ("time_ms", "amount", "position", "family"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    assert [a.tolist() for a in many.line_counts()] == [a.tolist() for a in one.line_counts()]
    exact = float(sum(Fraction(amount) for order, amount in rows if order == "o00"))
    assert expected["amount"][0].as_py() == pytest.approx(exact)


def test_rows_of_counts_the_lines_behind_each_event(tmp_path: Path) -> None:
    text = HEADER + "".join(f"e{n},a,2024-05-01,purchase,1,o{n // 3}\n" for n in range(10))
    with open_log(write(tmp_path / "log.csv", text)) as log:
        (batch,) = log.batches()
        assert log.rows_of(batch.positions).tolist() == [3, 3, 3, 1]
        assert log.rows_of(batch.positions[:0]).tolist() == []
