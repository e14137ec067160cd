"""The expected amount of a customer's next basket: own mean and population mean, weighted by credibility.

How far a customer's own baskets are believed depends on how much log amounts vary within customers, against how much
customers differ. Both variances come from sums over customers that are integers, so that shards can add them up in any
order and agree to the bit.

References
----------
H. Buehlmann, A. Gisler (2005), A Course in Credibility Theory and its Applications, Springer, chapters 3 and 4.
S. Searle, G. Casella, C. McCulloch (1992), Variance Components, Wiley, section 3.6 (ANOVA estimators, unbalanced data).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FIXED_POINT = 2**20
"""Steps of a unit in the sums of log amounts."""
MONEY_FIXED_POINT = 2**32
"""Steps of a unit of the reporting currency in the sum of mean amounts."""
MEAN_AMOUNT_MAX = 1e15
"""Larger mean amounts count as this in the sum; a policy believes no such amount."""
PRIOR_VARIANCE = 0.5
"""Variance of log amounts within and between customers that is believed before anything is known."""
PRIOR_WEIGHT = 10.0
"""How many degrees of freedom that belief counts for."""
CREDIBILITY_CONSTANT_MIN = 0.02
"""Even customers who always spend the same are believed no faster than this."""
CREDIBILITY_CONSTANT_MAX = 50.0
"""Even where customers do not differ at all, fifty baskets count as much as the population."""


@dataclass(frozen=True, slots=True)
class AmountMoments:
    """Sums over customers that have bought, as integers; moments of disjoint populations add up.

    Parameters
    ----------
    buyer_count
        Customers with at least one basket.
    mean_amount_sum
        Of the customers' mean amounts, in units of 1 / `MONEY_FIXED_POINT`.
    customer_count
        Customers with at least one logged amount (positive baskets).
    log_count, log_count_square_sum
        Sum of n_i and of n_i^2, n_i the customer's number of logged amounts.
    log_sum, log_square_sum, log_group_sum
        Sum of log amounts, of their squares, and of (the customer's sum of logs)^2 / n_i, in units of
        1 / `FIXED_POINT`.
    """

    buyer_count: int = 0
    mean_amount_sum: int = 0
    customer_count: int = 0
    log_count: int = 0
    log_count_square_sum: int = 0
    log_sum: int = 0
    log_square_sum: int = 0
    log_group_sum: int = 0

    def __add__(self, other: AmountMoments) -> AmountMoments:
        """Add up the moments of two disjoint populations."""
        return AmountMoments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(AmountMoments)))


@dataclass(frozen=True, slots=True)
class SpendPopulation:
    """What is known of amounts in the population.

    Parameters
    ----------
    mean_amount
        Mean over customers of their mean amount, in the reporting currency; 0 while nobody has bought.
    within_variance, between_variance
        Of log amounts, within a customer and between customers; positive.
    """

    mean_amount: float = 0.0
    within_variance: float = PRIOR_VARIANCE
    between_variance: float = PRIOR_VARIANCE

    @property
    def credibility_constant(self) -> float:
        """How many baskets weigh as much as the population, k = within / between, kept within its bounds."""
        ratio = self.within_variance / self.between_variance
        return min(max(ratio, CREDIBILITY_CONSTANT_MIN), CREDIBILITY_CONSTANT_MAX)


@dataclass(frozen=True, slots=True, eq=False)
class CustomerAmounts:
    """Columns of what rows keep of amounts (`docs/semantics.md`, "Baskets"), each of shape `(n,)`.

    Parameters
    ----------
    gross_spend
        Sum of purchases, not below 0.
    basket_count
        Number of baskets, the first included.
    log_count, log_sum, log_square_sum
        Number, sum and square sum of log amounts of positive baskets.
    """

    gross_spend: FloatArray
    basket_count: FloatArray
    log_count: FloatArray
    log_sum: FloatArray
    log_square_sum: FloatArray


def amount_moments(customers: CustomerAmounts) -> AmountMoments:
    """Sum what the estimates need over some customers.

    Each customer's addend is rounded to fixed point by itself; the integers are then summed exactly.

    Parameters
    ----------
    customers
        Any block; customers without a basket do not count.

    Returns
    -------
    AmountMoments
        Of the block.
    """
    is_buyer = customers.basket_count > 0
    means = customers.gross_spend[is_buyer] / customers.basket_count[is_buyer]
    means = np.clip(means, 0.0, MEAN_AMOUNT_MAX)
    whole = np.floor(means)
    has_logs = customers.log_count > 0
    counts = customers.log_count[has_logs].astype(np.float64)
    sums = customers.log_sum[has_logs].astype(np.float64)
    return AmountMoments(
        buyer_count=int(is_buyer.sum()),
        mean_amount_sum=_integer_sum(whole) * MONEY_FIXED_POINT + _integer_sum((means - whole) * MONEY_FIXED_POINT),
        customer_count=int(has_logs.sum()),
        log_count=_integer_sum(counts),
        log_count_square_sum=_integer_sum(counts * counts),
        log_sum=_integer_sum(sums * FIXED_POINT),
        log_square_sum=_integer_sum(customers.log_square_sum[has_logs].astype(np.float64) * FIXED_POINT),
        log_group_sum=_integer_sum(sums * sums / counts * FIXED_POINT),
    )


def estimate_spend_population(moments: AmountMoments) -> SpendPopulation:
    """Estimate mean amount and variance components from the sums.

    With I customers, N = sum n_i, and per customer n_i logs of sum s_i and square sum q_i:
    SSW = sum q_i - sum s_i^2 / n_i has N - I degrees of freedom and expectation (N - I) within;
    SSB = sum s_i^2 / n_i - (sum s_i)^2 / N has I - 1 and (I - 1) within + (N - sum n_i^2 / N) between.
    Both estimates are averaged with `PRIOR_VARIANCE`, which counts for `PRIOR_WEIGHT` degrees of freedom: it alone
    speaks when nobody bought twice (within) or there is one customer (between), and keeps both positive when all
    amounts are equal or customers do not differ.

    Parameters
    ----------
    moments
        Of the whole population.

    Returns
    -------
    SpendPopulation
        Finite, with positive variances.

    References
    ----------
    Searle, Casella, McCulloch (1992), section 3.6, eq. 67 to 69.
    """
    if moments.buyer_count == 0:
        return SpendPopulation()
    mean_amount = moments.mean_amount_sum / (moments.buyer_count * MONEY_FIXED_POINT)
    if moments.log_count == 0:
        return SpendPopulation(mean_amount=mean_amount)
    within_freedom = moments.log_count - moments.customer_count
    within_square_sum = max(moments.log_square_sum - moments.log_group_sum, 0) / FIXED_POINT
    within = (within_square_sum + PRIOR_WEIGHT * PRIOR_VARIANCE) / (within_freedom + PRIOR_WEIGHT)
    # Integers until the last division: both sums are large, and their difference may be small.
    scaled = moments.log_group_sum * FIXED_POINT * moments.log_count - moments.log_sum * moments.log_sum
    between_square_sum = max(scaled, 0) / (FIXED_POINT * FIXED_POINT * moments.log_count)
    between_freedom = moments.customer_count - 1
    unit = (moments.log_count**2 - moments.log_count_square_sum) / moments.log_count
    found = max(between_square_sum - between_freedom * within, 0.0) / unit if unit > 0.0 else 0.0
    between = (found * between_freedom + PRIOR_WEIGHT * PRIOR_VARIANCE) / (between_freedom + PRIOR_WEIGHT)
    return SpendPopulation(mean_amount=mean_amount, within_variance=within, between_variance=between)


def expected_amount(population: SpendPopulation, gross_spend: FloatArray, basket_count: FloatArray) -> FloatArray:
    """Give the expected amount of each customer's next basket: (k * population mean + total) / (k + n).

    Parameters
    ----------
    population
        k and the population mean.
    gross_spend
        Shape `(n,)`, in the reporting currency, the first purchase included.
    basket_count
        Shape `(n,)`, number of baskets, the first included.

    Returns
    -------
    FloatArray
        Shape `(n,)`, in the reporting currency; the population mean for who has not bought.

    References
    ----------
    Buehlmann, Gisler (2005), theorem 4.2: credibility weight n / (n + k).

    Examples
    --------
    >>> population = SpendPopulation(mean_amount=40.0, within_variance=0.4, between_variance=0.4)
    >>> expected_amount(population, np.array([0.0, 10.0, 300.0]), np.array([0.0, 1.0, 3.0]))
    array([40., 25., 85.])
    """
    k = population.credibility_constant
    return (k * population.mean_amount + gross_spend) / (k + basket_count)


def _integer_sum(values: FloatArray) -> int:
    return int(np.rint(values).astype(np.int64).sum())
