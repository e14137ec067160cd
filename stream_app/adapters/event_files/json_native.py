"""Lines of native events and Segment calls, by the codec's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.codec import DecodedBatch, EventDecoder
from stream_app.adapters.codec.single_event import NATIVE, TRACK, is_segment_call
from stream_app.adapters.event_files.normalising import Normaliser, Verdicts
from stream_app.adapters.event_files.options import FileIgnoredReason
from stream_app.adapters.event_files.records import RecordBlock
from stream_app.adapters.event_files.rows import AcceptedRows, ReadChunk, RefusedRow
from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import Family
from stream_app.domain.refusals import Refusal

_MENDABLE = (Refusal.MISSING_FIELD, Refusal.INVALID_TIME)
_MENDED_SHARE_MIN = 0.1
"""From this share of mended lines on, the next lines are mended before they are decoded, not after."""


class NativeJsonReader:
    """Reads lines through the codec.

    What a topic must have and a file may lack is filled in before: an id of file and row, and the zone of times.

    Parameters
    ----------
    name
        Of the file, for ids.
    sample
        First objects of the file.
    normaliser
        Policy and options.
    """

    def __init__(self, name: str, sample: list[dict[str, Any]], normaliser: Normaliser) -> None:
        self._name = name
        self._normaliser = normaliser
        self._decoder = EventDecoder(normaliser.policy)
        self._mends_first = False
        normaliser.has_types = normaliser.has_types or any("type" in document for document in sample)

    def chunk(self, records: RecordBlock, first_row: int) -> ReadChunk:
        """Decode the lines of a block."""
        bad = {record.index: record for record in records.bad}
        lines = [
            records.data[start:end] for start, end in zip(records.starts.tolist(), records.ends.tolist(), strict=True)
        ]
        indices = np.array([i for i, line in enumerate(lines) if i not in bad and line.strip()], dtype=np.int64)
        blank_count = len(lines) - len(bad) - len(indices)
        decoded, is_nameless = self._decode([lines[i] for i in indices.tolist()], first_row + indices)
        verdicts = Verdicts(len(decoded.batch))
        self._normaliser.bound(decoded.batch.times_ms, verdicts)
        refused = list(bad.values())
        for fault in decoded.refused:
            index = int(indices[fault.index])
            refused.append(RefusedRow(index, fault.code, fault.message, records.raw_of(index)))
        refused.sort(key=lambda row: row.index)
        ignored = dict(decoded.ignored_counts) | dict(verdicts.ignored)
        if blank_count:
            ignored[FileIgnoredReason.BLANK_LINE] = blank_count
        return ReadChunk(
            first_row=first_row,
            row_count=len(records),
            accepted=self._accepted(decoded, indices, is_nameless, np.flatnonzero(verdicts.is_open)),
            refused=refused,
            ignored=ignored,
        )

    def finish(self) -> None:
        """Nothing is left to check at the end of the file."""

    def _decode(self, lines: list[bytes], row_numbers: NDArray[np.int64]) -> tuple[DecodedBatch, NDArray[np.bool_]]:
        """Decode lines; also tell for which of them the id was made up, shape `(n_lines,)`."""
        started_ms = self._normaliser.options.run_started_ms
        is_nameless = np.zeros(len(lines), dtype=np.bool_)
        chosen: list[int] = list(range(len(lines))) if self._mends_first else []
        mended_count = self._mend(lines, row_numbers, chosen, is_nameless)
        decoded = self._decoder.decode_batch(lines, started_ms, row_numbers)
        chosen = [] if self._mends_first else [fault.index for fault in decoded.refused if fault.code in _MENDABLE]
        if chosen:
            mended_count = self._mend(lines, row_numbers, chosen, is_nameless)
            if mended_count:
                decoded = self._decoder.decode_batch(lines, started_ms, row_numbers)
        self._mends_first = mended_count > _MENDED_SHARE_MIN * len(lines)
        return decoded, is_nameless

    def _mend(
        self, lines: list[bytes], row_numbers: NDArray[np.int64], chosen: list[int], is_nameless: NDArray[np.bool_]
    ) -> int:
        """Fill in what lines lack, in place; give how many were changed."""
        mended_count = 0
        for index in chosen:
            try:
                document = orjson.loads(lines[index])
            except orjson.JSONDecodeError:
                continue
            if isinstance(document, dict):
                changed = self._filled_in(document, int(row_numbers[index]), is_nameless, index)
                if changed:
                    lines[index] = orjson.dumps(document)
                    mended_count += 1
        return mended_count

    def _filled_in(self, document: dict[str, Any], row_number: int, is_nameless: NDArray[np.bool_], index: int) -> bool:
        shape = TRACK if is_segment_call(document) else NATIVE
        is_changed = False
        if document.get(shape.event_id) in (None, ""):
            document[shape.event_id] = f"{self._name}:{row_number}"[-256:].encode()[-256:].decode("utf-8", "ignore")
            is_nameless[index] = is_changed = True
        time = document.get(shape.time)
        if isinstance(time, str):
            try:
                parse_time_ms(time)
            except InvalidEventError:
                try:
                    time_ms = parse_time_ms(time, self._normaliser.timezone)
                except InvalidEventError:
                    return is_changed
                document[shape.time] = str(np.datetime64(time_ms, "ms")) + "Z"
                is_changed = True
        return is_changed

    def _accepted(
        self,
        decoded: DecodedBatch,
        indices: NDArray[np.int64],
        is_nameless: NDArray[np.bool_],
        kept: NDArray[np.int64],
    ) -> AcceptedRows:
        batch = decoded.batch
        rules = self._normaliser.policy.event_rules
        stated = np.array([rules[name].family for name in decoded.types], dtype=np.uint8)
        is_reversed = (stated == Family.PURCHASE) & (batch.families == Family.REFUND)
        nameless = is_nameless[decoded.accepted_indices]
        event_ids = pa.array(list(batch.event_ids), pa.string(), mask=nameless)
        order_ids = pa.array(decoded.order_ids, pa.string())
        codes = np.array([self._normaliser.type_code(name) for name in decoded.types], dtype=np.int32)
        chosen = pa.array(kept)
        return AcceptedRows(
            indices=indices[decoded.accepted_indices][kept],
            customer_ids=pa.array(batch.customer_ids.tolist(), pa.binary()).cast(pa.string()).take(chosen),
            event_ids=event_ids.take(chosen),
            times_ms=batch.times_ms[kept],
            families=stated[kept],
            amounts=np.where(is_reversed, -batch.amounts, batch.amounts)[kept],
            satisfactions=batch.satisfactions[kept],
            order_ids=None if order_ids.null_count == len(order_ids) else order_ids.take(chosen),
            type_codes=codes[kept],
        )
