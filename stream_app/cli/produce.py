"""`stream-app produce`: write the events of files to the topic that a worker reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.cli.backtest import Order
from stream_app.cli.topics import LogOption

if TYPE_CHECKING:
    from stream_app.adapters.event_files import EventLog, ReadCounts
    from stream_app.cli.progress import BacktestBars
    from stream_app.domain.policy import Policy

TOLD_MAX = 8
"""Reasons and types that are told by name."""


def produce(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files or globs: CSV, JSON Lines, Parquet.")],
    log: LogOption,
    topic: Annotated[
        str, typer.Option("--topic", envvar="STREAM_APP_EVENTS", metavar="TOPIC", help="Topic of customer events.")
    ] = "customer-events",
    *,
    policy: Annotated[Path | None, typer.Option(help="The worker's policy; without it the default policy.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field stands; can be repeated."),
    ] = None,
    order: Annotated[Order, typer.Option(help="Sort by event time, or take the files as they are.")] = Order.EVENT,
    dead_letters: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File for refused rows, as JSON Lines.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of times without one; default UTC.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Delimiter of CSV files; recognised if not given.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal mark of CSV files; recognised if not given.")] = None,
) -> None:
    """Write events to a log: key customer id, time that of the event, partition as Kafka's clients choose it."""
    import time

    from stream_app.adapters.event_files import EventLogOptions, open_event_log
    from stream_app.adapters.log.urls import parse_log_url
    from stream_app.adapters.policy_file import load_policy
    from stream_app.cli.arguments import parse_mapping
    from stream_app.cli.progress import show_progress
    from stream_app.domain.events import MS_PER_SECOND

    parse_log_url(log)
    chosen = load_policy(policy)
    with show_progress() as bars:
        options = EventLogOptions(
            run_started_ms=int(time.time() * MS_PER_SECOND),
            mapping=parse_mapping(map_ or []),
            timezone=timezone,
            delimiter=delimiter,
            decimal=decimal,
            order=order.value,
            dead_letters_path=dead_letters,
            on_progress=bars.reading,
        )
        with open_event_log(files, chosen, options) as events:
            written = _write(events, chosen, log, topic, bars)
    typer.echo(f"{topic}: {written:,} events written to {log}")
    for line in _counts(events.counts):
        typer.echo(line)


def _write(events: EventLog, policy: Policy, log: str, topic: str, bars: BacktestBars) -> int:
    import asyncio

    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.producing import produce as produce_events

    async def write() -> int:
        client = open_log(log, "produce")
        try:
            await client.start()
            total = events.counts.event_count
            return await produce_events(events, policy, client, topic, lambda count: bars.writing(count, total))
        finally:
            await client.stop()

    return asyncio.run(write())


def _counts(counts: ReadCounts) -> Iterator[str]:
    """Say what became of every row."""
    refused, ignored = sum(counts.rows_dead_letter.values()), sum(counts.rows_ignored.values())
    yield (
        f"{counts.rows_read:,} rows = {counts.event_count:,} events + {counts.rows_merged:,} further lines of orders "
        f"+ {counts.rows_copied:,} copies + {ignored:,} ignored + {refused:,} dead letters"
    )
    for name, reasons in (("ignored", counts.rows_ignored), ("dead letters", counts.rows_dead_letter)):
        if reasons:
            yield f"{name}: {', '.join(f'{reason} {count:,}' for reason, count in reasons.items())}"
    if counts.unmapped_types:
        told = list(counts.unmapped_types.items())[:TOLD_MAX]
        yield f"types without a rule: {', '.join(f'{kind!r} {count:,}' for kind, count in told)}"
