"""How good the predictions of a run were, as plain values for summary and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import numpy as np

from stream_app.backtest.evaluation.cutoffs import PERIOD_DAYS, CutoffPredictions
from stream_app.backtest.evaluation.methods import ComparedSpan, compare_methods
from stream_app.backtest.evaluation.sample import CustomerSample
from stream_app.backtest.replay import Observer
from stream_app.backtest.shards import Shards
from stream_app.backtest.summary import iso_time
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.policy import Policy
from stream_app.learning.drift import LossWatch
from stream_app.learning.outcome_tables import OutcomeTables
from stream_app.learning.prequential import PrequentialEvaluation, WindowFigures
from stream_app.learning.scoring_learner import ScoringLearner

_COUNTED: Final = ("start_day", "example_count")
RESUMED_NOTE: Final = (
    "The run went on from a saved state and does not know what was bought before: there are no yardsticks. Replay the "
    "log from its beginning for them."
)


@dataclass(slots=True, eq=False)
class ScoringSwitches:
    """Watches a replay and notes when another scoring was made, which the next tick brought into force."""

    found: list[dict[str, Any]] = field(default_factory=list)
    _version: int | None = None

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Note nothing: events count under the scoring of the last tick."""

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Note the scoring if it is another one than at the tick before."""
        scoring = knowledge.scoring
        if self._version is not None and scoring.version != self._version:
            self.found.append(_switch(knowledge.time_reached_ms, scoring))
        self._version = scoring.version

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Note nothing: a new scoring comes into force with a tick."""


class Evaluation:
    """Gathers during a replay what its predictions are judged by afterwards.

    Parameters
    ----------
    policy
        Of the run.
    shards
        Whose customers.
    from_ms
        Output begins here; None: with the first event.
    is_resumed
        Whether the run goes on from a saved state: then nothing is known of what was bought before.
    """

    def __init__(self, policy: Policy, shards: Shards, from_ms: int | None, *, is_resumed: bool = False) -> None:
        self._policy = policy
        self._switches = ScoringSwitches()
        self._sample = None if is_resumed else CustomerSample(shards)
        self._cutoffs = None if self._sample is None else CutoffPredictions(self._sample, policy, from_ms)

    @property
    def observers(self) -> list[Observer]:
        """Who watches the replay, in this order."""
        watching: list[Observer] = [self._switches]
        if self._sample is not None and self._cutoffs is not None:
            watching += [self._sample, self._cutoffs]
        return watching

    def as_document(
        self,
        models: ScoringLearner,
        times_ms: tuple[int | None, int | None],
        *,
        is_compared: bool = False,
        on_cutoff: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Judge, and give everything as plain values.

        Parameters
        ----------
        models
            What learned.
        times_ms
            Of the first and the last event; None without any.
        is_compared
            Whether to fit the batch models, too.
        on_cutoff
            Told how many cutoffs are judged, and of how many.

        Returns
        -------
        dict[str, Any]
            `horizon_days`; `prequential` (see `prequential_document`); `drift` with `buying` and `growth`;
            `scoring_switches`; `methods` (see `compare_methods`, or null) and `notes`.
        """
        methods, notes = None, []
        if self._sample is None or self._cutoffs is None:
            notes.append(RESUMED_NOTE)
        elif times_ms[0] is not None and times_ms[1] is not None:
            span = ComparedSpan(
                start_ms=times_ms[0] // MS_PER_DAY * MS_PER_DAY,
                end_ms=(times_ms[1] // MS_PER_DAY + 1) * MS_PER_DAY,
                horizon_periods=self._policy.horizon_periods,
                is_compared=is_compared,
            )
            methods = compare_methods(self._sample, self._cutoffs.kept, span, on_cutoff)
        evaluation = models.evaluation
        return {
            "horizon_days": self._policy.horizon_periods * PERIOD_DAYS,
            "prequential": prequential_document(evaluation),
            "drift": drift_document(evaluation),
            "scoring_switches": self._switches.found,
            "methods": methods,
            "notes": notes,
        }


def prequential_document(evaluation: PrequentialEvaluation) -> dict[str, Any]:
    """Give the learner's own figures as plain values; null where a figure has no meaning.

    Returns
    -------
    dict[str, Any]
        `outcomes`: how many came; `overall`: each figure's mean over the windows, weighted by their outcomes;
        `windows`: `from`, `outcomes` and the figures of each window of 28 days, oldest first; `tables`: see
        `OutcomeTables`, rows of number, sum predicted, sum that came.
    """
    current = evaluation.current()
    windows = [*evaluation.closed, *([] if current is None else [current])]
    windows = [window for window in windows if window.example_count > 0]
    tables = evaluation.tables()
    return {
        "outcomes": int(sum(window.example_count for window in windows)),
        "overall": _overall(windows),
        "windows": [
            {
                "from": iso_time(round(window.start_day * MS_PER_DAY)),
                "outcomes": int(window.example_count),
                **{name: _number(value) for name, value in asdict(window).items() if name not in _COUNTED},
            }
            for window in windows
        ],
        "tables": {each.name: getattr(tables, each.name).tolist() for each in fields(OutcomeTables)},
    }


def drift_document(evaluation: PrequentialEvaluation) -> dict[str, Any]:
    """Give the alarms on the loss of `buying` and `growth` as plain values: how many, and the last ones."""
    return {"buying": _drift(evaluation.buy_watch), "growth": _drift(evaluation.growth_watch)}


def _overall(windows: Sequence[WindowFigures]) -> dict[str, float | None]:
    found = {}
    counts = np.array([window.example_count for window in windows])
    for each in fields(WindowFigures):
        if each.name not in _COUNTED:
            values = np.array([getattr(window, each.name) for window in windows])
            known = np.isfinite(values)
            found[each.name] = float(np.average(values[known], weights=counts[known])) if known.any() else None
    return found


def _drift(watch: LossWatch) -> dict[str, Any]:
    return {
        "alarms": watch.alarm_count,
        "raised": [
            {
                "at": iso_time(round(alarm.day * MS_PER_DAY)),
                "loss_before": alarm.loss_before,
                "loss_after": alarm.loss_after,
            }
            for alarm in watch.raised
        ],
    }


def _switch(time_ms: int, scoring: Scoring) -> dict[str, Any]:
    learned = {"buying": scoring.buy, "growth": scoring.growth, "purchases": scoring.count}
    return {
        "at": iso_time(time_ms),
        "scoring": scoring.version,
        "outcomes": scoring.label_count,
        "past_share": scoring.past_share,
        "learned": [name for name, model in learned.items() if model is not None],
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
