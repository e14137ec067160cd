"""The command `stream-app backtest`, as a user runs it."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _kept_signal_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-app", "backtest", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code if isinstance(caught.value.code, int) else 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    rows = [f"{number},c{number % 150},2024-01-{number % 28 + 1:02},{number % 90 + 1}" for number in range(600)]
    path.write_text("Invoice,Customer,Invoice date,Total\n" + "\n".join(rows) + "\n")
    return path


def test_a_run_prints_its_most_telling_numbers_and_where_the_report_is(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    out = tmp_path / "out"

    assert run(monkeypatch, log, "--out", out, "--tick", "6h", "--map", "order_id=Invoice") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Customers segmented")
    assert "600 read = 600 applied + 0 duplicates + 0 ignored + 0 dead letters" in lines
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert {path.name for path in out.iterdir()} == {
        "changes.jsonl",
        "segments.parquet",
        "dead_letters.jsonl",
        "summary.json",
        "report.html",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.csv",), "nothing.csv: no such file"),
        (("{log}", "--map", "amount"), "FIELD=COLUMN"),
        (("{log}", "--map", "occurred_at=Nope"), "columns found: Invoice, Customer, Invoice date, Total"),
        (("{log}", "--tick", "soon"), "--tick:"),
        (("{log}", "--sweep", "90s"), "whole minutes"),
        (("{log}", "--sweep", "11d"), "divisor of the 28-day cycle"),
        (("{log}", "--from", "yesterday"), "--from:"),
        (("{log}", "--timezone", "Mars/Olympus"), "Mars/Olympus"),
        (("{log}", "--policy", "nothing.toml"), "nothing.toml"),
        (("{log}", "--load-state", "nothing.npz"), "--load-state"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_with_what_to_do_and_exit_code_2(
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    filled = [argument.replace("{log}", str(log)) for argument in arguments]

    assert run(monkeypatch, *filled, "--out", tmp_path / "out") == 2

    output = capsys.readouterr()
    assert words in output.err
    assert output.err.startswith("stream-app: ")
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_from_outside_leaves_nothing_unfinished(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spools))
    monkeypatch.setattr("stream_app.backtest.replay.Replay.run", lambda *_: signal.raise_signal(number))
    out = tmp_path / "out"

    assert run(monkeypatch, log, "--out", out, "--score-every", "28d") == code

    assert [path.name for path in out.iterdir()] == ["dead_letters.jsonl"]
    assert not list(spools.iterdir())
