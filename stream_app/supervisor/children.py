"""A child process that is kept running: started, watched, started again, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stream_app.domain.errors import StreamAppError
from stream_app.supervisor.restarts import RestartLimit

EXIT_USAGE = 2
"""Exit code with which a command says that the user has to mend something: starting it again would not help."""
OUTPUT_BYTES_MAX = 5_000_000
"""Size above which the output of earlier starts is put aside."""
SPACE_BYTES_MIN = 1_000_000
"""With less space than this, a child that has ended is taken to have ended of it."""
_TAIL_BYTES = 20_000
_MESSAGE_MARK = "stream-app: "


class ChildError(StreamAppError):
    """A child cannot go on."""


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """What a child runs.

    Parameters
    ----------
    name
        What it is called in messages; also the name of the file of its output.
    arguments
        Of `stream-app`.
    environment
        Variables on top of those of this process.
    ends_by_itself
        True: a good end is what it is there for, and it is not started again.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_by_itself: bool = False


class Child:
    """Keeps one process running.

    Parameters
    ----------
    command
        What it runs.
    output_path
        File for what it writes; old output beyond `OUTPUT_BYTES_MAX` is put aside when it starts.
    lifeline
        Reading end of a pipe that breaks when this process ends.
    say
        Takes lines for the user.
    """

    def __init__(self, command: ChildCommand, output_path: Path, lifeline: int, say: Callable[[str], None]) -> None:
        self.command = command
        self.restart_count = 0
        self._output_path = output_path
        self._lifeline = lifeline
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self.is_stopping = False

    @property
    def process_id(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    async def keep_running(self, limit: RestartLimit) -> None:
        """Start it, and start it again whenever it ends, until it is stopped.

        Raises
        ------
        ChildError
            When it says that the user has to mend something, or when it ends again and again.
        """
        while not self.is_stopping:
            self._process = await self._start()
            code = await self._process.wait()
            if code == 0 and self.command.ends_by_itself:
                return
            if self.is_stopping:
                return
            self._require_space()
            if code == EXIT_USAGE:
                raise ChildError(self._complaint(code), code="child_refused")
            delay_seconds = limit.delay(time.monotonic())
            if delay_seconds is None:
                message = (
                    f"{self._complaint(code)}; it ended {limit.ends_max + 1} times within "
                    f"{limit.window_seconds:.0f} s and is not started again"
                )
                raise ChildError(message, code="child_ends")
            self.restart_count += 1
            self._say(f"{self.command.name} ended ({_end_of(code)}) and is started again")
            await asyncio.sleep(delay_seconds)

    def _require_space(self) -> None:
        """Say that the disk is full, where it is: then not even the child's own words can be kept.

        Raises
        ------
        ChildError
            When it is.
        """
        folder = self._output_path.parent
        if shutil.disk_usage(folder).free < SPACE_BYTES_MIN:
            message = (
                f"{self.command.name} ended, and no space is left in {folder}: free some and start again; "
                "what was stored goes on from there"
            )
            raise ChildError(message, code="no_space")

    async def stop(self, patience_seconds: float) -> None:
        """End it in order, and by force when that takes too long."""
        self.is_stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), patience_seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        path = self._output_path
        if path.exists() and path.stat().st_size > OUTPUT_BYTES_MAX:
            path.replace(path.with_suffix(".old"))
        with path.open("ab") as output:
            # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which ends its children in order.
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stream_app.supervisor.lifeline", str(self._lifeline)),
                *self.command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.command.environment, "PYTHONUNBUFFERED": "1"},
                pass_fds=(self._lifeline,),
                start_new_session=True,
            )

    def _complaint(self, code: int) -> str:
        said = _last_words(self._output_path)
        what = f"{self.command.name}: {said}" if said else f"{self.command.name} ended ({_end_of(code)})"
        return what if code == EXIT_USAGE else f"{what}; its output is in {self._output_path}"


def _end_of(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _last_words(path: Path) -> str:
    """Give the last error line that a command wrote, else its last line."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(_MESSAGE_MARK)]
    return errors[-1].removeprefix(_MESSAGE_MARK) if errors else (lines[-1] if lines else "")
