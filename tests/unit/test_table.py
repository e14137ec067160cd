"""The customer table: who gets which row, and that rows stay where they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain import id_index
from stream_app.domain.identifiers import CYCLE_MINUTES, hash_ids, pack_ids, turns_of
from stream_app.domain.rows import NOT_HELD, row_dtype
from stream_app.domain.table import CustomerTable

IDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=90)


def make_table(rows_max: int = 1 << 16) -> CustomerTable:
    return CustomerTable(row_dtype(2, 3), sweep_period_minutes=1440, rows_max=rows_max)


def test_a_row_of_two_axes_takes_384_bytes() -> None:
    assert row_dtype(2, 3).itemsize == 384


def test_every_field_of_a_row_is_aligned() -> None:
    fields = row_dtype(3, 3).fields
    assert fields is not None
    for dtype, offset in (field[:2] for field in fields.values()):
        assert offset % dtype.base.itemsize == 0


@given(batches=st.lists(st.lists(IDS, max_size=12), max_size=6))
def test_customers_get_rows_in_the_order_in_which_they_first_appear(batches: list[list[str]]) -> None:
    table = make_table()
    expected: dict[str, int] = {}
    for batch in batches:
        rows = table.find_or_add(pack_ids(batch))
        for customer_id in batch:
            expected.setdefault(customer_id, len(expected))
        assert rows.tolist() == [expected[customer_id] for customer_id in batch]
    assert [customer_id.decode() for customer_id in table.ids.tolist()] == list(expected)


def test_ids_that_differ_only_after_their_fortieth_byte_are_different_customers() -> None:
    table = make_table()
    ids = ["x" * 40, "x" * 41, "x" * 41 + "y", "x" * 255 + "z"]

    assert table.find_or_add(pack_ids(ids)).tolist() == [0, 1, 2, 3]
    assert table.find(pack_ids(ids[::-1])).tolist() == [3, 2, 1, 0]
    assert [customer_id.decode() for customer_id in table.ids.tolist()] == ids


def test_two_ids_with_one_hash_are_different_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_hash(ids: np.ndarray) -> np.ndarray:
        return np.full(len(ids), 77, dtype=np.uint64)

    monkeypatch.setattr("stream_app.domain.table.hash_ids", one_hash)
    monkeypatch.setattr(id_index, "hash_ids", one_hash)
    table = make_table()
    ids = [f"customer {number}" for number in range(300)]

    assert table.find_or_add(pack_ids(ids + ids)).tolist() == [*range(300), *range(300)]
    assert table.find(pack_ids(["customer 299", "nobody"])).tolist() == [299, -1]


def test_the_index_finds_everybody_after_it_has_grown() -> None:
    table = make_table()
    ids = [f"c{number}" for number in range(40_000)]
    for start in range(0, len(ids), 999):
        table.find_or_add(pack_ids(ids[start : start + 999]))

    assert np.array_equal(table.find(pack_ids(ids)), np.arange(len(ids)))
    assert table.find(pack_ids(["c40000"])).tolist() == [-1]


def test_the_table_grows_without_moving_a_row() -> None:
    table = make_table()
    table.find_or_add(pack_ids(["first"]))
    before = table.rows
    table.find_or_add(pack_ids([f"c{number}" for number in range(60_000)]))

    assert np.shares_memory(before, table.rows)
    assert before.ctypes.data == table.rows.ctypes.data


def test_a_full_table_says_what_to_do() -> None:
    table = make_table(rows_max=1 << 16)
    ids = pack_ids([f"c{number}" for number in range((1 << 16) + 1)])

    with pytest.raises(MemoryError, match="more partitions"):
        table.find_or_add(ids)


def test_a_new_row_holds_no_tier_and_its_own_turn() -> None:
    table = make_table()
    table.find_or_add(pack_ids(["a", "b"]))

    assert (table.rows["held"] == NOT_HELD).all()
    assert (table.rows["candidate"] == NOT_HELD).all()
    assert (table.rows["bucket"] == NOT_HELD).all()
    assert table.rows["turn"].tolist() == turns_of(pack_ids(["a", "b"])).tolist()


def test_gathered_rows_are_copies_until_they_are_scattered_back() -> None:
    table = make_table()
    table.find_or_add(pack_ids(["a", "b", "c"]))
    rows = np.array([2, 0])
    block = table.gather(rows)
    block["gross_spend"] = [5.0, 7.0]

    assert table.rows["gross_spend"].tolist() == [0.0, 0.0, 0.0]
    table.scatter(rows, block)
    assert table.rows["gross_spend"].tolist() == [7.0, 0.0, 5.0]


@given(st.lists(IDS, min_size=1, max_size=20), st.integers(1, 300))
def test_the_hash_of_an_id_depends_neither_on_its_array_nor_on_its_neighbours(ids: list[str], width: int) -> None:
    packed = pack_ids(ids)
    wide = packed.astype(f"S{packed.dtype.itemsize + width}")

    alone = [int(hash_ids(pack_ids([customer_id]))[0]) for customer_id in ids]
    assert hash_ids(packed).tolist() == hash_ids(wide).tolist() == alone
    many = pack_ids([*ids, *(f"c{number}" for number in range(2000))])
    assert hash_ids(many)[: len(ids)].tolist() == alone


@given(st.lists(IDS, max_size=20))
def test_packed_ids_are_the_bytes_of_each_id(ids: list[str]) -> None:
    assert pack_ids(ids).tolist() == [customer_id.encode() for customer_id in ids]


def test_hashes_of_similar_ids_are_spread_evenly() -> None:
    hashes = hash_ids(pack_ids([f"customer-{number}" for number in range(100_000)]))

    assert len(np.unique(hashes)) == 100_000
    counts = np.bincount((hashes % np.uint64(8)).astype(np.int64))
    assert np.abs(counts - 12_500).max() < 5 * np.sqrt(12_500)


def test_a_turn_is_a_minute_of_the_28_day_cycle_taken_from_the_id_alone() -> None:
    # The hash is what `printf customer-1 | b2sum -l 64` prints.
    assert turns_of(pack_ids(["customer-1"])).tolist() == [int("f43cab4199b656bd", 16) % CYCLE_MINUTES]
    turns = turns_of(pack_ids([f"customer-{number}" for number in range(5_000)]))
    assert turns.min() >= 0
    assert turns.max() < CYCLE_MINUTES
    assert len(np.unique(turns // 1440)) == 28
