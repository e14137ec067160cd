"""Columns are found by well-known names, and where that is not clear, the message holds the option to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.adapters.event_files.columns import choose_columns
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family
from stream_app.domain.policy import EventRule
from tests.event_files.logs import make_rules_policy, read_log, write


def chosen(header: str, **mapping: str) -> dict[str, str]:
    columns = header.split(",")
    return {field: columns[i] for field, i in choose_columns("log.csv", columns, mapping).indices.items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("customer_id,ts,type,amount", "customer_id=customer_id occurred_at=ts type=type amount=amount"),
        ("userId,timestamp,event,messageId", "customer_id=userId occurred_at=timestamp type=event event_id=messageId"),
        ("InvoiceNo,StockCode,InvoiceDate,Customer ID", "order_id=InvoiceNo occurred_at=InvoiceDate"),
        ("CLIENT-ID,OrderDate,order_value,CurrencyCode", "customer_id=CLIENT-ID amount=order_value"),
        ("CLIENT-ID,OrderDate,order_value,CurrencyCode", "occurred_at=OrderDate currency=CurrencyCode"),
        ("id,user,created_at,price", "event_id=id customer_id=user occurred_at=created_at amount=price"),
        ("user_id,event_time,received_at,rating", "customer_id=user_id occurred_at=event_time satisfaction=rating"),
        ("customer_id,customer_unique_id,order_purchase_timestamp", "customer_id=customer_id"),
        ("customer_id,order_id,order_purchase_timestamp,payment_value", "amount=payment_value order_id=order_id"),
    ],
)
def test_columns_are_known_by_many_names(header: str, expected: str) -> None:
    assert dict(pair.split("=") for pair in expected.split()).items() <= chosen(header).items()


def test_a_mapped_column_goes_before_its_name_and_an_empty_one_means_none() -> None:
    assert chosen("a,b,id,amount,total", customer_id="b", occurred_at="A", amount="total", event_id="") == {
        "customer_id": "b",
        "occurred_at": "a",
        "amount": "total",
    }


@pytest.mark.parametrize(
    ("header", "mapping", "parts"),
    [
        ("date,amount", {}, ["--map customer_id=COLUMN", "columns found: date, amount"]),
        ("user,client,date", {}, ["--map customer_id=user or --map customer_id=client"]),
        ("customer_id,order_date,invoice_date", {}, ["--map occurred_at=order_date"]),
        ("customer_id,date,revenue,total", {}, ["--map amount=revenue", "--map amount= for none"]),
        ("customer_id,date,amount", {"amount": "betrag"}, ["--map amount=betrag: the column does not exist"]),
        ("customer_id,date,x,x", {"amount": "x"}, ["exists 2 times"]),
    ],
)
def test_unclear_columns_are_told_with_what_to_write(header: str, mapping: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(header, **mapping)
    told = " ".join([str(caught.value), *caught.value.faults])
    for part in parts:
        assert part in told
    assert caught.value.code == "unknown_columns"


def test_every_unclear_column_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        chosen("foo,revenue,total", type="nothing")
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_purchases_without_an_amount_column_stop_the_run(tmp_path: Path, name: str) -> None:
    text = '{"who": "c", "ts": 1714521600}\n' if name == "log.jsonl" else "who,ts\nc,1714521600\n"
    with pytest.raises(SettingsError, match="--map amount=COLUMN"):
        read_log(write(tmp_path / name, text), mapping={"customer_id": "who"})


def test_a_price_beside_a_quantity_is_not_taken_for_the_amount(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "InvoiceNo,Quantity,InvoiceDate,Price,Customer ID\n1,2,2024-05-01,3.5,c\n")
    with pytest.raises(SettingsError, match="product"):
        read_log(path)


def test_a_log_of_behaviour_or_of_fixed_values_needs_no_amounts(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "customer_id,ts,type\nc,2024-05-01,browse\nc,2024-05-02,watch\n")
    assert [event.amount for event in read_log(path).events] == [0.0, 0.5]
    policy = make_rules_policy(event_rules={"purchase": EventRule(Family.PURCHASE, fixed_value=2.0)})
    path = write(tmp_path / "visits.csv", "customer_id,ts\nc,2024-05-01\n")
    assert [event.amount for event in read_log(path, policy).events] == [2.0]


def test_a_mapped_path_that_no_object_has_is_told_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", '{"user": "c", "ts": 1714521600, "amount": 1}\n')
    with pytest.raises(SettingsError, match=r"satisfaction=properties\.ratng"):
        read_log(path, mapping={"satisfaction": "properties.ratng"})
    many = (
        '{"user": "c", "ts": 1714521600, "amount": 1}\n' * 3000
        + '{"user": "c", "ts": 1714521600, "amount": 1, "note": {"cur": "USD"}}\n'
    )
    outcome = read_log(write(tmp_path / "late.jsonl", many), mapping={"currency": "note.cur"})
    assert outcome.events[-1].amount == 0.5
