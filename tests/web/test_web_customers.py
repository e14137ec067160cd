"""The columns of the read model hold what state records say, in whatever order rows, names and erasures come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.state_header import StateHeader
from stream_app.adapters.state_records import StateRecord
from stream_app.domain.rating import states_of
from stream_app.domain.rows import NOT_HELD, RowBlock, row_dtype
from stream_app.engine import EngineClock
from stream_app.web.customers import CustomerColumns, SegmentCodes
from tests.factories import make_axis, make_policy

POLICY = load_policy(None)
DTYPE = row_dtype(len(POLICY.axes), POLICY.horizon_periods)
HEADER = StateHeader("", "", "", 0, 1, {}, 1, 1, EngineClock(0, 0, 1), (), (), 0)
NO_NUMBERS = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True)
class Row:
    """What a test says of a customer's row."""

    held: tuple[int, int]
    score: float
    is_buyer: bool

    def fill(self, row: Any) -> None:
        row["held"] = self.held
        row["candidate"] = NOT_HELD
        row["score"] = (self.score, -self.score)
        row["bucket"] = (int(self.score), 1) if self.is_buyer else (NOT_HELD, NOT_HELD)
        row["purchase_count"] = int(self.is_buyer)


@dataclass
class Naive:
    """The same in dicts: place to name and row."""

    names: dict[tuple[int, int], str] = field(default_factory=dict)
    rows: dict[tuple[int, int], Row] = field(default_factory=dict)

    def segment(self, key: tuple[int, int]) -> tuple[str, ...]:
        row = self.rows[key]
        states = states_of(np.array([row.held], dtype=np.int8), np.array([row.is_buyer]))[0]
        return POLICY.name_segment(states.tolist())


def rows_of(rows: list[Row]) -> RowBlock:
    block = np.zeros(len(rows), dtype=DTYPE)
    for number, row in enumerate(rows):
        row.fill(block[number])
    return block


def record_of(rows: dict[int, Row], ids: dict[int, str], erased: set[int]) -> StateRecord:
    numbers = list(rows)
    places = [place for place, number in enumerate(numbers) if number in ids]
    names = [ids[numbers[place]].encode() for place in places]
    return StateRecord(
        HEADER,
        np.array(numbers, dtype=np.uint32),
        rows_of(list(rows.values())).view(f"V{DTYPE.itemsize}"),
        np.array(names) if names else np.empty(0, dtype="S1"),
        np.array(places, dtype=np.uint32),
        np.array(sorted(erased), dtype=np.uint32),
    )


ROWS = st.builds(
    Row,
    st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
    st.sampled_from([0.0, 1.0, 2.5, 2.5, 7.0, 30_000.0]),
    st.booleans(),
)
COMMITS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.dictionaries(st.integers(0, 12), ROWS, max_size=8),
        st.sets(st.integers(0, 12), max_size=2),
        st.booleans(),
    ),
    max_size=12,
)


def name_of(partition: int, number: int, turn: int) -> str:
    return f"customer-{partition}-{number}-{turn}" + ("-ü" * 30 if number % 3 == 0 else "")


@settings(deadline=None)
@given(commits=COMMITS)
def test_columns_agree_with_dicts(commits: list[tuple[int, dict[int, Row], set[int], bool]]) -> None:
    columns, naive, turns = CustomerColumns(POLICY, rows_max=1 << 16), Naive(), Counter[tuple[int, int]]()
    for partition, rows, erased, looks_up in commits:
        gone = erased - set(rows)
        ids = {}
        for number in rows:
            key = (partition, number)
            if key not in naive.names:
                naive.names[key] = ids[number] = name_of(partition, number, turns[key])
            naive.rows[key] = rows[number]
        told = columns.apply(partition, record_of(rows, ids, gone))
        forgotten = [key for number in sorted(gone) if (key := (partition, number)) in naive.rows]
        assert told == [naive.names[key] for key in forgotten]
        for key in forgotten:
            turns[key] += 1
            assert columns.find(naive.names[key].encode()) < 0
            del naive.rows[key], naive.names[key]
        if looks_up:
            check(columns, naive)
    check(columns, naive)


def check(columns: CustomerColumns, naive: Naive) -> None:
    for key, name in naive.names.items():
        place = columns.find(name.encode())
        assert columns.partition_at(place) == key[0]
        assert columns.ids_at(np.array([place])) == [name]
        assert columns.states_at(np.array([place])) == [naive.segment(key)]
        assert columns.rows_at(np.array([place])).tobytes() == rows_of([naive.rows[key]]).tobytes()
    assert columns.find(b"nobody") < 0
    segments = Counter(map(naive.segment, naive.rows))
    assert {columns.codes.name(code): count for code, count in columns.populations.items()} == dict(segments)
    assert len(columns) == len(naive.rows)
    buckets = Counter(int(row.score) for row in naive.rows.values() if row.is_buyer)
    assert {int(b): int(columns.histograms[0][b]) for b in np.flatnonzero(columns.histograms[0])} == dict(buckets)
    for segment in segments:
        check_pages(columns, naive, segment)


def check_pages(columns: CustomerColumns, naive: Naive, segment: tuple[str, ...]) -> None:
    code = columns.codes.of_names(segment)
    members = {naive.names[key]: naive.rows[key].score for key in naive.rows if naive.segment(key) == segment}
    for limit in (1, 2, 5):
        for axis, sign in ((0, 1.0), (1, -1.0)):
            names: list[str] = []
            after = None
            while True:
                places, after = columns.page(code, axis, limit, after)
                assert len(places) <= limit
                names += columns.ids_at(places)
                if after is None:
                    break
            assert sorted(names) == sorted(members)
            scores = [sign * members[name] for name in names]
            assert scores == sorted(scores, reverse=True)


def test_a_page_goes_on_where_it_was_although_others_came_and_went() -> None:
    columns = CustomerColumns(POLICY, rows_max=1 << 16)
    rows = {number: Row((0, 0), float(number), True) for number in range(40)}
    columns.apply(0, record_of(rows, {number: f"c{number}" for number in rows}, set()))
    code = columns.codes.of_names(("small", "declining"))
    places, after = columns.page(code, 0, 10, None)
    first = columns.ids_at(places)
    columns.apply(
        0, record_of({99: Row((0, 0), 35.0, True), 100: Row((0, 0), 1.5, True)}, {99: "new", 100: "low"}, {20})
    )
    rest = []
    while after is not None:
        places, after = columns.page(code, 0, 10, after)
        rest += columns.ids_at(places)
    assert first == [f"c{number}" for number in range(39, 29, -1)]
    assert rest == [f"c{number}" for number in range(29, 1, -1) if number != 20] + ["low", "c1", "c0"]


def test_a_partition_that_is_read_again_is_forgotten_first() -> None:
    columns = CustomerColumns(POLICY, rows_max=1 << 16)
    for partition in range(2):
        rows = {number: Row((1, 1), 3.0, True) for number in range(5)}
        columns.apply(partition, record_of(rows, {number: f"p{partition}-{number}" for number in rows}, set()))
    columns.forget_partition(0)
    assert len(columns) == 5
    assert columns.find(b"p0-0") < 0
    assert columns.find(b"p1-0") >= 0
    columns.apply(0, record_of({3: Row((1, 1), 3.0, True)}, {3: "p0-3"}, set()))
    assert columns.find(b"p0-3") >= 0
    assert len(columns) == 6


@pytest.mark.parametrize("axis_count", [1, 2, 3, 8])
def test_segments_of_any_number_of_axes_have_codes_of_their_own(axis_count: int) -> None:
    axes = tuple(
        make_axis(name=f"axis{n}", tiers=tuple(f"t{k}" for k in range(20)), cuts=tuple((k + 1) / 20 for k in range(19)))
        for n in range(axis_count)
    )
    codes = SegmentCodes(make_policy(axes=axes))
    random = np.random.default_rng(1)
    states = random.integers(-2, 20, (200, axis_count)).astype(np.int8)
    found = codes.of_states(states).tolist()
    for code, own in zip(found, states.tolist(), strict=True):
        name = codes.name(code)
        assert name == tuple({-2: "prospect", -1: "unrated"}.get(state, f"t{state}") for state in own)
        assert codes.of_names(name) == code
    assert len(set(found)) == len({tuple(own) for own in states.tolist()})
