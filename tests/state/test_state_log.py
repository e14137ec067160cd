"""The state log: what is read back is the table, wherever the log was truncated, and the log stays small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.log.topics import RECORD_BYTES_MAX
from stream_app.adapters.state_records import decode_state_record, encode_state_record
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.identifiers import pack_ids
from stream_app.streaming.state_log import REWRITTEN_ROWS, StateLog
from stream_app.streaming.state_reader import RecoveredShard
from tests.factories import make_axis, make_policy
from tests.state.shards import LoggedTable, make_header, read


def assert_same(shard: RecoveredShard | None, logged: LoggedTable) -> None:
    """Hold what was read to the table, row for row."""
    assert shard is not None
    assert shard.ids.tolist() == logged.table.ids.tolist()
    assert shard.rows.tobytes() == logged.table.rows.tobytes()
    assert shard.header.customer_count == logged.table.customer_count
    assert shard.log.next_batch_number == logged.books.next_batch_number


CUSTOMERS = st.one_of(
    st.integers(0, 400).map(lambda number: f"customer-{number}"),
    st.integers(0, 9).map(lambda number: "ä" * 30 + str(number)),
    st.sampled_from(["z" * 255, "z" * 256]),
)
COMMITS = st.lists(
    st.tuples(st.lists(CUSTOMERS, max_size=60), st.lists(CUSTOMERS, max_size=2), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=60)
@given(commits=COMMITS)
def test_what_is_read_back_is_the_table_after_any_commits_truncations_and_restarts(
    commits: list[tuple[list[str], list[str], bool]],
) -> None:
    logged = LoggedTable(books=StateLog(rows_min=50, truncation_rows=1))
    for ids, erased_ids, is_restarted in commits:
        logged.commit(ids, erased_ids)
        shard = logged.recover()
        assert_same(shard, logged)
        if is_restarted:
            assert shard is not None
            logged.books = shard.log


def test_the_header_is_that_of_the_last_commit() -> None:
    logged = LoggedTable()
    logged.commit(["a"], positions={"events": 1}, extra={"steps": [1, {"x": None}]})
    logged.commit([], positions={"events": 2}, extra={"steps": [2]})
    shard = logged.recover()
    assert shard is not None
    assert shard.header == make_header(
        logged.policy,
        positions={"events": 2},
        extra={"steps": [2]},
        batch_number=2,
        row_count=1,
        customer_count=1,
    )
    assert shard.sketch.axes[0].term_sums.tolist() == [1, -(2**62), 3]


def test_a_log_without_records_is_that_of_a_new_shard() -> None:
    assert read(make_policy(), {}) is None


def test_a_large_commit_is_cut_into_records_that_brokers_take() -> None:
    logged = LoggedTable()
    ids = [f"customer {number} " + "x" * (number % 230) for number in range(9_000)]
    packed = logged.commit(ids)
    assert len(packed) > 4
    assert max(map(len, packed)) <= RECORD_BYTES_MAX
    assert min(map(len, packed[:-1])) > 0.99 * RECORD_BYTES_MAX - 1_000
    assert_same(logged.recover(), logged)


@pytest.mark.parametrize("hot_count", [500, 2_000, 10_000])
def test_the_log_stays_below_three_times_the_table(hot_count: int) -> None:
    customer_count, batch = 10_000, 250
    logged = LoggedTable(books=StateLog(rows_min=0, truncation_rows=batch))
    everybody = [f"customer-{number}" for number in range(customer_count)]
    for start in range(0, customer_count, batch):
        logged.commit(everybody[start : start + batch])
    largest = 0
    for _ in range(10 * customer_count // batch):
        chosen = logged.random.integers(0, hot_count, batch)
        logged.commit([everybody[number] for number in chosen])
        rows = sum(len(decode_state_record(record).row_numbers) for record in logged.records.values())
        largest = max(largest, rows)
    assert largest <= 3 * customer_count + 3 * (batch + REWRITTEN_ROWS)
    assert_same(logged.recover(), logged)


def test_a_shard_that_only_notes_time_truncates_its_log() -> None:
    logged = LoggedTable(books=StateLog(rows_min=100, truncation_rows=10))
    logged.commit(["a", "b"])
    for _ in range(500):
        logged.commit([])
    assert len(logged.records) < 100
    assert_same(logged.recover(), logged)


def test_after_an_erasure_the_id_leaves_the_log_within_a_bounded_number_of_commits() -> None:
    logged = LoggedTable()
    ids = [f"customer-{number}" for number in range(3_000)]
    logged.commit([*ids, "somebody-else"])
    logged.commit([], ["somebody-else"])
    commits = 0
    while logged.books.is_purging:
        # A restart in between does not forget the duty.
        shard = logged.recover()
        assert shard is not None
        assert shard.log.is_purging
        logged.books = shard.log
        logged.commit([])
        commits += 1
    assert 0 < commits <= 3_000 // REWRITTEN_ROWS + 2
    assert not any(b"somebody-else" in record for record in logged.records.values())
    assert_same(logged.recover(), logged)


def filled() -> LoggedTable:
    logged = LoggedTable()
    for start in range(0, 100, 10):
        logged.commit([f"customer-{number}" for number in range(start, start + 10)])
    return logged


def without(offsets: range | list[int]) -> Callable[[dict[int, bytes]], dict[int, bytes]]:
    return lambda records: {offset: record for offset, record in records.items() if offset not in offsets}


@pytest.mark.parametrize(
    ("change", "code", "action"),
    [
        (without([8]), "state_hole", "restore the topic"),
        (without([0]), "missing_state", "restore the topic"),
        (lambda records: records | {8: records[8][:-1]}, "damaged_state_record", "restore the topic"),
        (lambda records: records | {8: records[8][:900] + b"!" + records[8][901:]}, "damaged_state_record", "restore"),
        (lambda records: records | {8: b"{}"}, "damaged_state_record", "restore the topic"),
        (lambda records: records | {8: b""}, "damaged_state_record", "restore the topic"),
        (lambda records: records | {99: records[18]}, "state_hole", "restore the topic"),
    ],
)
def test_records_that_are_missing_or_damaged_are_refused_with_what_to_do(
    change: Callable[[dict[int, bytes]], dict[int, bytes]], code: str, action: str
) -> None:
    logged = filled()
    with pytest.raises(IncompatibleStateError, match=action) as caught:
        read(logged.policy, change(logged.records))
    assert caught.value.code == code


def test_a_truncated_log_without_records_is_refused() -> None:
    with pytest.raises(IncompatibleStateError, match="begins at offset 70"):
        read(make_policy(), {}, log_start=70)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"partition_count": 4}, "state_partitions"),
        ({"partition": 4}, "state_partitions"),
        ({"state_hash": "another"}, "state_policy"),
        ({"layout_version": 999}, "state_layout"),
    ],
)
def test_a_log_of_another_shard_policy_or_layout_is_refused(header: dict[str, Any], code: str) -> None:
    logged = LoggedTable()
    logged.commit(["a"], **header)
    with pytest.raises(IncompatibleStateError) as caught:
        logged.recover()
    assert caught.value.code == code


def test_a_policy_of_another_number_of_axes_is_refused() -> None:
    logged = filled()
    wider = make_policy(axes=(make_axis(), make_axis(name="other")))
    with pytest.raises(IncompatibleStateError, match="axes"):
        read(wider, logged.records)


def test_a_commit_that_was_never_finished_does_not_count() -> None:
    logged = filled()
    before = logged.table.rows.copy()
    packed = logged.commit([f"customer-{number}" for number in range(4_000)])
    assert len(packed) > 1
    offset = max(logged.records)
    del logged.records[offset]
    shard = logged.recover()
    assert shard is not None
    assert shard.rows.tobytes() == before.tobytes()
    assert shard.header.batch_number == 10

    # The next owner makes the commit anew, and in fewer parts.
    other = LoggedTable(books=shard.log, records=logged.records, next_offset=offset + 5, saved_count=100)
    other.table.restore(shard.ids, shard.rows)
    other.commit(["customer-1"])
    assert_same(other.recover(), other)


def test_a_first_commit_that_was_never_finished_leaves_a_new_shard() -> None:
    logged = LoggedTable()
    logged.commit([f"customer-{number}" for number in range(4_000)])
    del logged.records[max(logged.records)]
    assert logged.recover() is None


def test_a_commit_is_packed_once_and_told_of_once() -> None:
    logged = filled()
    header = make_header(logged.policy)
    touched = np.arange(3)
    logged.books.pack(logged.table, touched, header, 100)
    with pytest.raises(ValueError, match="nobody has said"):
        logged.books.pack(logged.table, touched, header, 100)
    with pytest.raises(ValueError, match="another number"):
        logged.books.committed([1, 2])
    with pytest.raises(ValueError, match="another number"):
        logged.books.committed([1])


def test_new_rows_that_no_commit_has_told_of_are_a_bug() -> None:
    logged = filled()
    logged.table.find_or_add(pack_ids(["new"]))
    with pytest.raises(ValueError, match="a commit is missing"):
        logged.books.pack(logged.table, np.arange(3), make_header(logged.policy), 101)


def test_a_touched_row_carries_its_id_only_when_it_was_told_long_ago() -> None:
    logged = filled()
    packed = logged.commit(["customer-99", "customer-0"])
    record = decode_state_record(packed[0])
    assert record.row_numbers.tolist() == [0, 99]
    assert record.ids.tolist() == [b"customer-0"]
    assert record.id_places.tolist() == [0]


def test_a_record_that_is_too_large_is_a_bug() -> None:
    logged = filled()
    record = decode_state_record(logged.records[0])
    large = replace(record, header=replace(record.header, extra={"x": "y" * RECORD_BYTES_MAX}))
    with pytest.raises(ValueError, match="larger than"):
        encode_state_record(large)
