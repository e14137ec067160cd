"""`stream-app run`: everything in one go, on one embedded log, with a live page."""

from __future__ import annotations

from pathlib import Path

import typer


def run(
    *,
    events: list[str] = typer.Option(
        [],
        metavar="FILE",
        help="Your own event log: CSV, JSON Lines, Parquet; can be repeated. Without: a simulated shop.",
    ),
    map_: list[str] = typer.Option([], "--map", metavar="FIELD=COLUMN", help="Where a field stands; can be repeated."),
    timezone: str | None = typer.Option(None, help="Zone of times without one, such as Europe/Berlin; default UTC."),
    delimiter: str | None = typer.Option(None, help="Delimiter of CSV files; recognised if not given."),
    decimal: str | None = typer.Option(None, help="Decimal mark of CSV files, . or ,; recognised if not given."),
    policy: Path | None = typer.Option(None, help="Policy file; without it the default policy holds."),
    folder: Path = typer.Option(Path("out/run"), help="For all that is stored; a second start goes on from it."),
    log: str | None = typer.Option(
        None, metavar="URL", help="Embedded log, sqlite:...; default: a file in the folder."
    ),
    port: int | None = typer.Option(None, min=1, max=65535, help="Of the page; without it one that is free."),
    partitions: int = typer.Option(2, min=1, max=64, help="Of the events, when the log is made."),
    customers: int = typer.Option(20_000, min=1, help="How many customers the simulated shop gets to know."),
    seed: int = typer.Option(7, min=0, help="Equal seeds give equal shops."),
    days_per_second: float = typer.Option(1.0, min=0.001, help="How fast the shop's time passes after its history."),
) -> None:
    """Start worker, events and web server, and watch customers move."""
    import asyncio

    from stream_app.adapters.event_files.discovery import find_files
    from stream_app.adapters.policy_file import load_policy
    from stream_app.cli.arguments import parse_mapping
    from stream_app.supervisor.places import choose_port, held_folder, note_owner
    from stream_app.supervisor.plan import RunPlan
    from stream_app.supervisor.running import Run, run_until_stopped

    load_policy(policy)
    parse_mapping(map_)
    shop = {"--customers": customers, "--seed": seed, "--days-per-second": days_per_second}
    reading = {"--timezone": timezone, "--delimiter": delimiter, "--decimal": decimal}
    arguments = [f"--map={pair}" for pair in map_]
    arguments += [f"{name}={value}" for name, value in (shop | reading).items() if value is not None]
    arguments += [f"--file={file.path}" for file in find_files(events)] if events else []
    with held_folder(folder) as held:
        plan = RunPlan(held, log, partitions, policy, tuple(arguments))
        plan.make_log()
        own_port = choose_port(port)
        together = Run(plan.commands(own_port), held, own_port)
        note_owner(held, together.address)
        typer.echo("Starting ...")
        asyncio.run(run_until_stopped(together, typer.echo))
        typer.echo("Stopped.")
