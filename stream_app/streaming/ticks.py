"""Ticks of a shard: those that the log tells, and those of the grid that events themselves bring about."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.events import MS_PER_DAY

GRID_MS = 3_600_000
"""Step of the ticks that events bring about: an hour, as in a backtest."""


class TickRecord(msgspec.Struct, frozen=True):
    """A record of `<app>-ticks`.

    Parameters
    ----------
    time_ms
        Time that has passed, in milliseconds since 1970-01-01 UTC.
    events_ends
        Partition of the events topic to the end offset that was seen: events before it precede the tick.
    """

    time_ms: int
    events_ends: dict[str, int] = {}

    def events_end(self, partition: int) -> int:
        """Give the events position from which on a shard may apply the tick."""
        return self.events_ends.get(str(partition), 0)


_decoder = msgspec.json.Decoder(TickRecord)


def encode_tick(tick: TickRecord) -> bytes:
    """Write a tick as JSON."""
    return msgspec.json.encode(tick)


def decode_tick(record: bytes) -> TickRecord:
    """Read a tick.

    Raises
    ------
    IncompatibleStateError
        When it is no tick.
    """
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        message = f"a record of the ticks topic cannot be read ({error}); only the application may write to it"
        raise IncompatibleStateError(message, code="unreadable_tick") from error


@dataclass(frozen=True, slots=True)
class ToldTick:
    """A tick that the log told, and where.

    Parameters
    ----------
    offset
        In `<app>-ticks`.
    time_ms
        Its time.
    events_end
        The events position from which on it applies.
    """

    offset: int
    time_ms: int
    events_end: int


class TickSchedule:
    """Says which ticks come before the next event; owned and changed by one shard.

    A tick precedes the events at its time (S1). Ticks of the grid come as soon as an event shows that their time has
    passed, so that a backlog, a late ticker and a log without ticks all give the ticks of a backtest.

    Parameters
    ----------
    last_tick_ms
        The last tick that was applied; below 0 before there was any.
    grid_ms
        Step of the grid, a divisor of a day.
    """

    def __init__(self, last_tick_ms: int, grid_ms: int = GRID_MS) -> None:
        self.last_tick_ms, self._grid_ms = last_tick_ms, grid_ms
        self._told: deque[ToldTick] = deque()

    def tell(self, ticks: Iterable[ToldTick]) -> None:
        """Take in ticks in the order of the log."""
        self._told.extend(ticks)

    @property
    def told_count(self) -> int:
        """Ticks that wait for their events."""
        return len(self._told)

    def due(self, position: int, event_ms: int | None) -> NDArray[np.int64]:
        """Give the next ticks to apply together.

        Parameters
        ----------
        position
            Offset of the next event that is not applied yet.
        event_ms
            Latest event time up to and with the next event; None when no event is at hand.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`, rising: ticks between which nothing lies, all of one UTC day, and the first tick of a day on
            its own; empty when the next event may be applied, or there is nothing to do.
        """
        told = [tick.time_ms for tick in self._applicable(position) if tick.time_ms > self.last_tick_ms]
        # Events at hand come before ticks that the log tells for a later time; the grid fills every gap.
        horizon_ms = max([*told, -1 if event_ms is None else event_ms])
        if horizon_ms < 0:
            return np.empty(0, dtype=np.int64)
        if self.last_tick_ms < 0:
            first_ms = horizon_ms if event_ms is None else event_ms // self._grid_ms * self._grid_ms
            return np.array([min([*told[:1], first_ms])], dtype=np.int64)
        times: list[int] = []
        next_ms = self._next(self.last_tick_ms, told)
        while next_ms <= horizon_ms:
            is_first_of_day = next_ms // MS_PER_DAY > self.last_tick_ms // MS_PER_DAY
            if times and is_first_of_day:
                break
            times.append(next_ms)
            if is_first_of_day:
                break
            next_ms = self._next(next_ms, told)
        return np.array(times, dtype=np.int64)

    @property
    def next_on_grid_ms(self) -> int:
        """The next tick that an event brings about by its time."""
        return (self.last_tick_ms // self._grid_ms + 1) * self._grid_ms

    def next_told_end(self, position: int) -> int | None:
        """Give the events position at which the next tick that is still to come applies; None if none waits."""
        return next((tick.events_end for tick in self._told if tick.events_end > position), None)

    def applied(self, time_ms: int) -> None:
        """Note that ticks up to this one were applied."""
        self.last_tick_ms = time_ms

    def ticks_position(self, position: int, start: int) -> int:
        """Give the offset in the ticks topic to go on from: ticks before it are applied or without effect.

        Parameters
        ----------
        position
            Offset of the next event that is not applied yet.
        start
            What it was before.
        """
        while self._told and self._told[0].events_end <= position and self._told[0].time_ms <= self.last_tick_ms:
            start = self._told.popleft().offset + 1
        return start

    def _applicable(self, position: int) -> Iterator[ToldTick]:
        for tick in self._told:
            if tick.events_end > position:
                return
            yield tick

    def _next(self, time_ms: int, told: Iterable[int]) -> int:
        on_grid = (time_ms // self._grid_ms + 1) * self._grid_ms
        return min([on_grid, *(tick_ms for tick_ms in told if tick_ms > time_ms)])
