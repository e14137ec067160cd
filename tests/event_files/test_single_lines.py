"""Orders of one line each take a short cut, and give the very events that merging gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.adapters.event_files import EventLogOptions, arranging, open_event_log
from stream_app.adapters.policy_file import load_policy

Row = tuple[int, int, int, int, bool]
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(-50, 50), st.integers(0, 4), st.booleans()),
    min_size=1,
    max_size=12,
)
"""Customer, day, amount, order (4: none), and whether the row is a refund."""


def read(path: Path, order: str) -> tuple[list[tuple[Any, ...]], Any]:
    options = EventLogOptions(run_started_ms=1_900_000_000_000, order="arrival" if order == "arrival" else "event")
    with open_event_log([str(path)], load_policy(None), options) as log:
        events = [
            event
            for batch in log.batches(events_max=3)
            for event in zip(
                batch.customer_ids.tolist(),
                list(batch.event_ids),
                batch.times_ms.tolist(),
                batch.families.tolist(),
                batch.amounts.tolist(),
                batch.positions.tolist(),
                strict=True,
            )
        ]
        return events, (log.counts, log.first_time_ms, log.last_time_ms)


@given(rows=ROWS, order=st.sampled_from(["event", "arrival"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_short_cut_gives_what_merging_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row], order: str
) -> None:
    path = tmp_path / "log.csv"
    lines = [
        f"e{number},c{customer},2024-03-{day + 1:02},{amount},{'' if own == 4 else f'o{own}'},"
        f"{'refund' if is_refund else 'purchase'}"
        for number, (customer, day, amount, own, is_refund) in enumerate(rows)
    ]
    path.write_text("event_id,customer_id,occurred_at,amount,order_id,type\n" + "\n".join(lines) + "\n")

    taken = read(path, order)
    with monkeypatch.context() as without:
        without.setattr(arranging, "LINES_MAX", 0)
        assert taken == read(path, order)


def test_a_log_of_single_lines_is_not_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    path.write_text("customer_id,occurred_at,amount,order_id\na,2024-01-01,1,A\nb,2024-01-02,2,\na,2024-01-03,3,B\n")

    def never(*_: object) -> None:
        pytest.fail("sorted")

    monkeypatch.setattr(arranging, "sorted_batches", never)
    events, _ = read(path, "event")
    assert [event[4] for event in events] == [1.0, 2.0, 3.0]
