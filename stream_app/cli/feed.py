"""`stream-app feed`: tell events to a log, from where it ends; `run` starts it."""

from __future__ import annotations

from pathlib import Path

import typer

EXIT_TRY_AGAIN = 70
"""The log failed: whoever started this may start it again."""


def feed(
    *,
    log: str = typer.Option(..., metavar="URL", help="Address of the log."),
    app: str = typer.Option(..., metavar="NAME", help="Name of the application."),
    events: str = typer.Option(..., metavar="TOPIC", help="Topic of customer events."),
    policy: Path | None = typer.Option(None, help="The worker's policy; without it the default policy."),
    files: list[str] = typer.Option([], "--file", metavar="FILE", help="Event log; without one, a simulated shop."),
    map_: list[str] = typer.Option([], "--map", metavar="FIELD=COLUMN", help="Where a field stands; can be repeated."),
    timezone: str | None = typer.Option(None, help="Zone of times without one; default UTC."),
    delimiter: str | None = typer.Option(None, help="Delimiter of CSV files; recognised if not given."),
    decimal: str | None = typer.Option(None, help="Decimal mark of CSV files; recognised if not given."),
    customers: int = typer.Option(20_000, min=1, help="How many customers the simulated shop gets to know."),
    seed: int = typer.Option(7, min=0, help="Equal seeds give equal shops."),
    days_per_second: float = typer.Option(1.0, min=0.001, help="How fast the shop's time passes after its history."),
) -> None:
    """Tell the events of files, or of a simulated shop, to a log."""
    import asyncio
    import time

    from stream_app.adapters.event_files import EventLogOptions
    from stream_app.adapters.log.errors import LogError, UnusableLogError
    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.topics import Topics
    from stream_app.adapters.policy_file import load_policy
    from stream_app.cli.arguments import parse_mapping
    from stream_app.supervisor.feeder import feed_files, feed_shop

    client, topics = open_log(log, app), Topics(app, events)
    options = EventLogOptions(
        run_started_ms=int(time.time() * 1000),
        mapping=parse_mapping(map_),
        timezone=timezone,
        delimiter=delimiter,
        decimal=decimal,
    )
    told = (
        feed_files(client, topics, files, load_policy(policy), options)
        if files
        else feed_shop(client, topics, (customers, seed), days_per_second)
    )
    try:
        asyncio.run(told)
    except UnusableLogError:
        raise
    except LogError as error:
        typer.echo(f"stream-app: {error}", err=True)
        raise typer.Exit(EXIT_TRY_AGAIN) from error
