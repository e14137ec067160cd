"""Snapshots: customers as they were when their turn of the 28-day cycle came, for the learner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.identifiers import hash_ids
from stream_app.domain.rows import RowBlock

SAMPLE_ALL = 2**32
"""Limit that lets every customer into the sample."""
SKETCHED_PER_EXAMPLE = 4
"""Customers scored in a dry run for each one in the sample: 200,000 of a large shop, whose quantiles are known to a
tenth of a percent of the customers."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots:
    """Buyers at ticks, after their totals were kept and their scores renewed.

    Parameters
    ----------
    times_ms
        Shape `(n,)`, int64: the tick of each, in milliseconds since 1970-01-01 UTC.
    customer_ids
        Shape `(n,)`, dtype `S<width>`.
    rows
        Shape `(n,)`: copies.
    """

    times_ms: NDArray[np.int64]
    customer_ids: NDArray[np.bytes_]
    rows: RowBlock

    def __len__(self) -> int:
        return len(self.customer_ids)


def join_snapshots(parts: Sequence[Snapshots | None]) -> Snapshots | None:
    """Put several together, in order; None when there are none."""
    taken = [part for part in parts if part is not None and len(part)]
    if len(taken) <= 1:
        return taken[0] if taken else None
    times_ms, ids, rows = (
        np.concatenate([getattr(part, name) for part in taken]) for name in ("times_ms", "customer_ids", "rows")
    )
    return Snapshots(times_ms, ids, rows)


def dry_run_stride(sample_limit: int) -> int:
    """Tell of how many minutes of the 28-day cycle one has enough customers for a dry run.

    Parameters
    ----------
    sample_limit
        Of the knowledge in force: in [1, `SAMPLE_ALL`].

    Returns
    -------
    int
        1, everybody, up to four times the learner's budget of examples.
    """
    return max(SAMPLE_ALL // (SKETCHED_PER_EXAMPLE * sample_limit), 1)


def sample_numbers(ids: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Give each customer's number in [0, 2^32), evenly spread, by which samples are drawn (S15).

    The samples under falling limits are nested, so that who stays in keeps a history.
    """
    return hash_ids(ids) >> np.uint64(32)
