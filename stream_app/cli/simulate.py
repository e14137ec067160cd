"""`stream-app simulate`: write the event log of a simulated shop, and the truth about its customers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import typer

from stream_app.domain.errors import SettingsError


def simulate(
    *,
    customers: int = typer.Option(..., help="How many customers the shop gets to know."),
    days: int = typer.Option(..., help="Length of the log in days."),
    seed: int = typer.Option(..., help="Equal seeds and options give equal files."),
    out: Path = typer.Option(..., help="Event log: .parquet, .csv or .jsonl; the last two also with .gz or .zst."),
    truth: Path | None = typer.Option(None, help="True parameters of each customer: .parquet or .csv."),
    start: str = typer.Option("2024-01-01", help="First day of the log (UTC)."),
    purchases_per_year: float = typer.Option(10.0, help="Mean repeat purchases a year of a customer who stays."),
    spend_mean: float = typer.Option(60.0, help="Mean amount of a purchase."),
    activity: float = typer.Option(1.0, help="Factor on all events but purchases and refunds; 0 leaves them out."),
    currency: str = typer.Option("USD", help="Currency of all amounts (ISO 4217)."),
    season: bool = typer.Option(True, help="Busy and quiet hours, weekdays and times of the year."),
) -> None:
    """Simulate a shop: customers who arrive, buy, browse, complain, rate, and drop out."""
    from stream_app.domain.events import MS_PER_SECOND
    from stream_app.simulation.files import ShopFiles, write_shop
    from stream_app.simulation.settings import Population, ShopSettings

    settings = ShopSettings(
        customers=customers,
        days=days,
        seed=seed,
        start=_parse_day(start),
        currency=currency,
        has_season=season,
        population=Population(purchases_per_year=purchases_per_year, spend_mean=spend_mean, activity=activity),
    )
    files = ShopFiles.checked(out, truth)
    with _progress() as report:
        counts = write_shop(settings, files, on_progress=report)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    total = sum(counts.values())
    if settings.end_ms > datetime.now(tz=UTC).timestamp() * MS_PER_SECOND:
        hint = "the log ends in the future, where a backtest refuses events: take an earlier --start"
        typer.echo(f"stream-app: {hint}", err=True)
    typer.echo(f"{out}: {total:,} events of {customers:,} customers in {days:,} days ({kinds or 'nothing happened'})")


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"start = {text!r}, allowed is a day such as 2024-01-01; correct it"
        raise SettingsError(message, code="invalid_shop") from None


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Show a bar on standard error, if that is a terminal, and take it away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    percentage = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percentage, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda stage, share: progress.update(task, description=stage, completed=share)
