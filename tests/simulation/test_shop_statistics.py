"""Simulated customers behave as their truth says: bounds are several standard errors wide, seeds are fixed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from stream_app.domain.events import MS_PER_DAY
from stream_app.simulation.season import HOUR_WEIGHTS, MS_PER_HOUR, WEEKDAY_WEIGHTS, Season, day_factors
from stream_app.simulation.settings import Population, ShopSettings
from stream_app.simulation.truth import expected_spend
from tests.simulation.shops import buying_shop, customer_numbers, lively_shop, order_ordinals, run, times_ms

SIGMAS = 4.5


def buyers() -> NDArray[np.bool_]:
    return np.asarray(buying_shop().truth["purchase_count"].to_numpy() > 0)


def test_purchase_rates_have_the_mean_and_spread_of_their_gamma_distribution() -> None:
    rates = buying_shop().parameter("purchase_rate_per_day")[buyers()]
    population = buying_shop().settings.population
    shape, scale_days = population.purchase_rate_shape, population.purchase_rate_scale_days
    assert rates.mean() == pytest.approx(shape / scale_days, rel=0.03)
    assert rates.std() == pytest.approx(shape**0.5 / scale_days, rel=0.05)
    assert shape / scale_days * 365 == pytest.approx(population.purchases_per_year)


def test_dropout_probabilities_have_the_mean_and_spread_of_their_beta_distribution() -> None:
    probabilities = buying_shop().parameter("dropout_probability")[buyers()]
    first, second = buying_shop().settings.population.dropout_first, buying_shop().settings.population.dropout_second
    total = first + second
    assert probabilities.mean() == pytest.approx(first / total, rel=0.03)
    assert probabilities.var() == pytest.approx(first * second / total**2 / (total + 1), rel=0.06)


def test_the_time_of_a_first_purchase_says_nothing_about_its_buyer() -> None:
    shop = buying_shop()
    first = shop.true_time_ms("first_purchase_at", 0)[buyers()].astype(np.float64)
    for name in ("purchase_rate_per_day", "dropout_probability", "spend_log_mean"):
        correlation = np.corrcoef(first, shop.parameter(name)[buyers()])[0, 1]
        assert abs(correlation) < SIGMAS / np.sqrt(len(first))


def test_customers_buy_as_often_as_bg_nbd_with_their_parameters_expects() -> None:
    shop = buying_shop()
    is_buyer = buyers()
    rates, probabilities = (shop.parameter(name)[is_buyer] for name in ("purchase_rate_per_day", "dropout_probability"))
    first = shop.true_time_ms("first_purchase_at", 0)[is_buyer]
    repeats = shop.truth["purchase_count"].to_numpy()[is_buyer] - 1
    spans = shop.season.length_days - shop.season.season_days_at(first)
    expected = -np.expm1(-rates * probabilities * spans) / probabilities
    # Overall, and where they part: rare and frequent buyers, those who soon leave and those who stay.
    for chosen in (rates > 0, rates < 0.01, rates > 0.05, probabilities < 0.03, probabilities > 0.15):
        error = repeats[chosen] - expected[chosen]
        assert abs(error.sum()) < SIGMAS * np.sqrt((error**2).sum())
        assert repeats[chosen].sum() == pytest.approx(expected[chosen].sum(), rel=0.05)


def test_each_repeat_purchase_ends_it_with_the_customers_probability() -> None:
    shop = buying_shop()
    purchases = shop.of_type("purchase")
    numbers, ordinals = customer_numbers(purchases), order_ordinals(purchases)
    is_last = times_ms(purchases) == shop.true_time_ms("alive_until", -1)[numbers]
    assert not is_last[ordinals == 0].any()
    for chosen in (ordinals > 0, ordinals == 1, ordinals == 2, ordinals > 5):
        probabilities = shop.parameter("dropout_probability")[numbers[chosen]]
        excess = is_last[chosen].sum() - probabilities.sum()
        assert abs(excess) < SIGMAS * np.sqrt((probabilities * (1 - probabilities)).sum())
    assert is_last.sum() > 5000


def test_gaps_between_purchases_are_exponential_in_season_days() -> None:
    # Without drop-out to speak of, and scaled by the rate, all gaps but the last one are alike.
    faithful = Population(activity=0.0, dropout_first=0.01, dropout_second=1000.0, purchases_per_year=60.0)
    shop = run(ShopSettings(customers=1500, days=400, seed=5, population=faithful))
    purchases = shop.of_type("purchase")
    numbers, ordinals = customer_numbers(purchases), order_ordinals(purchases)
    days = shop.season.season_days_at(times_ms(purchases))
    order = np.lexsort((ordinals, numbers))
    gaps = np.diff(days[order]) * shop.parameter("purchase_rate_per_day")[numbers[order][1:]]
    # The first ten gaps of those who buy often: the end of the log hardly cuts any off.
    is_early = (ordinals[order][1:] >= 1) & (ordinals[order][1:] <= 10)
    counts = shop.truth["purchase_count"].to_numpy()[numbers[order][1:]]
    early = gaps[is_early & (counts > 40)]
    assert len(early) > 3000
    for quantile in (0.1, 0.5, 0.9):
        assert np.quantile(early, quantile) == pytest.approx(-np.log(1 - quantile), rel=0.1)


def test_amounts_scatter_log_normally_around_each_customers_mean() -> None:
    shop = buying_shop()
    purchases = shop.of_type("purchase")
    population = shop.settings.population
    deviations = np.log(purchases["amount"].to_numpy()) - shop.parameter("spend_log_mean")[customer_numbers(purchases)]
    assert abs(deviations.mean()) < SIGMAS * population.spend_log_sd_within / np.sqrt(len(deviations))
    assert deviations.std() == pytest.approx(population.spend_log_sd_within, rel=0.01)
    assert abs(((deviations / deviations.std()) ** 3).mean()) < 0.05
    means = shop.parameter("spend_log_mean")[buyers()]
    assert means.mean() == pytest.approx(population.spend_log_mean, abs=0.015)
    assert means.std() == pytest.approx(population.spend_log_sd_between, rel=0.02)


def test_the_mean_amount_is_what_was_asked_for() -> None:
    amounts = buying_shop().of_type("purchase")["amount"].to_numpy()
    assert amounts.mean() == pytest.approx(60.0, rel=0.04)


def test_refunds_follow_the_share_of_purchases_that_was_asked_for() -> None:
    # Those of the last purchases come after the end of the log.
    share = buying_shop().of_type("refund").num_rows / buying_shop().of_type("purchase").num_rows
    assert 0.045 < share < 0.051


def purchase_hours() -> NDArray[np.int64]:
    return times_ms(buying_shop().of_type("purchase")) // MS_PER_HOUR


def test_hours_and_weekdays_are_as_busy_as_their_weights() -> None:
    hours = purchase_hours()
    shares = np.bincount(hours % 24, minlength=24) / len(hours)
    assert shares == pytest.approx(np.array(HOUR_WEIGHTS) / sum(HOUR_WEIGHTS), rel=0.08)
    weekdays = np.bincount((hours // 24 + 3) % 7, minlength=7) / len(hours)
    assert weekdays == pytest.approx(np.array(WEEKDAY_WEIGHTS) / sum(WEEKDAY_WEIGHTS), rel=0.05)


def test_the_weeks_before_christmas_are_as_busy_as_the_season_says() -> None:
    # A shop that neither grows nor shrinks: all customers are there at the launch, and stay.
    steady = Population(activity=0.0, launch_share=1.0, dropout_first=0.01, dropout_second=1000.0)
    shop = run(ShopSettings(customers=8000, days=366, seed=6, population=steady))
    days = times_ms(shop.of_type("purchase")) // MS_PER_DAY
    november = np.arange(20_028, 20_042)  # 2024-11-01 to 2024-11-14, two whole weeks.
    december = np.arange(20_066, 20_080)  # 2024-12-09 to 2024-12-22.
    ratio = np.isin(days, december).sum() / np.isin(days, november).sum()
    assert ratio == pytest.approx(day_factors(december).sum() / day_factors(november).sum(), rel=0.06)
    assert ratio > 1.5


def test_the_seasons_clock_keeps_the_year() -> None:
    season = Season.spanning(0, 3650, has_season=True)
    assert season.length_days == pytest.approx(3650, rel=0.002)
    assert Season.spanning(0, 10, has_season=False).length_days == pytest.approx(10)


def test_the_seasons_clock_reads_both_ways() -> None:
    season = Season.spanning(19_000 * MS_PER_DAY, 400, has_season=True)
    times = np.random.default_rng(1).integers(season.start_ms, season.start_ms + 400 * MS_PER_DAY, 1000)
    assert np.abs(season.times_ms_at(season.season_days_at(times)) - times).max() <= 1


def test_without_season_every_hour_is_like_every_other() -> None:
    population = Population(activity=0.0, dropout_second=1000.0, launch_share=1.0)
    shop = run(ShopSettings(customers=4000, days=364, seed=8, has_season=False, population=population))
    hours = times_ms(shop.of_type("purchase")) // MS_PER_HOUR
    end_hour = shop.settings.end_ms // MS_PER_HOUR
    hours = hours[hours >= end_hour - 24 * 7 * 30]
    assert np.bincount(hours % 24) == pytest.approx(len(hours) / 24, rel=0.12)
    assert np.bincount((hours // 24 + 3) % 7) == pytest.approx(len(hours) / 7, rel=0.06)


@pytest.mark.parametrize("day", [200, 365, 600])
def test_expected_spend_is_what_customers_spend_on_average(day: int) -> None:
    shop = buying_shop()
    at_ms = shop.settings.start_ms + day * MS_PER_DAY + 5 * MS_PER_HOUR
    expected = expected_spend(shop.truth, at_ms=at_ms, horizon_days=84)
    purchases = shop.of_type("purchase")
    times = times_ms(purchases)
    is_in_window = (times >= at_ms) & (times < at_ms + 84 * MS_PER_DAY)
    spent = np.bincount(
        customer_numbers(purchases)[is_in_window],
        weights=purchases["amount"].to_numpy()[is_in_window],
        minlength=shop.settings.customers,
    )
    has_bought = shop.true_time_ms("first_purchase_at", shop.settings.end_ms) <= at_ms
    is_visitor = shop.truth["is_visitor"].to_numpy()
    assert (np.isnan(expected) == (~has_bought & ~is_visitor)).all()
    error = spent[has_bought] - expected[has_bought]
    assert abs(error.sum()) < SIGMAS * np.sqrt((error**2).sum())
    assert (spent[expected == 0.0] == 0.0).all()
    # The truth orders customers far better than chance: the upper fifth spends more than half.
    upper = np.argsort(expected[has_bought])[-int(0.2 * has_bought.sum()) :]
    assert spent[has_bought][upper].sum() > 0.5 * spent[has_bought].sum()


def test_customers_look_and_fill_carts_before_they_buy() -> None:
    shop = lively_shop()
    events = pa.table(
        {
            "number": customer_numbers(shop.events),
            "time": times_ms(shop.events),
            "type": shop.events["type"],
        }
    )
    events = events.sort_by([("number", "ascending"), ("time", "ascending")])
    numbers, times = events["number"].to_numpy(), events["time"].to_numpy()
    is_purchase = pc.equal(events["type"], "purchase").to_numpy()
    follows_soon = (np.diff(numbers) == 0) & (np.diff(times) < MS_PER_HOUR)
    is_looking = np.isin(events["type"].to_numpy(), ("browse", "cart"))
    is_led_up_to = follows_soon & is_looking[:-1]
    assert is_led_up_to[is_purchase[1:]].mean() > 0.75


def test_those_who_leave_rate_lower_and_ask_more() -> None:
    shop = lively_shop()
    feedback = shop.of_type("feedback")
    numbers, ordinals = customer_numbers(feedback), order_ordinals(feedback)
    has_left = shop.true_time_ms("alive_until", shop.settings.end_ms) < shop.settings.end_ms
    last = shop.truth["purchase_count"].to_numpy() - 1
    is_about_last = has_left[numbers] & (ordinals == last[numbers])
    ratings = feedback["satisfaction"].to_numpy()
    assert ratings[~is_about_last].mean() - ratings[is_about_last].mean() > 0.2
    assert is_about_last.sum() > 100


def test_an_average_shop_has_an_average_mixture() -> None:
    shop = lively_shop()
    purchases = shop.of_type("purchase").num_rows
    assert 50 <= shop.events.num_rows / shop.settings.customers <= 100
    assert 0.10 <= purchases / shop.events.num_rows <= 0.15
