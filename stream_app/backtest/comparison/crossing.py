"""Customers under two policies: the matrix of their tiers, and those of them who are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_app.domain.policy import PROSPECT_NAME, UNRATED_NAME, AxisPolicy

ABSENT_NAME: Final = "not in the log"
"""State of a customer whose events one of the policies ignores."""
EXAMPLES_MAX: Final = 6
"""Customers shown for two policies."""
_CELLS: Final = """
    with joined as (
        select coalesce(one.customer_id, other.customer_id) as customer_id, one.tier as first_tier,
               other.tier as second_tier, coalesce(one.gross_spend, other.gross_spend) as gross_spend
        from one full outer join other on one.customer_id = other.customer_id
    )
    select first_tier, second_tier, count(*),
           first(customer_id order by gross_spend desc, encode(customer_id))
    from joined group by first_tier, second_tier
"""


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """How customers stand on one axis under two policies at the end of the log.

    Parameters
    ----------
    axis
        Its name, the same in both.
    first_tiers, second_tiers
        Tiers under the first and the second policy, from lowest to highest.
    counts
        Shape `(n_first + 3, n_second + 3)`, int64: customers by tier under the first (row) and the second policy
        (column); after the tiers come prospect, unrated and not in the log.
    """

    axis: str
    first_tiers: tuple[str, ...]
    second_tiers: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def is_ordered(self) -> bool:
        """Whether both policies have the same tiers, so that one can be higher than another."""
        return self.first_tiers == self.second_tiers

    @property
    def first_states(self) -> tuple[str, ...]:
        """Names of the rows."""
        return (*self.first_tiers, PROSPECT_NAME, UNRATED_NAME, ABSENT_NAME)

    @property
    def second_states(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (*self.second_tiers, PROSPECT_NAME, UNRATED_NAME, ABSENT_NAME)

    @property
    def tier_counts(self) -> NDArray[np.int64]:
        """Shape `(n_first, n_second)`: customers who have a tier under both."""
        return self.counts[: len(self.first_tiers), : len(self.second_tiers)]

    @property
    def rated_count(self) -> int:
        """Customers who have a tier under both."""
        return int(self.tier_counts.sum())

    @property
    def higher_count(self) -> int:
        """Customers with a higher tier under the second policy."""
        return int(np.triu(self.tier_counts, 1).sum())

    @property
    def lower_count(self) -> int:
        """Customers with a lower tier under the second policy."""
        return int(np.tril(self.tier_counts, -1).sum())

    @property
    def differing_count(self) -> int:
        """Customers who have a tier under both, but another one; tiers of one name are the same."""
        same = [
            int(self.tier_counts[self.first_tiers.index(name), self.second_tiers.index(name)])
            for name in self.first_tiers
            if name in self.second_tiers
        ]
        return self.rated_count - sum(same)

    @property
    def differing_share(self) -> float | None:
        """Those of all who have a tier under both, in [0, 1]; None while nobody has."""
        return self.differing_count / self.rated_count if self.rated_count else None


@dataclass(frozen=True, slots=True)
class DifferingCustomer:
    """Somebody who has another tier under the second policy.

    Parameters
    ----------
    customer_id
        As in the log.
    axis
        The axis looked at.
    first_tier, second_tier
        Under the two policies.
    customer_count
        Customers with the same two tiers.
    """

    customer_id: str
    axis: str
    first_tier: str
    second_tier: str
    customer_count: int


def cross(first: Path, second: Path, axes: tuple[AxisPolicy, AxisPolicy]) -> tuple[Crossing, list[DifferingCustomer]]:
    """Hold customers under two policies against each other on one axis.

    Parameters
    ----------
    first, second
        `segments.parquet` of the two runs.
    axes
        The axis in the first and in the second policy; of one name.

    Returns
    -------
    tuple[Crossing, list[DifferingCustomer]]
        All of them counted, and one for each pair of different tiers, most customers first: who spent most, of equals
        the smaller id.
    """
    name = axes[0].name
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        for table, path in (("one", first), ("other", second)):
            columns = _read(path, ["customer_id", f"{name}_tier", "gross_spend"])
            connection.register(table, columns.rename_columns(["customer_id", "tier", "gross_spend"]))
        cells = connection.execute(_CELLS).fetchall()
    crossing = Crossing(name, axes[0].tiers, axes[1].tiers, _no_counts(axes))
    found = []
    for first_tier, second_tier, number, customer_id in cells:
        row = crossing.first_states.index(ABSENT_NAME if first_tier is None else first_tier)
        column = crossing.second_states.index(ABSENT_NAME if second_tier is None else second_tier)
        crossing.counts[row, column] = number
        is_rated = row < len(axes[0].tiers) and column < len(axes[1].tiers)
        if is_rated and first_tier != second_tier:
            found.append(DifferingCustomer(customer_id, name, first_tier, second_tier, number))
    found.sort(key=lambda each: (-each.customer_count, each.first_tier, each.second_tier))
    return crossing, found


def choose_examples(by_axis: Sequence[Sequence[DifferingCustomer]]) -> list[DifferingCustomer]:
    """Choose at most `EXAMPLES_MAX` customers, the axes in turn, nobody twice."""
    chosen: dict[str, DifferingCustomer] = {}
    for place in range(max(map(len, by_axis), default=0)):
        for found in by_axis:
            if place < len(found) and len(chosen) < EXAMPLES_MAX:
                chosen.setdefault(found[place].customer_id, found[place])
    return list(chosen.values())


def read_customers(path: Path, customer_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read a few customers out of a `segments.parquet`.

    Parameters
    ----------
    path
        The file.
    customer_ids
        Whom to read.

    Returns
    -------
    dict[str, dict[str, Any]]
        Customer id to the columns of the row; whoever is not in the file is missing.
    """
    found = {}
    wanted = pa.array(list(customer_ids), type=pa.string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            is_wanted = pc.is_in(batch.column("customer_id"), value_set=wanted)
            for row in batch.filter(is_wanted).to_pylist():
                found[row["customer_id"]] = row
    return found


def _read(path: Path, columns: list[str]) -> pa.Table:
    # A file is read as it is: no pattern, and no columns made from the names of the folders it is in.
    with pq.ParquetFile(path) as file:
        return file.read(columns=columns)


def _no_counts(axes: tuple[AxisPolicy, AxisPolicy]) -> NDArray[np.int64]:
    return np.zeros((len(axes[0].tiers) + 3, len(axes[1].tiers) + 3), dtype=np.int64)
