"""One judgement from files to a document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stream_app.adapters.event_files import EventLogOptions, ReadProgress, open_event_log
from stream_app.backtest.judging.boosted_trees import load_lightgbm
from stream_app.backtest.judging.comparison import Comparison
from stream_app.backtest.judging.judgement import Judge, Judgement
from stream_app.backtest.judging.purchase_log import read_purchases
from stream_app.backtest.judging.scores_table import ScoresTable
from stream_app.domain.durations import format_duration
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What to judge, and by what.

    Parameters
    ----------
    scores
        A `scores.parquet`.
    patterns
        Event files or globs that the backtest read, and what came after.
    policy
        That of the backtest, so that purchases and tiers mean the same.
    run_started_ms
        When the run started (S8).
    horizon_ms
        H of the rankings, whole days.
    changes
        A `changes.jsonl` of the same backtest; None: flaps are not judged.
    mapping, timezone, delimiter, decimal
        How to read the files, see `EventLogOptions`.
    is_compared
        Also fit BG/NBD with Gamma-Gamma, and LightGBM.
    """

    scores: Path
    patterns: tuple[str, ...]
    policy: Policy
    run_started_ms: int
    horizon_ms: int = 91 * MS_PER_DAY
    changes: Path | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    timezone: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    is_compared: bool = False

    def __post_init__(self) -> None:
        if self.horizon_ms <= 0 or self.horizon_ms % MS_PER_DAY:
            message = f"--horizon: {format_duration(max(self.horizon_ms, 0))}; take whole days, such as 91d"
            raise SettingsError(message, code="invalid_horizon")


def run_judgement(
    settings: JudgeSettings,
    on_reading: Callable[[ReadProgress], None] | None = None,
    on_cutoff: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Read scores and events, and judge.

    Parameters
    ----------
    settings
        What to judge.
    on_reading
        Told how far the events are read.
    on_cutoff
        Told how many cutoffs are judged, and of how many.

    Raises
    ------
    SettingsError
        When a file is not as it must be, no cutoff has a whole horizon, or the customers are others.
    """
    scores = ScoresTable(settings.scores)
    if settings.is_compared:
        load_lightgbm()
    options = EventLogOptions(
        run_started_ms=settings.run_started_ms,
        mapping=settings.mapping,
        timezone=settings.timezone,
        delimiter=settings.delimiter,
        decimal=settings.decimal,
        on_progress=on_reading,
    )
    with open_event_log(settings.patterns, settings.policy, options) as log:
        purchases = read_purchases(log)
    comparison = Comparison(purchases) if settings.is_compared else None
    judge = Judge(scores, purchases, settings.policy, settings.horizon_ms, comparison)
    return judge.judge(settings.changes, on_cutoff)
