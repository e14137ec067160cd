"""`stream-app feed`: tell events to a log at the pace of their time; `run` starts it."""

from __future__ import annotations

from pathlib import Path

import typer


def feed(
    *,
    log: str = typer.Option(..., help="Address of the log."),
    app: str = typer.Option(..., help="Name of the application."),
    events: str = typer.Option(..., metavar="TOPIC", help="Topic of the events."),
    policy: Path | None = typer.Option(None, help="Policy file; without it the default policy holds."),
    customers: int = typer.Option(20_000, help="How many customers the simulated shop gets to know."),
    seed: int = typer.Option(7, help="Equal seeds give equal shops."),
    days_per_second: float = typer.Option(1.0, min=0.001, help="How fast time passes after the history."),
) -> None:
    """Tell the events of a simulated shop, from where the log ends."""
    import asyncio

    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.topics import Topics
    from stream_app.supervisor.feeder import feed_shop

    topics = Topics(app, events)
    asyncio.run(feed_shop(open_log(log, f"{app}-feed"), topics, (customers, seed), days_per_second))
