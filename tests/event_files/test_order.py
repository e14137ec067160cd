"""Replay goes by time, then file, then row, however the rows are spread; arrival order keeps the files' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.codec.encoding import LazyIds
from stream_app.adapters.event_files import EventLogOptions, ReadProgress, open_event_log
from stream_app.adapters.event_files.replay import EventIds
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family, event_keys
from stream_app.domain.identifiers import pack_ids
from tests.event_files.logs import events_of, open_log, read_log, write

HEADER = "event_id,customer_id,ts,amount\n"
DAY_MS = 86_400_000


def write_rows(path: Path, rows: list[tuple[str, int]]) -> Path:
    lines = [f"{event_id},c,{time_ms},1\n" for event_id, time_ms in rows]
    return write(path, HEADER + "".join(lines))


@settings(max_examples=40)
@given(
    files=st.lists(st.lists(st.integers(10**12, 10**12 + 5), max_size=12), min_size=1, max_size=3),
    events_max=st.integers(1, 40),
)
def test_events_are_replayed_by_time_then_file_then_row(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], events_max: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    paths = [
        write_rows(folder / f"{f}.csv", [(f"{f}-{r}", time) for r, time in enumerate(times)])
        for f, times in enumerate(files)
    ]
    expected = sorted((time, f, r) for f, times in enumerate(files) for r, time in enumerate(times))
    if not expected:
        with pytest.raises(SettingsError, match="no events"):
            open_log(paths)
        return
    with open_log(paths) as log:
        events = events_of(log, events_max)
        assert [event.event_id for event in events] == [f"{f}-{r}" for _, f, r in expected]
        assert (log.first_time_ms, log.last_time_ms) == (expected[0][0], expected[-1][0])
        assert events_of(log, 1000) == events
    with open_log(paths, order="arrival") as log:
        arrived = [f"{f}-{r}" for f, times in enumerate(files) for r in range(len(times))]
        assert [event.event_id for event in events_of(log)] == arrived


def test_a_shuffled_large_log_replays_as_the_sorted_one(tmp_path: Path) -> None:
    count = 150_000
    times = np.random.default_rng(3).integers(10**12, 10**12 + 10**6, count)
    rows = [(f"e{i}", int(time)) for i, time in enumerate(times)]
    path = write_rows(tmp_path / "log.csv", rows)
    expected = [event_id for event_id, _ in sorted(rows, key=lambda row: row[1])]
    with open_log(path, memory_limit_bytes=64 << 20) as log:
        assert [name for batch in log.batches() for name in batch.event_ids] == expected
        assert {len(batch) for batch in log.batches(events_max=1000)} <= set(range(1, 1001))


def test_keys_are_those_of_the_ids_and_different_where_there_are_none(tmp_path: Path) -> None:
    text = HEADER + "a,c,2024-05-01,1\n,c,2024-05-02,1\na,c,2024-05-03,1\n,c,2024-05-04,1\n"
    with open_log(write(tmp_path / "log.csv", text)) as log:
        (batch,) = log.batches()
    key = event_keys(pack_ids(["a"]))[0]
    assert batch.event_keys[[0, 2]].tolist() == [key, key]
    assert len(set(batch.event_keys.tolist())) == 3
    assert 0 not in batch.event_keys


def test_lazy_event_ids_are_a_sequence(tmp_path: Path) -> None:
    with open_log(write(tmp_path / "log.csv", HEADER + "a,c,2024-05-01,1\n,c,2024-05-02,1\nb,c,2024-05-03,1\n")) as log:
        (batch,) = log.batches()
    ids = batch.event_ids
    assert isinstance(ids, EventIds)
    assert list(ids) == ["a", "log.csv:2", "b"]
    assert ids[-1] == "b"
    assert list(ids[::-2]) == ["b", "a"]
    assert list(batch.select(np.array([2, 1])).event_ids) == ["b", "log.csv:2"]
    with pytest.raises(IndexError):
        ids[3]


def test_columns_of_a_batch_have_the_types_of_the_contract(tmp_path: Path) -> None:
    text = HEADER + "a,c,2024-05-02,1\nb,münchen,2024-05-01,1\n"
    with open_log(write(tmp_path / "log.csv", text)) as log:
        (batch,) = log.batches()
    assert batch.customer_ids.tolist() == ["münchen".encode(), b"c"]
    assert batch.customer_ids.dtype == np.dtype("S8")
    kinds: dict[str, Any] = {"event_keys": "u8", "times_ms": "i8", "families": "u1", "amounts": "f8", "positions": "i8"}
    assert {name: getattr(batch, name).dtype for name in kinds} == {
        name: np.dtype(kind) for name, kind in kinds.items()
    }


def test_the_end_is_exclusive_and_events_of_the_state_are_left_out(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "log.csv", [(f"e{day}", day * DAY_MS) for day in range(10_000, 10_010)])
    outcome = read_log(path, not_before_ms=10_003 * DAY_MS, to_ms=10_006 * DAY_MS)
    assert [event.event_id for event in outcome.events] == ["e10003", "e10004", "e10005"]
    assert outcome.counts.rows_ignored == {"before_state": 3, "after_to": 4}


def test_purchases_of_a_customer_are_told_with_refunds_negative(tmp_path: Path) -> None:
    rows = ("a,2024-05-02,purchase,5", "a,2024-05-01,refund,2", "a,2024-05-03,browse,", "b,2024-05-04,,1")
    text = "customer_id,ts,type,amount\n" + "\n".join(rows)
    with open_log(write(tmp_path / "log.csv", text)) as log:
        told = log.purchases_of(["a", "nobody"])
    assert [amount for _, amount in told["a"]] == [-2.0, 5.0]
    assert told["nobody"] == []
    assert set(told) == {"a", "nobody"}


def test_progress_is_told_up_to_the_whole(tmp_path: Path) -> None:
    told: list[ReadProgress] = []
    path = write_rows(tmp_path / "log.csv.gz", [("a", 10**12 + 1), ("b", 10**12)])
    with open_log(path, on_progress=told.append) as log:
        families = [family for batch in log.batches() for family in batch.families.tolist()]
    assert families == [Family.PURCHASE] * 2
    assert [progress.phase for progress in told][-1] == "sort"
    assert told[-1].bytes_read == told[-1].bytes_total == path.stat().st_size
    assert told[-1].rows_read == 2


def test_ids_picked_together_are_those_asked_for_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "event_id,customer_id,occurred_at,amount\n" + "e1,a,2024-01-01,1\n,b,2024-01-02,2\ne3,c,2024-01-03,3\n"
    )
    options = EventLogOptions(run_started_ms=1_900_000_000_000)
    with open_event_log([str(path)], load_policy(None), options) as log:
        (batch,) = log.batches()
        ids = batch.select(slice(1, 3)).event_ids

        assert isinstance(ids, LazyIds)
        assert [ids[1], ids[0]] == ["e3", "log.csv:2"]
        assert ids.pick([1, 0, 1]) == [b"e3", b"log.csv:2", b"e3"]
