"""How far the time of the events may have come: history at once, then a day a second, then as time goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stream_app.domain.events import MS_PER_DAY

PLAYBACK_STEP_SECONDS = 0.25
"""How often events are written while time is played back."""
LIVE_STEP_SECONDS = 1.0
"""How often events are written once they have come to the present."""
WAITING_MAX = 5_000
"""Events that may wait for the worker; time does not pass while there are more."""


class Clock:
    """The present, and waiting; an argument, so that tests have a clock of their own."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def seconds(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast time passes.

    Parameters
    ----------
    history_end_ms
        Events before this time are told as fast as can be.
    days_per_second
        How fast time passes from there on, up to the present; then it passes as it does.
    """

    history_end_ms: int
    days_per_second: float = 1.0


class Playback:
    """Says up to which time events may be told now.

    Parameters
    ----------
    pace
        How fast time passes.
    told_ms
        Time up to which everything is told already.
    clock
        The present.
    waiting_count
        Tells how many events wait for whoever reads them.
    """

    def __init__(self, pace: Pace, told_ms: int, clock: Clock, waiting_count: Callable[[], Awaitable[int]]) -> None:
        self._pace = pace
        self._start_ms = max(pace.history_end_ms, told_ms)
        self._started_seconds: float | None = None
        self._clock = clock
        self._waiting_count = waiting_count

    def reached_ms(self, next_event_ms: int) -> int:
        """Give the time before which events may be told.

        Parameters
        ----------
        next_event_ms
            Time of the next event; as long as it is history, time does not begin to pass.
        """
        if next_event_ms < self._pace.history_end_ms:
            return self._pace.history_end_ms
        if self._started_seconds is None:
            self._started_seconds = self._clock.seconds()
        passed_ms = (self._clock.seconds() - self._started_seconds) * self._pace.days_per_second * MS_PER_DAY
        return min(self._start_ms + int(passed_ms), self._clock.now_ms())

    async def wait(self, reached_ms: int) -> None:
        """Let some time pass, less of it while it is played back; it stands still while too many events wait."""
        is_live = reached_ms >= self._clock.now_ms() - LIVE_STEP_SECONDS * 1000
        await self._clock.sleep(LIVE_STEP_SECONDS if is_live else PLAYBACK_STEP_SECONDS)
        stopped_seconds = self._clock.seconds()
        while await self._waiting_count() > WAITING_MAX:
            await self._clock.sleep(PLAYBACK_STEP_SECONDS)
        if self._started_seconds is not None:
            self._started_seconds += self._clock.seconds() - stopped_seconds
