"""Runs of records that were taken together, decoded, and used up event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.dead_letters import encode_dead_letter
from stream_app.adapters.codec.decoded import DecodedBatch, RefusedRecord
from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.log.port import Headers, LogRecord
from stream_app.domain.refusals import Refusal

_key, _value, _offset, _timestamp = map(attrgetter, ("key", "value", "offset", "timestamp"))
NO_WATERMARK_MS = -1
"""Stands for the latest event time before there was any event."""
DEAD_LETTER_TYPE = "stream_app.dead_letter.v1"
_UNKEYED = (
    "the record's key is not the customer id that it holds: key events by customer id (`stream-app rekey` copies a "
    "topic to a keyed one), or start with --trust-partitioning if all events of a customer are in one partition anyway"
)


@dataclass(frozen=True, slots=True)
class EventSource:
    """A partition of events.

    Parameters
    ----------
    topic, partition
        Its name.
    trusts_keys
        True: all events of a customer are in one partition, whatever their keys are.
    """

    topic: str
    partition: int
    trusts_keys: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record, ready to be written.

    Parameters
    ----------
    offset
        Where the refused record stands.
    code
        Why it was refused.
    value, headers
        What to write.
    """

    offset: int
    code: Refusal
    value: bytes
    headers: Headers


@dataclass(slots=True, eq=False)
class EventRun:
    """Events of some records of one partition, and how many of them are used up.

    Parameters
    ----------
    decoded
        The records, decoded; positions are offsets.
    watermarks
        Shape `(n,)`, int64: latest event time up to and with each event, and before this run.
    dead_letters
        In the order of offsets; those before the position of a commit go out with it.
    start, end
        Offsets: of the first record, and behind the last one.
    byte_count
        Of all values.
    used
        Events that were applied.
    """

    decoded: DecodedBatch
    watermarks: NDArray[np.int64]
    dead_letters: list[DeadLetter]
    start: int
    end: int
    byte_count: int
    used: int = field(default=0)

    @property
    def left(self) -> int:
        """Events that are not applied yet."""
        return len(self.watermarks) - self.used

    @property
    def position(self) -> int:
        """Offset of the next event; behind the last record when all are applied."""
        return int(self.decoded.batch.positions[self.used]) if self.left else self.end

    @property
    def next_watermark_ms(self) -> int | None:
        """Latest event time up to and with the next event; None when all are applied."""
        return int(self.watermarks[self.used]) if self.left else None

    def until(self, *, time_ms: int, offset: int | None, count_max: int) -> slice:
        """Give the next events that come before a tick of a time and before an offset; at least one."""
        end = int(np.searchsorted(self.watermarks, time_ms, side="left"))
        if offset is not None:
            end = min(end, int(np.searchsorted(self.decoded.batch.positions, offset, side="left")))
        return slice(self.used, max(self.used + 1, min(end, self.used + count_max)))


def read_run(
    records: Sequence[LogRecord], decoder: EventDecoder, watermark_ms: int, *, source: EventSource
) -> EventRun:
    """Decode records.

    Parameters
    ----------
    records
        At least one, in the order of offsets.
    decoder
        Of the policy in force.
    watermark_ms
        Latest event time before them.
    source
        Where they come from.

    Returns
    -------
    EventRun
    """
    values, byte_count = _values_of(records)
    offsets = np.fromiter(map(_offset, records), dtype=np.int64, count=len(records))
    appended_ms = np.fromiter(map(_timestamp, records), dtype=np.int64, count=len(records))
    decoded = decoder.decode_batch(values, appended_ms, offsets)
    if not source.trusts_keys:
        decoded = _refuse_unkeyed(decoded, records)
    watermarks = np.maximum.accumulate(np.maximum(decoded.batch.times_ms, watermark_ms))
    return EventRun(
        decoded=decoded,
        watermarks=watermarks,
        dead_letters=[_dead_letter(records[own.index], own, source) for own in decoded.refused],
        start=records[0].offset,
        end=records[-1].offset + 1,
        byte_count=byte_count,
    )


def _values_of(records: Sequence[LogRecord]) -> tuple[list[bytes], int]:
    """Give the values and how many bytes they have in all; a tombstone is empty."""
    values = list(map(_value, records))
    try:
        return values, sum(map(len, values))
    except TypeError:
        values = [value or b"" for value in values]
        return values, sum(map(len, values))


def _refuse_unkeyed(decoded: DecodedBatch, records: Sequence[LogRecord]) -> DecodedBatch:
    """Refuse events whose record has another key than their customer id: they may be in the wrong partition."""
    accepted = decoded.accepted_indices.tolist()
    keys = list(map(_key, records if len(accepted) == len(records) else [records[index] for index in accepted]))
    ids = decoded.batch.customer_ids.tolist()
    if keys == ids:
        return decoded
    is_keyed = np.fromiter((key == own for key, own in zip(keys, ids, strict=True)), dtype=np.bool_, count=len(ids))
    unkeyed = decoded.accepted_indices[~is_keyed].tolist()
    refused = [*decoded.refused, *(RefusedRecord(index, Refusal.UNKEYED, _UNKEYED) for index in unkeyed)]
    kept = np.flatnonzero(is_keyed)
    chosen = kept.tolist()
    return replace(
        decoded,
        batch=decoded.batch.select(kept),
        accepted_indices=decoded.accepted_indices[kept],
        order_ids=[decoded.order_ids[place] for place in chosen],
        types=[decoded.types[place] for place in chosen],
        refused=sorted(refused, key=lambda own: own.index),
    )


def _dead_letter(record: LogRecord, refused: RefusedRecord, source: EventSource) -> DeadLetter:
    place = {"topic": source.topic, "partition": source.partition, "offset": record.offset}
    value = encode_dead_letter(record.value or b"", code=refused.code, message=refused.message, source=place)
    headers = [("ce_type", DEAD_LETTER_TYPE.encode()), ("reason", refused.code.value.encode())]
    return DeadLetter(record.offset, refused.code, value, headers)
