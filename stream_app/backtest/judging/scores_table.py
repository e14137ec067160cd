"""A backtest's `scores.parquet`, read one cutoff at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NEEDED = ("cutoff", "customer_id", "purchase_count", "value_score")
_FIGURES = ("expected_spend", "expected_purchases", "buy_probability", "alive_probability", "horizon_days")
_TIER, _RANK_TIER, _SCORE = "_tier", "_rank_tier", "_score"
_MAKE_ONE = "give the scores.parquet that `stream-app backtest --score-every` wrote"


@dataclass(frozen=True, slots=True, eq=False)
class ScoredCustomers:
    """Everybody's scores at one cutoff.

    Parameters
    ----------
    customer_ids
        Length n, different from each other.
    purchase_counts
        Shape `(n,)`: purchases before the cutoff.
    numbers
        Column name to its values, shape `(n,)`, NaN where the file has null; a column that the file lacks is all NaN.
    tiers
        Column name to the names of tiers, length n, None where the file has null; only columns that the file has.
    """

    customer_ids: list[bytes]
    purchase_counts: IntArray
    numbers: dict[str, FloatArray]
    tiers: dict[str, list[str | None]]

    def horizon_days(self) -> int | None:
        """Give the horizon that the expected figures are for; None when the file does not say one."""
        days = np.unique(self.numbers["horizon_days"])
        return int(days[0]) if len(days) == 1 and np.isfinite(days[0]) else None


class ScoresTable:
    """A scores file whose columns have been checked.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SettingsError
        Code `invalid_scores`, when it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._names = tuple(pq.read_schema(path).names)
            missing = [name for name in _NEEDED if name not in self._names]
            if missing:
                raise _invalid(path, f"no scores file: it has no column {', '.join(missing)}")
            cutoffs = pq.read_table(path, columns=["cutoff"]).column("cutoff")
        except (OSError, pa.ArrowException) as error:
            raise _invalid(path, f"no scores file: {_reason(error)}") from error
        if not pa.types.is_timestamp(cutoffs.type):
            raise _invalid(path, f"no scores file: its column cutoff is {cutoffs.type}, not a time")
        if cutoffs.null_count:
            raise _invalid(path, f"{cutoffs.null_count} rows have no cutoff")
        self._cutoff_type = cutoffs.type
        found = pc.unique(cutoffs).cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
        self.cutoffs_ms: tuple[int, ...] = tuple(sorted(found.to_pylist()))
        if not self.cutoffs_ms:
            raise _invalid(path, "there is no cutoff in it: the log ended before the first one")
        if any(cutoff_ms % MS_PER_DAY for cutoff_ms in self.cutoffs_ms):
            raise _invalid(path, "a cutoff is not at 00:00 UTC")

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Axes that the file has a rank tier for."""
        return tuple(name.removesuffix(_RANK_TIER) for name in self._names if name.endswith(_RANK_TIER))

    def read(self, cutoff_ms: int) -> ScoredCustomers:
        """Read one cutoff.

        Raises
        ------
        SettingsError
            Code `invalid_scores`, when a column has the wrong type, a figure is impossible, or a customer stands there
            twice.
        """
        wanted = pa.scalar(cutoff_ms, pa.timestamp("ms", tz="UTC")).cast(self._cutoff_type)
        try:
            table = pq.read_table(self.path, filters=pc.field("cutoff") == wanted)
            ids = table.column("customer_id").cast(pa.string()).cast(pa.binary())
            counts = pc.fill_null(table.column("purchase_count").cast(pa.int64()), 0)
            numbers = {
                name: self._numbers(table, name)
                for name in (*_FIGURES, *(name for name in self._names if name.endswith(_SCORE)))
            }
            tiers = {name: table.column(name).cast(pa.string()).to_pylist() for name in self._names if _is_tier(name)}
        except (OSError, pa.ArrowException) as error:
            raise _invalid(self.path, _reason(error)) from error
        names: list[Any] = ids.to_pylist()
        if None in names:
            raise _invalid(self.path, "a row has no customer_id")
        if len(set(names)) != len(names):
            raise _invalid(self.path, "a customer stands twice at one cutoff")
        self._check(numbers)
        return ScoredCustomers(names, np.asarray(counts.to_numpy(), dtype=np.int64), numbers, tiers)

    def _check(self, numbers: dict[str, FloatArray]) -> None:
        for name, values in numbers.items():
            if np.isinf(values).any():
                raise _invalid(self.path, f"{name} is infinite in a row")
        probabilities = numbers["buy_probability"]
        if ((probabilities < 0.0) | (probabilities > 1.0)).any():
            raise _invalid(self.path, "buy_probability is not in [0, 1] in a row")

    def _numbers(self, table: pa.Table, name: str) -> FloatArray:
        if name not in self._names:
            return np.full(table.num_rows, np.nan)
        column = pc.fill_null(table.column(name).cast(pa.float64()), float("nan"))
        return np.asarray(column.to_numpy(), dtype=np.float64)


def _is_tier(name: str) -> bool:
    return name.endswith(_TIER)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _invalid(path: Path, what: str) -> SettingsError:
    return SettingsError(f"{path}: {what}; {_MAKE_ONE}", code="invalid_scores")
