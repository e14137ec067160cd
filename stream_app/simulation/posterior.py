"""What could be known of simulated customers: the truth, and what their history tells whoever knows the shop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.purchase_model import PurchaseParameters, expected_purchases
from stream_app.simulation.season import Season
from stream_app.simulation.truth import METADATA_KEY, TRUTH_SCHEMA, expected_spend

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PurchaseHistory:
    """All purchases of a log, columns of shape `(n_purchases,)`.

    Parameters
    ----------
    customer_ids
        Dtype `S<width>`.
    times_ms
        Milliseconds since 1970-01-01 UTC.
    amounts
        Positive.
    """

    customer_ids: NDArray[np.bytes_]
    times_ms: NDArray[np.int64]
    amounts: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class KnownCustomers:
    """Who had bought before a moment, columns of shape `(n,)` by rising customer id.

    Parameters
    ----------
    customer_ids
        Dtype `S<width>`.
    true_spend
        What each can be expected to spend over the horizon, by the customer's own parameters.
    best_spend
        The same by the shop's parameters and the customer's history: no better can be done without seeing the truth.
    is_alive
        Whether the customer has not dropped out.
    """

    customer_ids: NDArray[np.bytes_]
    true_spend: FloatArray
    best_spend: FloatArray
    is_alive: NDArray[np.bool_]


class SimulatedShop:
    """The truth about a shop, beside its purchases.

    Parameters
    ----------
    path
        A truth file of `stream-app simulate`, in Parquet.
    history
        Purchases of the shop's log.

    Raises
    ------
    SettingsError
        Code `invalid_truth`, when it is no such file, or the log knows customers that it does not.
    """

    def __init__(self, path: Path, history: PurchaseHistory) -> None:
        try:
            self._truth = pq.read_table(path)
            self._parameters = json.loads(self._truth.schema.metadata[METADATA_KEY])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            message = f"--truth: {path} is no truth file ({error}); write one with simulate --truth truth.parquet"
            raise SettingsError(message, code="invalid_truth") from error
        missing = [name for name in TRUTH_SCHEMA.names if name not in self._truth.schema.names]
        if missing:
            message = f"--truth: {path} has no column {', '.join(missing)}; write one with simulate --truth"
            raise SettingsError(message, code="invalid_truth")
        ids = np.array(self._truth["customer_id"].to_pylist(), dtype=np.bytes_)
        self._order = np.argsort(ids)
        self._ids = ids[self._order]
        places = np.minimum(np.searchsorted(self._ids, history.customer_ids), len(ids) - 1)
        if len(places) and not np.array_equal(self._ids[places], history.customer_ids):
            message = f"--truth: {path} does not know all customers of the log; give the truth of the same shop"
            raise SettingsError(message, code="invalid_truth")
        self._places, self._history = places, history

    def at(self, at_ms: int, horizon_days: int) -> KnownCustomers:
        """Tell of those who had bought before a moment what can be expected over a horizon from it on.

        Parameters
        ----------
        at_ms
            00:00 UTC, in milliseconds since 1970-01-01.
        horizon_days
            1 or more.

        Returns
        -------
        KnownCustomers
            Purchases of a customer count one by one, as they were drawn, in season days: a Gamma and a Beta
            distribution over rates and drop-outs give the expected number (eq. 10 of the paper). The mean of log
            amounts has a normal prior and a normal likelihood.

        References
        ----------
        P. Fader, B. Hardie, K. L. Lee (2005), Marketing Science 24(2), 275-284, eq. 10.
        A. Gelman et al. (2013), Bayesian Data Analysis, 3rd edition, section 2.5 (normal mean, known variance).
        """
        history, count = self._history, len(self._ids)
        is_past = history.times_ms < at_ms
        places, times_ms = self._places[is_past], history.times_ms[is_past]
        purchases = np.bincount(places, minlength=count)
        known = np.flatnonzero(purchases)
        first, last = np.full(count, at_ms), np.full(count, -1)
        np.minimum.at(first, places, times_ms)
        np.maximum.at(last, places, times_ms)
        start_ms = int(first.min()) // MS_PER_DAY * MS_PER_DAY
        days = (at_ms - start_ms) // MS_PER_DAY + horizon_days + 1
        season = Season.spanning(start_ms, days, has_season=self._parameters["season"]["has_season"])
        edges = season.season_days_at(np.array([at_ms, at_ms + horizon_days * MS_PER_DAY]))
        first_day, last_day = (season.season_days_at(times[known]) for times in (first, last))
        model = self._parameters["bg_nbd"]
        counts = expected_purchases(
            PurchaseParameters(model["r"], model["alpha"], model["a"], model["b"]),
            (purchases[known] - 1).astype(np.float64),
            last_day - first_day,
            edges[0] - first_day,
            float(edges[1] - edges[0]),
        )
        log_sums = np.bincount(places, np.log(history.amounts[is_past]), minlength=count)
        logs = np.asarray(log_sums[known], dtype=np.float64)
        gone_ms = self._truth["alive_until"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()[self._order]
        return KnownCustomers(
            customer_ids=self._ids[known],
            true_spend=expected_spend(self._truth, at_ms=at_ms, horizon_days=horizon_days)[self._order][known],
            best_spend=counts * self._expected_amount(purchases[known].astype(np.float64), logs),
            is_alive=gone_ms[known] >= at_ms,
        )

    def _expected_amount(self, counts: FloatArray, log_sums: FloatArray) -> FloatArray:
        spend = self._parameters["spend"]
        between, within = max(spend["log_sd_between"], 1e-9) ** 2, max(spend["log_sd_within"], 1e-9) ** 2
        variance = 1.0 / (1.0 / between + counts / within)
        mean = variance * (spend["log_mean"] / between + log_sums / within)
        result: FloatArray = np.exp(mean + (variance + within) / 2.0)
        return result
