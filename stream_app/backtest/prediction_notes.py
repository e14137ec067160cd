"""What the figures of a run's predictions mean for who relies on them, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

RECENT_DAYS: Final = 56
"""An alarm so long before the end of the log is still worth a word at the top."""
OUTCOMES_MIN: Final = 1_000
"""With fewer outcomes the figures of predictions are coarse."""
_WATCHED: Final = {"buying": "who will buy", "growth": "who will spend more"}


def prediction_notes(predictions: Mapping[str, Any] | None, last_event: str | None) -> list[str]:
    """Say what a reader should bear in mind.

    Parameters
    ----------
    predictions
        As `Evaluation.as_document` gives it; None when nothing was judged.
    last_event
        Time of the last event, ISO 8601; None without events.

    Returns
    -------
    list[str]
        One sentence or more for each remark.
    """
    if predictions is None or last_event is None:
        return []
    notes = [*predictions["notes"]]
    for name, words in _WATCHED.items():
        raised = predictions["drift"][name]["raised"]
        if raised and _days_between(raised[-1]["at"], last_event) <= RECENT_DAYS:
            notes.append(f"{drift_sentence(words, raised[-1])} {DRIFT_MEANING}")
    outcomes = predictions["prequential"]["outcomes"]
    if not outcomes:
        notes.append(
            f"No prediction has been proven yet: the first outcome comes {predictions['horizon_days']} days after the "
            "first snapshot, which comes within 28 days of the first event."
        )
    elif outcomes < OUTCOMES_MIN:
        notes.append(f"Only {outcomes:,} predictions have come due: their figures are coarse.")
    return notes


DRIFT_MEANING: Final = (
    "Customers behave differently from before, or are harder to foretell. The ranking, and with it the tiers, may "
    "still hold: compare the figures by window before relying on the probabilities."
)
"""What an alarm means, and what to do."""


def drift_sentence(words: str, alarm: Mapping[str, Any]) -> str:
    """Tell of one alarm: since when, and how much worse."""
    day = datetime.fromisoformat(alarm["at"])
    return (
        f"Predictions of {words} had become worse by {day.day} {day:%b %Y}: their mean log loss rose from "
        f"{alarm['loss_before']:.3f} to {alarm['loss_after']:.3f}."
    )


def _days_between(start: str, end: str) -> float:
    span: timedelta = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return span.total_seconds() / 86_400
