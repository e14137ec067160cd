"""When customers buy, for how much, and when they drop out: BG/NBD buying with log-normal amounts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.customers import Customers
from stream_app.simulation.settings import Population

_CENTS = 100
_AMOUNT_MIN_CENTS = 1


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """Purchases of a block, each of shape `(n,)`, by customer and within a customer by time.

    Parameters
    ----------
    rows
        int64: the customer's place in the block.
    days
        Season days since the start, below the length of the log.
    ordinals
        int64: which purchase of the customer, from 0.
    is_last
        bool: the customer drops out at this purchase.
    cents
        int64: amount in hundredths, at least 1.
    """

    rows: NDArray[np.int64]
    days: NDArray[np.float64]
    ordinals: NDArray[np.int64]
    is_last: NDArray[np.bool_]
    cents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def dropout_days(self, customer_count: int) -> NDArray[np.float64]:
        """Give the season day of each customer's drop-out, shape `(customer_count,)`, infinite if still there."""
        days = np.full(customer_count, np.inf)
        days[self.rows[self.is_last]] = self.days[self.is_last]
        return days


def draw_purchases(
    generator: np.random.Generator, customers: Customers, population: Population, length_days: float
) -> Purchases:
    """Draw all purchases of a block of customers in the log.

    After the first purchase, purchases are a Poisson process with the customer's rate; after each of these
    repeat purchases the customer drops out with his probability. As in the paper, nobody drops out at the first.

    References
    ----------
    Fader, Hardie, Lee: "Counting your customers" the easy way: an alternative to the Pareto/NBD model,
    Marketing Science 24 (2005), section 3.
    """
    span_days = np.maximum(length_days - customers.first_purchase_days, 0.0)
    repeats_undisturbed = generator.poisson(customers.purchase_rates * span_days)
    lifetimes = generator.geometric(np.where(customers.is_visitor, 1.0, customers.dropout_probabilities))
    rows = np.repeat(np.arange(len(customers)), repeats_undisturbed)
    # Uniform places in the span, sorted within each customer: the integer part keeps the customers apart.
    places = np.sort(rows + generator.random(len(rows))) - rows
    repeat_ordinals = _ordinals(repeats_undisturbed) + 1
    repeat_days = customers.first_purchase_days[rows] + np.maximum(places, 0.0) * span_days[rows]
    is_before_dropout = repeat_ordinals <= lifetimes[rows]

    buyers = np.flatnonzero(customers.first_purchase_days < length_days)
    all_rows = np.concatenate((buyers, rows[is_before_dropout]))
    all_days = np.concatenate((customers.first_purchase_days[buyers], repeat_days[is_before_dropout]))
    all_ordinals = np.concatenate((np.zeros(len(buyers), dtype=np.int64), repeat_ordinals[is_before_dropout]))
    order = np.lexsort((all_ordinals, all_rows))
    all_rows, all_days, all_ordinals = all_rows[order], all_days[order], all_ordinals[order]
    log_amounts = customers.spend_log_means[all_rows]
    log_amounts = log_amounts + population.spend_log_sd_within * generator.standard_normal(len(all_rows))
    cents = np.maximum(np.rint(np.exp(log_amounts) * _CENTS), _AMOUNT_MIN_CENTS).astype(np.int64)
    return Purchases(
        rows=all_rows,
        days=np.minimum(all_days, np.nextafter(length_days, 0.0)),
        ordinals=all_ordinals,
        is_last=(all_ordinals == lifetimes[all_rows]) & (all_ordinals > 0),
        cents=cents,
    )


def _ordinals(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count from 0 within each of the groups that follow each other: [2, 0, 3] gives [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
