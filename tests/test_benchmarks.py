"""The benchmarks run, at tiny sizes, and print what they found; how fast anything is, no test asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.backtest import CDNOW_VARIABLE
from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import QUICK
from benchmarks.simulated_log import CACHE_VARIABLE
from benchmarks.suite import BENCHMARKS
from benchmarks.table import BEGIN, DOCUMENT, END, render, update_document

ROOT = Path(__file__).parents[1]
ROWS = {
    "embedded_log": ["append", "read", "commit"],
    "engine_events": ["uniform", "zipf_0.8", "zipf_1.0", "small_batches"],
    "engine_events_value": ["uniform", "zipf_0.8", "small_batches", "reference", "ratio"],
    "engine_sweep": ["hourly", "at_once"],
    "engine_sweep_value": ["hourly", "at_once"],
    "learner": ["outcomes"],
    "memory": [f"{QUICK.customers}"],
    "memory_many": [f"{QUICK.customers_many}"],
    "pipeline_embedded": ["embedded"],
    "pipeline_kafka": ["kafka"],
    "peers": ["ours", "kafka_streams", "quix", "faust", "to_kafka_streams", "to_faust"],
    "latency_kafka": ["kafka"],
    "latency_embedded": ["embedded"],
    "state_log": ["recovery_2", "recovery_3", "recovery_2_small", "pack", "pack_small"],
    "worker_memory": ["backlog", "restart"],
    "simulate": ["year"],
    "backtest_year": ["rate", "memory"],
    "backtest_cdnow": [],
    "web_lookup": ["p95", "ready"],
    "event_to_page": ["p95"],
    "help": [],
}
PREFIXES = {"memory_many": "memory"} | {
    f"{name}_{log}": name for name in ("latency", "pipeline") for log in ("embedded", "kafka")
}
PROGRAMS = {"event_to_page": ("chromium",)} | dict.fromkeys(
    ("latency_kafka", "pipeline_kafka", "worker_memory"), ("java", "mvn")
)
"""Benchmark to what it needs beyond Python; CI has it all."""
FETCHING = ("peers",)
"""Benchmarks that fetch and build other products first: they run where they are asked for, not in the tests."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(CDNOW_VARIABLE, raising=False)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def measured(**fields: object) -> Measurement:
    return Measurement(**({"name": "some.case", "what": "something", "unit": "events/s", "value": 10.0} | fields))  # type: ignore[arg-type]


def test_every_benchmark_is_known_to_these_tests() -> None:
    assert list(ROWS) == list(BENCHMARKS)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in FETCHING])
def test_a_benchmark_measures_all_of_its_rows(name: str) -> None:
    missing = [program for program in PROGRAMS.get(name, ()) if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    rows = BENCHMARKS[name](QUICK)
    prefix = PREFIXES.get(name, name)
    assert [row.name for row in rows] == [f"{prefix}.{case}" for case in ROWS[name]] or [row.name for row in rows] == [
        name
    ]
    is_possible = name != "backtest_cdnow" and (not name.startswith("memory") or Path("/proc/self/status").exists())
    assert all((row.value is not None) == is_possible for row in rows)


def test_the_log_of_cdnow_is_read_where_the_environment_says_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("customer_id,ts,type,amount\n00001,1997-01-01,purchase,11.77\n00002,1997-01-02,purchase,5.00\n")
    monkeypatch.setenv(CDNOW_VARIABLE, str(log))
    (row,) = BENCHMARKS["backtest_cdnow"](QUICK)
    assert row.value is not None
    assert "reading" in row.notes


def test_the_simulated_log_is_made_once() -> None:
    BENCHMARKS["simulate"](QUICK)
    (log,) = Path(os.environ[CACHE_VARIABLE]).iterdir()
    made = log.stat().st_mtime_ns
    BENCHMARKS["backtest_year"](QUICK)
    assert [(path, path.stat().st_mtime_ns) for path in Path(os.environ[CACHE_VARIABLE]).iterdir()] == [(log, made)]


def test_the_command_prints_the_machine_and_a_row_without_a_verdict_for_tiny_sizes() -> None:
    result = command("--quick", "--only", "help", "backtest_cdnow")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Machine: ")
    assert "load before the run" in lines[0]
    assert lines[4].startswith("| help")
    assert "not judged" in lines[4]
    assert lines[5].startswith("| backtest_cdnow")
    assert "skipped" in lines[5]
    assert CDNOW_VARIABLE in lines[5]


def test_a_benchmark_that_fails_does_not_keep_the_others_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CDNOW_VARIABLE, "no-such-file.csv")
    result = command("--quick", "--only", "backtest_cdnow", "help")
    assert result.returncode == 1
    assert "no-such-file.csv" in result.stderr
    assert "| help" in result.stdout


@pytest.mark.parametrize("option", [("--quick",), ("--only", "help")])
def test_the_document_takes_only_whole_tables(option: tuple[str, ...]) -> None:
    result = command("--update-docs", *option)
    assert result.returncode == 2
    assert "leave out --quick and --only" in result.stderr


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"floor": 5.0, "goal": 10.0}, "goal"),
        ({"floor": 10.0, "goal": 11.0}, "floor"),
        ({"floor": 11.0, "goal": 12.0}, "MISSED"),
        ({"floor": 10.0}, "kept"),
        ({"floor": 11.0}, "MISSED"),
        ({"floor": 10.0, "is_ceiling": True}, "kept"),
        ({"floor": 9.0, "is_ceiling": True}, "MISSED"),
        ({"goal": 11.0}, "MISSED"),
        ({}, "reported"),
        ({"value": None, "floor": 5.0}, "skipped"),
    ],
)
def test_a_verdict_says_which_promise_was_kept(fields: dict[str, object], verdict: str) -> None:
    assert measured(**fields).verdict == verdict


def test_a_rate_is_that_of_the_best_repetition_with_the_median_beside_it() -> None:
    stopwatch = Stopwatch(wall_seconds=[1.0, 2.0, 4.0], processor_seconds=[1.0, 0.5, 4.0])
    rate = Rate.of([100, 100, 100], stopwatch)
    assert (rate.best, rate.middle, rate.by_processor) == (100.0, 50.0, 200.0)


def test_only_timed_parts_count() -> None:
    stopwatch = Stopwatch()
    stopwatch.begin_repetition()
    assert stopwatch.wall_seconds == [0.0]
    with stopwatch.timed():
        sum(range(1000))
    first = stopwatch.wall_seconds[0]
    assert first > 0
    sum(range(1000))
    assert stopwatch.wall_seconds == [first]


def test_the_table_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nend\n")
    table = render([measured(floor=5.0)], "a machine", is_full=True)
    for _ in range(2):
        update_document(table, document)
    assert document.read_text() == f"# Title\n\n{BEGIN}\n{table}\n{END}\n\nend\n"
    assert "kept" in table


def test_the_document_has_a_place_for_the_table_and_names_every_benchmark() -> None:
    text = DOCUMENT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert [name for name in BENCHMARKS if f"`{name}`" not in text] == []
