"""Runs of `stream-app run`, seen from outside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.topics import Topics
from stream_app.supervisor.plan import APP, EVENTS_TOPIC, LOG_NAME
from tests.supervisor.streams import read_topic

DEADLINE_SECONDS = 180.0
ROOT = Path(__file__).parents[2]
TOPICS = Topics(APP, EVENTS_TOPIC)
COMMAND = [sys.executable, "-m", "stream_app", "run", "--customers", "400"]


def stream_app(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_app", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


class Running:
    """A run, seen from outside.

    Parameters
    ----------
    process
        The supervisor.
    said
        File of what it says.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process, self.said = process, said
        self.address = ""

    def wait_until(self, what: str, is_so: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (found := is_so()):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, f"{what}: not in time\n{self.said.read_text()}"
            time.sleep(0.02)
        return found

    def status(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = httpx.get(f"{self.address}v1/status", timeout=20.0).json()
        except httpx.HTTPError:
            return {}
        return answer

    def events(self) -> int:
        return int(self.status().get("events", -1))

    def wait_for_events(self, count: int) -> None:
        """Wait until so many more events have been applied."""
        reached = max(self.events(), 0)
        self.wait_until("events come in", lambda: self.events() >= reached + count)

    def children(self) -> dict[str, int]:
        """Name to process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.process.pid and b"stream_app.supervisor.lifeline" in arguments:
                found[arguments[4].decode()] = int(folder.name)
        return found

    def kill(self, name: str) -> None:
        """Kill a child, and wait until another one has taken its place."""
        killed = self.wait_until(f"{name} runs", lambda: self.children().get(name))
        os.kill(killed, signal.SIGKILL)
        self.wait_until(f"{name} runs again", lambda: self.children().get(name, killed) != killed)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End the run; gives its exit code once nothing of it is left."""
        children = self.children()
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_SECONDS)
        assert not [name for name, number in children.items() if is_alive(number)]
        return code


def is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def free_port() -> str:
    """Give a port of its own to a run: two that begin at the same moment would find the same one free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    """Start a run, and wait until its page is there."""
    said = folder / "said"
    with said.open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*COMMAND, "--port", free_port(), *arguments]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    run = Running(process, said)
    try:
        found = run.wait_until("address", lambda: re.search(r"Open (http://127\.0\.0\.1:\d+/)", said.read_text()))
        run.address = found.group(1)
        yield run
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def read_log(folder: Path) -> tuple[list[Any], list[Any]]:
    """Read events and segment changes of a run that has ended."""

    async def read() -> tuple[list[Any], list[Any]]:
        log = SqliteLog(folder / "out" / "run" / LOG_NAME, APP)
        await log.start()
        try:
            events = await read_topic(log, TOPICS.events)
            changes = await read_topic(log, TOPICS.segment_changes)
        finally:
            await log.stop()
        return [r for part in events for r in part], [r for part in changes for r in part]

    return asyncio.run(read())


def check_that_nothing_is_lost_or_twice(folder: Path) -> None:
    """Read the log: events without gap, changes of each customer without gap, and all of it as a replay gives it."""
    events, changes = read_log(folder)
    ids = sorted(orjson.loads(record.value)["event_id"] for record in events)
    assert ids == [f"e{number:012d}" for number in range(len(ids))]
    sequences: dict[str, list[int]] = {}
    for record in changes:
        change = orjson.loads(record.value)
        sequences.setdefault(change["customer_id"], []).append(change["sequence"])
    assert len(changes) > 100
    assert all(own == list(range(1, len(own) + 1)) for own in sequences.values())
    log = f"sqlite://{folder / 'out' / 'run' / LOG_NAME}"
    replayed = stream_app("replay-journal", "--log", log, "--app", APP, "--events", EVENTS_TOPIC, folder=folder)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
