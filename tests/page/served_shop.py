"""A shop on a log, and a web server of its own process that is started, ended and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from stream_app.adapters.log.port import Outgoing
from tests.web.shop_log import TOPICS, make_log

DEADLINE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@dataclass
class ServedShop:
    """A log that is written to, and a server that reads it.

    Parameters
    ----------
    folder
        For everything.
    steps
        What a worker committed, step by step; `tell` writes the next ones.
    arguments
        More of them for `stream-app web`.
    """

    folder: Path
    steps: Sequence[Sequence[Outgoing]]
    arguments: Sequence[str] = ()
    told: int = 0
    port: int = field(default_factory=lambda: _free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def tell(self, count: int) -> None:
        """Write the next steps to the log."""
        steps = self.steps[self.told : self.told + count]
        self.told += len(steps)

        async def write() -> None:
            log = make_log(self.folder / "log.db")
            await log.start()
            for step in steps:
                await log.append(step)
            await log.stop()

        # The thread of the test has Playwright's event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, write()).result()

    def start(self) -> None:
        """Start the server, and wait until it has read the log."""
        self.tell(0)
        command = [sys.executable, "-m", "stream_app", "web", "--log", f"sqlite://{self.folder / 'log.db'}"]
        command += ["--app", TOPICS.app, "--events", TOPICS.events, "--port", str(self.port)]
        command += ["--history", str(self.folder / "history.db"), *self.arguments]
        with (self.folder / "web.log").open("ab") as output:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._is_ready():
            said = (self.folder / "web.log").read_text()
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.address}readyz").status_code in {200, 401}
        except httpx.HTTPError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(DEADLINE_SECONDS)
            self.process = None

    def get(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """Ask the API."""
        response = httpx.get(f"{self.address}v1/{path}", params=parameters)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
