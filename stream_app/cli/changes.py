"""`stream-app changes`: show segment changes, and follow them as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_app.cli.topics import AppOption, LogOption

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_DEFAULT = 10
"""Changes of each partition that are shown first when they are followed."""


def changes(
    log: LogOption,
    app: AppOption = "segments",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")] = False,
    last: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help=f"Begin N before each partition's end; with --follow {LAST_DEFAULT}, else all."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as it is on the topic.")] = False,
) -> None:
    """Show segment changes as they stand on the topic, oldest first within a partition."""
    import asyncio
    import contextlib
    import os
    import sys

    from stream_app.adapters.codec.change_lines import change_json, change_line

    begin = LAST_DEFAULT if follow and last is None else last
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_show((log, app), begin, change_json if json else change_line, is_followed=follow))
    except BrokenPipeError:
        # Whoever read along, such as `head`, has seen enough; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _show(place: tuple[str, str], last: int | None, write: Callable[[bytes], str], *, is_followed: bool) -> None:
    import sys

    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.tailing import tail
    from stream_app.adapters.log.topics import Topics

    url, app = place
    client = open_log(url, f"{app}-changes")
    try:
        await client.start()
        topics = Topics(app, events="")
        async for _, records in tail(client, topics.segment_changes, last, is_followed=is_followed):
            lines = [write(record.value) for record in records if record.value is not None]
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
    finally:
        await client.stop()
