"""How far each partition of the topics has been read, and what time that is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RATE_SECONDS = 10.0
"""Event rates are told over so many seconds."""
HOLE_OFFSETS = 1
"""Offsets that the end of a transaction takes."""
_MARKS_MAX = 64


@dataclass(slots=True)
class PartitionProgress:
    """How far one partition has come; times in milliseconds since 1970-01-01 UTC, -1 where there is none yet.

    Parameters
    ----------
    events_position
        Offset of the next event that its shard will apply.
    events_end
        Where the events end now, as the log says; -1 when it has not been asked.
    tick_ms
        The last tick.
    watermark_ms
        The latest event time seen.
    knowledge_version
        The version its rows were last scored by.
    state_position
        How far its state log has been read.
    batch_number
        The last commit of its shard that was read.
    is_read
        All rows that were there when reading began are in the model.
    changes_position
        How far its segment changes have been read.
    changes_ms
        Up to when its changes are all there.
    """

    events_position: int = 0
    events_end: int = -1
    tick_ms: int = -1
    watermark_ms: int = -1
    knowledge_version: int = 0
    state_position: int = 0
    batch_number: int = 0
    is_read: bool = False
    changes_position: int = 0
    changes_ms: int = -1
    _waited_at: tuple[int, int] | None = None
    _marks: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_MARKS_MAX))

    @property
    def time_ms(self) -> int:
        """How far its time has come."""
        return max(self.tick_ms, self.watermark_ms)

    def begin_changes(self, start: int) -> None:
        """Begin to read its changes somewhere."""
        self.changes_position, self.changes_ms = start, -1
        self._marks.clear()

    def note_changes_end(self, end: int) -> None:
        """Note where its changes ended after its rows had been read so far: those before came until now."""
        self._marks.append((end, self.time_ms))
        self.reach_changes(self.changes_position)

    def reach_changes(self, position: int) -> None:
        """Note how far its changes have been read."""
        self.changes_position = max(position, self.changes_position)
        while self._marks and self._marks[0][0] <= self.changes_position:
            self.changes_ms = self._marks.popleft()[1]

    def pass_holes(self) -> None:
        """Go past the hole with which a transaction ends in a log of Kafka, if nothing has come since the last call."""
        waits_at = (self.changes_position, self._marks[0][0]) if self._marks else None
        if waits_at is not None and waits_at == self._waited_at and waits_at[1] - waits_at[0] <= HOLE_OFFSETS:
            self.reach_changes(waits_at[1])
        self._waited_at = waits_at


@dataclass(slots=True)
class RateMeter:
    """Counts per second over the last `RATE_SECONDS`, from marks of a total and the time of a clock."""

    _waited_at: tuple[int, int] | None = None
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MARKS_MAX))

    def mark(self, now_seconds: float, total: int) -> None:
        """Note a total; marks that are too close to the one before are left out."""
        if not self._marks or now_seconds - self._marks[-1][0] >= 4 * RATE_SECONDS / _MARKS_MAX:
            self._marks.append((now_seconds, total))

    def per_second(self, now_seconds: float, total: int) -> float:
        """Give the rate up to now."""
        while len(self._marks) > 1 and now_seconds - self._marks[1][0] >= RATE_SECONDS:
            self._marks.popleft()
        if not self._marks or now_seconds <= self._marks[0][0]:
            return 0.0
        since, base = self._marks[0]
        return max(total - base, 0) / max(now_seconds - since, 1.0)
