"""Processes that are kept running: started again, given up, ended with the one that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app.supervisor.children import Child, ChildCommand, ChildError
from stream_app.supervisor.restarts import RestartLimit

DEADLINE_SECONDS = 30.0
QUICK = {"delay_seconds": 0.001, "delay_seconds_max": 0.001}


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def keep(
    command: ChildCommand, folder: Path, act: Callable[[Child], None] | None = None, *, ends_max: int = 5
) -> tuple[Child, list[str]]:
    """Keep a command running; `act` is done as soon as it runs, and then it is stopped once it runs again."""
    said: list[str] = []

    async def run() -> Child:
        reading, writing = os.pipe()
        child = Child(command, folder / "child.log", reading, said.append)
        task = asyncio.create_task(child.keep_running(RestartLimit(ends_max=ends_max, **QUICK)))
        try:
            if act is not None:
                await until(lambda: child.process_id is not None)
                first = child.process_id
                act(child)
                await until(lambda: child.process_id != first)
                await child.stop(DEADLINE_SECONDS)
            await task
        finally:
            os.close(reading)
            os.close(writing)
        return child

    return asyncio.run(run()), said


def endless(folder: Path) -> ChildCommand:
    """Give a command that runs until it is ended: a reader of a pipe into which nobody writes."""
    os.mkfifo(folder / "never.jsonl")
    return ChildCommand("reader", ("backtest", str(folder / "never.jsonl"), "--out", str(folder / "out")))


def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    child, said = keep(endless(tmp_path), tmp_path, lambda child: os.kill(child.process_id or 0, signal.SIGKILL))
    assert child.restart_count == 1
    assert said == ["reader ended (signal 9) and is started again"]


def test_a_child_that_says_what_the_user_has_to_mend_is_not_started_again(tmp_path: Path) -> None:
    command = ChildCommand("policy", ("policy", "check", str(tmp_path / "missing.toml")))
    with pytest.raises(ChildError, match=r"policy: .*missing\.toml"):
        keep(command, tmp_path)


def test_a_child_that_ends_again_and_again_is_given_up_and_its_output_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r"stream-app \d.*child\.log; it ended 3 times within 60 s"):
        keep(ChildCommand("version", ("--version",)), tmp_path, ends_max=2)


def test_a_child_that_is_there_to_end_may_end(tmp_path: Path) -> None:
    child, said = keep(ChildCommand("version", ("--version",), ends_by_itself=True), tmp_path)
    assert (child.restart_count, said) == (0, [])


def test_a_child_gets_the_variables_of_its_command(tmp_path: Path) -> None:
    command = ChildCommand("version", ("--version",), {"PYTHONVERBOSE": "1"}, ends_by_itself=True)
    keep(command, tmp_path)
    assert "import 'stream_app.cli'" in (tmp_path / "child.log").read_text()


def test_a_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.jsonl")
    program = (
        "import os, subprocess, sys\n"
        "reading, writing = os.pipe()\n"
        "arguments = [sys.executable, '-m', 'stream_app.supervisor.lifeline', str(reading), 'backtest', sys.argv[1]]\n"
        "child = subprocess.Popen(arguments, pass_fds=(reading,), start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "never.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=_environment()) as supervisor:
        assert supervisor.stdout is not None
        child_id = int(supervisor.stdout.readline())
        supervisor.kill()
    # Its pipe breaks at once; how the child then ends is its own affair, as long as it does.
    asyncio.run(until(lambda: not _is_alive(child_id)))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.getcwd()}


def _is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
