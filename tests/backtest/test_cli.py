"""The command `stream-app backtest`, as a user runs it."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.cli import main
from tests.backtest.compared_policies import CAREFUL, EAGER, write_policies

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


def test_several_policies_are_compared_and_what_differs_is_printed(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    policies = write_policies(tmp_path / "policies", careful=CAREFUL, eager=EAGER)
    given = [argument for path in policies for argument in ("--policy", path)]
    out = tmp_path / "out"

    assert run(monkeypatch, log, *given, "--out", out, "--tick", "1d", "--sweep", "7d") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("value: ")
    assert "of 150 customers have another tier under eager than under careful:" in lines[0]
    assert [line.partition(":")[0] for line in lines[2:4]] == [
        "human attention under careful",
        "human attention under eager",
    ]
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert {path.name for path in out.iterdir()} == {"careful", "eager", "comparison.json", "report.html"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--save-state", "state.npz"), "--save-state: a state belongs to one policy; give one --policy"),
        (("--load-state", "state.npz"), "--load-state: a state belongs to one policy; give one --policy"),
        (("--policy", "nothing.toml"), "nothing.toml: no such file"),
        (("--policy", "{log}"), "no TOML"),
        (("--policy", "{first}") * 7, "at most 8 are compared side by side"),
        (("--sweep", "11d"), "divisor of the 28-day cycle"),
        (("--map", "occurred_at=Nope"), "columns found: Invoice, Customer, Invoice date, Total"),
    ],
)
def test_what_cannot_be_compared_is_one_line_with_what_to_do_and_exit_code_2(
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    first, second = write_policies(tmp_path, first=CAREFUL, second=EAGER)
    filled = [argument.replace("{log}", str(log)).replace("{first}", str(first)) for argument in arguments]

    assert run(monkeypatch, log, "--policy", first, "--policy", second, *filled, "--out", tmp_path / "out") == 2

    output = capsys.readouterr()
    assert words in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


def test_one_policy_gives_its_results_without_a_folder_of_their_own(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (policy,) = write_policies(tmp_path, careful=CAREFUL)
    out = tmp_path / "out"

    assert run(monkeypatch, log, "--policy", policy, "--out", out, "--tick", "1d") == 0

    assert "comparison.json" not in {path.name for path in out.iterdir()}
    assert (out / "summary.json").is_file()
