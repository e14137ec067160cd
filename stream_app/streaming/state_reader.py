"""Reading a shard back from its state log: columns, checks, and refusals that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.state_records import StateHeader, StateRecord, decode_state_record
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.id_index import KEY_BYTES
from stream_app.domain.memory import reserve
from stream_app.domain.policy import Policy
from stream_app.domain.population import AxisSketch, PopulationSketch
from stream_app.domain.rows import ERASED_TURN, RowBlock, make_blank, row_dtype
from stream_app.domain.table import ROWS_MAX
from stream_app.streaming.state_log import StateLog

_ROWS_TOGETHER: Final = 1 << 14
"""Records are put into the table when they hold so many rows: each call of numpy costs as much as ten rows."""
_REBUILD: Final = "or start under a new application name and read the events from the beginning"


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
        self._header: StateHeader | None = None
        self._last: StateHeader | None = None
        self._open: list[tuple[int, StateRecord]] = []
        self._waiting: list[StateRecord] = []
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
        record = decode_state_record(packed)
        self._require_fit(record, offset)
        self._require_order(record.header, offset)
        self._last = record.header
        self._open.append((offset, record))
        if record.header.part + 1 < record.header.part_count:
            return
        for own_offset, own in self._open:
            self._take(own_offset, own)
        self._open = []
        self._header = record.header

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
        header = self._header
        if header is None:
            if log_start == 0 and (self._last is None or self._last.batch_number == 1):
                return None
            message = (
                f"the state log was truncated before offset {log_start}, and there is no whole commit behind; restore "
                f"the topic from a copy, {_REBUILD}"
            )
            raise IncompatibleStateError(message, code="missing_state")
        self._flush()
        self._require_whole(header)
        rows = self._rows[: header.row_count].view(self._dtype)
        ids: NDArray[np.bytes_] = self._ids[: header.row_count]
        if self._long_ids:
            ids = ids.astype(f"S{max(map(len, self._long_ids.values()))}")
            for row, customer_id in self._long_ids.items():
                ids[row] = customer_id
        return RecoveredShard(ids, rows, header, self._log)

    def _require_fit(self, record: StateRecord, offset: int) -> None:
        header = record.header
        if (header.partition, header.partition_count) != self._shard:
            partition, count = self._shard
            message = (
                f"state record at offset {offset} is of partition {header.partition} of {header.partition_count}, this "
                f"is partition {partition} of {count}; go back to {header.partition_count} partitions, or move the "
                "state: stop all workers, `stream-app state export`, create the topics anew, `stream-app state import`"
            )
            raise IncompatibleStateError(message, code="state_partitions")
        if header.state_hash != self._policy_hash or record.rows.dtype.itemsize != self._dtype.itemsize:
            message = (
                f"state record at offset {offset} was written under a policy with state hash {header.state_hash}, this "
                f"policy has {self._policy_hash} (axes, tiers, event rules, money, half-lives or horizon differ); use "
                f"the policy it was written with, {_REBUILD}"
            )
            raise IncompatibleStateError(message, code="state_policy")

    def _require_order(self, header: StateHeader, offset: int) -> None:
        last = self._last
        if last is None:
            return
        is_whole = last.part + 1 == last.part_count
        expected = (last.batch_number + 1, 0) if is_whole else (last.batch_number, last.part + 1)
        if (header.batch_number, header.part) == expected:
            return
        if not is_whole and (header.batch_number, header.part) == (last.batch_number, 0):
            # The commit was begun, never finished, and then made by the next owner.
            self._open = []
            return
        message = (
            f"state record at offset {offset} is part {header.part} of commit {header.batch_number}; after part "
            f"{last.part} of commit {last.batch_number}, part {expected[1]} of commit {expected[0]} should follow: "
            f"records are missing; restore the topic from a copy, {_REBUILD}"
        )
        raise IncompatibleStateError(message, code="state_hole")

    def _take(self, offset: int, record: StateRecord) -> None:
        """Take down one record of a whole commit."""
        erased = record.erased
        if len(erased):
            self._flush()
            if self._is_found[erased].any():
                # What was known of them is still in records before this one.
                self._log.begin_purge()
        id_rows = record.row_numbers[record.id_places]
        self._log.wrote(
            offset,
            record.header.batch_number,
            len(record.row_numbers) + len(erased),
            np.concatenate((id_rows, erased)) if len(erased) else id_rows,
        )
        self._waiting.append(record)
        self._waiting_rows += len(record.row_numbers)
        if self._waiting_rows >= _ROWS_TOGETHER or len(erased):
            self._flush()

    def _flush(self) -> None:
        """Put the waiting records into the table; of a row that was written several times, the last counts."""
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        if not waiting:
            return
        self._require_room(max(record.header.row_count for record in waiting))
        numbers = np.concatenate([record.row_numbers for record in waiting])
        # numpy assigns in the order of the index.
        self._rows[numbers] = np.concatenate([record.rows for record in waiting])
        id_rows = np.concatenate([record.row_numbers[record.id_places] for record in waiting])
        ids = np.concatenate([record.ids for record in waiting])
        self._ids[id_rows] = ids
        self._is_found[id_rows] = True
        if ids.dtype.itemsize > KEY_BYTES:
            for place in np.flatnonzero(np.strings.str_len(ids) > KEY_BYTES).tolist():
                self._long_ids[int(id_rows[place])] = bytes(ids[place])
        for record in waiting:
            if len(record.erased):
                self._erase(record.erased)

    def _erase(self, erased: NDArray[np.uint32]) -> None:
        blank = np.zeros(len(erased), dtype=self._dtype)
        make_blank(blank)
        blank["turn"] = ERASED_TURN
        self._rows[erased] = blank.view(self._rows.dtype)
        self._ids[erased] = b""
        self._is_found[erased] = False
        for row in erased.tolist():
            self._long_ids.pop(row, None)
        self._erased.append(erased)

    def _require_room(self, row_count: int) -> None:
        if row_count > len(self._rows):
            message = f"the state log has {row_count} rows, room is for {len(self._rows)}; give the worker more memory"
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
                f"were deleted; restore the topic from a copy, {_REBUILD}"
            )
            raise IncompatibleStateError(message, code="missing_state")
