"""`stream-app run` as a whole: it comes back from whatever is done to its processes, and goes on where it stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from tests.supervisor.runs import (
    DEADLINE_SECONDS,
    check_that_nothing_is_lost_or_twice,
    is_alive,
    read_log,
    running,
    stream_app,
)


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


def test_another_shop_in_the_folder_is_refused_by_a_line_of_the_feed(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_until("events come in", lambda: run.events() > 0)
        assert run.stop() == 0
    result = stream_app("run", "--customers", "401", folder=tmp_path)
    assert result.returncode == 2
    assert "feed: the log was begun with other events than these" in result.stderr
