"""A run from its first process to its last: start, say where it is, watch, end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream_app.supervisor.children import Child, ChildCommand
from stream_app.supervisor.places import LOOPBACK
from stream_app.supervisor.restarts import RestartLimit

PATIENCE_SECONDS = 20.0
"""How long a child may take to end in order."""
READY_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """What runs together.

    Parameters
    ----------
    commands
        The children, in the order in which they are started.
    folder
        For their output.
    port
        On which one of them answers HTTP on the loopback address.
    """

    commands: Sequence[ChildCommand]
    folder: Path
    port: int

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{LOOPBACK}:{self.port}/"


async def run_until_stopped(run: Run, say: Callable[[str], None]) -> None:
    """Keep everything running until this process is told to end (SIGINT or SIGTERM).

    Raises
    ------
    ChildError
        When a child cannot go on; the others are ended first.
    """
    stopped = asyncio.Event()
    with _lifeline() as descriptor, _told_to_end(stopped):
        children = [Child(command, run.folder / f"{command.name}.log", descriptor, say) for command in run.commands]
        tasks = [asyncio.create_task(child.keep_running(RestartLimit())) for child in children]
        greeting = asyncio.create_task(_greet(run, say))
        waiting = asyncio.create_task(stopped.wait())
        try:
            await _until_stop_or_failure(waiting, tasks)
        finally:
            for task in (greeting, waiting):
                task.cancel()
            await asyncio.gather(*(child.stop(PATIENCE_SECONDS) for child in children))
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(greeting, waiting, *tasks, return_exceptions=True)
    failure = next((result for result in results if isinstance(result, Exception)), None)
    if failure is not None:
        raise failure


async def _until_stop_or_failure(waiting: asyncio.Task[bool], tasks: Sequence[asyncio.Task[None]]) -> None:
    pending: set[asyncio.Task[bool] | asyncio.Task[None]] = {waiting, *tasks}
    while waiting in pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() for task in done):
            return


async def _greet(run: Run, say: Callable[[str], None]) -> None:
    """Say where the page is, as soon as it is there."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if await _answers(run.port):
            say(f"Open {run.address}  (Ctrl-C ends it; what is stored in {run.folder} stays for the next time)")
            return
        await asyncio.sleep(_POLL_SECONDS)
    say(f"{run.address} does not answer yet; see the .log files in {run.folder}")


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), 5.0)
    except (OSError, TimeoutError):
        return False
    else:
        return b" 200 " in line
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextmanager
def _lifeline() -> Iterator[int]:
    """Give the reading end of a pipe that breaks when this process ends."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _told_to_end(stopped: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
