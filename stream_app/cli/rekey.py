"""`stream-app rekey`: copy a topic to one that is keyed by customer id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.cli.topics import LogOption

if TYPE_CHECKING:
    from stream_app.adapters.rekeying import Counts, RekeyPlan
    from stream_app.cli.progress import BacktestBars


def rekey(
    log: LogOption,
    source: Annotated[str, typer.Option("--from-topic", metavar="TOPIC", help="Topic to copy.")],
    target: Annotated[
        str, typer.Option("--to-topic", metavar="TOPIC", help="Where to; it must exist, and be empty at first.")
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Copy a topic to one that is keyed by customer id, each record once; run again, it goes on where it was."""
    import asyncio
    import contextlib

    from stream_app.adapters.rekeying import Keying, RekeyPlan
    from stream_app.cli.progress import show_progress

    plan = RekeyPlan(source, target)
    counts: Counts = dict.fromkeys(Keying, 0)
    try:
        with show_progress() as bars, contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_copy(log, plan, bars, counts, is_following=follow))
    finally:
        total = sum(counts.values())
        typer.echo(f"{target}: {total:,} records copied from {source}")
        typer.echo(
            f"{total:,} records = {counts[Keying.REKEYED]:,} with a new key + {counts[Keying.KEYED]:,} keyed already "
            f"+ {counts[Keying.KEPT]:,} without a customer, by their old key "
            f"+ {counts[Keying.SPREAD]:,} without a customer or key"
        )


async def _copy(log: str, plan: RekeyPlan, bars: BacktestBars, counts: Counts, *, is_following: bool) -> None:
    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.rekeying import Rekeying

    client = open_log(log, plan.owner)
    rekeying = Rekeying(client, plan, lambda count: bars.writing(count, total))
    try:
        await client.start()
        await rekeying.start()
        total = rekeying.left
        await rekeying.copy()
        if is_following:
            await rekeying.follow()
    finally:
        counts |= rekeying.counts
        await rekeying.stop()
        await client.stop()
