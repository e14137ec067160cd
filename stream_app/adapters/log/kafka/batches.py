"""Records as columns into record batches that a broker takes with its default limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.kafka.clients import BATCH_BYTES_MAX
from stream_app.adapters.log.port import Outgoing


def build_batches(new_batch: Callable[[], Any], outgoing: Outgoing) -> list[Any]:
    """Pack the records of one partition into as few batches as they fit into.

    Parameters
    ----------
    new_batch
        Makes an empty batch of aiokafka's.
    outgoing
        The records.

    Returns
    -------
    list
        Closed batches in order; none where there are no records.

    Raises
    ------
    LogError
        When the columns differ in length, or a record is larger than a batch may be.
    """
    batches: list[Any] = []
    append: Callable[..., Any] = _refuse
    count = 0
    for value, key, headers, timestamp in zip(outgoing.values, *_columns(outgoing), strict=True):
        headers = headers if isinstance(headers, list) else list(headers)
        # A batch refuses what would make it too large, unless it is empty.
        if append(count, timestamp, key, value, headers) is None:
            _close(batches, count)
            batches.append(new_batch())
            # What is around the builder takes as long for each record as the builder does.
            append, count = batches[-1]._builder.append, 0
            append(count, timestamp, key, value, headers)
            _check_size(batches[-1].size(), outgoing)
        count += 1
    _close(batches, count)
    return batches


def _refuse(*_record: Any) -> None:
    """Stand in for the batch before the first one."""


def _close(batches: Sequence[Any], count: int) -> None:
    """Close the last batch, if there is one, and tell it how many records its builder was given."""
    if batches:
        batches[-1]._relative_offset = count
        batches[-1].close()


def _check_size(size: int, outgoing: Outgoing) -> None:
    # A broker refuses by the size after compression, which nobody can foresee; refuse by what is known.
    if size > BATCH_BYTES_MAX:
        place = f"{outgoing.topic}-{outgoing.partition}"
        message = f"a record for {place} has {size} bytes; at most {BATCH_BYTES_MAX} can be written"
        raise LogError(message)


def _columns(outgoing: Outgoing) -> list[Iterable[Any]]:
    """Give keys, headers and times of all records."""
    count = len(outgoing)
    columns: list[Iterable[Any]] = []
    for column, missing in ((outgoing.keys, None), (outgoing.headers, ()), (outgoing.timestamps_ms, None)):
        if column is not None and len(column) != count:
            message = (
                f"columns for {outgoing.topic}-{outgoing.partition} differ in length: "
                f"{count} values and {len(column)} keys, headers or times"
            )
            raise LogError(message)
        columns.append(repeat(missing, count) if column is None else column)
    return columns
