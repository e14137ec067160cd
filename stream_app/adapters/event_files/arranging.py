"""From what was read to what is replayed: line items merged, events in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files.copies import COPY_ORDER, LineCopies
from stream_app.adapters.event_files.merging import LINE_ORDER, LineMerger
from stream_app.adapters.event_files.options import EventLogOptions
from stream_app.adapters.event_files.sorting import ARRIVAL_ORDER, EVENT_ORDER, sorted_batches
from stream_app.adapters.event_files.spool import EVENT_SCHEMA, LINE_SCHEMA, Spool, SpoolWriter, read_spool
from stream_app.domain.errors import SettingsError


@dataclass(frozen=True, slots=True, eq=False)
class ArrangedLog:
    """Events in the order of replay.

    Parameters
    ----------
    path
        Their spool.
    event_count
        How many there are.
    first_time_ms, last_time_ms
        Earliest and latest event time; None when there are none.
    merged_positions, merged_rows
        Shape `(n,)`, int64: positions of events of several rows, increasing, and their numbers of rows.
    copy_count
        Line items left out because they are copies of others.
    """

    path: Path
    event_count: int
    first_time_ms: int | None
    last_time_ms: int | None
    merged_positions: NDArray[np.int64]
    merged_rows: NDArray[np.int64]
    copy_count: int


def arrange(
    spool: Spool, options: EventLogOptions, on_phase: Callable[[Literal["merge", "sort"]], None]
) -> ArrangedLog:
    """Merge line items and put events in order; sorts only what is not in order yet.

    Parameters
    ----------
    spool
        What was read; its files are used up.
    options
        Order and memory.
    on_phase
        Is told what begins.

    Raises
    ------
    SettingsError
        Code `sort_failed`: no room for temporary files.
    """
    try:
        return _arrange(spool, options, on_phase)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        message = (
            f"sorting the events failed ({reason}); make room in the folder for temporary files {spool.folder.parent}, "
            "or set TMPDIR to a larger one"
        )
        raise SettingsError(message, code="sort_failed") from error


def _arrange(
    spool: Spool, options: EventLogOptions, on_phase: Callable[[Literal["merge", "sort"]], None]
) -> ArrangedLog:
    folder, memory = spool.folder, options.memory_limit_bytes
    merger, copies = LineMerger(), LineCopies()
    merged = SpoolWriter(folder / "merged.arrows", EVENT_SCHEMA)
    if spool.lines.row_count:
        on_phase("merge")
        lines = read_spool(spool.lines.path)
        if spool.has_event_ids:
            lines = copies.leave_out(sorted_batches(lines, LINE_SCHEMA, COPY_ORDER, folder, memory))
        merged.write_all(merger.merge(sorted_batches(lines, LINE_SCHEMA, LINE_ORDER, folder, memory)))
        spool.lines.path.unlink()
    is_sorted = not merged.row_count and (options.order == "arrival" or spool.is_sorted)
    result = spool.events
    if not is_sorted:
        on_phase("sort")
        order_by = ARRIVAL_ORDER if options.order == "arrival" else EVENT_ORDER
        unsorted = chain(read_spool(spool.events.path), read_spool(merged.path))
        result = SpoolWriter(folder / "sorted.arrows", EVENT_SCHEMA)
        result.write_all(sorted_batches(unsorted, EVENT_SCHEMA, order_by, folder, memory))
        for part in (spool.events, merged):
            part.path.unlink(missing_ok=True)
    positions, rows = merger.line_counts()
    firsts = [time for time in (spool.first_time_ms, merger.first_time_ms) if time is not None]
    lasts = [time for time in (spool.last_time_ms, merger.last_time_ms) if time is not None]
    return ArrangedLog(
        path=result.path,
        event_count=result.row_count,
        first_time_ms=min(firsts, default=None),
        last_time_ms=max(lasts, default=None),
        merged_positions=positions,
        merged_rows=rows,
        copy_count=copies.count,
    )
