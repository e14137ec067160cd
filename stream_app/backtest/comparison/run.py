"""Runs several policies on one log, one after the other, and writes what they make of it side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from stream_app.adapters.whole_files import written_whole
from stream_app.backtest.comparison.crossing import choose_examples, cross
from stream_app.backtest.comparison.document import build_document
from stream_app.backtest.comparison.notes import write_notes
from stream_app.backtest.comparison.page import render_comparison
from stream_app.backtest.comparison.policies import ComparedPolicy, find_differences
from stream_app.backtest.comparison.results import ComparedRun, ComparisonResult, PolicyPair
from stream_app.backtest.comparison.stories import tell_examples
from stream_app.backtest.comparison.watch import RunWatch
from stream_app.backtest.report.document import write_document
from stream_app.backtest.run import REPORT_NAME, SEGMENTS_NAME, Progress, make_folder, run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.shards import Shards
from stream_app.backtest.topic_log import fix_ends
from stream_app.domain.errors import SettingsError

COMPARISON_NAME: Final = "comparison.json"

ShowProgress = Callable[[str], AbstractContextManager[Progress]]
"""Shows the progress of one run, under the name that it is given."""


@dataclass(frozen=True, slots=True)
class ComparisonRun:
    """What a comparison left: what it found, its document as in `comparison.json`, and where the page is."""

    result: ComparisonResult
    document: dict[str, Any]
    report: Path


def run_comparison(
    settings: BacktestSettings, policies: Sequence[ComparedPolicy], show_progress: ShowProgress | None = None
) -> ComparisonRun:
    """Replay an event log under each of several policies and compare what comes of it.

    The results of each policy go into a folder of its name, as `run_backtest` writes them; the comparison stands
    above them. Policies run one after the other, so that no more memory is taken than by the largest run.

    Parameters
    ----------
    settings
        What to replay and how; `policy` and `out` are taken for each run from what follows and from `out`.
    policies
        At least two; the others are held against the first.
    show_progress
        Called for each run, with the name of its policy.

    Returns
    -------
    ComparisonRun

    Raises
    ------
    SettingsError
        When there is nothing to compare, when a state is to be saved or loaded, or as `run_backtest`.
    """
    _require_comparable(settings, policies)
    for compared in policies:
        # What cannot be written is said before hours of replay, not after them.
        make_folder(settings.out / compared.name)
    if settings.topic is not None:
        # Events that are written meanwhile would be counted under the later policies only.
        settings = replace(settings, topic=fix_ends(settings.topic))
    runs = [_run(settings, compared, policies[0], show_progress) for compared in policies]
    folders = [settings.out / compared.name for compared in policies]
    pairs = [_pair(runs[0], other, (folders[0], folder)) for other, folder in zip(runs[1:], folders[1:], strict=True)]
    result = ComparisonResult(tuple(runs), tuple(find_differences(policies)), tuple(pairs), write_notes(runs))
    document = build_document(result)
    with written_whole(settings.out / COMPARISON_NAME) as unfinished:
        unfinished.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    report = settings.out / REPORT_NAME
    write_document(report, render_comparison(result, document))
    return ComparisonRun(result, document, report)


def _require_comparable(settings: BacktestSettings, policies: Sequence[ComparedPolicy]) -> None:
    if len(policies) < 2:
        message = "a comparison takes at least two policies; give --policy twice"
        raise SettingsError(message, code="too_few_policies")
    given = [
        name
        for name, path in (("--save-state", settings.save_state), ("--load-state", settings.load_state))
        if path is not None
    ]
    if given:
        message = (
            f"{' and '.join(given)}: a state belongs to one policy; give one --policy, or leave the state out and "
            "compare over the whole log (--from chooses what is told)"
        )
        raise SettingsError(message, code="state_of_several_policies")


def _run(
    settings: BacktestSettings, compared: ComparedPolicy, first: ComparedPolicy, show_progress: ShowProgress | None
) -> ComparedRun:
    own = replace(settings, policy=compared.policy, out=settings.out / compared.name)
    watches: list[RunWatch] = []

    def watch(shards: Shards) -> RunWatch:
        # The horizon of the first policy holds for all: over another one, growth would be another question.
        watches.append(RunWatch(compared.policy, shards, settings.from_ms, first.policy.horizon_periods))
        return watches[0]

    if show_progress is None:
        result = run_backtest(own, None, watch)
    else:
        with show_progress(compared.name) as progress:
            result = run_backtest(own, progress, watch)
    # Only what was found is kept of the watch: it holds all customers of the run.
    return ComparedRun(compared, result.summary, result.statistics, watches[0].found)


def _pair(first: ComparedRun, second: ComparedRun, folders: tuple[Path, Path]) -> PolicyPair:
    crossings, differing = [], []
    for axis in first.policy.axes:
        other = second.axis_policy(axis.name)
        if other is None:
            continue
        crossing, found = cross(folders[0] / SEGMENTS_NAME, folders[1] / SEGMENTS_NAME, (axis, other))
        crossings.append(crossing)
        differing.append(tuple(found))
    examples = tell_examples(choose_examples(differing), *folders)
    return PolicyPair(first, second, tuple(crossings), tuple(differing), examples)
