"""The commands that make and check the topics of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream_app.adapters.log.topics import Topics
    from stream_app.adapters.log.urls import LogUrl

topics_app = typer.Typer(help="Make and check the topics that the worker needs.", no_args_is_help=True)

LogOption = Annotated[
    str,
    typer.Option(
        "--log",
        envvar="STREAM_APP_LOG",
        metavar="URL",
        help="kafka://host:9092, sqlite:///abs/path or sqlite:relative.",
    ),
]
AppOption = Annotated[
    str, typer.Option("--app", envvar="STREAM_APP_APP", metavar="NAME", help="Name of the application.")
]
EventsOption = Annotated[
    str, typer.Option("--events", envvar="STREAM_APP_EVENTS", metavar="TOPIC", help="Topic of customer events.")
]


@topics_app.command("create")
def create(
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    *,
    partitions: Annotated[
        int | None,
        typer.Option("--partitions", min=1, help="Partitions of the events; without it the number that they have."),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option("--replication", min=1, help="Copies of each partition; without it the cluster's default."),
    ] = None,
) -> None:
    """Make the topics that are missing; those that are there are left as they are."""
    from stream_app.adapters.log.topic_setup import create_topics

    url, topics = _log_and_topics(log, app, events)
    made = create_topics(url, topics, partitions, replication)
    for name in made:
        typer.echo(f"created {name}")
    if not made:
        typer.echo("all topics are there")


@topics_app.command("check")
def check(log: LogOption, app: AppOption = "segments", events: EventsOption = "customer-events") -> None:
    """Say whether the worker can run: topics, their settings, limits of the brokers, rights; all faults at once."""
    from stream_app.adapters.log.topic_setup import check_topics

    url, topics = _log_and_topics(log, app, events)
    count = check_topics(url, topics)
    typer.echo(f"ok: {topics.events} has {count} {'partition' if count == 1 else 'partitions'}")


def _log_and_topics(log: str, app: str, events: str) -> tuple[LogUrl, Topics]:
    from stream_app.adapters.log.topics import Topics
    from stream_app.adapters.log.urls import parse_log_url

    return parse_log_url(log), Topics(app, events)
