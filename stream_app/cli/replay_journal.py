"""The command that recomputes what was published, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.cli.topics import AppOption, EventsOption, LogOption

if TYPE_CHECKING:
    from stream_app.streaming.journal import ReplayResult

EXIT_DIFFERENT = 1


def replay_journal(
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    *,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file; without it the default.")] = None,
    partition: Annotated[
        list[int] | None, typer.Option("--partition", min=0, help="Only this one; can be repeated.")
    ] = None,
    trust_partitioning: Annotated[
        bool, typer.Option("--trust-partitioning", help="As the worker was started.")
    ] = False,
) -> None:
    """Recompute partitions from events, journal and knowledge, and compare with what was published, to the byte.

    Exit code 1: something differs.
    """
    import asyncio

    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.topics import Topics
    from stream_app.adapters.policy_file import load_policy
    from stream_app.streaming.journal import replay_partitions

    topics, own_policy = Topics(app, events), load_policy(policy)

    async def run() -> dict[int, ReplayResult]:
        opened = open_log(log, app)
        await opened.start()
        try:
            return await replay_partitions(opened, topics, own_policy, partition, trusts_keys=trust_partitioning)
        finally:
            await opened.stop()

    results = asyncio.run(run())
    for number, result in results.items():
        typer.echo(
            f"partition {number}: {result.event_count} events, {result.tick_count} ticks, "
            f"{result.change_count} changes recomputed, {result.published_count} published, {result.equal_count} equal"
        )
        if result.difference is not None:
            recomputed, published = (b"nothing" if own is None else own for own in result.difference)
            typer.echo(f"  first difference: recomputed {recomputed.decode()}\n  published {published.decode()}")
    if not all(result.is_equal for result in results.values()):
        raise typer.Exit(EXIT_DIFFERENT)
