"""State records: what is packed is what is read, damage is noticed, and old records stay readable."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters import state_records
from stream_app.adapters.state_header import StateHeader, SweepCursor
from stream_app.adapters.state_records import (
    StateRecord,
    decode_state_record,
    encode_state_record,
    header_byte_count,
    split_ids,
)
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.rows import LAYOUT_VERSION, row_dtype
from stream_app.engine import EngineClock
from tests.factories import make_policy
from tests.state.shards import make_header, make_table, read

STORED = Path(__file__).parent.parent / "data" / f"state_record_layout_{LAYOUT_VERSION}.bin"
"""A record of this layout, as it was first released. A change of format or layout leaves this file as it is and makes
the new software read it, or refuse it with what to do."""


def make_record(header: StateHeader, ids: list[str], *, row_count: int, erased: list[int]) -> StateRecord:
    random = np.random.default_rng(7)
    rows = random.integers(0, 256, (row_count, 384), dtype=np.uint8).view("V384").reshape(-1)
    return StateRecord(
        header=header,
        row_numbers=np.arange(row_count, dtype=np.uint32) * 3,
        rows=rows,
        ids=pack_ids(ids),
        id_places=np.arange(len(ids), dtype=np.uint32),
        erased=np.array(erased, dtype=np.uint32),
    )


headers = st.builds(
    make_header,
    st.just(make_policy()),
    app=st.text(),
    partition=st.integers(0, 2**31),
    positions=st.dictionaries(st.text(), st.integers(0, 2**62), max_size=3),
    clock=st.builds(EngineClock, st.integers(-1, 2**50), st.integers(0, 2**20), st.integers(0, 2**31)),
    term_sums=st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(tuple), max_size=3).map(tuple),
    cursor=st.none() | st.builds(SweepCursor, st.integers(0, 2**50), st.binary(min_size=1, max_size=256)),
    extra=st.dictionaries(st.text(), st.none() | st.booleans() | st.lists(st.integers(-(2**53), 2**53)), max_size=3),
    row_count=st.just(1_000),
)
ids = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=64)


@settings(max_examples=60)
@given(header=headers, own=st.lists(ids, max_size=20), more=st.integers(0, 9), erased=st.lists(st.integers(0, 999)))
def test_what_is_packed_is_what_is_read(header: StateHeader, own: list[str], more: int, erased: list[int]) -> None:
    record = make_record(header, own, row_count=len(own) + more, erased=erased)
    packed = encode_state_record(record)
    again = decode_state_record(packed)
    assert again.header == header
    assert again.ids.tolist() == record.ids.tolist()
    for name in ("row_numbers", "rows", "id_places", "erased"):
        assert getattr(again, name).tobytes() == getattr(record, name).tobytes()
    assert len(packed) <= header_byte_count(header) + record.rows.nbytes + 10 * len(record.rows) + 4 * len(
        erased
    ) + sum(map(len, record.ids.tolist()))


@settings(max_examples=100)
@given(data=st.data())
def test_no_change_of_a_byte_and_no_cut_goes_unnoticed(data: st.DataObject) -> None:
    packed = encode_state_record(
        make_record(make_header(make_policy(), row_count=99), ["a", "bb"], row_count=3, erased=[5])
    )
    place = data.draw(st.integers(0, len(packed) - 1))
    damaged = bytearray(packed)
    damaged[place] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(damaged), packed[:place], packed + b"\0"):
        with pytest.raises(IncompatibleStateError):
            decode_state_record(broken)


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(IncompatibleStateError, match="restore the topic") as caught:
        decode_state_record(content)
    assert caught.value.code == "damaged_state_record"


def test_a_record_of_another_format_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_records, "FORMAT_VERSION", 9)
    packed = encode_state_record(make_record(make_header(make_policy()), [], row_count=0, erased=[]))
    monkeypatch.undo()
    with pytest.raises(IncompatibleStateError, match=r"format 9.*export") as caught:
        decode_state_record(packed)
    assert caught.value.code == "state_format"


def test_rows_of_an_older_layout_are_converted_by_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_short_rows(rows: np.ndarray, header: StateHeader) -> np.ndarray:
        assert header.layout_version == 0
        wide = np.zeros((len(rows), 384), dtype=np.uint8)
        wide[:, :16] = rows.view(np.uint8).reshape(len(rows), 16)
        return wide.view("V384").reshape(-1)

    policy = make_policy(axes=make_policy().axes)
    width = row_dtype(len(policy.axes), policy.horizon_periods).itemsize
    header = make_header(policy, layout_version=0, row_count=2, batch_number=1, customer_count=2)
    numbers = np.arange(2, dtype=np.uint32)
    short = np.frombuffer(bytes(range(32)), dtype="V16")
    record = StateRecord(header, numbers, short, pack_ids(["a", "b"]), numbers, np.empty(0, dtype=np.uint32))
    packed = encode_state_record(record)
    with pytest.raises(IncompatibleStateError, match=r"row layout 0.*export it with the old version") as caught:
        decode_state_record(packed)
    assert caught.value.code == "state_layout"

    def read_to_width(rows: np.ndarray, own: StateHeader) -> np.ndarray:
        return np.ascontiguousarray(read_short_rows(rows, own).view(np.uint8).reshape(-1, 384)[:, :width]).view(
            f"V{width}"
        )[:, 0]

    monkeypatch.setattr(
        state_records, "ROW_READERS", {0: read_to_width, LAYOUT_VERSION: state_records.ROW_READERS[LAYOUT_VERSION]}
    )
    shard = read(policy, {0: packed})
    assert shard is not None
    assert shard.rows.tobytes() == b"".join(bytes(range(start, start + 16)) + bytes(width - 16) for start in (0, 16))


def test_the_stored_record_of_this_layout_stays_readable() -> None:
    record = decode_state_record(STORED.read_bytes())
    assert record.header == stored_record().header
    assert record.ids.tolist() == [b"customer-1", "käufer-2".encode(), b"z" * 256]
    assert record.row_numbers.tolist() == [0, 1, 2]
    assert record.id_places.tolist() == [0, 1, 2]
    assert record.erased.tolist() == [3]
    rows = record.rows.view(row_dtype(2, 3))
    assert rows["gross_spend"].tolist() == [0.5, 1.5, 2.5]
    assert rows["score"].tolist() == [[0.25, 0.125], [1.25, 1.125], [2.25, 2.125]]
    assert rows["ring_position"].tolist() == [1, 2, 3]
    assert encode_state_record(record) == STORED.read_bytes()


def test_a_stored_record_of_the_layout_before_kept_gaps_is_refused_with_what_to_do() -> None:
    former = STORED.with_name("state_record_layout_1.bin")
    with pytest.raises(IncompatibleStateError, match=r"row layout 1; .*export it with the old version") as caught:
        decode_state_record(former.read_bytes())
    assert caught.value.code == "state_layout"


def test_rows_have_the_fields_that_the_stored_record_was_written_with() -> None:
    # Whoever changes these raises LAYOUT_VERSION and leaves a reader of the former layout.
    dtype = row_dtype(2, 3)
    assert dtype.fields is not None
    lines = [f"{name} {own[0].base.str} {own[0].shape} {own[1]}" for name, own in sorted(dtype.fields.items())]
    assert lines == (STORED.parent / f"state_layout_{LAYOUT_VERSION}.txt").read_text().splitlines()


def stored_record() -> StateRecord:
    """Make what is stored in the file."""
    policy = make_policy()
    table = make_table(policy)
    assert len(table) == 0
    rows = np.zeros(3, dtype=row_dtype(2, 3))
    rows["gross_spend"] = [0.5, 1.5, 2.5]
    rows["score"] = [[0.25, 0.125], [1.25, 1.125], [2.25, 2.125]]
    rows["ring_position"] = [1, 2, 3]
    values: dict[str, Any] = {
        "state_hash": "0123456789abcdef",
        "policy_hash": "fedcba9876543210",
        "batch_number": 7,
        "row_count": 4,
        "customer_count": 3,
        "cursor": SweepCursor(1_700_000_060_000, b"customer-\xff"),
        "extra": {"watermark_ms": 1_700_000_000_123},
    }
    numbers = np.arange(3, dtype=np.uint32)
    stored_ids = pack_ids(["customer-1", "käufer-2", "z" * 256])
    erased = np.array([3], dtype=np.uint32)
    header = make_header(policy, **values)
    return StateRecord(header, numbers, rows.view("V384"), stored_ids, numbers, erased)


def test_every_field_of_a_header_is_stored() -> None:
    document = state_records.open_state_record(STORED.read_bytes()).document
    assert set(document) == {field.name for field in fields(StateHeader)}


@given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda own: not own.endswith(b"\0"))))
def test_ids_are_cut_apart_by_their_lengths(own: list[bytes]) -> None:
    lengths = np.array([len(one) for one in own], dtype=np.int64)
    assert split_ids(np.frombuffer(b"".join(own), dtype=np.uint8), lengths).tolist() == own
