"""Who watches a replay to count what happens."""

from __future__ import annotations

from dataclasses import dataclass

from stream_app.backtest.replayable_log import ReplayableLog
from stream_app.backtest.shards import Shards
from stream_app.backtest.statistics import BacktestStatistics
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge


@dataclass(slots=True, eq=False)
class StatisticsObserver:
    """Hands what happens to the statistics."""

    statistics: BacktestStatistics
    shards: Shards

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Count events and what they brought about."""
        self.statistics.record_batch(events, effects)

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Count what time brought about."""
        self.statistics.record_tick(time_ms, effects)

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Record the populations at 00:00 UTC."""
        if time_ms % MS_PER_DAY == 0:
            self.statistics.record_day(time_ms, self.shards.populations(), knowledge)


@dataclass(slots=True, eq=False)
class DuplicateLines:
    """Counts the further line items of orders that were dropped as duplicates."""

    log: ReplayableLog
    row_count: int = 0

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Count the lines of duplicate orders."""
        if effects.is_duplicate.any():
            self.row_count += int((self.log.rows_of(events.positions[effects.is_duplicate]) - 1).sum())

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Count nothing: a tick has no events."""

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Count nothing: a day has no events."""
