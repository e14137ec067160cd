"""Progress of a backtest on standard error: what is done, at what rate, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from stream_app.adapters.event_files import ReadProgress


class BacktestBars:
    """One bar for the reading and one for the replay.

    Parameters
    ----------
    bars
        Where they are drawn.
    name
        Stands before what is done, if there are several runs; may be empty.
    """

    def __init__(self, bars: Bars, name: str = "") -> None:
        self._bars = bars
        self._prefix = f"{name}: " if name else ""
        self._reading = bars.add_task(f"{self._prefix}reading", total=None, rate="")
        self._replaying = bars.add_task(f"{self._prefix}replaying", total=None, rate="", visible=False)
        self._judging = bars.add_task(f"{self._prefix}judging", total=None, rate="", visible=False)

    def reading(self, progress: ReadProgress) -> None:
        """Show how much of the files is read."""
        self._bars.update(
            self._reading,
            description=f"{self._prefix}{progress.phase}",
            completed=progress.bytes_read,
            total=progress.bytes_total,
            rate=f"{progress.rows_read:,} rows",
        )

    def replaying(self, event_count: int, events_total: int) -> None:
        """Show how many of the events are replayed."""
        self._bars.update(self._reading, visible=False)
        self._bars.update(self._replaying, advance=event_count, total=events_total, visible=True)
        speed = self._bars.tasks[self._replaying].speed
        self._bars.update(self._replaying, rate="" if speed is None else f"{speed:,.0f} events/s")

    def writing(self, event_count: int, events_total: int) -> None:
        """Show how many of the events are written to a log."""
        self._bars.update(self._replaying, description="writing")
        self.replaying(event_count, events_total)

    def judging(self, cutoff_count: int, cutoffs_total: int) -> None:
        """Show at how many of the cutoffs the predictions were judged."""
        self._bars.update(self._replaying, visible=False)
        self._bars.update(
            self._judging,
            completed=cutoff_count,
            total=cutoffs_total,
            visible=True,
            rate=f"{cutoff_count} of {cutoffs_total} cutoffs",
        )


@contextmanager
def show_progress(name: str = "") -> Iterator[BacktestBars]:
    """Draw bars if standard error is a terminal, and take them away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield BacktestBars(bars, name)
