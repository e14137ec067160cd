"""The learner's own figures over time, and when their loss rose for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stream_app.backtest.prediction_notes import DRIFT_MEANING, drift_sentence
from stream_app.backtest.report.figure import Column, empty
from stream_app.backtest.report.formats import parse_time_ms, whole
from stream_app.backtest.report.lines_chart import Series, TimeScale, Words, lines_chart
from stream_app.backtest.report.markup import Markup

OUTCOMES_MIN: Final = 100
"""Windows with fewer outcomes are not drawn: their figures are noise."""
_RANKS: Final = (
    ("buy_auc", "who buys (AUC)", "method-scores"),
    ("growth_auc", "who grows (AUC)", "method-decayed-spend"),
    ("normalized_gini", "spend ranked (nGini)", "method-last-horizon-spend"),
    ("cap20", "spend held by the top 20 %", "method-rfm-sum"),
)
_LOSSES: Final = (
    ("buy_log_loss", "buying", "method-scores", False),
    ("buy_base_loss", "buying, share alone", "method-scores", True),
    ("growth_log_loss", "growth", "method-decayed-spend", False),
    ("growth_base_loss", "growth, share alone", "method-decayed-spend", True),
)
_WATCHED: Final = {"buying": "who will buy", "growth": "who will spend more"}


def rank_figures(predictions: Mapping[str, Any]) -> Markup:
    """Draw how well customers were ranked, window by window."""
    words = Words(
        "How well customers were ranked, as outcomes came",
        f"Each prediction was kept until its outcome was known, {predictions['horizon_days']} days later, and scored "
        "before anything was learned from it; by the 28 days in which the outcome came. 0.5 is drawing lots for an "
        "AUC, 0 for nGini, 0.2 for the top 20 %. Early on there is little to learn from.",
        "One row for each window of 28 days",
    )
    return _drawn(predictions, words, [Series(name, colour, _values(predictions, key)) for key, name, colour in _RANKS])


def losses(predictions: Mapping[str, Any]) -> Markup:
    """Draw the log loss of the probabilities beside that of who knows the share alone, with the alarms."""
    alarms = [alarm for watched in predictions["drift"].values() for alarm in watched["raised"]]
    moments = [time_ms for alarm in alarms if (time_ms := parse_time_ms(alarm["at"])) is not None]
    words = Words(
        _alarm_title(len(alarms)),
        "Mean log loss of the probabilities, in nats: lower is better. The dashed lines are a yardstick that knew how "
        "many would buy or grow in that very window, but not who. Upright lines are alarms: the loss had risen for "
        f"good. {_alarm_words(predictions)}",
        "One row for each window of 28 days",
    )
    series = [Series(name, colour, _values(predictions, key), is_base) for key, name, colour, is_base in _LOSSES]
    return _drawn(predictions, words, series, moments)


def _drawn(
    predictions: Mapping[str, Any], words: Words, series: list[Series], moments: list[int] | None = None
) -> Markup:
    windows = _windows(predictions)
    if len(windows) < 2 or all(value is None for one in series for value in one.values):
        return empty(words.title, f"Fewer than two windows of 28 days have {OUTCOMES_MIN} outcomes.")
    times_ms = [parse_time_ms(window["from"]) or 0 for window in windows]
    inside = [moment for moment in moments or [] if times_ms[0] <= moment]
    counts = [whole(window["outcomes"]) for window in windows]
    known = [one for one in series if any(value is not None for value in one.values)]
    return lines_chart(words, TimeScale(times_ms, inside), known, [(Column("outcomes"), counts)])


def _windows(predictions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [window for window in predictions["prequential"]["windows"] if window["outcomes"] >= OUTCOMES_MIN]


def _values(predictions: Mapping[str, Any], key: str) -> list[float | None]:
    return [window[key] for window in _windows(predictions)]


def _alarm_title(count: int) -> str:
    if not count:
        return "No alarm: predictions did not get worse"
    return "1 alarm: predictions got worse" if count == 1 else f"{count} alarms: predictions got worse"


def _alarm_words(predictions: Mapping[str, Any]) -> str:
    told = []
    for name, words in _WATCHED.items():
        watched = predictions["drift"][name]
        if watched["raised"]:
            told.append(drift_sentence(words, watched["raised"][-1]))
    return " ".join([*told, DRIFT_MEANING]) if told else "There was none."
