"""Records as columns into record batches that a broker takes with its default limits."""

from __future__ import annotations

from collections.abc import Callable
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
    keys, headers, times = _columns(outgoing)
    batches = []
    batch = None
    for row, value in enumerate(outgoing.values):
        record = {
            "timestamp": None if times is None else times[row],
            "key": None if keys is None else keys[row],
            "value": value,
            "headers": [] if headers is None else list(headers[row]),
        }
        # A batch refuses what would make it too large, unless it is empty.
        if batch is None or batch.append(**record) is None:
            batch = new_batch()
            batches.append(batch)
            batch.append(**record)
            _check_size(batch.size(), outgoing)
    for batch in batches:
        batch.close()
    return batches


def _check_size(size: int, outgoing: Outgoing) -> None:
    # A broker refuses by the size after compression, which nobody can foresee; refuse by what is known.
    if size > BATCH_BYTES_MAX:
        place = f"{outgoing.topic}-{outgoing.partition}"
        message = f"a record for {place} has {size} bytes; at most {BATCH_BYTES_MAX} can be written"
        raise LogError(message)


def _columns(outgoing: Outgoing) -> tuple[Any, Any, Any]:
    columns = (outgoing.keys, outgoing.headers, outgoing.timestamps_ms)
    for column in columns:
        if column is not None and len(column) != len(outgoing):
            message = (
                f"columns for {outgoing.topic}-{outgoing.partition} differ in length: "
                f"{len(outgoing)} values and {len(column)} keys, headers or times"
            )
            raise LogError(message)
    return columns
