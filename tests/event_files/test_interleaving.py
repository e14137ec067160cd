"""Two ordered streams become one ordered stream, however they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.event_files.interleaving import interleave

ORDER = ("time_ms", "position")


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], list[list[tuple[int, int, int]]]]:
    """Draw rows (time, position, stream) and the batches of each of two streams."""
    owners = draw(st.lists(st.integers(0, 1), max_size=30))
    rows = sorted((draw(st.integers(0, 5)), position, owner) for position, owner in enumerate(owners))
    return rows, [[row for row in rows if row[2] == owner] for owner in (0, 1)]


def batches(rows: list[tuple[int, int, int]], sizes: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    while start < len(rows):
        end = start + sizes[start % len(sizes)]
        times, positions, owners = zip(*rows[start:end], strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(times, pa.int64()), pa.array(positions, pa.int64()), pa.array(owners, pa.int64())],
            names=["time_ms", "position", "owner"],
        )
        start = end


@given(drawn=streams(), sizes=st.tuples(*[st.lists(st.integers(1, 6), min_size=1, max_size=4)] * 2))
def test_all_rows_come_in_order(
    drawn: tuple[list[tuple[int, int, int]], list[list[tuple[int, int, int]]]], sizes: tuple[list[int], list[int]]
) -> None:
    rows, parts = drawn

    merged = interleave(batches(parts[0], sizes[0]), batches(parts[1], sizes[1]), ORDER)

    got = [tuple(row.values()) for batch in merged for row in batch.to_pylist()]
    assert got == rows
