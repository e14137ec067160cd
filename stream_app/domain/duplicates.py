"""Recognising events that were delivered twice, by the keys of each customer's last events (S7)."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.rows import RING_SIZE, RowBlock


def find_duplicates(known: RowBlock, customers: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark the events whose key is among the last eight keys that their customer's row has applied.

    Most batches have no key twice, and that is seen in columns; only customers with a suspicious key are looked at
    event by event.

    Parameters
    ----------
    known
        Shape `(u,)`: rows before the batch.
    customers
        Shape `(n,)`: index into `known` of each event, events in input order.
    keys
        Shape `(n,)`, not 0.

    Returns
    -------
    NDArray[np.bool_]
        Shape `(n,)`.
    """
    is_duplicate = np.zeros(len(keys), dtype=np.bool_)
    is_suspect = (known["event_keys"][customers] == keys[:, None]).any(axis=1)
    ordered = np.sort(keys)
    if (ordered[1:] == ordered[:-1]).any():
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        is_suspect |= np.isin(keys, repeated)
    if not is_suspect.any():
        return is_duplicate
    is_suspect_customer = np.zeros(len(known), dtype=np.bool_)
    is_suspect_customer[customers[is_suspect]] = True
    rings: dict[int, deque[int]] = {}
    for place in np.flatnonzero(is_suspect_customer[customers]).tolist():
        customer = int(customers[place])
        ring = rings.get(customer)
        if ring is None:
            ring = rings[customer] = _ring_of(known[customer])
        key = int(keys[place])
        if key in ring:
            is_duplicate[place] = True
        else:
            ring.append(key)
    return is_duplicate


def _ring_of(row: np.void) -> deque[int]:
    """Give a row's keys, oldest first."""
    start = int(row["ring_position"])
    keys = row["event_keys"].tolist()
    return deque(keys[start:] + keys[:start], maxlen=RING_SIZE)
