"""Worker processes under test: started, watched by what they write down, and ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

ROOT = Path(__file__).parents[2]
POLL_S = 0.05


class WorkerProcess:
    """A worker in a process of its own.

    Parameters
    ----------
    name
        Of its files.
    folder
        Where its output and what it notes are.
    arguments
        Of Python.
    environment
        Variables beyond those of this process.
    """

    def __init__(
        self, name: str, folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.output_path = folder / f"{name}.output"
        self.notes_path = folder / f"{name}.notes"
        variables = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {})
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments], cwd=folder, env=variables, stdout=output, stderr=output
            )

    def notes(self) -> list[dict[str, Any]]:
        """What it has noted so far; a line that is being written is left out."""
        if not self.notes_path.exists():
            return []
        return [json.loads(line) for line in self.notes_path.read_text().splitlines(keepends=True) if line[-1:] == "\n"]

    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: Signals = SIGTERM, timeout_s: float = 30.0) -> int:
        """End it by a signal, and give its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def clear_away(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def wait_until(condition: Callable[[], bool], workers: Sequence[WorkerProcess], timeout_s: float = 60.0) -> None:
    """Wait for something that processes do; if it does not come, say what they have written."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"nothing in {timeout_s} s:\n{what_they_wrote(workers)}"
            raise TimeoutError(message)
        time.sleep(POLL_S)


def what_they_wrote(workers: Sequence[WorkerProcess]) -> str:
    """Give the end of each worker's output, for the message of a test that failed."""
    return "\n".join(f"--- {worker.name}\n{worker.output()[-3000:]}" for worker in workers)
