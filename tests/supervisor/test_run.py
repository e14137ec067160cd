"""`stream-app run` as a whole: it comes back from whatever is done to its processes, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
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


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    """Start a run, and wait until its page is there."""
    said = folder / "said"
    with said.open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment, stdout=output, stderr=output)
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


def test_every_process_comes_back_when_it_is_killed_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        for name in ("worker", "feed", "web", "worker"):
            run.wait_for_events(300)
            run.kill(name)
        run.wait_for_events(300)
        run.wait_until("changes", lambda: run.status().get("changes", 0) > 200)
        assert run.stop() == 0
        said = run.said.read_text()
    assert said.count("ended (signal 9) and is started again") == 4
    assert said.endswith("Stopped.\n")
    check_that_nothing_is_lost_or_twice(tmp_path)


def test_a_second_start_goes_on_where_the_first_one_stopped(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_until("changes", lambda: run.status().get("changes", 0) > 100)
        reached = run.events()
        assert run.stop(signal.SIGTERM) == 0
    with running(tmp_path) as run:
        run.wait_until("the same events", lambda: run.events() >= reached)
        run.wait_until("more events", lambda: run.events() > reached + 300)
        run.stop()
    check_that_nothing_is_lost_or_twice(tmp_path)


def test_a_log_of_ones_own_gives_the_changes_of_its_backtest(tmp_path: Path) -> None:
    shop = ("--customers", "400", "--days", "130", "--seed", "3", "--out", "shop.csv")
    assert stream_app("simulate", *shop, folder=tmp_path).returncode == 0
    assert stream_app("backtest", "shop.csv", "--out", "backtest", folder=tmp_path).returncode == 0
    count = len((tmp_path / "shop.csv").read_text().splitlines()) - 1
    with running(tmp_path, "--events", "shop.csv") as run:
        run.kill("worker")
        run.wait_until("all events", lambda: run.events() == count and run.status()["lag"] == 0)
        told = (tmp_path / "backtest" / "changes.jsonl").read_text().splitlines()
        run.wait_until("all changes", lambda: run.status()["changes"] >= len(told))
        assert "feed" not in run.children()
        assert run.stop() == 0
    _, changes = read_log(tmp_path)
    assert by_customer(record.value for record in changes) == by_customer(told)


def by_customer(changes: Iterable[str | bytes]) -> dict[str, list[dict[str, Any]]]:
    """Take changes together by customer, without what they came from."""
    found: dict[str, list[dict[str, Any]]] = {}
    for text in changes:
        change = orjson.loads(text)
        del change["source"]
        found.setdefault(change["customer_id"], []).append(change)
    return found


def test_nothing_is_left_running_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_until("all run", lambda: len(run.children()) == 3)
        children = list(run.children().values())
        run.process.kill()
        run.process.wait()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(map(is_alive, children)):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        second = stream_app("run", folder=tmp_path)
        assert second.returncode == 2
        assert run.address in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert run.stop() == 0


def _other_version(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    path = folder / "out" / "run" / LOG_NAME
    ensure_topics(path, TOPICS, 2)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    return []


def _no_database(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    (folder / "out" / "run" / LOG_NAME).write_bytes(b"not a database" * 1000)
    return []


def _file_for_folder(folder: Path) -> list[str]:
    (folder / "taken").touch()
    return ["--folder", "taken"]


def _kafka(folder: Path) -> list[str]:
    return ["--log", "kafka://localhost:9092"]


def _bad_policy(folder: Path) -> list[str]:
    (folder / "policy.toml").write_text("[axes.value]\ntiers = []\n")
    return ["--policy", "policy.toml"]


def _other_partitions(folder: Path) -> list[str]:
    (folder / "out" / "run").mkdir(parents=True)
    ensure_topics(folder / "out" / "run" / LOG_NAME, TOPICS, 2)
    return ["--partitions", "3"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_other_version, "version"),
        (_no_database, "no log|not a"),
        (_file_for_folder, "--folder taken cannot be written to"),
        (_kafka, "on Kafka, start `worker` and `web`"),
        (_bad_policy, "policy"),
        (_other_partitions, "2 partitions, 3 are wanted"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_started(
    tmp_path: Path, prepare: Callable[[Path], list[str]], said: str
) -> None:
    result = stream_app("run", *prepare(tmp_path), folder=tmp_path)
    assert result.returncode == 2
    assert re.search(said, result.stderr)
    assert result.stderr.startswith("stream-app: ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = stream_app("run", "--port", str(other.getsockname()[1]), folder=tmp_path)
    assert result.returncode == 2
    assert "address already in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_another_shop_in_the_folder_is_refused_by_a_line_of_the_feed(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_until("events come in", lambda: run.events() > 0)
        assert run.stop() == 0
    result = stream_app("run", "--customers", "401", folder=tmp_path)
    assert result.returncode == 2
    assert "feed: the log was begun with other events than these" in result.stderr
