"""What decides a simulated shop: its size, its time, and the population its customers are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY, TIME_MAX_MS

DAYS_PER_YEAR = 365.0
CUSTOMERS_MAX = 99_999_999
"""Customer ids have eight digits."""
SEED_MAX = 2**63 - 1
START_DEFAULT = date(2024, 1, 1)
EVENTS_PER_CUSTOMER_MAX = 2000
"""Most events of a customer who stays: a block of customers is drawn at once, and this bounds its memory to 1 GB."""

_EVENTS_PER_PURCHASE = 4.5
_EVENTS_PER_DAY = 0.1
"""Roughly how many other events come with each purchase and on each day, at an activity of 1."""
_EPOCH = date(1970, 1, 1)
_CURRENCY_LETTERS = 3


@dataclass(frozen=True, slots=True)
class Population:
    """Distributions from which each customer's parameters are drawn; days are season days (`season.Season`).

    Parameters
    ----------
    purchases_per_year
        Mean repeat purchases in 365 days of a customer who has not dropped out, in (0, 1000].
    purchase_rate_shape
        Shape of the Gamma distribution of purchase rates, in [0.05, 100]; small: few customers buy most.
    dropout_first, dropout_second
        The two shapes of the Beta distribution of the drop-out probability after a repeat purchase, in [0.01, 1000].
    spend_mean
        Mean amount of a purchase in the shop's currency, in [1, 1e5].
    spend_log_sd_between
        Standard deviation of the customers' mean log amounts, in [0, 1.2].
    spend_log_sd_within
        Standard deviation of the log amounts of one customer, in [0, 1.2].
    launch_share
        Share of customers who are there on the first day; the others arrive evenly in season time. In [0, 1].
    visitor_share
        Share of customers who only look and never buy, in [0, 1].
    refund_probability
        Probability that a purchase is followed by a refund, in [0, 1].
    activity
        Factor on how often customers do all that is not a purchase or refund, in [0, 20].
    """

    purchases_per_year: float = 10.0
    purchase_rate_shape: float = 0.8
    dropout_first: float = 0.9
    dropout_second: float = 9.0
    spend_mean: float = 60.0
    spend_log_sd_between: float = 0.5
    spend_log_sd_within: float = 0.5
    launch_share: float = 0.25
    visitor_share: float = 0.1
    refund_probability: float = 0.05
    activity: float = 1.0

    @property
    def purchase_rate_scale_days(self) -> float:
        """Rate parameter of the Gamma distribution of purchase rates, in season days."""
        return self.purchase_rate_shape * DAYS_PER_YEAR / self.purchases_per_year

    @property
    def spend_log_mean(self) -> float:
        """Mean of the customers' mean log amounts, such that the mean amount is `spend_mean`."""
        variance = self.spend_log_sd_between**2 + self.spend_log_sd_within**2
        return math.log(self.spend_mean) - variance / 2


_POPULATION_RANGES: dict[str, tuple[float, float]] = {
    "purchases_per_year": (0.001, 1000.0),
    "purchase_rate_shape": (0.05, 100.0),
    "dropout_first": (0.01, 1000.0),
    "dropout_second": (0.01, 1000.0),
    "spend_mean": (1.0, 1e5),
    "spend_log_sd_between": (0.0, 1.2),
    "spend_log_sd_within": (0.0, 1.2),
    "launch_share": (0.0, 1.0),
    "visitor_share": (0.0, 1.0),
    "refund_probability": (0.0, 1.0),
    "activity": (0.0, 20.0),
}


@dataclass(frozen=True, slots=True)
class ShopSettings:
    """One simulated shop; equal settings give equal events.

    Parameters
    ----------
    customers
        How many customers the shop gets to know, from 1 to `CUSTOMERS_MAX`.
    days
        Length of the log in days, at least 1; it must end before 2106.
    seed
        From 0 to `SEED_MAX`.
    start
        UTC day on which the log begins, from 1970 on.
    currency
        ISO 4217 code of all amounts.
    has_season
        False: every hour is like every other.
    population
        What the customers are like.

    Raises
    ------
    SettingsError
        With every fault that was found.
    """

    customers: int
    days: int
    seed: int
    start: date = START_DEFAULT
    currency: str = "USD"
    has_season: bool = True
    population: Population = field(default_factory=Population)

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            message = f"the shop cannot be simulated: {faults[0]}"
            raise SettingsError(message, code="invalid_shop", faults=faults[1:])

    @property
    def start_ms(self) -> int:
        """Beginning of the log in milliseconds since 1970-01-01 UTC."""
        return (self.start - _EPOCH).days * MS_PER_DAY

    @property
    def end_ms(self) -> int:
        """End of the log, exclusive, in milliseconds since 1970-01-01 UTC."""
        return self.start_ms + self.days * MS_PER_DAY

    def _faults(self) -> list[str]:
        faults = [
            f"{name} = {value}, allowed are {low} to {high:,}; choose another one"
            for name, value, low, high in (
                ("customers", self.customers, 1, CUSTOMERS_MAX),
                ("seed", self.seed, 0, SEED_MAX),
            )
            if not low <= value <= high
        ]
        if self.days < 1:
            faults.append(f"days = {self.days}, allowed is 1 or more; choose another number")
        if self.start < _EPOCH:
            faults.append(f"start = {self.start}, allowed is 1970-01-01 or later; choose a later day")
        elif self.days >= 1 and self.end_ms > TIME_MAX_MS:
            latest = datetime.fromtimestamp(TIME_MAX_MS / 1000, tz=UTC).date() - timedelta(days=1)
            faults.append(f"start = {self.start} and days = {self.days}: the log must end by {latest}; shorten it")
        is_code = len(self.currency) == _CURRENCY_LETTERS and self.currency.isascii() and self.currency.isalpha()
        if not (is_code and self.currency.isupper()):
            faults.append(f"currency = {self.currency!r}, allowed is an ISO 4217 code such as USD; correct it")
        for item in fields(self.population):
            value = getattr(self.population, item.name)
            low, high = _POPULATION_RANGES[item.name]
            if not low <= value <= high:
                faults.append(f"{item.name} = {value}, allowed are {low:g} to {high:g}; choose another value")
        if not faults and self._events_per_customer > EVENTS_PER_CUSTOMER_MAX:
            faults.append(
                f"days, purchases_per_year and activity come to {self._events_per_customer:,.0f} events of each "
                f"customer who stays, allowed are {EVENTS_PER_CUSTOMER_MAX:,}; lower one of them"
            )
        return faults

    @property
    def _events_per_customer(self) -> float:
        population = self.population
        purchases = population.purchases_per_year * self.days / DAYS_PER_YEAR
        others = purchases * _EVENTS_PER_PURCHASE + self.days * _EVENTS_PER_DAY
        return purchases + others * population.activity
