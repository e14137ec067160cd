"""The commands that look into the state of an application, take it out, and put it in elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.cli.topics import AppOption, EventsOption, LogOption

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stream_app.adapters.log.port import Log
    from stream_app.adapters.log.topics import Topics

state_app = typer.Typer(
    help="Look into what is remembered of customers, take it out, put it in elsewhere.", no_args_is_help=True
)

PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", envvar="STREAM_APP_POLICY", help="The worker's policy; without it the default."),
]


@state_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    policy: PolicyOption = None,
) -> None:
    """Write customers, knowledge and learner of all partitions to one file; stop all workers before."""
    from stream_app.adapters.policy_file import load_policy
    from stream_app.streaming.export_file import write_export
    from stream_app.streaming.state_export import export_state

    own_policy = load_policy(policy)

    async def run(opened: Log, topics: Topics) -> None:
        exported = await export_state(opened, topics, own_policy)
        write_export(file, exported)
        typer.echo(
            f"exported {len(exported.ids):,} customers of {exported.header.partition_count} partitions to {file}"
        )

    _with_log(log, app, events, run)


@state_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of `state export`.")],
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    policy: PolicyOption = None,
    *,
    continues: Annotated[
        bool,
        typer.Option(
            "--continue", help="The topic of events is that of the export, with more partitions; go on where it ended."
        ),
    ] = False,
    replaces: Annotated[bool, typer.Option("--replace", help="Give up the state that is there.")] = False,
) -> None:
    """Write an exported state for as many partitions as the topic of events has; stop all workers before.

    Customers go to partitions as Kafka's clients send their keys. Without --continue, the topic of events must hold
    only what came after the export. Everything is read back and compared. If interrupted, repeat it with --replace.
    """
    from stream_app.adapters.log.topic_setup import check_topics
    from stream_app.adapters.log.urls import parse_log_url
    from stream_app.adapters.policy_file import load_policy
    from stream_app.streaming.export_file import read_export
    from stream_app.streaming.state_import import ImportPlan, import_state

    own_policy = load_policy(policy)
    exported = read_export(file, own_policy)

    async def run(opened: Log, topics: Topics) -> None:
        plan = ImportPlan(topics, count, continues, replaces)
        counts = await import_state(opened, own_policy, exported, plan)
        for partition, customers in enumerate(counts):
            typer.echo(f"partition {partition}: {customers:,} customers")
        typer.echo(f"imported {sum(counts):,} customers, read back and compared")

    count = check_topics(parse_log_url(log), _topics(app, events))
    _with_log(log, app, events, run)


@state_app.command("show")
def show(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id of a customer.")],
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    policy: PolicyOption = None,
) -> None:
    """Say all that is remembered of a customer; workers may be running."""
    from stream_app.adapters.policy_file import load_policy
    from stream_app.cli.customer_words import customer_lines
    from stream_app.domain.errors import SettingsError
    from stream_app.streaming.state_lookup import look_up

    own_policy = load_policy(policy)

    async def run(opened: Log, topics: Topics) -> None:
        found = await look_up(opened, topics, own_policy, customer)
        if found is None:
            message = (
                f"nothing is remembered of customer {customer!r}: no event of theirs was applied, or they were erased"
            )
            raise SettingsError(message, code="unknown_customer")
        typer.echo(f"customer: {customer}")
        typer.echo(f"partition: {found.partition}")
        for line in customer_lines(found.row, own_policy):
            typer.echo(line)

    _with_log(log, app, events, run)


def _topics(app: str, events: str) -> Topics:
    from stream_app.adapters.log.topics import Topics

    return Topics(app, events)


def _with_log(url: str, app: str, events: str, run: Callable[[Log, Topics], Awaitable[None]]) -> None:
    """Run something with the client of a log that is open."""
    import asyncio

    from stream_app.adapters.log.opening import open_log

    async def run_opened() -> None:
        log = open_log(url, app)
        await log.start()
        try:
            await run(log, _topics(app, events))
        finally:
            await log.stop()

    asyncio.run(run_opened())
