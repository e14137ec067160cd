"""What a benchmark finds: a figure, what was promised, and whether it was kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One row of the table.

    Parameters
    ----------
    name
        Benchmark and case, as in `engine_events.uniform`.
    what
        What was measured, for people.
    unit
        Of `value`, `middle`, `floor` and `goal`.
    value
        Best of all repetitions; None when it could not be measured, and `notes` says why.
    middle
        Median of the repetitions; None where there was one only.
    floor, goal
        What must be reached and what should be; None where nothing is promised.
    is_ceiling
        Less is better: `floor` and `goal` must not be exceeded.
    baseline_ratio
        How many times as fast as the scalar reference in the same run; None where there is no baseline.
    notes
        What else was seen.
    """

    name: str
    what: str
    unit: str
    value: float | None
    middle: float | None = None
    floor: float | None = None
    goal: float | None = None
    is_ceiling: bool = False
    baseline_ratio: float | None = None
    notes: str = ""

    @property
    def verdict(self) -> str:
        """`goal`, `floor` or `MISSED`; `reported` where nothing is promised, `skipped` where nothing was measured."""
        if self.value is None:
            return "skipped"
        if self.floor is None and self.goal is None:
            return "reported"
        if self._reaches(self.goal if self.goal is not None else self.floor):
            return "goal" if self.goal is not None else "kept"
        return "floor" if self.goal is not None and self._reaches(self.floor) else "MISSED"

    def _reaches(self, line: float | None) -> bool:
        if line is None or self.value is None:
            return False
        return self.value <= line if self.is_ceiling else self.value >= line


@dataclass(slots=True)
class Stopwatch:
    """Wall time and processor time of the timed parts of each repetition, in seconds; the rest is not counted."""

    wall_seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def begin_repetition(self) -> None:
        """Let the parts that follow count for a new repetition."""
        self.wall_seconds.append(0.0)
        self.processor_seconds.append(0.0)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what happens inside."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.processor_seconds[-1] += time.process_time() - processor
        self.wall_seconds[-1] += time.perf_counter() - wall


@dataclass(frozen=True, slots=True)
class Rate:
    """Things a second: the best and the median repetition by the clock on the wall, the best by processor time."""

    best: float
    middle: float
    by_processor: float

    @classmethod
    def of(cls, counts: list[int], stopwatch: Stopwatch) -> Rate:
        """Divide how many things each repetition did by its seconds.

        Parameters
        ----------
        counts
            One for each repetition of the stopwatch.
        stopwatch
            With at least one repetition.
        """
        rates = [count / seconds for count, seconds in zip(counts, stopwatch.wall_seconds, strict=True)]
        by_processor = [
            # The clock of the processor ticks coarsely on some systems: a tiny part may take no time at all.
            count / max(seconds, 1e-9)
            for count, seconds in zip(counts, stopwatch.processor_seconds, strict=True)
        ]
        return cls(max(rates), median(rates), max(by_processor))

    @property
    def note(self) -> str:
        """What a quiet machine could do."""
        return f"{self.by_processor:,.0f} by processor time"
