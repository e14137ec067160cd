"""Many values are written at once as each would be alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.codec.wire_text import KeptPieces, format_time, write_texts, write_times
from stream_app.domain.events import MS_PER_DAY

LATEST_MS = (2**32 - 1) * 1000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(['a",', ',"b', "\n", "\\", '"'])


@given(st.lists(st.integers(0, LATEST_MS), max_size=6))
def test_times_of_several_days_are_written_as_people_write_them(times_ms: list[int]) -> None:
    column = np.array(times_ms, dtype=np.int64)
    assert [time.decode() for time in write_times(column)] == [*map(format_time, column.tolist())]


@given(st.lists(st.integers(0, MS_PER_DAY - 1), min_size=1, max_size=6))
def test_times_of_one_day_are_written_as_people_write_them(times_ms: list[int]) -> None:
    column = np.array(times_ms, dtype=np.int64) + 20_000 * MS_PER_DAY
    assert [time.decode() for time in write_times(column)] == [*map(format_time, column.tolist())]


@given(st.lists(texts, max_size=6))
def test_texts_read_back_as_they_were_whatever_is_in_them(told: list[str]) -> None:
    written = write_texts([text.encode() for text in told])
    assert [json.loads(text) for text in written] == told


@pytest.mark.parametrize("code_count", [1, 3, 11])
def test_pieces_are_those_of_their_codes_and_written_once(code_count: int) -> None:
    asked = []

    def write(codes: tuple[int, ...]) -> tuple[bytes, bytes]:
        asked.append(codes)
        return str(codes).encode(), b"%d" % sum(codes)

    kept = KeptPieces(write)
    codes = np.array([[0] * code_count, [-2] * code_count, [0] * code_count], dtype=np.int8)
    for _ in range(2):
        names, sums = kept.columns(codes)
        assert names == [str(tuple(own)).encode() for own in codes.tolist()]
        assert sums == [b"0", b"%d" % (-2 * code_count), b"0"]
    assert len(asked) == 2
