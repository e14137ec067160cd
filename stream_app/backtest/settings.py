"""What a backtest replays and how, and what of it contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stream_app.backtest.topic_log import TopicSource
from stream_app.domain.durations import format_duration
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSettings:
    """What to replay and how; times in milliseconds since 1970-01-01 UTC, spans in milliseconds.

    Parameters
    ----------
    patterns
        Event files or globs; none where a topic is replayed.
    topic
        A topic to replay in place of files.
    policy
        What people decide, the sweep period included.
    out
        Folder for the results; made if missing.
    run_started_ms
        When the run started (S8).
    mapping, timezone, delimiter, decimal, order
        How to read the files, see `EventLogOptions`.
    from_ms
        Output begins here; earlier events still build state. None: with the first event.
    to_ms
        Events at or after it are left out; None: all are read.
    tick_ms
        Time between ticks, a divisor of a day.
    score_every_ms, score_from_ms
        Time between cutoffs, and the first; whole days. None: no scores, and one period after the first event.
    shard_count
        Engines to spread the customers over; changes no result.
    save_state, load_state
        Files to go on from, and to go on with.
    is_compared
        Also fit BG/NBD with Gamma-Gamma, and LightGBM, and judge them beside the run's own predictions.
    """

    patterns: tuple[str, ...] = ()
    topic: TopicSource | None = None
    policy: Policy
    out: Path
    run_started_ms: int
    mapping: dict[str, str] = field(default_factory=dict)
    timezone: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    order: Literal["event", "arrival"] = "event"
    from_ms: int | None = None
    to_ms: int | None = None
    tick_ms: int = 3_600_000
    score_every_ms: int | None = None
    score_from_ms: int | None = None
    shard_count: int = 1
    save_state: Path | None = None
    load_state: Path | None = None
    is_compared: bool = False

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            message = "the backtest's settings are wrong"
            raise SettingsError(message, code="invalid_backtest", faults=tuple(faults))

    def _faults(self) -> list[str]:
        faults = []
        if self.tick_ms <= 0 or MS_PER_DAY % self.tick_ms:
            faults.append(
                f"--tick: {format_duration(self.tick_ms)} does not divide a day; take 1h, 15m or another divisor of 1d"
            )
        if not 1 <= self.shard_count <= 1024:
            faults.append(f"--shards: {self.shard_count}; take 1 to 1024")
        if self.score_every_ms is not None and (self.score_every_ms <= 0 or self.score_every_ms % MS_PER_DAY):
            faults.append(f"--score-every: {format_duration(self.score_every_ms)}; take whole days, such as 28d")
        if self.score_from_ms is not None:
            if self.score_every_ms is None:
                faults.append("--score-from needs --score-every, such as --score-every 28d")
            if self.score_from_ms % MS_PER_DAY:
                faults.append("--score-from: cutoffs are at 00:00 UTC; give a day, such as 2024-06-01")
        if self.from_ms is not None and self.to_ms is not None and self.from_ms >= self.to_ms:
            faults.append("--from must be before --to, which is exclusive; swap them or drop one")
        if self.order == "arrival" and (self.save_state or self.load_state):
            what = "--order arrival" if self.topic is None else "a topic, which counts as it was written,"
            faults.append(f"{what} cannot be cut in two by time; drop --save-state and --load-state")
        return [*faults, *self._topic_faults()]

    def _topic_faults(self) -> Iterator[str]:
        if self.topic is None:
            if not self.patterns:
                yield "nothing to replay; name event files, or a topic as kafka://host:9092/TOPIC or sqlite:PATH"
            return
        if self.patterns:
            yield f"{self.patterns[0]}: files and a topic count in different orders; replay one or the other"
        if self.order == "event":
            yield "--order event: a topic counts in the order in which it was written; drop --order"
        given = {"--map": self.mapping, "--delimiter": self.delimiter, "--decimal": self.decimal}
        for option in (name for name, value in given.items() if value):
            yield f"{option}: says how to read files, and the records of a topic are JSON; drop it"
