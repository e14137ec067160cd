"""`stream-app judge`: hold a backtest's scores against what customers did next."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stream_app.domain.errors import SettingsError

if TYPE_CHECKING:
    from stream_app.backtest.judging.gates import Gate
    from stream_app.backtest.judging.judgement import Judgement
    from stream_app.backtest.judging.truth import TruthFigures

EXIT_GATE_FAILED = 1


class Gates(StrEnum):
    """Which gates a judgement is held against."""

    ANY = "any"
    CDNOW = "cdnow"


def judge(
    *,
    scores: Path = typer.Argument(..., metavar="SCORES", help="scores.parquet of `backtest --score-every`."),
    events: list[str] = typer.Argument(..., metavar="EVENTS...", help="The events: CSV, JSON Lines, Parquet, globs."),
    horizon: str = typer.Option("91d", help="How far the outcome reaches; whole days."),
    policy: Path | None = typer.Option(None, help="The backtest's policy; without it the default policy holds."),
    changes: Path | None = typer.Option(None, help="changes.jsonl of the same backtest, to judge flaps."),
    compare: bool = typer.Option(False, "--compare", help="Also fit BG/NBD + Gamma-Gamma and LightGBM."),
    truth: Path | None = typer.Option(None, help="True parameters of a simulated shop: also judge scores by them."),
    gates: Gates | None = typer.Option(None, help="Say which gates hold; exit code 1 if one does not."),
    out: Path | None = typer.Option(None, metavar="FILE", help="Write all figures there as JSON."),
    map_: list[str] = typer.Option([], "--map", metavar="FIELD=COLUMN", help="Where a field stands; can be repeated."),
    timezone: str | None = typer.Option(None, help="Zone of times without one, such as Europe/Berlin; default UTC."),
    delimiter: str | None = typer.Option(None, help="Delimiter of CSV files; recognised if not given."),
    decimal: str | None = typer.Option(None, help="Decimal mark of CSV files, . or ,; recognised if not given."),
) -> None:
    """Judge scores by what customers did next, beside rankings that knew no more."""
    import time

    from stream_app.adapters.policy_file import load_policy
    from stream_app.backtest.judging.gates import GateSet, Verdict, check_gates
    from stream_app.backtest.judging.run import JudgeSettings, run_judgement
    from stream_app.cli.arguments import parse_mapping, parse_span_ms
    from stream_app.cli.judgement_table import print_judgement, show_judging

    settings = JudgeSettings(
        scores=scores,
        patterns=tuple(events),
        policy=load_policy(policy),
        run_started_ms=int(time.time() * 1000),
        horizon_ms=parse_span_ms("--horizon", horizon),
        changes=changes,
        mapping=parse_mapping(map_),
        timezone=timezone,
        delimiter=delimiter,
        decimal=decimal,
        is_compared=compare,
    )
    _require_writable(out)
    with show_judging() as (on_reading, on_cutoff):
        judgement = run_judgement(settings, on_reading, on_cutoff)
    checked = () if gates is None else check_gates(judgement, GateSet(gates.value))
    true_figures: tuple[TruthFigures, ...] = ()
    if truth is not None:
        from stream_app.backtest.judging.truth import truth_gates
        from stream_app.cli.truth import truth_figures

        true_figures = truth_figures(settings, truth)
        checked += truth_gates(true_figures)
    print_judgement(judgement, checked)
    if out is not None:
        _write(out, judgement, checked, true_figures)
    if any(gate.verdict is Verdict.FAIL for gate in checked):
        raise typer.Exit(EXIT_GATE_FAILED)


def _require_writable(path: Path | None) -> None:
    """Say before an hour of fitting that the results have no place to go."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        message = f"--out: {path} is no file in an existing folder; name one such as judgement.json"
        raise SettingsError(message, code="unwritable_output")


def _write(path: Path, judgement: Judgement, gates: tuple[Gate, ...], truth: tuple[TruthFigures, ...]) -> None:
    from dataclasses import asdict

    import orjson

    from stream_app.adapters.whole_files import written_whole

    document = judgement.as_document() | {"gates": [asdict(gate) for gate in gates]}
    if truth:
        document["truth"] = [asdict(figures) for figures in truth]
    try:
        with written_whole(path) as unfinished:
            unfinished.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        message = f"--out: {path} cannot be written ({error.strerror}); choose another file"
        raise SettingsError(message, code="unwritable_output") from error
    typer.echo(f"figures: {path}")
