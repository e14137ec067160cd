"""Purchases of a few customers, looked up in spooled events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from stream_app.domain.events import Family


def find_purchases(
    batches: Iterable[pa.RecordBatch], customer_ids: Sequence[str]
) -> dict[str, list[tuple[int, float]]]:
    """Give the purchases and refunds of some customers.

    Parameters
    ----------
    batches
        Events with the columns of the spool, in order of replay.
    customer_ids
        A few.

    Returns
    -------
    dict[str, list[tuple[int, float]]]
        For each customer time in milliseconds and amount, a refund's negative, in order of replay.
    """
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in customer_ids}
    wanted = pa.array(list(found), pa.string())
    money = pa.array([int(Family.PURCHASE), int(Family.REFUND)], pa.uint8())
    for batch in batches:
        is_wanted = pc.and_(
            pc.is_in(batch.column("customer_id"), value_set=wanted),
            pc.is_in(batch.column("family"), value_set=money),
        )
        chosen = batch.filter(is_wanted)
        names, times_ms, families, amounts = (
            chosen.column(name).to_pylist() for name in ("customer_id", "time_ms", "family", "amount")
        )
        for name, time_ms, family, amount in zip(names, times_ms, families, amounts, strict=True):
            found[name].append((time_ms, -amount if family == Family.REFUND else amount))
    return found
