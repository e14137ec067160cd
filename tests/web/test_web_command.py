"""`stream-app web` starts with a line, or fails with one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from stream_app.web.settings import hash_token
from tests.web.conftest import Shop

DEADLINE_SECONDS = 120.0


def command(*arguments: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "stream_app", "web", *arguments]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command(*arguments, folder=folder),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--log: missing"),
        (["--log", "mysql://x"], "sqlite:"),
        (["--log", "sqlite:log.db", "--host", "0.0.0.0"], "tokens are needed"),
        (["--log", "sqlite:log.db", "--port", "70000"], "--port: 70000"),
        (["--log", "sqlite:log.db", "--tokens-file", "nowhere"], "--tokens-file: nowhere cannot be read"),
        (["--log", "sqlite:log.db", "--policy", "nowhere.toml"], "nowhere.toml: no such file"),
        (["--log", "sqlite:log.db", "--host", "no.such.host.invalid", "--tokens-file", "tokens"], "--host"),
        (["--log", "sqlite:log.db", "--port", "0", "--history", "tokens/h.db"], "--history"),
        (["--log", "sqlite:log.db", "--port", "0"], "log.db"),
        (["--new-token", "root"], "--new-token"),
    ],
)
def test_wrong_settings_are_told_in_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "tokens").write_text(f"read {hash_token('x')}\n")
    ended = run(*arguments, folder=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2


def test_a_port_in_use_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--log", "sqlite:log.db", "--port", str(port), folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"stream-app: --port: cannot listen on 127.0.0.1:{port}: address already in use")
    assert len(ended.stderr.splitlines()) == 1


def test_a_token_is_made_with_the_line_that_knows_it(tmp_path: Path) -> None:
    ended = run("--new-token", "admin", folder=tmp_path)
    assert ended.returncode == 0
    token = re.search(r"to use it: (\S+)", ended.stdout)
    line = re.search(r"admin ([0-9a-f]{64})", ended.stdout)
    assert token is not None
    assert line is not None
    assert hash_token(token[1]) == line[1]


def test_the_log_of_another_policy_ends_the_server_with_a_line(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('[money]\nreporting_currency = "EUR"\n')
    log = ("--log", f"sqlite://{shop.path}", "--app", "shop", "--events", "events", "--port", "0")
    ended = run(*log, "--policy", "policy.toml", folder=tmp_path)
    assert ended.returncode == 2
    assert "another policy" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_answers_until_it_is_told_to_end(shop: Shop, tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["--log", f"sqlite://{shop.path}", "--app", "shop", "--events", "events", "--port", "0", "--access-log"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command(*arguments, folder=tmp_path),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while httpx.get(f"{address}readyz").status_code != 200:
            assert time.monotonic() < deadline
        assert httpx.get(f"{address}v1/customers/c00000020").status_code == 200
        with httpx.stream("GET", f"{address}v1/changes/stream") as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(number)
            assert process.wait(DEADLINE_SECONDS) in (0, 128 + number)
        log = process.stderr.read()
    assert "Traceback" not in log
    assert "c00000020" not in log
    assert "route=/v1/customers/{customer_id} status=200" in log
