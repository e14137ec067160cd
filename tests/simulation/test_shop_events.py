"""What holds for every simulated event."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stream_app.adapters.codec import EventDecoder
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.events import Family
from stream_app.simulation.columns import EVENT_SCHEMA
from stream_app.simulation.customers import CUSTOMERS_PER_BLOCK
from stream_app.simulation.settings import Population, ShopSettings
from stream_app.simulation.shop import simulate
from stream_app.simulation.writer import json_lines
from tests.simulation.shops import Shop, buying_shop, customer_numbers, lively_shop, order_ordinals, run, times_ms

EVENT_CONTRACT = Path(__file__).parents[2] / "schemas" / "customer_event.v1.json"
SMALL = ShopSettings(customers=300, days=200, seed=3)


def table(settings: ShopSettings) -> pa.Table:
    return pa.Table.from_batches(simulate(settings), EVENT_SCHEMA)


def test_equal_settings_give_equal_events() -> None:
    assert table(SMALL).equals(table(SMALL))


@pytest.mark.parametrize(
    "other",
    [
        replace(SMALL, seed=4),
        replace(SMALL, days=201),
        replace(SMALL, customers=299),
        replace(SMALL, has_season=False),
        replace(SMALL, population=Population(spend_mean=61.0)),
    ],
)
def test_other_settings_give_other_events(other: ShopSettings) -> None:
    assert not table(SMALL).equals(table(other))


def test_events_do_not_depend_on_how_they_are_cut_into_batches_and_slices() -> None:
    settings = ShopSettings(customers=CUSTOMERS_PER_BLOCK + 50, days=30, seed=5)
    whole = table(settings)
    for rows, per_slice in ((1000, 3000), (77, 1_000_000), (10**9, 500)):
        cut = pa.Table.from_batches(simulate(settings, rows_per_batch=rows, events_per_slice=per_slice), EVENT_SCHEMA)
        assert cut.equals(whole)


def test_a_customer_of_a_full_block_is_the_same_in_a_larger_shop() -> None:
    settings = ShopSettings(customers=CUSTOMERS_PER_BLOCK, days=20, seed=5)
    larger = run(replace(settings, customers=CUSTOMERS_PER_BLOCK + 100))
    assert run(settings).truth.equals(larger.truth.slice(0, CUSTOMERS_PER_BLOCK))


def test_blocks_of_customers_differ() -> None:
    rates = run(ShopSettings(customers=2 * CUSTOMERS_PER_BLOCK, days=1, seed=5)).parameter("visit_rate_per_day")
    assert len(np.unique(rates)) == 2 * CUSTOMERS_PER_BLOCK


def test_events_come_by_time_and_lie_within_the_log() -> None:
    times = times_ms(lively_shop().events)
    settings = lively_shop().settings
    assert (np.diff(times) >= 0).all()
    assert times[0] >= settings.start_ms
    assert times[-1] < settings.end_ms


def test_event_ids_and_order_ids_of_purchases_are_unique() -> None:
    shop = lively_shop()
    assert pc.count_distinct(shop.events["event_id"]).as_py() == shop.events.num_rows
    purchases = shop.of_type("purchase")
    assert pc.count_distinct(purchases["order_id"]).as_py() == purchases.num_rows


def test_every_refund_has_an_earlier_purchase_of_the_same_customer_that_was_worth_as_much() -> None:
    purchases, refunds = lively_shop().of_type("purchase"), lively_shop().of_type("refund")
    bought = {
        row["order_id"]: (row["customer_id"], row["occurred_at"], row["amount"])
        for row in purchases.select(["order_id", "customer_id", "occurred_at", "amount"]).to_pylist()
    }
    assert refunds.num_rows > 500
    for row in refunds.to_pylist():
        customer_id, bought_at, amount = bought[row["order_id"]]
        assert customer_id == row["customer_id"]
        assert bought_at < row["occurred_at"]
        assert 0.0 < row["amount"] <= amount


def test_a_refund_takes_a_minute_at_least() -> None:
    generous = Population(activity=0.0, refund_probability=1.0, purchases_per_year=100.0)
    shop = run(ShopSettings(customers=8000, days=365, seed=4, population=generous))
    bought = shop.of_type("purchase").select(["order_id", "occurred_at"])
    joined = shop.of_type("refund").select(["order_id", "occurred_at"]).join(bought, "order_id", right_suffix="_first")
    lags_ms = pc.subtract(joined["occurred_at"].cast(pa.int64()), joined["occurred_at_first"].cast(pa.int64()))
    assert pc.min(lags_ms).as_py() == 60_000


def test_no_purchase_is_refunded_twice() -> None:
    refunds = lively_shop().of_type("refund")
    assert pc.count_distinct(refunds["order_id"]).as_py() == refunds.num_rows


def test_only_money_has_amounts_and_only_feedback_has_satisfactions() -> None:
    for kind in pc.unique(lively_shop().events["type"]).to_pylist():
        events = lively_shop().of_type(kind)
        is_money = kind in {"purchase", "refund"}
        for name in ("amount", "currency"):
            assert events[name].null_count == (0 if is_money else events.num_rows)
        satisfactions = events["satisfaction"]
        if kind == "feedback":
            assert set(satisfactions.to_pylist()) == {0.0, 0.25, 0.5, 0.75, 1.0}
        else:
            assert satisfactions.null_count == events.num_rows


def test_amounts_are_whole_cents_of_at_least_one() -> None:
    amounts = lively_shop().of_type("purchase")["amount"].to_numpy()
    assert (amounts >= 0.01).all()
    assert np.allclose(amounts * 100, np.rint(amounts * 100), rtol=1e-12)


def test_nothing_happens_before_first_contact_and_nobody_buys_after_dropping_out() -> None:
    shop = lively_shop()
    numbers = customer_numbers(shop.events)
    assert (times_ms(shop.events) >= shop.true_time_ms("arrived_at", 0)[numbers]).all()
    purchases = shop.of_type("purchase")
    alive_until = shop.true_time_ms("alive_until", shop.settings.end_ms)[customer_numbers(purchases)]
    assert (times_ms(purchases) <= alive_until).all()


def test_first_contact_is_in_the_log() -> None:
    shop = lively_shop()
    first = np.full(shop.settings.customers, shop.settings.end_ms)
    np.minimum.at(first, customer_numbers(shop.events), times_ms(shop.events))
    assert (first == shop.true_time_ms("arrived_at", 0)).all()


def test_truth_counts_what_is_in_the_log() -> None:
    for shop in (lively_shop(), buying_shop()):
        purchases = shop.of_type("purchase")
        numbers = customer_numbers(purchases)
        counts = np.bincount(numbers, minlength=shop.settings.customers)
        spend = np.bincount(numbers, weights=purchases["amount"].to_numpy(), minlength=shop.settings.customers)
        assert (counts == shop.truth["purchase_count"].to_numpy()).all()
        assert np.allclose(spend, shop.parameter("gross_spend"), rtol=1e-9)
        first = np.full(shop.settings.customers, shop.settings.end_ms)
        np.minimum.at(first, numbers, times_ms(purchases))
        assert (first == shop.true_time_ms("first_purchase_at", shop.settings.end_ms)).all()
        assert shop.truth["customer_id"].to_pylist()[:2] == ["c00000000", "c00000001"]


def test_orders_of_a_customer_count_up_in_time() -> None:
    purchases = lively_shop().of_type("purchase")
    by_customer = np.argsort(customer_numbers(purchases), kind="stable")
    numbers, ordinals = customer_numbers(purchases)[by_customer], order_ordinals(purchases)[by_customer]
    is_first = np.diff(numbers, prepend=-1) != 0
    assert (ordinals[is_first] == 0).all()
    assert (np.diff(ordinals)[~is_first[1:]] == 1).all()


def test_visitors_never_buy() -> None:
    shop = lively_shop()
    is_visitor = shop.truth["is_visitor"].to_numpy()
    assert 350 < is_visitor.sum() < 650
    assert not is_visitor[customer_numbers(shop.of_type("purchase"))].any()


def test_no_activity_leaves_purchases_and_refunds_only() -> None:
    assert set(pc.unique(buying_shop().events["type"]).to_pylist()) == {"purchase", "refund"}


def test_twice_the_activity_does_not_change_one_purchase() -> None:
    def purchases_with(activity: float) -> list[object]:
        shop = run(replace(SMALL, population=Population(activity=activity)))
        return list(shop.of_type("purchase").drop_columns(["event_id"]).to_pylist())

    assert purchases_with(1.0) == purchases_with(2.0)


@pytest.mark.parametrize(("customers", "days"), [(1, 1), (1, 3000), (CUSTOMERS_PER_BLOCK + 1, 1)])
def test_the_smallest_shops_are_shops_too(customers: int, days: int) -> None:
    shop = run(ShopSettings(customers=customers, days=days, seed=1))
    assert shop.truth.num_rows == customers
    assert shop.events.num_rows >= customers


def test_a_shop_in_which_nothing_happens_has_no_events() -> None:
    nothing = Population(activity=0.0, visitor_share=1.0)
    shop = run(ShopSettings(customers=10, days=5, seed=1, population=nothing))
    assert shop.events.num_rows == 0
    assert shop.truth["first_purchase_at"].null_count == 10


@pytest.mark.parametrize("name", ["purchases_per_year", "dropout_first", "dropout_second", "purchase_rate_shape"])
@pytest.mark.parametrize("value", [0.05, 100.0])
def test_extreme_populations_keep_truth_and_log_together(name: str, value: float) -> None:
    shop = run(replace(SMALL, population=replace(Population(), **{name: value})))
    counts = np.bincount(customer_numbers(shop.of_type("purchase")), minlength=SMALL.customers)
    assert (counts == shop.truth["purchase_count"].to_numpy()).all()


def json_texts(shop: Shop) -> list[str]:
    return [line.as_py() for batch in shop.events.to_batches() for line in json_lines(batch)]


def test_every_json_line_is_a_native_event_that_the_default_policy_accepts() -> None:
    shop = run(SMALL)
    records = [text.encode() for text in json_texts(shop)]
    decoder = EventDecoder(load_policy(None))
    decoded = decoder.decode_batch(records, SMALL.end_ms, np.arange(len(records)))
    assert decoded.refused == []
    assert not any(decoded.ignored_counts.values())
    assert len(decoded.batch) == shop.events.num_rows
    assert (decoded.batch.times_ms == times_ms(shop.events)).all()
    satisfactions = shop.events["satisfaction"].to_numpy()
    assert np.array_equal(decoded.batch.satisfactions, satisfactions, equal_nan=True)
    has_amount = np.isin(decoded.batch.families, (Family.PURCHASE, Family.REFUND))
    assert (decoded.batch.amounts[has_amount] == shop.events["amount"].drop_null().to_numpy()).all()


def test_every_json_line_satisfies_the_wire_contract() -> None:
    if not EVENT_CONTRACT.is_file():
        pytest.skip(f"the wire contract is not here yet: {EVENT_CONTRACT}")
    contract = json.loads(EVENT_CONTRACT.read_text())
    validator = jsonschema.Draft202012Validator(contract)
    texts = json_texts(run(replace(SMALL, customers=60)))
    assert len({json.loads(text)["type"] for text in texts}) == 7
    for text in texts:
        validator.validate(json.loads(text))
