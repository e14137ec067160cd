"""Reading a shard back from its state log: columns, checks, and refusals that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.state_header import StateHeader
from stream_app.adapters.state_records import OpenRecord, join_columns, open_state_record
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.id_index import KEY_BYTES
from stream_app.domain.memory import reserve
from stream_app.domain.policy import Policy
from stream_app.domain.population import AxisSketch, PopulationSketch
from stream_app.domain.rows import ERASED_TURN, RowBlock, make_blank, row_dtype
from stream_app.domain.table import ROWS_MAX
from stream_app.streaming.state_log import StateLog, WrittenRecord

_ROWS_TOGETHER: Final = 1 << 11
"""Small records are put into the table so many rows at a time: each call of numpy costs as much as many rows."""
_REBUILD: Final = "or start under a new application name and read the events from the beginning"
_RESTORE: Final = f"restore the topic from a copy, {_REBUILD}"


class _Place(NamedTuple):
    """Which record of which commit."""

    batch_number: int
    part: int
    is_last: bool

    @classmethod
    def of(cls, header: dict[str, Any]) -> _Place:
        part = header["part"]
        return cls(header["batch_number"], part, part + 1 == header["part_count"])


@dataclass(frozen=True, slots=True, eq=False)
class RecoveredShard:
    """A shard as its last commit left it.

    Parameters
    ----------
    ids, rows
        Shape `(header.row_count,)`, in the order of row numbers; erased rows are marked and have empty ids.
    header
        Of the last commit.
    log
        Ready to go on.
    """

    ids: NDArray[np.bytes_]
    rows: RowBlock
    header: StateHeader
    log: StateLog

    @property
    def sketch(self) -> PopulationSketch:
        """What `Engine.restore` wants: term sums without histograms."""
        axes = [
            AxisSketch(np.empty(0, dtype=np.int64), np.array(sums, dtype=np.int64), count)
            for sums, count in zip(self.header.term_sums, self.header.term_counts, strict=True)
        ]
        return PopulationSketch(self.header.clock.scoring_version, tuple(axes))


class StateReader:
    """Puts a shard together from the records of its state log.

    Parameters
    ----------
    policy
        The policy to go on with.
    partition, partition_count
        Which shard it has to be, of how many.
    log
        The books to keep; they are handed out with the shard.
    """

    def __init__(self, policy: Policy, partition: int, partition_count: int, log: StateLog | None = None) -> None:
        self._policy_hash = policy.state_hash
        self._shard = (partition, partition_count)
        self._log = StateLog() if log is None else log
        self._dtype = row_dtype(len(policy.axes), policy.horizon_periods)
        self._rows = reserve(ROWS_MAX, np.dtype(f"V{self._dtype.itemsize}"))
        self._ids = reserve(ROWS_MAX, np.dtype(f"S{KEY_BYTES}")).view(f"S{KEY_BYTES}")
        self._is_found = reserve(ROWS_MAX, np.dtype("S1")).view(np.bool_)
        self._long_ids: dict[int, bytes] = {}
        self._erased: list[NDArray[np.uint32]] = []
        self._last: _Place | None = None
        self._open: list[tuple[int, OpenRecord]] = []
        self._last_whole: OpenRecord | None = None
        self._waiting: list[tuple[int, OpenRecord]] = []
        self._waiting_rows = 0

    @property
    def rows_read(self) -> int:
        """Rows in the records so far, each as often as it was written; recovery makes progress as this grows."""
        return self._log.size_rows

    def add(self, offset: int, packed: bytes) -> None:
        """Take the next record of the log.

        Parameters
        ----------
        offset
            Where it is.
        packed
            Its value.

        Raises
        ------
        IncompatibleStateError
            When it is damaged, of another shard or policy, or when records before it are missing.
        """
        record = open_state_record(packed)
        try:
            place = _Place.of(record.document)
            self._require_fit(record, offset)
        except (KeyError, TypeError) as error:
            message = f"state record at offset {offset} has no complete header ({error!r}); {_RESTORE}"
            raise IncompatibleStateError(message, code="damaged_state_record") from error
        self._require_order(place, offset)
        self._last = place
        self._open.append((offset, record))
        if not place.is_last:
            return
        for own_offset, own in self._open:
            self._take(own_offset, own)
        self._open = []
        self._last_whole = record

    def finish(self, log_start: int = 0) -> RecoveredShard | None:
        """Give the shard, after the last record.

        Parameters
        ----------
        log_start
            Offset at which the log begins; above 0 it has been truncated, so that there must be records.

        Returns
        -------
        RecoveredShard or None
            None when nothing has ever been committed.

        Raises
        ------
        IncompatibleStateError
            When records or rows are missing.
        """
        if self._last_whole is None:
            if log_start == 0 and (self._last is None or self._last.batch_number == 1):
                return None
            message = f"the state log begins at offset {log_start}, and there is no whole commit in it; {_RESTORE}"
            raise IncompatibleStateError(message, code="missing_state")
        self._flush()
        header = self._last_whole.header()
        self._require_whole(header)
        rows = self._rows[: header.row_count].view(self._dtype)
        ids: NDArray[np.bytes_] = self._ids[: header.row_count]
        if self._long_ids:
            ids = ids.astype(f"S{max(map(len, self._long_ids.values()))}")
            for row, customer_id in self._long_ids.items():
                ids[row] = customer_id
        return RecoveredShard(ids, rows, header, self._log)

    def _require_fit(self, record: OpenRecord, offset: int) -> None:
        header = record.document
        if (header["partition"], header["partition_count"]) != self._shard:
            partition, count = self._shard
            message = (
                f"state record at offset {offset} is of partition {header['partition']} of "
                f"{header['partition_count']}, this is partition {partition} of {count}; go back to "
                f"{header['partition_count']} partitions, or move the state: stop all workers, `stream-app state "
                "export`, create the topics anew, `stream-app state import`"
            )
            raise IncompatibleStateError(message, code="state_partitions")
        if header["state_hash"] != self._policy_hash or record.row_bytes != self._dtype.itemsize:
            message = (
                f"state record at offset {offset} was written under a policy with state hash {header['state_hash']}, "
                f"this policy has {self._policy_hash} (axes, tiers, event rules, money, half-lives or horizon differ); "
                f"use the policy it was written with, {_REBUILD}"
            )
            raise IncompatibleStateError(message, code="state_policy")

    def _require_order(self, place: _Place, offset: int) -> None:
        last = self._last
        if last is None:
            return
        number, part = (last.batch_number + 1, 0) if last.is_last else (last.batch_number, last.part + 1)
        if (place.batch_number, place.part) == (number, part):
            return
        if not last.is_last and (place.batch_number, place.part) == (last.batch_number, 0):
            # The commit was begun, never finished, and then made by the next owner.
            self._open = []
            return
        message = (
            f"state record at offset {offset} is part {place.part} of commit {place.batch_number}; after part "
            f"{last.part} of commit {last.batch_number}, part {part} of commit {number} should follow: records are "
            f"missing; {_RESTORE}"
        )
        raise IncompatibleStateError(message, code="state_hole")

    def _take(self, offset: int, record: OpenRecord) -> None:
        """Take in one record of a whole commit."""
        if record.row_count >= _ROWS_TOGETHER or record.erased_count:
            # Erased rows come after what was known of them, and before nothing.
            self._flush()
        self._waiting.append((offset, record))
        self._waiting_rows += record.row_count
        if self._waiting_rows >= _ROWS_TOGETHER or len(self._waiting) >= _ROWS_TOGETHER or record.erased_count:
            self._flush()

    def _flush(self) -> None:
        """Put the waiting records into the table; of a row that was written several times, the last counts."""
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        if not waiting:
            return
        numbers, rows, ids, places, erased = join_columns([record for _, record in waiting])
        row_count = max((int(own.max()) + 1 for own in (numbers, erased) if len(own)), default=0)
        table_rows = int(waiting[-1][1].document["row_count"])
        self._require_room(row_count, table_rows)
        # numpy assigns in the order of the index.
        self._rows[numbers] = rows
        id_rows = numbers[places]
        self._ids[id_rows] = ids
        self._is_found[id_rows] = True
        if ids.dtype.itemsize > KEY_BYTES:
            for place in np.flatnonzero(np.strings.str_len(ids) > KEY_BYTES).tolist():
                self._long_ids[int(id_rows[place])] = bytes(ids[place])
        if len(erased):
            self._erase(erased)
            id_rows = np.concatenate((id_rows, erased))
        start = 0
        for offset, record in waiting:
            end = start + record.id_count + record.erased_count
            count = record.row_count + record.erased_count
            written = WrittenRecord(offset, record.document["batch_number"], count, id_rows[start:end])
            self._log.wrote(written, record.document["row_count"])
            start = end

    def _erase(self, erased: NDArray[np.uint32]) -> None:
        if self._is_found[erased].any():
            # What was known of them is still in records before this one.
            self._log.begin_purge()
        blank = np.zeros(len(erased), dtype=self._dtype)
        make_blank(blank)
        blank["turn"] = ERASED_TURN
        self._rows[erased] = blank.view(self._rows.dtype)
        self._ids[erased] = b""
        self._is_found[erased] = False
        for row in erased.tolist():
            self._long_ids.pop(row, None)
        self._erased.append(erased)

    def _require_room(self, row_count: int, table_rows: int) -> None:
        if row_count > table_rows:
            message = f"the state log tells row {row_count - 1} of a table of {table_rows} rows; {_RESTORE}"
            raise IncompatibleStateError(message, code="damaged_state_record")
        if table_rows > len(self._rows):
            message = f"the state log has {table_rows} rows, room is for {len(self._rows)}; give the worker more memory"
            raise MemoryError(message)

    def _require_whole(self, header: StateHeader) -> None:
        is_known = self._is_found[: header.row_count].copy()
        if self._erased:
            is_known[np.concatenate(self._erased)] = True
        missing = header.row_count - int(np.count_nonzero(is_known))
        found = int(np.count_nonzero(self._is_found[: header.row_count]))
        if missing or found != header.customer_count:
            message = (
                f"the state log has lost {missing} of {header.row_count} rows: it was truncated by others, or records "
                f"were deleted; {_RESTORE}"
            )
            raise IncompatibleStateError(message, code="missing_state")
