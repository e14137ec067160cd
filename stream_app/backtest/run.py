"""One backtest from files to files: read the log, replay it, write what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from stream_app.adapters.codec.encoding import ChangeEncoder
from stream_app.adapters.event_files import ReadProgress
from stream_app.adapters.saved_state import SavedState, load_state, save_state
from stream_app.adapters.whole_files import written_whole
from stream_app.backtest.evaluation.evaluation import Evaluation
from stream_app.backtest.example_histories import collect_examples, sample_dead_letters
from stream_app.backtest.judging.boosted_trees import load_lightgbm
from stream_app.backtest.observers import DuplicateLines, StatisticsObserver
from stream_app.backtest.opening import DEAD_LETTERS_NAME, open_log_of
from stream_app.backtest.outputs import ChangesFile, ScoresFile, segment_matrix, write_segments
from stream_app.backtest.replay import Observer, Replay
from stream_app.backtest.replayable_log import ReplayableLog
from stream_app.backtest.report import ReportData, write_report
from stream_app.backtest.results import StatisticsResult
from stream_app.backtest.score_histograms import score_histograms
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.shards import Shards
from stream_app.backtest.statistics import BacktestStatistics
from stream_app.backtest.summary import EVENT_STAGE, TICK_STAGE, RunFacts, build_summary
from stream_app.domain.durations import format_duration
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_MINUTE
from stream_app.domain.population import PopulationSketch, merge_axis
from stream_app.learning.learner import Learner

CHANGES_NAME = "changes.jsonl"
SEGMENTS_NAME = "segments.parquet"
SCORES_NAME = "scores.parquet"
SUMMARY_NAME = "summary.json"
REPORT_NAME = "report.html"


class Progress(Protocol):
    """Whoever shows how far a backtest has come."""

    def reading(self, progress: ReadProgress) -> None:
        """Show how far the files are read."""

    def replaying(self, event_count: int, events_total: int) -> None:
        """Show that more events were replayed."""

    def judging(self, cutoff_count: int, cutoffs_total: int) -> None:
        """Show at how many cutoffs the predictions were judged."""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest left: the summary, where the report is, and the figures behind both."""

    summary: dict[str, Any]
    report: Path
    statistics: StatisticsResult


Watch = Callable[[Shards], Observer]
"""Makes a further observer of a run from the shards of that run."""


def run_backtest(
    settings: BacktestSettings, progress: Progress | None = None, watch: Watch | None = None
) -> BacktestResult:
    """Replay an event log under a policy and write the results into a folder.

    Parameters
    ----------
    settings
        What to replay and how.
    progress
        Told how far the run has come.
    watch
        Makes an observer that is told of everything after the outputs; None: nobody else watches.

    Returns
    -------
    BacktestResult
        The summary, as in `summary.json`.

    Raises
    ------
    SettingsError
        When files, columns or the folder are not as they must be.
    IncompatibleStateError
        When a stored state does not fit.
    """
    started = time.perf_counter()
    saved = None if settings.load_state is None else load_state(settings.load_state, settings.policy)
    _require_same_tick(settings, saved)
    if settings.is_compared:
        load_lightgbm()
    make_folder(settings.out)
    with open_log_of(settings, saved, None if progress is None else progress.reading) as log:
        read_seconds = time.perf_counter() - started
        return _Run(settings, log, saved, watch).execute(progress, read_seconds)


class _Run:
    """The parts of one run, wired together."""

    def __init__(
        self, settings: BacktestSettings, log: ReplayableLog, saved: SavedState | None, watch: Watch | None
    ) -> None:
        policy = settings.policy
        self.settings, self.log, self.policy = settings, log, policy
        self.shards = Shards(policy, settings.shard_count)
        self.learner = Learner(policy, knowledge=None if saved is None else saved.next_knowledge)
        self.statistics = BacktestStatistics(policy, output_from_ms=settings.from_ms)
        terms = {name: function.terms for name, function in self.shards.engines[0].functions.items()}
        encoder = ChangeEncoder(policy, terms)
        self.changes = ChangesFile(settings.out / CHANGES_NAME, encoder, log, settings.from_ms)
        self.scores: ScoresFile | None = None
        if settings.score_every_ms is not None:
            schedule = (settings.score_from_ms, settings.score_every_ms)
            self.scores = ScoresFile(settings.out / SCORES_NAME, self.shards, policy, schedule)
        self.duplicate_lines = DuplicateLines(log)
        observers: list[Observer] = [
            StatisticsObserver(self.statistics, self.shards),
            self.duplicate_lines,
            self.changes,
        ]
        if self.scores is not None:
            observers.append(self.scores)
        self.evaluation = Evaluation(policy, self.shards, settings.from_ms, is_resumed=saved is not None)
        observers += self.evaluation.observers
        if watch is not None:
            observers.append(watch(self.shards))
        self.replay = Replay(shards=self.shards, learner=self.learner, observers=observers, tick_ms=settings.tick_ms)
        if saved is not None:
            self._resume(saved)

    def execute(self, progress: Progress | None, read_seconds: float) -> BacktestResult:
        """Replay and write everything; unfinished files are removed if that fails."""
        files = [file for file in (self.changes, self.scores) if file is not None]
        try:
            self.replay.run(self.log.batches(), self.settings.to_ms, self._report_to(progress))
            started = time.perf_counter()
            for file in files:
                file.finish()
        except BaseException:
            for file in files:
                file.discard()
            raise
        end_ms = self.replay.end_ms
        write_segments(self.settings.out / SEGMENTS_NAME, self.shards, self.policy, end_ms, self.replay.in_force)
        if self.settings.save_state is not None:
            save_state(self.settings.save_state, self._state(end_ms), self.policy)
        result = self._statistics_result(end_ms)
        self.replay.durations.outputs += time.perf_counter() - started
        predictions, judged_seconds = self._predictions(progress)
        facts = self._facts(read_seconds, judged_seconds)
        summary = build_summary(self.policy, result, facts, predictions)
        _write_json(self.settings.out / SUMMARY_NAME, summary)
        report = self.settings.out / REPORT_NAME
        candidates = self.statistics.example_candidates()
        write_report(
            report,
            ReportData(
                policy=self.policy,
                result=result,
                summary=summary,
                examples=collect_examples(candidates, self.log, self.changes),
                dead_letters=sample_dead_letters(self.settings.out / DEAD_LETTERS_NAME),
            ),
        )
        return BacktestResult(summary, report, result)

    def _predictions(self, progress: Progress | None) -> tuple[dict[str, Any], float]:
        """Judge the run's predictions; gives what was found, and the seconds it took."""
        started = time.perf_counter()
        found = self.evaluation.as_document(
            self.learner.models,
            (self.log.first_time_ms, self.log.last_time_ms),
            is_compared=self.settings.is_compared,
            on_cutoff=None if progress is None else progress.judging,
        )
        return found, time.perf_counter() - started

    def _report_to(self, progress: Progress | None) -> Callable[[int], None] | None:
        if progress is None:
            return None
        total = self.log.counts.event_count
        return lambda event_count: progress.replaying(event_count, total)

    def _resume(self, saved: SavedState) -> None:
        shard = self.shards.shard_of(saved.customer_ids)
        nobody = PopulationSketch(
            saved.clock.scoring_version, tuple(axis.without_terms() for axis in saved.sketch.axes)
        )
        for number, engine in enumerate(self.shards.engines):
            own = shard == number
            # The term sums are added up over shards anyway, so one shard may have them all.
            sketch = saved.sketch if number == 0 else nobody
            engine.restore(saved.customer_ids[own], saved.rows[own], saved.clock, sketch)
        self.learner.models.restore(saved.learner)
        self.replay.in_force = saved.knowledge
        self.replay.next_tick_ms = saved.next_tick_ms
        self.replay.renewed_day = saved.renewed_day
        self.replay.watermark_ms = saved.time_reached_ms - 1
        if saved.knowledge.policy_hash != self.policy.content_hash:
            # The rows fit, but cuts or margins may have changed: draw the lines by the new policy at once.
            # A scoring that waits for its tick has lines of the old policy; it comes back when one is due.
            self.learner.knowledge = saved.knowledge
            self.replay.in_force = self.learner.renew(saved.clock.last_tick_ms, self.shards.sketches())

    def _state(self, end_ms: int) -> SavedState:
        engines = self.shards.engines
        sketches = self.shards.sketches()
        axes = tuple(merge_axis(parts) for parts in zip(*(sketch.axes for sketch in sketches), strict=True))
        return SavedState(
            customer_ids=np.concatenate([engine.table.ids for engine in engines]),
            rows=np.concatenate([engine.table.rows for engine in engines]),
            clock=engines[0].clock,
            sketch=PopulationSketch(engines[0].scoring_version, axes),
            knowledge=self.replay.in_force,
            next_knowledge=self.learner.knowledge,
            learner=self.learner.models.state(),
            time_reached_ms=end_ms,
            next_tick_ms=self.replay.next_tick_ms or end_ms,
            tick_ms=self.settings.tick_ms,
            renewed_day=self.replay.renewed_day,
        )

    def _statistics_result(self, end_ms: int) -> StatisticsResult:
        return self.statistics.finish(
            score_histograms=score_histograms(self.shards, self.replay.in_force.scoring, end_ms),
            knowledge=self.replay.in_force,
            populations=self.shards.populations(),
            segment_matrix=segment_matrix(self.shards, self.policy),
        )

    def _facts(self, read_seconds: float, judged_seconds: float) -> RunFacts:
        counts, durations = self.log.counts, self.replay.durations
        settings = self.settings
        told = {
            "tick": format_duration(settings.tick_ms),
            "sweep": format_duration(self.policy.sweep_period_minutes * MS_PER_MINUTE),
            "order": settings.order,
            "shards": str(settings.shard_count),
        }
        return RunFacts(
            sources=self.log.files,
            rows_read=counts.rows_read,
            ignored=counts.rows_ignored,
            dead_letters=counts.rows_dead_letter,
            merged_rows=counts.rows_merged,
            duplicate_merged_rows=self.duplicate_lines.row_count,
            copied_rows=counts.rows_copied,
            has_event_ids=self.log.has_event_ids,
            first_event_ms=self.log.first_time_ms,
            last_event_ms=self.log.last_time_ms,
            seconds_by_stage={
                "reading": read_seconds,
                EVENT_STAGE: durations.events,
                TICK_STAGE: durations.ticks,
                "knowledge": durations.knowledge,
                "outputs": durations.outputs,
                "judging": judged_seconds,
            },
            settings=told,
            notes=self.log.notes,
        )


def _require_same_tick(settings: BacktestSettings, saved: SavedState | None) -> None:
    if saved is not None and saved.tick_ms != settings.tick_ms:
        was = format_duration(saved.tick_ms)
        message = f"the state was saved with --tick {was}, this run has {format_duration(settings.tick_ms)}; use {was}"
        raise SettingsError(message, code="other_tick")


def make_folder(path: Path) -> None:
    """Make a folder for results, if it is not there, and try whether it can be written.

    Raises
    ------
    SettingsError
        When it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        message = f"output folder {path} cannot be written ({error.strerror}); choose another with --out"
        raise SettingsError(message, code="unwritable_output") from error


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n")
