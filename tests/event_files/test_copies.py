"""Line items that were delivered twice count once, and equal items of one order count each."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.adapters.event_files import EventLogOptions, open_event_log, sorting
from stream_app.adapters.policy_file import load_policy

HEADER = "event_id,customer_id,occurred_at,amount,order_id\n"
LINES = ("l1,anna,2024-03-01T10:00:00Z,5,A\n", "l2,anna,2024-03-01T10:00:00Z,7,A\n", "l3,ben,2024-03-02,5,B\n")


def read(tmp_path: Path, *contents: str) -> tuple[list[tuple[str, float]], tuple[int, int, int, int]]:
    for number, content in enumerate(contents):
        (tmp_path / f"part{number}.csv").write_text(HEADER + content)
    options = EventLogOptions(run_started_ms=1_900_000_000_000)
    with open_event_log([str(tmp_path / "*.csv")], load_policy(None), options) as log:
        events = [
            (customer_id.decode(), amount)
            for batch in log.batches()
            for customer_id, amount in zip(batch.customer_ids.tolist(), batch.amounts.tolist(), strict=True)
        ]
        counts = log.counts
        return events, (counts.rows_read, counts.event_count, counts.rows_merged, counts.rows_copied)


def test_a_doubled_delivery_of_line_items_does_not_double_the_order(tmp_path: Path) -> None:
    events, counts = read(tmp_path, "".join(LINES), "".join(LINES))

    assert events == [("anna", 12.0), ("ben", 5.0)]
    assert counts == (6, 2, 1, 3)


def test_copies_are_found_across_the_batches_of_the_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "SORTED_BATCH_ROWS", 1)
    many = "".join(f"x{number},c{number},2024-03-01,1,O{number}\n" * 3 for number in range(3_000))

    events, counts = read(tmp_path, many)

    assert len(events) == 3_000
    assert {amount for _, amount in events} == {1.0}
    assert counts == (9_000, 3_000, 0, 6_000)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param("l9,anna,2024-03-01T10:00:00Z,5,A\n", id="another id"),
        pytest.param("l1,anna,2024-03-01T10:00:00Z,6,A\n", id="another amount"),
        pytest.param("l1,anna,2024-03-01T10:00:01Z,5,A\n", id="another time"),
    ],
)
def test_a_line_that_differs_is_no_copy(tmp_path: Path, second: str) -> None:
    _, counts = read(tmp_path, LINES[0] + second)

    assert counts == (2, 1, 1, 0)


def test_two_equal_items_of_an_order_whose_lines_carry_its_own_id_are_two(tmp_path: Path) -> None:
    events, counts = read(tmp_path, "A,anna,2024-03-01,5,A\n" * 2)

    assert events == [("anna", 10.0)]
    assert counts == (2, 1, 1, 0)


def test_lines_without_ids_are_never_copies(tmp_path: Path) -> None:
    events, counts = read(tmp_path, ",anna,2024-03-01,5,A\n" * 2 + LINES[2])

    assert events == [("anna", 10.0), ("ben", 5.0)]
    assert counts == (3, 2, 1, 0)
