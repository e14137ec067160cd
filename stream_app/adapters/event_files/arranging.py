"""From what was read to what is replayed: line items merged, events in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.event_files.copies import COPY_ORDER, LineCopies
from stream_app.adapters.event_files.interleaving import interleave
from stream_app.adapters.event_files.merging import LINE_ORDER, LineMerger
from stream_app.adapters.event_files.options import EventLogOptions
from stream_app.adapters.event_files.single_lines import LINES_MAX, SingleLines, are_single
from stream_app.adapters.event_files.sorting import ARRIVAL_ORDER, EVENT_ORDER, sorted_batches
from stream_app.adapters.event_files.spool import EVENT_SCHEMA, LINE_SCHEMA, Spool, SpoolWriter, read_spool
from stream_app.domain.errors import SettingsError


@dataclass(frozen=True, slots=True, eq=False)
class ArrangedLog:
    """Events in the order of replay.

    Parameters
    ----------
    paths
        Their spools, at most two, each in order.
    order
        Columns by which they are ordered.
    event_count
        How many there are.
    first_time_ms, last_time_ms
        Earliest and latest event time; None when there are none.
    merged_positions, merged_rows
        Shape `(n,)`, int64: positions of events of several rows, increasing, and their numbers of rows.
    copy_count
        Line items left out because they are copies of others.
    """

    paths: tuple[Path, ...]
    order: tuple[str, ...]
    event_count: int
    first_time_ms: int | None
    last_time_ms: int | None
    merged_positions: NDArray[np.int64]
    merged_rows: NDArray[np.int64]
    copy_count: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the events in order; each call begins anew."""
        streams = [read_spool(path) for path in self.paths]
        return interleave(streams[0], streams[1], self.order) if len(streams) > 1 else chain(*streams)


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
    merger, copies, singles = LineMerger(), LineCopies(), SingleLines()
    orders = SpoolWriter(folder / "orders.arrows", EVENT_SCHEMA)
    are_orders_sorted = True
    if spool.lines.row_count:
        on_phase("merge")
        lines = read_spool(spool.lines.path)
        if spool.lines.row_count <= LINES_MAX and are_single(read_spool(spool.lines.path)):
            orders.write_all(singles.events(lines))
            are_orders_sorted = options.order == "arrival" or singles.is_sorted
        else:
            if spool.has_event_ids:
                lines = copies.leave_out(sorted_batches(lines, LINE_SCHEMA, COPY_ORDER, folder, memory))
            orders.write_all(merger.merge(sorted_batches(lines, LINE_SCHEMA, LINE_ORDER, folder, memory)))
            are_orders_sorted = False
        spool.lines.path.unlink()
    order = ARRIVAL_ORDER if options.order == "arrival" else EVENT_ORDER
    spools = [spool.events, orders]
    if options.order == "event" and not spool.is_sorted:
        on_phase("sort")
        spools = [_sorted([spool.events, orders], order, folder / "sorted.arrows", memory)]
    elif not are_orders_sorted:
        # What was read is in order already: only the orders are sorted, and put between at replay.
        on_phase("sort")
        spools[1] = _sorted([orders], order, folder / "sorted_orders.arrows", memory)
    positions, rows = merger.line_counts()
    firsts = [time for time in (spool.first_time_ms, singles.first_time_ms, merger.first_time_ms) if time is not None]
    lasts = [time for time in (spool.last_time_ms, singles.last_time_ms, merger.last_time_ms) if time is not None]
    return ArrangedLog(
        paths=tuple(part.path for part in spools if part.row_count),
        order=order,
        event_count=sum(part.row_count for part in spools),
        first_time_ms=min(firsts, default=None),
        last_time_ms=max(lasts, default=None),
        merged_positions=positions,
        merged_rows=rows,
        copy_count=copies.count,
    )


def _sorted(spools: Sequence[SpoolWriter], order: tuple[str, ...], path: Path, memory_limit_bytes: int) -> SpoolWriter:
    """Sort spools into a new one; they are used up."""
    rows = chain(*(read_spool(spool.path) for spool in spools))
    result = SpoolWriter(path, EVENT_SCHEMA)
    result.write_all(sorted_batches(rows, EVENT_SCHEMA, ", ".join(order), path.parent, memory_limit_bytes))
    for spool in spools:
        spool.path.unlink(missing_ok=True)
    return result
