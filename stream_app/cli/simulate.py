"""`stream-app simulate`: write the event log of a simulated shop, and the truth about its customers."""

from __future__ import annotations

from pathlib import Path

import typer

from stream_app.domain.errors import SettingsError


def simulate(
    *,
    customers: int = typer.Option(..., help="How many customers the shop gets to know."),
    days: int = typer.Option(..., help="Length of the log in days."),
    seed: int = typer.Option(..., help="Equal seeds give equal shops."),
    out: Path = typer.Option(..., help="Event log: .parquet, .csv or .jsonl; the last two also with .gz or .zst."),
    start: str = typer.Option("2024-01-01", help="First day (UTC)."),
) -> None:
    """Simulate a shop: customers who arrive, buy, browse, complain, rate, and drop out."""
    from datetime import date

    from stream_app.simulation.columns import EVENT_SCHEMA
    from stream_app.simulation.settings import ShopSettings
    from stream_app.simulation.shop import simulate as simulate_shop
    from stream_app.simulation.writer import EVENT_ENDINGS, check_target, ending_of, open_writer, written_whole

    try:
        start_day = date.fromisoformat(start)
    except ValueError:
        message = f"start = {start!r}, allowed is a day such as 2024-01-01; correct it"
        raise SettingsError(message, code="invalid_shop") from None
    settings = ShopSettings(customers=customers, days=days, seed=seed, start=start_day)
    ending = ending_of(out, EVENT_ENDINGS)
    target = check_target(out)
    rows = 0
    with written_whole(target) as partial:
        writer = open_writer(partial, ending, EVENT_SCHEMA)
        for batch in simulate_shop(settings):
            writer.write(batch)
            rows += batch.num_rows
        writer.close()
    typer.echo(f"{out}: {rows:,} events of {customers:,} customers in {days:,} days", err=True)
