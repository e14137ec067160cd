"""What a caller may ask of an event log, and what it is told about the reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from stream_app.domain.errors import SettingsError

MEMORY_LIMIT_BYTES = 256 << 20
"""Default memory of the sort; more rows than fit are sorted on disk."""

UNMAPPED_TYPES_MAX = 50
"""How many different event types without a rule are told by name; a log of free text must not fill the memory."""


class FileIgnoredReason(StrEnum):
    """Why a sound row brings no event, besides the codec's reasons; values are metric labels."""

    BLANK_LINE = "blank_line"
    """A line of white space."""
    AFTER_TO = "after_to"
    """At or after the end that was asked for."""
    BEFORE_STATE = "before_state"
    """Before the time up to which the loaded state already counts the events."""


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How far the reading has come.

    Parameters
    ----------
    phase
        `read` while files are read; `merge` and `sort` while the spool is put in order.
    bytes_read, bytes_total
        Of the files as they lie on disk, compressed ones included; of a topic, its offsets.
    rows_read
        So far.
    """

    phase: Literal["read", "merge", "sort"]
    bytes_read: int
    bytes_total: int
    rows_read: int


@dataclass(frozen=True, slots=True)
class EventLogOptions:
    """How to read an event log.

    Parameters
    ----------
    run_started_ms
        When the run started, in milliseconds since 1970-01-01 UTC: later events are from the future (S8).
    mapping
        Event field to the column (for JSON Lines: dotted path) it is read from; fields that are missing are found by
        well-known column names. An empty column name: the log does not have the field.
    timezone
        Zone of times that name none: a zone name, `UTC`, or an offset as `+02:00`; None: UTC.
    delimiter, decimal
        Of CSV files; None: recognised from the first lines.
    order
        `event`: sorted by event time, ties by file and row; `arrival`: as the files have it.
    to_ms
        Events at or after it are ignored; None: no end.
    not_before_ms
        Events before it are ignored, since a loaded state counts them already; None: all are read.
    dead_letters_path
        Where refused rows go as JSON Lines; None: they are only counted.
    memory_limit_bytes
        Of the sort.
    on_progress
        Called now and then while the log is read.
    """

    run_started_ms: int
    mapping: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    order: Literal["event", "arrival"] = "event"
    to_ms: int | None = None
    not_before_ms: int | None = None
    dead_letters_path: Path | None = None
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    on_progress: Callable[[ReadProgress], None] | None = None


def check_options(options: EventLogOptions) -> None:
    """Hold the options to their bounds.

    Raises
    ------
    SettingsError
        Code `invalid_settings`, with all faults.
    """
    faults = []
    if options.delimiter is not None and (len(options.delimiter.encode()) != 1 or options.delimiter in '"\r\n\0'):
        faults.append(f"--delimiter = {options.delimiter!r}: must be one character as , ; | or a tab")
    if options.decimal not in (None, ".", ","):
        faults.append(f"--decimal = {options.decimal!r}: must be . or ,")
    if options.order not in ("event", "arrival"):
        faults.append(f"--order = {options.order!r}: must be event or arrival")
    if options.memory_limit_bytes <= 0:
        faults.append(f"memory limit = {options.memory_limit_bytes}: must be a positive number of bytes")
    if faults:
        raise SettingsError("; ".join(faults), faults=tuple(faults) if len(faults) > 1 else ())


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What became of the rows; `rows_read` is the sum of accepted, ignored and dead-letter rows.

    Parameters
    ----------
    rows_read
        Data rows of all files, blank lines included.
    rows_accepted
        Rows that went into events.
    rows_ignored, rows_dead_letter
        By reason code; reasons that did not occur are missing.
    rows_merged
        Accepted rows that are further line items of an order and so no events of their own.
    rows_copied
        Accepted rows that are copies of another line item of their order, and so left out.
    event_count
        Events: `rows_accepted - rows_merged - rows_copied`.
    unmapped_types
        Event types without a rule in the policy, with their rows; at most `UNMAPPED_TYPES_MAX` types are told.
    """

    rows_read: int
    rows_accepted: int
    rows_ignored: Mapping[str, int]
    rows_dead_letter: Mapping[str, int]
    rows_merged: int
    rows_copied: int
    event_count: int
    unmapped_types: Mapping[str, int]


class RowTally:
    """Counts rows while they are read."""

    def __init__(self) -> None:
        self.rows_read = 0
        self.rows_accepted = 0
        self.ignored: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.unmapped_types: Counter[str] = Counter()

    def count_ignored(self, reason: str, row_count: int) -> None:
        """Count rows that bring no event."""
        if row_count:
            self.ignored[reason] += row_count

    def count_unmapped(self, event_type: str, row_count: int) -> None:
        """Note the name of a type without a rule, as long as there are not too many."""
        if event_type in self.unmapped_types or len(self.unmapped_types) < UNMAPPED_TYPES_MAX:
            self.unmapped_types[event_type] += row_count

    def finish(self, event_count: int, copy_count: int) -> ReadCounts:
        """Close the books."""
        return ReadCounts(
            rows_read=self.rows_read,
            rows_accepted=self.rows_accepted,
            rows_ignored=dict(sorted(self.ignored.items())),
            rows_dead_letter=dict(sorted(self.dead_letters.items())),
            rows_merged=self.rows_accepted - event_count - copy_count,
            rows_copied=copy_count,
            event_count=event_count,
            unmapped_types=dict(self.unmapped_types.most_common()),
        )
