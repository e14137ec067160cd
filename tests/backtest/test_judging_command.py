"""`stream-app judge` as people run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app.backtest.run import BacktestResult
from stream_app.cli import main
from stream_app.domain.events import MS_PER_DAY

RunBacktest = Callable[..., BacktestResult]
Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process and give its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["stream-app", "judge", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0)

    return call


def test_a_backtest_is_judged_in_a_table_and_in_json(
    replay: RunBacktest, run: Run, shop_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay("run", score_every_ms=28 * MS_PER_DAY)
    scores, changes, out = tmp_path / "run/scores.parquet", tmp_path / "run/changes.jsonl", tmp_path / "judged.json"

    code = run(scores, shop_log, "--horizon", "28d", "--changes", changes, "--gates", "any", "--out", out)

    printed = capsys.readouterr().out
    document = json.loads(out.read_text())
    failed = [gate["name"] for gate in document["gates"] if gate["verdict"] == "fail"]
    assert code == (1 if failed else 0)
    assert "these scores" in printed
    assert "RFM sum" in printed
    assert "undone within 28 days" in printed
    assert all(gate["name"] in printed for gate in document["gates"])
    assert f"{document['means']['scores']['cap20']:.3f}" in printed
    assert max(len(line) for line in printed.splitlines() if not line.startswith("figures")) <= 120


def test_without_gates_a_poor_figure_is_no_failure(
    replay: RunBacktest, run: Run, shop_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay("run", score_every_ms=28 * MS_PER_DAY)

    assert run(tmp_path / "run/scores.parquet", shop_log, "--horizon", "28d") == 0
    assert "verdict" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{log}", "{log}"), "no scores file"),
        (("{folder}", "{log}"), "no scores file"),
        (("nothing.parquet", "{log}"), "no scores file"),
        (("{scores}", "nothing.csv"), "nothing.csv"),
        (("{scores}", "{log}", "--horizon", "soon"), "--horizon"),
        (("{scores}", "{log}", "--horizon", "12h"), "whole days"),
        (("{scores}", "{log}"), "no cutoff"),
        (("{scores}", "{log}", "--map", "amount"), "--map"),
        (("{scores}", "{log}", "--out", "nowhere/judged.json"), "--out"),
        (("{scores}", "{log}", "--horizon", "28d", "--changes", "{log}"), "no segment change"),
        (("{scores}", "{log}", "--horizon", "28d", "--policy", "nothing.toml"), "nothing.toml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    replay: RunBacktest,
    run: Run,
    shop_log: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    if "{scores}" in arguments:
        replay("run", score_every_ms=42 * MS_PER_DAY, tick_ms=MS_PER_DAY)
    places = {"{log}": shop_log, "{folder}": tmp_path, "{scores}": tmp_path / "run/scores.parquet"}

    code = run(*(places.get(argument, argument) for argument in arguments))

    error = capsys.readouterr().err.strip()
    assert code == 2
    assert words in error
    assert "\n" not in error
