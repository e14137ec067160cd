"""Running the product's command as a user would: wall time, processor time and peak memory of the whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

_KIB = 1024
_OUTPUT_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class CommandRun:
    """What one run of a command took.

    Parameters
    ----------
    wall_seconds, processor_seconds
        From start to end, imports included; user and system time.
    peak_bytes
        Largest resident memory.
    output
        What the command printed.
    """

    wall_seconds: float
    processor_seconds: float
    peak_bytes: int
    output: str


def run_command(arguments: Sequence[str]) -> CommandRun:
    """Run `stream-app` with some arguments and wait for it.

    Parameters
    ----------
    arguments
        Without the name of the program.

    Returns
    -------
    CommandRun

    Raises
    ------
    RuntimeError
        When the command fails; the message holds what it printed.
    """
    command = [sys.executable, "-m", "stream_app", *arguments]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        # Unlike Popen.wait, this gives the memory and time of this one process.
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        message = f"stream-app {' '.join(arguments)}: exit code {process.returncode}: {text[-_OUTPUT_SHOWN:]}"
        raise RuntimeError(message)
    # Linux counts kibibytes, macOS bytes.
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    return CommandRun(wall_seconds, usage.ru_utime + usage.ru_stime, peak_bytes, text)
