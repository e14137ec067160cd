"""A simulated shop in files: the event log, and if wanted the truth beside it; both whole, or neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from stream_app.domain.errors import SettingsError
from stream_app.simulation.behaviour import Block
from stream_app.simulation.columns import EVENT_SCHEMA
from stream_app.simulation.log import KIND_NAMES
from stream_app.simulation.settings import ShopSettings
from stream_app.simulation.shop import simulate
from stream_app.simulation.truth import shop_parameters, truth_columns, truth_schema
from stream_app.simulation.writer import (
    EVENT_ENDINGS,
    TRUTH_ENDINGS,
    check_target,
    ending_of,
    open_writer,
    written_whole,
)

PARAMETERS_SUFFIX = ".json"
"""A truth in CSV has no place for the shop's parameters: they stand in a file of its name with this behind it."""


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """Where a shop is written to; made by `checked`.

    Parameters
    ----------
    events, truth
        Real paths of the event log and of the truth, None if it is not wanted.
    """

    events: Path
    truth: Path | None

    @classmethod
    def checked(cls, events: Path, truth: Path | None) -> ShopFiles:
        """Check the names before anything is simulated.

        Raises
        ------
        SettingsError
            When an ending is not known, a file cannot be written, or both are the same file.
        """
        ending_of(events, EVENT_ENDINGS)
        events = check_target(events)
        if truth is None:
            return cls(events, None)
        ending_of(truth, TRUTH_ENDINGS)
        truth = check_target(truth)
        if truth == events or (truth.exists() and events.exists() and truth.samefile(events)):
            message = f"events and truth = {events}, allowed are two different files; name another file for one of them"
            raise SettingsError(message, code="same_file")
        files = cls(events, truth)
        for path in files.paths()[2:]:
            check_target(path)
        return files

    def paths(self) -> list[Path]:
        """Give all files in this order: events, truth, parameters; as many of them as there are."""
        paths = [self.events]
        if self.truth is not None:
            paths.append(self.truth)
            if self.truth.suffix == ".csv":
                paths.append(_parameters_path(self.truth))
        return paths


def write_shop(
    settings: ShopSettings, files: ShopFiles, *, on_progress: Callable[[str, float], None] | None = None
) -> dict[str, int]:
    """Simulate a shop and write it.

    Parameters
    ----------
    settings
        The shop; equal settings write equal bytes, with equal versions of numpy and pyarrow.
    files
        Where to; files that are there already are replaced at the end, all at once or not at all.
    on_progress
        Told now and then what is being done and which share of it is done, in [0, 1].

    Returns
    -------
    dict[str, int]
        Event type to number of events.

    Raises
    ------
    SettingsError
        When the operating system refuses to write.
    """
    report = on_progress or _report_nothing
    customers_done = 0
    counts = dict.fromkeys(KIND_NAMES, 0)
    with written_whole(files.paths()) as partials, ExitStack() as writers:
        events_ending = ending_of(files.events, EVENT_ENDINGS)
        events_writer = writers.enter_context(closing(open_writer(partials[0], events_ending, EVENT_SCHEMA)))
        truth_writer = None
        if files.truth is not None:
            truth_file = open_writer(partials[1], ending_of(files.truth, TRUTH_ENDINGS), truth_schema(settings))
            truth_writer = writers.enter_context(closing(truth_file))
        for path in partials[2:]:
            parameters = json.dumps(shop_parameters(settings), indent=2, sort_keys=True)
            path.write_text(parameters + "\n", encoding="utf-8")

        def on_block(block: Block) -> None:
            nonlocal customers_done
            customers_done += len(block.customers)
            report("drawing customers", customers_done / settings.customers)
            if truth_writer is not None:
                truth_writer.write(truth_columns(block))

        for batch in simulate(settings, on_block=on_block):
            events_writer.write(batch)
            for kind in pc.value_counts(batch["type"]).to_pylist():
                counts[kind["values"]] += kind["counts"]
            reached_ms = batch["occurred_at"][-1].value
            report("writing events", (reached_ms - settings.start_ms) / (settings.end_ms - settings.start_ms))
    return counts


def _report_nothing(_stage: str, _share: float) -> None:
    """Take no notice of progress."""


def _parameters_path(truth: Path) -> Path:
    return truth.with_name(truth.name + PARAMETERS_SUFFIX)
