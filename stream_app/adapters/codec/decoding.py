"""Records to events: flat ones and typed ones as columns, all others one at a time by the exact rules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.decoded import DecodedBatch, IgnoredReason, RefusedRecord
from stream_app.adapters.codec.event_columns import ColumnReader, EventColumns
from stream_app.adapters.codec.flat_events import FlatEvents, FlatReader
from stream_app.adapters.codec.single_event import (
    NATIVE,
    RECORD_BYTES_MAX,
    SEGMENT_CALL_TYPES,
    TRACK,
    SingleEvent,
    read_record,
)
from stream_app.adapters.codec.wire_event import wire_event_of
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import event_keys
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.policy import Policy
from stream_app.domain.refusals import Refusal

_LEFT_OUT_AFTER_NONE = 15
"""Batches that are not searched for flat records after one that had none: searching takes a tenth of reading them."""
_UNPLAIN = (msgspec.MsgspecError, ValueError, RecursionError)


class EventDecoder:
    """Decodes records of customer events: native ones and calls of the Segment tracking specification.

    Parameters
    ----------
    policy
        What event types mean, where amounts stand, and what is believed.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._wire_event = wire_event_of(policy)
        self._reader = None if self._wire_event is None else ColumnReader(policy, self._wire_event)
        self._flat_reader = FlatReader(policy)
        self._left_out = 0

    def decode_batch(
        self, records: Sequence[bytes], appended_ms: NDArray[np.int64] | int, positions: NDArray[np.int64]
    ) -> DecodedBatch:
        """Decode records; nothing that a record holds raises an error.

        Parameters
        ----------
        records
            Length n: one JSON object each; a record without value is `b""`.
        appended_ms
            Shape `(n,)` or one for all: when the records were appended, in milliseconds since 1970-01-01 UTC.
        positions
            Shape `(n,)`: where the records stand in their source.

        Returns
        -------
        DecodedBatch
            Every record is among the accepted, the ignored or the refused, and in one of them only.
        """
        columns = EventColumns(np.broadcast_to(np.asarray(appended_ms, dtype=np.int64), (len(records),)))
        flat = self._read_flat(records, columns)
        doubtful = columns.doubtful_indices()
        if flat is not None and not len(doubtful):
            return _assemble_flat(flat, columns, positions)
        if flat is not None:
            columns.put_texts(flat.indices, flat.texts)
        self._read_plain(records, doubtful, columns)
        refused = self._read_doubtful(records, columns)
        return _assemble(columns, positions, refused)

    def _read_flat(self, records: Sequence[bytes], columns: EventColumns) -> FlatEvents | None:
        """Read what is flat; a source that sends nothing of the kind is looked at only now and then."""
        if self._left_out:
            self._left_out -= 1
            return None
        flat = self._flat_reader.read(records, columns)
        self._left_out = _LEFT_OUT_AFTER_NONE if flat is None else 0
        return flat

    def _read_plain(self, records: Sequence[bytes], doubtful: NDArray[np.int64], columns: EventColumns) -> None:
        """Read what can be read as columns; what is left stays doubtful."""
        if self._wire_event is None or self._reader is None:
            return
        own = records if len(doubtful) == len(records) else [records[index] for index in doubtful.tolist()]
        structs, indices = _decode_structs(own, self._wire_event.decode)
        if not structs:
            return
        indices = doubtful[indices]
        kinds = [*map(self._wire_event.getters[("type",)], structs)]
        if SEGMENT_CALL_TYPES.isdisjoint(kinds):
            self._reader.read(structs, indices, NATIVE, columns)
            return
        is_call = self._reader.are_segment_calls(structs, kinds)
        is_track = [call and kind == "track" for call, kind in zip(is_call, kinds, strict=True)]
        calls, tracks = np.array(is_call, dtype=np.bool_), np.array(is_track, dtype=np.bool_)
        columns.ignore(indices[calls & ~tracks], IgnoredReason.UNMAPPED_TYPE)
        for shape, chosen in ((NATIVE, ~calls), (TRACK, tracks)):
            if chosen.any():
                self._reader.read([*compress(structs, chosen.tolist())], indices[chosen], shape, columns)

    def _read_doubtful(self, records: Sequence[bytes], columns: EventColumns) -> list[RefusedRecord]:
        refused: list[RefusedRecord] = []
        for index in columns.doubtful_indices().tolist():
            try:
                event = read_record(records[index], self._policy, int(columns.appended_ms[index]))
            except InvalidEventError as error:
                refused.append(RefusedRecord(index, Refusal(error.code), str(error)))
                continue
            if isinstance(event, SingleEvent):
                columns.put(index, event)
            else:
                columns.ignore(np.array([index]), event)
        return refused


def _decode_structs(records: Sequence[bytes], decode: Any) -> tuple[list[Any], NDArray[np.int64]]:
    """Decode the records that are plain; give their structs and which they are."""
    failed: set[int] = set()
    try:
        structs = [*map(decode, records)]
    except _UNPLAIN:
        structs = []
        for index, record in enumerate(records):
            try:
                structs.append(decode(record))
            except _UNPLAIN:
                structs.append(None)
                failed.add(index)
    # The decoder neither bounds a record nor looks at the encoding of fields that it skips.
    if max(map(len, records), default=0) > RECORD_BYTES_MAX or not all(map(bytes.isascii, records)):
        failed.update(index for index, record in enumerate(records) if not _is_admissible(record))
    if not failed:
        return structs, np.arange(len(records))
    indices = [index for index in range(len(records)) if index not in failed]
    return [structs[index] for index in indices], np.array(indices, dtype=np.int64)


def _is_admissible(record: bytes) -> bool:
    if len(record) > RECORD_BYTES_MAX:
        return False
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _assemble_flat(flat: FlatEvents, columns: EventColumns, positions: NDArray[np.int64]) -> DecodedBatch:
    batch = columns.batch(flat.indices, positions, (flat.customer_ids, flat.event_ids, flat.event_keys))
    return DecodedBatch(batch, flat.indices, flat.order_ids, flat.types, dict(columns.ignored_counts), [])


def _assemble(columns: EventColumns, positions: NDArray[np.int64], refused: list[RefusedRecord]) -> DecodedBatch:
    accepted = columns.accepted_indices()
    customer_ids, event_ids = columns.customer_ids, columns.event_ids
    types, order_ids = columns.types, columns.order_ids
    if len(accepted) < len(positions):
        chosen = accepted.tolist()
        customer_ids, event_ids = [customer_ids[i] for i in chosen], [event_ids[i] for i in chosen]
        types, order_ids = [types[i] for i in chosen], [order_ids[i] for i in chosen]
    ids = (pack_ids(customer_ids), event_ids, event_keys(pack_ids(event_ids)))
    batch = columns.batch(accepted, positions, ids)
    return DecodedBatch(batch, accepted, order_ids, types, dict(columns.ignored_counts), refused)
