"""The truth about simulated customers: their parameters, and what they can be expected to spend."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app import __version__
from stream_app.domain.events import MS_PER_DAY
from stream_app.simulation.behaviour import Block
from stream_app.simulation.columns import TIME_TYPE, customer_ids
from stream_app.simulation.season import HOUR_WEIGHTS, WEEKDAY_WEIGHTS, YEAR_KNOTS, Season
from stream_app.simulation.settings import ShopSettings

METADATA_KEY = b"stream_app.shop"
"""Key of a truth file's metadata that holds `shop_parameters` as JSON."""

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("is_visitor", pa.bool_(), nullable=False),
        pa.field("arrived_at", TIME_TYPE, nullable=False),
        pa.field("first_purchase_at", TIME_TYPE),
        pa.field("alive_until", TIME_TYPE),
        pa.field("purchase_rate_per_day", pa.float64(), nullable=False),
        pa.field("dropout_probability", pa.float64()),
        pa.field("spend_log_mean", pa.float64()),
        pa.field("spend_log_sd", pa.float64()),
        pa.field("visit_rate_per_day", pa.float64(), nullable=False),
        pa.field("satisfaction_mean", pa.float64(), nullable=False),
        pa.field("purchase_count", pa.int64(), nullable=False),
        pa.field("gross_spend", pa.float64(), nullable=False),
    ]
)
"""One row for each customer, by number. Rates are per season day (see `season`); `first_purchase_at` is null
if it is not in the log; `alive_until` is the purchase at which the customer dropped out, null if he has not done so in
the log; ratings scatter around `satisfaction_mean`, on a scale from 1 to 5; count and spend are those of the log.
Visitors never buy: their purchase rate is 0, their drop-out and spend parameters are null."""

_CENTS = 100.0


def truth_columns(block: Block) -> pa.RecordBatch:
    """Give what is true of a block of customers, with the columns of `TRUTH_SCHEMA`."""
    customers, purchases, season = block.customers, block.purchases, block.season
    count = len(customers)
    dropout_days = purchases.dropout_days(count)
    purchase_counts = np.bincount(purchases.rows, minlength=count)
    gross_cents = np.bincount(purchases.rows, weights=purchases.cents, minlength=count)
    never = customers.is_visitor
    columns = [
        customer_ids(customers.numbers),
        pa.array(customers.is_visitor),
        pa.array(season.times_ms_at(customers.arrived_days)).cast(TIME_TYPE),
        pa.array(season.times_ms_at(customers.first_purchase_days), mask=purchase_counts == 0).cast(TIME_TYPE),
        pa.array(season.times_ms_at(dropout_days), mask=np.isinf(dropout_days)).cast(TIME_TYPE),
        pa.array(customers.purchase_rates),
        pa.array(customers.dropout_probabilities, mask=never),
        pa.array(customers.spend_log_means, mask=never),
        pa.array(np.full(count, block.population.spend_log_sd_within), mask=never),
        pa.array(customers.visit_rates),
        pa.array(customers.satisfaction_means),
        pa.array(purchase_counts),
        pa.array(gross_cents / _CENTS),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TRUTH_SCHEMA)


def shop_parameters(settings: ShopSettings) -> dict[str, Any]:
    """Give all that a shop was made from, ready for JSON: size, population, season and version."""
    population = settings.population
    return {
        "version": __version__,
        "customers": settings.customers,
        "days": settings.days,
        "seed": settings.seed,
        "start": settings.start.isoformat(),
        "currency": settings.currency,
        "bg_nbd": {
            "r": population.purchase_rate_shape,
            "alpha": population.purchase_rate_scale_days,
            "a": population.dropout_first,
            "b": population.dropout_second,
            "time_unit": "season day",
        },
        "spend": {
            "log_mean": population.spend_log_mean,
            "log_sd_between": population.spend_log_sd_between,
            "log_sd_within": population.spend_log_sd_within,
        },
        "launch_share": population.launch_share,
        "visitor_share": population.visitor_share,
        "refund_probability": population.refund_probability,
        "activity": population.activity,
        "season": {
            "has_season": settings.has_season,
            "hour_weights": HOUR_WEIGHTS,
            "weekday_weights": WEEKDAY_WEIGHTS,
            "year_knots": YEAR_KNOTS,
        },
    }


def truth_schema(settings: ShopSettings) -> pa.Schema:
    """Give `TRUTH_SCHEMA` with the shop's parameters as metadata."""
    parameters = json.dumps(shop_parameters(settings), sort_keys=True)
    return TRUTH_SCHEMA.with_metadata({METADATA_KEY: parameters.encode()})


def expected_spend(truth: pa.Table, *, at_ms: int, horizon_days: int) -> NDArray[np.float64]:
    """Give what each customer can be expected to spend from a time on, gross, by his true parameters.

    A customer who is still there at a time t buys on average `(1 - exp(-rate p D)) / p` times in `[t, t + H)`, with
    `p` his drop-out probability and `D` the season days in the window, for `exp(mean + sd^2 / 2)` each.

    Parameters
    ----------
    truth
        A truth file in Parquet, as it was read: columns of `TRUTH_SCHEMA` and the metadata.
    at_ms
        Milliseconds since 1970-01-01 UTC, at most the end of the log.
    horizon_days
        Calendar days, 1 or more.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n_customers,)`, in the shop's currency: 0 for visitors and after drop-out, NaN for those whose first
        purchase is still to come.
    """
    parameters = json.loads(truth.schema.metadata[METADATA_KEY])
    midnight_ms = at_ms // MS_PER_DAY * MS_PER_DAY
    season = Season.spanning(midnight_ms, horizon_days + 1, has_season=parameters["season"]["has_season"])
    edges = season.season_days_at(np.array([at_ms, at_ms + horizon_days * MS_PER_DAY]))
    window_days = float(edges[1] - edges[0])
    rates = _numbers(truth, "purchase_rate_per_day")
    probabilities = _numbers(truth, "dropout_probability")
    purchases = -np.expm1(-rates * probabilities * window_days) / probabilities
    amounts = np.exp(_numbers(truth, "spend_log_mean") + _numbers(truth, "spend_log_sd") ** 2 / 2)
    has_bought = _times_ms(truth, "first_purchase_at", np.iinfo(np.int64).max) <= at_ms
    is_gone = _times_ms(truth, "alive_until", np.iinfo(np.int64).max) <= at_ms
    spend = np.where(has_bought, purchases * amounts, np.nan)
    is_visitor = truth["is_visitor"].to_numpy()
    return np.where(is_gone | is_visitor, 0.0, spend)


def _numbers(truth: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(truth[name].to_numpy(), dtype=np.float64)


def _times_ms(truth: pa.Table, name: str, missing: int) -> NDArray[np.int64]:
    return np.asarray(truth[name].cast(pa.int64()).fill_null(missing).to_numpy(), dtype=np.int64)
