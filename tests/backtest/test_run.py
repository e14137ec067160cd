"""A backtest from file to files: the same results however it is run, and results that hold together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.report import ReportData
from stream_app.backtest.run import BacktestResult
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.events import MS_PER_DAY
from tests.factories import make_policy

RunBacktest = Callable[..., BacktestResult]
DAY_60_MS = 1_704_067_200_000 + 60 * MS_PER_DAY
SCORED = {"score_every_ms": 28 * MS_PER_DAY}


def changes_of(folder: Path) -> bytes:
    return (folder / "changes.jsonl").read_bytes()


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in changes_of(folder).splitlines()]


@pytest.mark.parametrize("order", ["event", "arrival"])
def test_the_number_of_shards_changes_no_byte_of_the_changes_and_no_score(
    replay: RunBacktest, tmp_path: Path, order: str
) -> None:
    replay("one", shard_count=1, order=order, **SCORED)
    replay("eight", shard_count=8, order=order, **SCORED)

    assert len(records_of(tmp_path / "one")) > 250
    assert changes_of(tmp_path / "one") == changes_of(tmp_path / "eight")
    for name in ("scores.parquet", "segments.parquet"):
        assert pq.read_table(tmp_path / "one" / name).equals(pq.read_table(tmp_path / "eight" / name))


def test_two_runs_write_the_same_changes(replay: RunBacktest, tmp_path: Path) -> None:
    replay("first")
    replay("second")

    assert changes_of(tmp_path / "first") == changes_of(tmp_path / "second")


@pytest.mark.parametrize("cut_ms", [DAY_60_MS, DAY_60_MS + 12_345_678])
@pytest.mark.parametrize(("shards_before", "shards_after"), [(1, 1), (3, 2)])
def test_a_run_cut_in_two_by_a_saved_state_writes_what_one_run_writes(
    replay: RunBacktest, tmp_path: Path, cut_ms: int, shards_before: int, shards_after: int
) -> None:
    state = tmp_path / "state.npz"
    replay("whole", **SCORED)
    replay("before", to_ms=cut_ms, save_state=state, shard_count=shards_before)
    result = replay("after", load_state=state, shard_count=shards_after)

    assert len(records_of(tmp_path / "after")) > 20
    assert changes_of(tmp_path / "whole") == changes_of(tmp_path / "before") + changes_of(tmp_path / "after")
    whole = pq.read_table(tmp_path / "whole" / "segments.parquet")
    assert whole.equals(pq.read_table(tmp_path / "after" / "segments.parquet"))
    assert result.summary["rows"]["ignored"]["before_state"] > 0


def test_the_sweep_period_of_a_run_cut_in_two_may_change(replay: RunBacktest, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    replay("before", to_ms=DAY_60_MS, save_state=state)

    replay("after", load_state=state, policy=load_policy(None).with_sweep_period(7 * 1440))

    assert records_of(tmp_path / "after")


def test_output_begins_where_it_is_asked_to_with_the_state_of_all_events_before(
    replay: RunBacktest, tmp_path: Path
) -> None:
    replay("whole")
    replay("late", from_ms=DAY_60_MS)

    whole = records_of(tmp_path / "whole")
    begin = "2024-03-01T00:00:00.000Z"
    assert records_of(tmp_path / "late") == [change for change in whole if change["effective_at"] >= begin]


def test_every_change_continues_the_last_one_and_has_crossed_its_line(replay: RunBacktest, tmp_path: Path) -> None:
    replay("run")

    tiers = {"value": ["small", "big", "vip"], "growth": ["declining", "steady", "growing"]}
    last: dict[tuple[str, str], dict[str, Any]] = {}
    sequences: dict[str, int] = {}
    for change in records_of(tmp_path / "run"):
        key, axis = (change["customer_id"], change["axis"]), tiers[change["axis"]]
        before = last.get(key)
        assert change["sequence"] == sequences.get(change["customer_id"], 0) + 1
        sequences[change["customer_id"]] = change["sequence"]
        assert change["from_tier"] == (None if before is None else before["to_tier"])
        assert change["segment"][change["axis"]] == change["to_tier"]
        if change["from_tier"] is None:
            assert change["cause"] == "first_rated"
            assert (change["cut_point"] is None) == (change["to_tier"] == axis[0])
        elif axis.index(change["to_tier"]) > axis.index(change["from_tier"]):
            assert change["score"] >= change["cut_point"]
        else:
            assert change["score"] < change["cut_point"]
        last[key] = change


def test_the_reasons_of_a_change_add_up_to_its_distance_from_the_average_customer(
    replay: RunBacktest, tmp_path: Path
) -> None:
    replay("run")

    typical: dict[tuple[str, int], list[float]] = {}
    for change in records_of(tmp_path / "run"):
        told = sum(reason["contribution"] for reason in change["reasons"])
        typical.setdefault((change["axis"], change["knowledge_version"]), []).append(change["score"] - told)
    assert len(typical) > 50
    for distances in typical.values():
        assert np.ptp(distances) < 1e-9


def test_the_report_tells_the_changes_of_its_examples_as_the_file_does(
    replay: RunBacktest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[ReportData] = []
    monkeypatch.setattr("stream_app.backtest.run.write_report", lambda _, data: shown.append(data))
    replay("run")

    examples = shown[0].examples
    assert len(examples) > 3
    for example in examples:
        own = [change for change in records_of(tmp_path / "run") if change["customer_id"] == example.customer_id]
        assert example.changes == own
        assert example.purchases


def test_segments_hold_every_customer_once_with_the_tier_that_was_told_last(
    replay: RunBacktest, tmp_path: Path
) -> None:
    result = replay("run")

    segments = pq.read_table(tmp_path / "run" / "segments.parquet").to_pydict()
    assert len(set(segments["customer_id"])) == len(segments["customer_id"]) == result.summary["customers"]["total"]
    assert segments["customer_id"] == sorted(segments["customer_id"])
    changes = records_of(tmp_path / "run")
    told = {change["customer_id"]: change["to_tier"] for change in changes if change["axis"] == "value"}
    for customer_id, tier in zip(segments["customer_id"], segments["value_tier"], strict=True):
        assert told.get(customer_id, tier) == tier
        assert customer_id in told or tier in ("prospect", "unrated")


def test_scores_hold_everybody_seen_at_each_cutoff_from_events_before_it(
    replay: RunBacktest, shop_log: Path, tmp_path: Path
) -> None:
    replay("run", **SCORED)

    scores = pq.read_table(tmp_path / "run" / "scores.parquet")
    events = pq.read_table(shop_log).to_pydict()
    cutoffs = sorted(set(scores["cutoff"].to_pylist()))
    assert [cutoff.isoformat()[:10] for cutoff in cutoffs[:2]] == ["2024-01-29", "2024-02-26"]
    assert len(cutoffs) == 4
    for cutoff in cutoffs:
        before = [place for place, at in enumerate(events["occurred_at"]) if at < cutoff]
        bought = {events["customer_id"][place]: 0 for place in before}
        for place in before:
            bought[events["customer_id"][place]] += events["type"][place] == "purchase"
        rows = [row for row in scores.to_pylist() if row["cutoff"] == cutoff]
        assert {row["customer_id"]: row["purchase_count"] for row in rows} == bought
        for row in rows:
            assert (row["value_score"] is None) == (row["purchase_count"] == 0)
            has_bought = row["purchase_count"] > 0
            predicted = ("growth_score", "buy_probability", "alive_probability", "expected_purchases", "expected_spend")
            assert all((row[name] is not None and np.isfinite(row[name])) == has_bought for name in predicted)
            if has_bought:
                assert all(0.0 <= row[name] <= 1.0 for name in predicted[:3])
                assert row["expected_purchases"] >= row["buy_probability"]
            assert row["horizon_days"] == 84


def test_the_first_cutoff_can_be_chosen(replay: RunBacktest, tmp_path: Path) -> None:
    replay("run", score_from_ms=DAY_60_MS, **SCORED)

    cutoffs = pq.read_table(tmp_path / "run" / "scores.parquet")["cutoff"].unique().to_pylist()
    assert [cutoff.isoformat()[:10] for cutoff in cutoffs] == ["2024-03-01", "2024-03-29", "2024-04-26"]


def test_shuffled_files_give_the_changes_of_sorted_ones(replay: RunBacktest, shop_log: Path, tmp_path: Path) -> None:
    table = pq.read_table(shop_log)
    order = np.random.default_rng(5).permutation(len(table))
    shuffled = tmp_path / "shuffled.parquet"
    pq.write_table(table.take(order), shuffled)

    replay("sorted")
    replay("shuffled", patterns=(str(shuffled),))

    def told(name: str) -> list[dict[str, Any]]:
        return [change | {"source": None} for change in records_of(tmp_path / name)]

    # Events of one millisecond keep the order of their rows, so only that order may differ; ids break no tie here.
    assert told("sorted") == told("shuffled")


def test_a_doubled_log_tells_nothing_twice(replay: RunBacktest, shop_log: Path, tmp_path: Path) -> None:
    replay("once")
    doubled = tmp_path / "again.parquet"
    doubled.write_bytes(shop_log.read_bytes())

    result = replay("doubled", patterns=(str(shop_log), str(doubled)))

    rows = result.summary["rows"]
    assert rows["duplicates"] == rows["applied"] == rows["read"] / 2
    assert changes_of(tmp_path / "once") == changes_of(tmp_path / "doubled")


def test_all_lines_of_an_order_that_is_dropped_as_a_duplicate_count_as_duplicates(
    replay: RunBacktest, tmp_path: Path
) -> None:
    log = tmp_path / "lines.csv"
    log.write_text(
        "event_id,customer_id,occurred_at,amount,order_id\n"
        "l1,anna,2024-03-01,5,A\nl2,anna,2024-03-01,7,A\nl1,anna,2024-03-02,5,B\nl3,anna,2024-03-02,8,B\n"
    )

    rows = replay("run", patterns=(str(log),)).summary["rows"]

    assert (rows["read"], rows["applied"], rows["duplicates"], rows["merged"]) == (4, 2, 2, 1)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"tick_ms": 7 * 3_600_000}, "--tick"),
        ({"shard_count": 0}, "--shards"),
        ({"score_every_ms": 3_600_000}, "--score-every"),
        ({"score_from_ms": DAY_60_MS}, "--score-from needs"),
        ({"score_from_ms": DAY_60_MS + 1, **SCORED}, "00:00 UTC"),
        ({"from_ms": DAY_60_MS, "to_ms": DAY_60_MS}, "--from must be before --to"),
        ({"order": "arrival", "save_state": Path("state")}, "--order arrival"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_to_write(
    replay: RunBacktest, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        replay("never", **overrides)

    assert any(words in fault for fault in caught.value.faults)


def test_a_state_of_another_policy_is_refused(replay: RunBacktest, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    replay("before", to_ms=DAY_60_MS, save_state=state)

    with pytest.raises(IncompatibleStateError, match="state hash"):
        replay("after", load_state=state, policy=make_policy(half_lives_days=(1.0, 2.0, 3.0, 4.0)))


def test_a_state_with_another_tick_is_refused(replay: RunBacktest, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    replay("before", to_ms=DAY_60_MS, save_state=state)

    with pytest.raises(SettingsError, match="--tick 6h"):
        replay("after", load_state=state, tick_ms=MS_PER_DAY)


@pytest.mark.parametrize("kept_share", [0.0, 0.3, 0.999])
def test_a_damaged_state_is_refused(replay: RunBacktest, tmp_path: Path, kept_share: float) -> None:
    state = tmp_path / "state.npz"
    replay("before", to_ms=DAY_60_MS, save_state=state)
    content = state.read_bytes()
    state.write_bytes(content[: int(len(content) * kept_share)])

    with pytest.raises(IncompatibleStateError, match="damaged"):
        replay("after", load_state=state)


def test_a_state_with_a_flipped_byte_is_refused(replay: RunBacktest, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    replay("before", to_ms=DAY_60_MS, save_state=state)
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)

    with pytest.raises(IncompatibleStateError, match="damaged"):
        replay("after", load_state=state)


def test_a_missing_state_is_said_in_one_line(replay: RunBacktest, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--load-state"):
        replay("after", load_state=tmp_path / "nothing")


def test_an_unwritable_folder_is_said_in_one_line(replay: RunBacktest, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(SettingsError, match="--out"):
        replay("file")


def test_a_run_that_fails_leaves_no_half_written_file(
    replay: RunBacktest, shop_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stream_app.backtest.replay.Replay.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replay("run", **SCORED)

    assert not list((tmp_path / "run").glob("*.partial"))
    assert not (tmp_path / "run" / "changes.jsonl").exists()
