"""What customers do besides buying: look around, fill carts, read, ask, rate, and send things back.

All of it is drawn after the purchases and the drop-out, which it therefore does not disturb. It tells of them,
though: customers look before they buy, and those about to leave ask more often and rate lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.customers import Customers
from stream_app.simulation.log import Kind, make_events
from stream_app.simulation.purchases import Purchases
from stream_app.simulation.season import Season
from stream_app.simulation.settings import Population

_MS_PER_MINUTE = 60_000
_INTEREST_AFTER_DROPOUT_DAYS = 14.0
"""Mean season days that those who have dropped out still come by."""
_INTEREST_OF_VISITORS_DAYS = 20.0
"""Mean season days from first contact to the last visit of those who never buy."""

_FURTHER_PAGES_PER_VISIT = 0.8
_CART_PROBABILITY_PER_VISIT = 0.10
_CONTENTS_PER_VISIT = 0.35
_PAGE_GAP_MEAN_MINUTES = 2.0
_CART_LAG_MEAN_MINUTES = 6.0

_LOOKS_BEFORE_PURCHASE = 1.5
"""Mean views in the days before a purchase."""
_LOOKS_LEAD_MEAN_DAYS = 2.5
_PAGES_AT_PURCHASE = 1.5
_PAGES_LEAD_MAX_MINUTES = 40.0
_CARTS_AT_PURCHASE = 0.9
_CARTS_LEAD_MAX_MINUTES = 15.0

_REFUND_LAG_MEAN_DAYS = 12.0
_REFUND_LAG_MIN_MS = _MS_PER_MINUTE
_FULL_REFUND_PROBABILITY = 0.7
_PARTIAL_REFUND_RANGE = (0.1, 0.9)

_TICKETS_PER_PURCHASE = 0.06
_TICKETS_AT_DROPOUT = 0.25
_TICKET_LAG_MEAN_DAYS = 4.0
_FEEDBACK_PROBABILITY = 0.15
_FEEDBACK_LAG_MEAN_DAYS = 5.0
_RATING_SD = 0.8
_RATING_LOSS_AT_DROPOUT = 1.5
_RATING_LOSS_BY_REFUND = 0.7
_RATING_RANGE = (1, 5)

Events = NDArray[np.void]
"""Packed events, shape `(n,)`, dtype `log.EVENT_DTYPE`."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The customers of a block with their purchases: what the other events are drawn around."""

    customers: Customers
    purchases: Purchases
    season: Season
    population: Population

    def purchase_times_ms(self) -> NDArray[np.int64]:
        """Give the time of each purchase, in milliseconds since 1970-01-01 UTC."""
        return self.season.times_ms_at(self.purchases.days)


def draw_events(generator: np.random.Generator, block: Block, end_ms: int) -> Events:
    """Draw all events of a block of customers, purchases included, in no particular order.

    Parameters
    ----------
    generator
        The block's random stream, after the purchases.
    end_ms
        End of the log, exclusive; what would be later is left out, like what would be before first contact.
    """
    times_ms = block.purchase_times_ms()
    purchases = block.purchases
    events = [_purchases(block, times_ms)]
    is_refunded = generator.random(len(purchases)) < block.population.refund_probability
    events.append(_refunds(generator, block, times_ms, np.flatnonzero(is_refunded)))
    if block.population.activity > 0.0:
        arrived_ms = block.season.times_ms_at(block.customers.arrived_days)
        events.append(make_events(Kind.BROWSE, arrived_ms, block.customers.numbers))
        events.extend(_visits(generator, block))
        events.extend(_before_purchases(generator, block, times_ms))
        events.append(_tickets(generator, block))
        events.append(_feedback(generator, block, is_refunded))
    all_events = np.concatenate(events)
    first_number = int(block.customers.numbers[0])
    earliest_ms = block.season.times_ms_at(block.customers.arrived_days)[all_events["customer"] - first_number]
    is_in_log = (all_events["time_ms"] >= earliest_ms) & (all_events["time_ms"] < end_ms)
    return np.asarray(all_events[is_in_log])


def _purchases(block: Block, times_ms: NDArray[np.int64]) -> Events:
    purchases = block.purchases
    numbers = block.customers.numbers[purchases.rows]
    return make_events(Kind.PURCHASE, times_ms, numbers, orders=purchases.ordinals, cents=purchases.cents)


def _refunds(
    generator: np.random.Generator, block: Block, times_ms: NDArray[np.int64], chosen: NDArray[np.int64]
) -> Events:
    lag_days = generator.standard_exponential(len(chosen)) * _REFUND_LAG_MEAN_DAYS
    refund_days = block.purchases.days[chosen] + lag_days
    refund_ms = np.maximum(block.season.times_ms_at(refund_days), times_ms[chosen] + _REFUND_LAG_MIN_MS)
    shares = generator.uniform(*_PARTIAL_REFUND_RANGE, len(chosen))
    shares[generator.random(len(chosen)) < _FULL_REFUND_PROBABILITY] = 1.0
    cents = np.maximum(np.rint(block.purchases.cents[chosen] * shares), 1.0).astype(np.int64)
    return make_events(
        Kind.REFUND,
        refund_ms,
        block.customers.numbers[block.purchases.rows[chosen]],
        orders=block.purchases.ordinals[chosen],
        cents=cents,
    )


def _visits(generator: np.random.Generator, block: Block) -> Iterator[Events]:
    """Give visits without a purchase, as long as a customer is interested."""
    customers = block.customers
    dropout_days = block.purchases.dropout_days(len(customers))
    last_days = np.where(customers.is_visitor, customers.arrived_days, dropout_days)
    means = np.where(customers.is_visitor, _INTEREST_OF_VISITORS_DAYS, _INTEREST_AFTER_DROPOUT_DAYS)
    last_days = last_days + generator.standard_exponential(len(customers)) * means
    span_days = np.minimum(last_days, block.season.length_days) - customers.arrived_days

    rows = np.repeat(np.arange(len(customers)), generator.poisson(customers.visit_rates * span_days))
    visit_days = customers.arrived_days[rows] + generator.random(len(rows)) * span_days[rows]
    visit_ms = block.season.times_ms_at(visit_days)
    numbers = customers.numbers[rows]
    yield make_events(Kind.BROWSE, visit_ms, numbers)
    pages = np.repeat(np.arange(len(rows)), generator.poisson(_FURTHER_PAGES_PER_VISIT, len(rows)))
    yield make_events(
        Kind.BROWSE, visit_ms[pages] + _minutes(generator, len(pages), _PAGE_GAP_MEAN_MINUTES), numbers[pages]
    )
    carts = np.flatnonzero(generator.random(len(rows)) < _CART_PROBABILITY_PER_VISIT)
    yield make_events(
        Kind.CART, visit_ms[carts] + _minutes(generator, len(carts), _CART_LAG_MEAN_MINUTES), numbers[carts]
    )
    content_counts = generator.poisson(customers.visit_rates * span_days * _CONTENTS_PER_VISIT)
    rows = np.repeat(np.arange(len(customers)), content_counts)
    content_days = customers.arrived_days[rows] + generator.random(len(rows)) * span_days[rows]
    yield make_events(Kind.CONTENT, block.season.times_ms_at(content_days), customers.numbers[rows])


def _before_purchases(generator: np.random.Generator, block: Block, times_ms: NDArray[np.int64]) -> Iterator[Events]:
    """Give views in the days before each purchase, then pages and carts in the minutes before it."""
    count = len(times_ms)
    activity = block.population.activity
    numbers = block.customers.numbers[block.purchases.rows]
    looks = np.repeat(np.arange(count), generator.poisson(_LOOKS_BEFORE_PURCHASE * activity, count))
    look_days = block.purchases.days[looks] - generator.standard_exponential(len(looks)) * _LOOKS_LEAD_MEAN_DAYS
    # Before the beginning of the season's clock there is no time to read off: such views are not in the log.
    looks, look_days = looks[look_days >= 0.0], look_days[look_days >= 0.0]
    yield make_events(Kind.BROWSE, block.season.times_ms_at(look_days), numbers[looks])
    for kind, mean, lead_max_minutes in (
        (Kind.BROWSE, _PAGES_AT_PURCHASE, _PAGES_LEAD_MAX_MINUTES),
        (Kind.CART, _CARTS_AT_PURCHASE, _CARTS_LEAD_MAX_MINUTES),
    ):
        chosen = np.repeat(np.arange(count), generator.poisson(mean * activity, count))
        lead_ms = (generator.random(len(chosen)) * (lead_max_minutes * _MS_PER_MINUTE)).astype(np.int64) + 1
        yield make_events(kind, times_ms[chosen] - lead_ms, numbers[chosen])


def _tickets(generator: np.random.Generator, block: Block) -> Events:
    purchases = block.purchases
    means = np.where(purchases.is_last, _TICKETS_AT_DROPOUT, _TICKETS_PER_PURCHASE) * block.population.activity
    chosen = np.repeat(np.arange(len(purchases)), generator.poisson(means))
    days = purchases.days[chosen] + generator.standard_exponential(len(chosen)) * _TICKET_LAG_MEAN_DAYS
    return make_events(Kind.SUPPORT, block.season.times_ms_at(days), block.customers.numbers[purchases.rows[chosen]])


def _feedback(generator: np.random.Generator, block: Block, is_refunded: NDArray[np.bool_]) -> Events:
    purchases = block.purchases
    probability = min(_FEEDBACK_PROBABILITY * block.population.activity, 1.0)
    chosen = np.flatnonzero(generator.random(len(purchases)) < probability)
    rows = purchases.rows[chosen]
    days = purchases.days[chosen] + generator.standard_exponential(len(chosen)) * _FEEDBACK_LAG_MEAN_DAYS
    means = block.customers.satisfaction_means[rows] - _RATING_LOSS_AT_DROPOUT * purchases.is_last[chosen]
    means = means - _RATING_LOSS_BY_REFUND * is_refunded[chosen]
    opinions = means + _RATING_SD * generator.standard_normal(len(chosen))
    ratings = np.clip(np.rint(opinions), *_RATING_RANGE).astype(np.int64)
    return make_events(
        Kind.FEEDBACK,
        block.season.times_ms_at(days),
        block.customers.numbers[rows],
        orders=purchases.ordinals[chosen],
        ratings=ratings,
    )


def _minutes(generator: np.random.Generator, count: int, mean_minutes: float) -> NDArray[np.int64]:
    """Draw exponential durations of at least one millisecond, in milliseconds."""
    durations_ms = generator.standard_exponential(count) * (mean_minutes * _MS_PER_MINUTE)
    return np.asarray(durations_ms.astype(np.int64) + 1, dtype=np.int64)
