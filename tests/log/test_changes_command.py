"""`stream-app changes`: what is on the topic, in words or as JSON, and what comes while one looks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.adapters.codec.change_lines import change_json, change_line
from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics

ROOT = Path(__file__).parents[2]
TOPICS = Topics("segments", "customer-events")
EXAMPLES = json.loads((ROOT / "schemas" / "segment_changed.v1.json").read_text())["examples"]
DEADLINE_S = 180
"""Starting a process takes seconds on a busy machine."""


def encoded(example: dict[str, object]) -> bytes:
    return json.dumps(example, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_change_is_one_line_with_who_what_why_and_what_to_do() -> None:
    assert change_line(encoded(EXAMPLES[0])) == (
        "2024-05-01 12:30:00  c-48213  value: small -> big (event)  [big]  "
        "spent about 182 USD, recent months counting most; a typical customer about 50 USD  "
        "=> human: Answer service requests first, and offer a conversation twice a year."
    )
    assert change_line(encoded(EXAMPLES[1])).startswith(
        "2024-05-02 00:00:00  Grüße-7  value: new -> small (first_rated)  [small]  => digital: "
    )


@pytest.mark.parametrize(
    "customer_id", ["\x1b[2Jgone", "two\nlines", "right\u202eto left", "tag\U000e0041", "a\u2028b"]
)
def test_an_id_cannot_move_the_cursor_nor_break_a_line(customer_id: str) -> None:
    record = encoded(EXAMPLES[0] | {"customer_id": customer_id})
    assert change_line(record).isprintable()
    assert change_json(record).isprintable()
    assert json.loads(change_json(record))["customer_id"] == customer_id


@pytest.mark.parametrize("record", [b"", b"no JSON \xff", b"[]", b'{"axis": "value"}', b'{"effective_at": null}'])
def test_what_is_no_change_is_shown_as_such(record: bytes) -> None:
    assert change_line(record).startswith("no segment change of this version: b")
    json.loads(change_json(record))


@pytest.mark.parametrize("example", EXAMPLES)
def test_json_is_what_stands_on_the_topic(example: dict[str, object]) -> None:
    assert change_json(encoded(example)) == encoded(example).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.log"
    ensure_topics(path, TOPICS, 2)
    return path


def append(path: Path, partition: int, names: list[str]) -> None:
    async def run() -> None:
        log = SqliteLog(path, "test")
        await log.start()
        try:
            values = [encoded(EXAMPLES[0] | {"customer_id": name}) for name in names]
            await log.append([Outgoing(TOPICS.segment_changes, partition, values)])
        finally:
            await log.stop()

    asyncio.run(run())


def command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "stream_app", "changes", "--log", f"sqlite://{path}", *options]


def shown(path: Path, *options: str) -> list[str]:
    result = subprocess.run(
        command(path, "--json", *options), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line)["customer_id"] for line in result.stdout.splitlines()]


def test_without_follow_it_shows_what_is_there_and_ends(path: Path) -> None:
    assert shown(path) == []
    append(path, 0, [f"a{number}" for number in range(20)])
    append(path, 1, ["b0"])
    assert shown(path) == [*(f"a{number}" for number in range(20)), "b0"]
    assert shown(path, "--last", "2") == ["a18", "a19", "b0"]


def test_with_follow_it_shows_what_comes_until_it_is_ended(path: Path) -> None:
    append(path, 0, [f"a{number}" for number in range(20)])
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(path, "--follow", "--json", "--last", "1"),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["customer_id"] == "a19"
        for name in ("b0", "b1"):
            append(path, 1, [name])
            assert json.loads(process.stdout.readline())["customer_id"] == name
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
        assert "Traceback" not in process.stderr.read()


def test_whoever_has_seen_enough_may_close_the_pipe(path: Path) -> None:
    append(path, 0, [f"a{number}" for number in range(5000)])
    line = " ".join([*command(path), "| head -n 1"])
    result = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_an_application_that_is_not_there_is_told(path: Path) -> None:
    result = subprocess.run(
        command(path, "--app", "other"), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "stream-app: topic other-segment-changes: there is no such topic; check --app and --log, or see "
        "`stream-app topics create`"
    ]
