"""A worker takes partitions over from a log that fails at first, and gives up when it goes on failing."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.log.errors import FencedError, LogError, UnusableLogError
from stream_app.adapters.log.port import Log, Writer
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming import persistence
from stream_app.streaming.worker import ExitCode
from tests.streaming.harness import TOPICS, end_of, new_log, opened, produce, records_of, sales_of, tell_tick, working

SALES = sales_of(ShopSettings(customers=30, days=20, seed=5))


class FailingAtFirst:
    """A log whose writers cannot be opened some times, each in a way of its own; everything else is passed on."""

    def __init__(self, log: Log, failures: int, error: LogError) -> None:
        self._log, self._failures, self._error = log, failures, error
        self.attempts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def writer(self, name: str) -> Writer:
        """Open a writer, unless it is too early."""
        self.attempts[name] += 1
        if self.attempts[name] <= self._failures:
            raise self._error
        return await self._log.writer(name)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "OPENING_PAUSE_S", 0.0)


@pytest.mark.parametrize("failures", [1, persistence.FAILURES_MAX])
def test_what_a_broker_refuses_at_first_is_tried_again(tmp_path: Path, failures: int) -> None:
    async def run() -> None:
        path = tmp_path / "log.db"
        new_log(path, 1)
        async with opened(path) as log:
            failing: Any = FailingAtFirst(log, failures, LogError("the coordinator is not there yet"))
            async with working(failing, 1) as host:
                await produce(log, SALES, 1)
                await tell_tick(log, end_of(SALES), 1)
                await host.until_idle(end_of(SALES))
                assert host.ends == []
            assert set(failing.attempts.values()) == {failures + 1}
            assert await records_of(log, TOPICS.state, 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "code", "attempts"),
    [
        (LogError("the broker is away"), ExitCode.TRY_AGAIN, persistence.FAILURES_MAX + 1),
        (FencedError("there is a newer one"), ExitCode.TRY_AGAIN, 1),
        (UnusableLogError("the disk is full"), ExitCode.REFUSED, 1),
    ],
    ids=["for good", "fenced", "unusable"],
)
def test_a_log_that_goes_on_failing_ends_the_worker(
    tmp_path: Path, error: LogError, code: ExitCode, attempts: int
) -> None:
    async def run() -> None:
        path = tmp_path / "log.db"
        new_log(path, 1)
        async with opened(path) as log:
            failing: Any = FailingAtFirst(log, 1000, error)
            ends: list[tuple[ExitCode, str]] = []
            with pytest.raises(type(error)):
                async with working(failing, 1, ends=ends):
                    pass
            assert {own for own, _ in ends} == {code}
            assert failing.attempts[f"{TOPICS.app}-shard-0"] == attempts

    asyncio.run(run())
