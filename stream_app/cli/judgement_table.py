"""A judgement on the terminal: methods by figures, tiers, changes and gates; and the progress towards it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stream_app.adapters.event_files import ReadProgress
from stream_app.backtest.judging.baselines import BASELINE_LABELS
from stream_app.backtest.judging.comparison import COMPARISON_LABELS
from stream_app.backtest.judging.figures import FIGURE_NAMES, mean_of
from stream_app.backtest.judging.gates import Gate
from stream_app.backtest.judging.judgement import SCORES, Judgement
from stream_app.domain.events import MS_PER_DAY

METHOD_LABELS = {SCORES: "these scores"} | BASELINE_LABELS | COMPARISON_LABELS
FIGURE_LABELS = {
    "normalized_gini": "nGini",
    "cap10": "cap10",
    "cap20": "cap20",
    "hit20": "hit20",
    "buy_auc": "AUC\nbuy",
    "growth_auc": "gAUC",
    "growth_auc_active": "gAUC\nactive",
    "growth_lift10": "lift\n@10",
    "growth_lift10_active": "lift@10\nactive",
    "count_calibration": "count\ncal.",
    "spend_calibration": "spend\ncal.",
    "buy_calibration_error": "ECE\nbuy",
}
NOTHING = "-"
WIDTH_MIN = 120
"""Narrower terminals, and files, get lines of this width rather than a table with holes."""

OnReading = Callable[[ReadProgress], None]
OnCutoff = Callable[[int, int], None]


def print_judgement(judgement: Judgement, gates: Sequence[Gate]) -> None:
    """Print everything but the single cutoffs."""
    console = Console(highlight=False, soft_wrap=False)
    if console.width < WIDTH_MIN:
        console = Console(highlight=False, width=WIDTH_MIN)
    cutoffs = judgement.cutoffs
    customers = f"{cutoffs[0].customer_count:,} to {cutoffs[-1].customer_count:,} customers"
    days = judgement.horizon_ms // MS_PER_DAY
    console.print(f"Means over {len(cutoffs)} cutoffs, {customers} who had bought before, outcome over {days} days")
    console.print(_method_table(judgement))
    for line in _tier_lines(judgement):
        console.print(line)
    if gates:
        console.print(_gate_table(gates))
    for note in judgement.notes:
        console.print(f"note: {note}", markup=False)


@contextmanager
def show_judging() -> Iterator[tuple[OnReading, OnCutoff]]:
    """Draw a bar if standard error is a terminal, and take it away at the end."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("reading", total=None)

        def on_reading(progress: ReadProgress) -> None:
            bars.update(task, completed=progress.bytes_read, total=progress.bytes_total)

        def on_cutoff(done: int, total: int) -> None:
            bars.update(task, description="judging cutoffs", completed=done, total=total)

        yield on_reading, on_cutoff


def _method_table(judgement: Judgement) -> Table:
    means = {name: judgement.means(name) for name in judgement.method_names}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("method", no_wrap=True)
    for name in FIGURE_NAMES:
        table.add_column(FIGURE_LABELS[name], justify="right", no_wrap=True)
    for method, figures in means.items():
        cells = [_text(getattr(figures, name)) for name in FIGURE_NAMES]
        table.add_row(METHOD_LABELS[method], *cells, style="bold" if method == SCORES else None)
    return table


def _tier_lines(judgement: Judgement) -> list[str]:
    lines = []
    held = mean_of([cutoff.held_cap20 for cutoff in judgement.cutoffs])
    if held == held:
        lines.append(f"cap20 with the held value tier before the score: {_text(held)}")
    for axis in judgement.cutoffs[0].tiers_off:
        shares = [cutoff.tiers_off[axis] for cutoff in judgement.cutoffs]
        known = [share for share in shares if share == share]
        if known:
            lines.append(f"{axis} rank tiers off: {mean_of(known):.2%} on average, {max(known):.2%} at most")
        else:
            lines.append(f"{axis} rank tiers off: {NOTHING}")
    for axis, changes in (judgement.changes or {}).items():
        if changes.flap_ratio is None:
            lines.append(f"{axis} changes: none")
            continue
        yearly = changes.changes_per_customer_year
        rate = NOTHING if yearly is None else f"{yearly:.2f}"
        lines.append(
            f"{axis} changes: {changes.change_count:,}, {rate} a customer and year, "
            f"{changes.flap_ratio:.1%} undone within 28 days"
        )
    return lines


def _gate_table(gates: Sequence[Gate]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("gate", no_wrap=True)
    for name in ("figure", "bound"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for gate in gates:
        style = {"pass": "green", "fail": "bold red"}.get(gate.verdict.value)
        table.add_row(gate.name, _gate_text(gate.figure), _gate_text(gate.bound), gate.verdict.value, style=style)
    return table


def _text(value: float) -> str:
    return f"{value:.3f}" if value == value else NOTHING


def _gate_text(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
