"""The command that erases a customer."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_app.cli.topics import AppOption, EventsOption, LogOption

EXIT_NOT_APPLIED = 1


def erase(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the customer.")],
    log: LogOption,
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    *,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the worker to have done it.")
    ] = 60.0,
) -> None:
    """Erase a customer: row, current segment and what the learner keeps; the receipt says what is left where.

    Exit code 1: the command is in the log, but no worker has applied it yet.
    """
    import asyncio

    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.topics import Topics
    from stream_app.streaming.erasure import Receipt, erase_customer

    topics = Topics(app, events)

    async def run() -> Receipt:
        opened = open_log(log, app)
        await opened.start()
        try:
            return await erase_customer(opened, topics, customer_id, timeout_s=timeout_s)
        finally:
            await opened.stop()

    receipt = asyncio.run(run())
    where = f"{events}-{receipt.partition} offset {receipt.offset}"
    if receipt.is_applied:
        typer.echo(f"erased; the command is at {where}. What the topics hold of the customer now:")
    else:
        typer.echo(f"not applied yet: the command is at {where}, and a worker applies it when it gets there. Then:")
    for topic, remains in receipt.remains.items():
        typer.echo(f"  {topic}: {remains}")
    if not receipt.is_applied:
        raise typer.Exit(EXIT_NOT_APPLIED)
