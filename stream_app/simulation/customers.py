"""Who the customers of a shop are: their true parameters, drawn block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.settings import ShopSettings

CUSTOMERS_PER_BLOCK = 4096
"""Customers that share one random stream. Another number gives another shop, so it never changes."""

_DROPOUT_PROBABILITY_MIN = 1e-9
"""A Beta distribution with a small first shape can round to 0, and nobody stays for ever."""
_LAUNCH_LAG_MEAN_DAYS = 30.0
"""Mean season days from the first day to the first purchase in the log, for those who were there at the start."""
_ARRIVAL_LAG_MEAN_DAYS = 3.0
"""Mean season days from first contact to first purchase for those who arrive later."""
_SATISFACTION_MEAN = 4.1
_SATISFACTION_SD = 0.5
_VISITS_PER_DAY = 0.04
"""Visits without a purchase, per season day, of a customer who buys at the mean rate."""
_VISITS_LOG_SD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Customers:
    """True parameters of a block of customers, each of shape `(n,)`; days are season days since the start.

    Parameters
    ----------
    numbers
        int64, from 0: what the customer's id says.
    is_visitor
        bool: never buys.
    arrived_days
        First contact.
    first_purchase_days
        First purchase, infinite for visitors.
    purchase_rates
        Repeat purchases per season day, 0 for visitors.
    dropout_probabilities
        After each repeat purchase, in (0, 1]; NaN for visitors.
    spend_log_means
        Mean of the log amount; NaN for visitors.
    visit_rates
        Visits without a purchase per season day.
    satisfaction_means
        Mean rating before it is rounded and limited to 1 to 5.
    """

    numbers: NDArray[np.int64]
    is_visitor: NDArray[np.bool_]
    arrived_days: NDArray[np.float64]
    first_purchase_days: NDArray[np.float64]
    purchase_rates: NDArray[np.float64]
    dropout_probabilities: NDArray[np.float64]
    spend_log_means: NDArray[np.float64]
    visit_rates: NDArray[np.float64]
    satisfaction_means: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.numbers)


def block_count(settings: ShopSettings) -> int:
    """Give the number of blocks of a shop."""
    return -(-settings.customers // CUSTOMERS_PER_BLOCK)


def block_generator(settings: ShopSettings, block: int) -> np.random.Generator:
    """Make the random stream of one block, independent of all others and of the order in which blocks are drawn."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(settings.seed, spawn_key=(block,))))


def draw_customers(generator: np.random.Generator, settings: ShopSettings, block: int, length_days: float) -> Customers:
    """Draw the customers of one block.

    The time of a first purchase does not depend on the other parameters, so that those who have bought are
    distributed as the population says.

    Parameters
    ----------
    generator
        The block's random stream.
    block
        From 0.
    length_days
        Season days in the log.
    """
    population = settings.population
    numbers = np.arange(
        block * CUSTOMERS_PER_BLOCK, min((block + 1) * CUSTOMERS_PER_BLOCK, settings.customers), dtype=np.int64
    )
    count = len(numbers)
    is_visitor = generator.random(count) < population.visitor_share
    is_there_at_launch = generator.random(count) < population.launch_share
    arrival_span_days = np.where(is_there_at_launch, min(1.0, length_days), length_days)
    arrived_days = generator.random(count) * arrival_span_days
    lag_means = np.where(is_there_at_launch, _LAUNCH_LAG_MEAN_DAYS, _ARRIVAL_LAG_MEAN_DAYS)
    first_purchase_days = arrived_days + generator.standard_exponential(count) * lag_means
    rates_in_means = generator.standard_gamma(population.purchase_rate_shape, count) / population.purchase_rate_shape
    purchase_rates = rates_in_means * (population.purchase_rate_shape / population.purchase_rate_scale_days)
    dropout_probabilities = np.maximum(
        generator.beta(population.dropout_first, population.dropout_second, count), _DROPOUT_PROBABILITY_MIN
    )
    spend_log_means = population.spend_log_mean + population.spend_log_sd_between * generator.standard_normal(count)
    visit_factors = np.sqrt(rates_in_means) * np.exp(_VISITS_LOG_SD * generator.standard_normal(count))
    satisfaction_means = _SATISFACTION_MEAN + _SATISFACTION_SD * generator.standard_normal(count)
    return Customers(
        numbers=numbers,
        is_visitor=is_visitor,
        arrived_days=arrived_days,
        first_purchase_days=np.where(is_visitor, np.inf, first_purchase_days),
        purchase_rates=np.where(is_visitor, 0.0, purchase_rates),
        dropout_probabilities=np.where(is_visitor, np.nan, dropout_probabilities),
        spend_log_means=np.where(is_visitor, np.nan, spend_log_means),
        visit_rates=visit_factors * (_VISITS_PER_DAY * population.activity),
        satisfaction_means=satisfaction_means,
    )
