"""From the settings of a backtest to the log that it replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stream_app.adapters.event_files import EventLogOptions, ReadProgress, open_event_log
from stream_app.adapters.saved_state import SavedState
from stream_app.backtest.replayable_log import ReplayableLog
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.topic_log import TopicLogOptions, open_topic_log

DEAD_LETTERS_NAME: Final = "dead_letters.jsonl"


def open_log_of(
    settings: BacktestSettings, saved: SavedState | None, on_progress: Callable[[ReadProgress], None] | None
) -> ReplayableLog:
    """Read and check the files or the topic that a backtest is to replay.

    Parameters
    ----------
    settings
        What to replay.
    saved
        The state to go on from; it counts earlier events already.
    on_progress
        Called now and then while the log is read.

    Returns
    -------
    ReplayableLog
        To be closed.

    Raises
    ------
    SettingsError
        When files or topic are not as they must be, or hold no event.
    LogError
        When the log of the topic failed.
    """
    dead_letters_path = settings.out / DEAD_LETTERS_NAME
    if settings.topic is not None:
        options = TopicLogOptions(settings.to_ms, dead_letters_path, on_progress)
        return open_topic_log(settings.topic, settings.policy, options)
    return open_event_log(
        settings.patterns,
        settings.policy,
        EventLogOptions(
            run_started_ms=settings.run_started_ms,
            mapping=settings.mapping,
            timezone=settings.timezone,
            delimiter=settings.delimiter,
            decimal=settings.decimal,
            order=settings.order,
            to_ms=settings.to_ms,
            not_before_ms=None if saved is None else saved.time_reached_ms,
            dead_letters_path=dead_letters_path,
            on_progress=on_progress,
        ),
    )
