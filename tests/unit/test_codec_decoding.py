"""What the decoder accepts, what it makes of it, and what it ignores."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from stream_app.adapters.codec import EventDecoder
from stream_app.domain.events import Family, event_keys
from stream_app.domain.identifiers import pack_ids
from tests.factories import make_policy
from tests.unit.codec_records import APPENDED_MS, CONTRADICTING_POLICY, POLICY, decode, native, track, without

NOON_MS = 1_714_564_800_000


@pytest.mark.parametrize("policy", [POLICY, CONTRADICTING_POLICY], ids=["columns", "one by one"])
def test_an_event_becomes_one_element_of_every_column(policy: Any) -> None:
    decoded = decode(native(), track(), policy=policy)
    batch = decoded.batch
    assert batch.customer_ids.tolist() == [b"c-1", b"u-1"]
    assert list(batch.event_ids) == ["e-1", "m-1"]
    assert batch.event_keys.tolist() == event_keys(pack_ids(["e-1", "m-1"])).tolist()
    assert batch.times_ms.tolist() == [NOON_MS, NOON_MS]
    assert batch.families.tolist() == [Family.PURCHASE, Family.PURCHASE]
    assert batch.amounts.tolist() == [10.0, 10.0]
    assert np.isnan(batch.satisfactions).all()
    assert batch.positions.tolist() == [100, 101]
    assert decoded.types == ["purchase", "Order Completed"]
    assert decoded.order_ids == [None, "o-1"]
    assert decoded.accepted_indices.tolist() == [0, 1]
    assert (decoded.refused, decoded.ignored_counts) == ([], {})


MONEY = [
    (native(amount=12), Family.PURCHASE, 12.0),
    (native(amount=0), Family.PURCHASE, 0.0),
    (native(amount=-0.0), Family.PURCHASE, 0.0),
    (native(amount=-12.5), Family.REFUND, 12.5),
    (native(type="refund", amount=3), Family.REFUND, 3.0),
    (native(type="refund", amount=-3), Family.REFUND, 3.0),
    (native(amount=1e6), Family.PURCHASE, 1e6),
    (native(amount=3, currency="USD"), Family.PURCHASE, 1.5),
    (native(amount=3, currency="usd"), Family.PURCHASE, 1.5),
    (native(amount=3, currency=None), Family.PURCHASE, 3.0),
    (native(amount=3, currency=""), Family.PURCHASE, 3.0),
    (native(amount=3, properties={"currency": "USD"}), Family.PURCHASE, 1.5),
    (native(amount=3, currency="EUR", properties={"currency": "USD"}), Family.PURCHASE, 3.0),
    (native(type="deep", properties={"order": {"sum of all $": 7}}), Family.PURCHASE, 7.0),
    (native(type="subscription", amount=3), Family.PURCHASE, 9.5),
    (without(native(type="subscription"), "amount"), Family.PURCHASE, 9.5),
    (native(type="article_read", amount=3), Family.CONTENT, 0.25),
    (native(type="browse", amount=3, currency="XXX"), Family.BROWSE, 0.0),
    (native(type="browse", amount=1e300), Family.BROWSE, 0.0),
    (track(properties={"revenue": 8, "total": 9}), Family.PURCHASE, 8.0),
    (track(properties={"total": 9}), Family.PURCHASE, 9.0),
    (track(properties={"revenue": None, "total": 9}), Family.PURCHASE, 9.0),
    (track(properties={"revenue": 8, "currency": "USD"}), Family.PURCHASE, 4.0),
    (track(properties={"revenue": -8}), Family.REFUND, 8.0),
    (track(event="refund", properties={"total": 2}), Family.REFUND, 2.0),
    (native(amount=10**30, currency="JPY"), Family.PURCHASE, 10**30 * 1e-300),
]


@pytest.mark.parametrize(("record", "family", "amount"), MONEY)
def test_money_follows_type_sign_and_currency(record: dict[str, Any], family: Family, amount: float) -> None:
    for policy in (POLICY, CONTRADICTING_POLICY):
        batch = decode(record, policy=policy).batch
        assert (batch.families.tolist(), batch.amounts.tolist()) == ([family], [amount])
        assert not np.signbit(batch.amounts).any()


SATISFACTION = [
    (native(type="rating", properties={"rating": 1}), 0.0),
    (native(type="rating", properties={"rating": 4}), 0.75),
    (native(type="rating", properties={"rating": 5.0}), 1.0),
    (native(type="rating", properties={}), math.nan),
    (native(type="rating", properties={"rating": None}), math.nan),
    (native(type="rating"), math.nan),
    (native(type="effort", effort=7), 0.0),
    (native(type="effort", effort=1), 1.0),
    (native(type="browse", properties={"rating": 5}), math.nan),
]


@pytest.mark.parametrize(("record", "satisfaction"), SATISFACTION)
def test_satisfaction_is_mapped_from_worst_to_best(record: dict[str, Any], satisfaction: float) -> None:
    for policy in (POLICY, CONTRADICTING_POLICY):
        batch = decode(record, policy=policy).batch
        np.testing.assert_array_equal(batch.satisfactions, [satisfaction])


TIMES = [
    ("2024-05-01T12:00:00Z", NOON_MS),
    ("2024-05-01T12:00:00.1234567Z", NOON_MS + 123),
    ("2024-05-01T14:00:00+02:00", NOON_MS),
    ("2024-05-01 07:30:00.5-04:30", NOON_MS + 500),
    ("2024-05-01t12:00:00z", NOON_MS),
    (NOON_MS, NOON_MS),
    (NOON_MS // 1000, NOON_MS),
    (NOON_MS / 1000 + 0.25, NOON_MS + 250),
    (str(NOON_MS // 1000), NOON_MS),
    (0, 0),
]


@pytest.mark.parametrize(("value", "time_ms"), TIMES)
def test_times_are_text_with_a_zone_or_epoch_numbers(value: Any, time_ms: int) -> None:
    for record in (native(occurred_at=value), track(timestamp=value)):
        assert decode(record).batch.times_ms.tolist() == [time_ms]
        assert decode(record, native(event_id="e-2")).batch.times_ms.tolist() == [time_ms, NOON_MS]


def test_an_event_may_be_ahead_of_its_record_by_as_much_as_the_policy_says() -> None:
    limit_ms = APPENDED_MS + POLICY.future_skew_max_ms
    decoded = decode(native(occurred_at=limit_ms), native(occurred_at=limit_ms + 1))
    assert decoded.accepted_indices.tolist() == [0]
    assert [refused.code for refused in decoded.refused] == ["time_in_future"]


def test_each_record_has_an_append_time_of_its_own() -> None:
    appended = np.array([NOON_MS, 0, NOON_MS - POLICY.future_skew_max_ms])
    decoded = decode(native(), native(), native(), appended_ms=appended)
    assert decoded.accepted_indices.tolist() == [0, 2]
    assert [refused.index for refused in decoded.refused] == [1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(17, "17"), (0, "0"), (-5, "-5"), (10**40, "1" + "0" * 40), ("é😀", "é😀"), ("x" * 256, "x" * 256)],
)
def test_an_integer_as_id_is_its_decimal_text(value: Any, text: str) -> None:
    for record in (
        native(customer_id=value, event_id=value, order_id=value),
        track(userId=value, messageId=value, properties={"revenue": 1, "order_id": value}),
    ):
        decoded = decode(record)
        assert decoded.batch.customer_ids.tolist() == [text.encode()]
        assert (list(decoded.batch.event_ids), decoded.order_ids) == ([text], [text])


@pytest.mark.parametrize("absent", [None, "", "missing"])
def test_an_event_without_a_type_has_the_default_type(absent: Any) -> None:
    record = without(native(), "type") if absent == "missing" else native(type=absent)
    assert decode(record).types == ["purchase"]


def test_without_a_rule_for_the_default_type_such_events_are_ignored() -> None:
    decoded = decode(without(native(), "type"), policy=make_policy(default_event_type="sale"))
    assert decoded.ignored_counts == {"unmapped_type": 1}


IGNORED = [
    (native(type="login"), "unmapped_type"),
    (native(type="login", amount="much", customer_id=[]), "unmapped_type"),
    (native(type="login", amount="much"), "unmapped_type"),
    ({"type": "track"}, "unmapped_type"),
    (track(event="Signed Up"), "unmapped_type"),
    (track(type="identify"), "unmapped_type"),
    ({"type": "page", "messageId": "m", "anonymousId": "a"}, "unmapped_type"),
    ({"type": "alias", "userId": "u"}, "unmapped_type"),
    (without(track(), "userId"), "no_customer"),
    (track(userId=None), "no_customer"),
    (track(userId="", messageId=None), "no_customer"),
]


@pytest.mark.parametrize(("record", "reason"), IGNORED)
def test_what_is_no_event_of_a_customer_is_ignored_and_counted(record: dict[str, Any], reason: str) -> None:
    for policy in (POLICY, CONTRADICTING_POLICY):
        decoded = decode(native(), record, native(), policy=policy)
        assert decoded.ignored_counts == {reason: 1}
        assert decoded.accepted_indices.tolist() == [0, 2]
        assert decoded.refused == []


def test_a_native_event_may_have_the_type_of_a_segment_call() -> None:
    decoded = decode(native(type="page"), {"type": "page", "messageId": "m", "userId": "u"})
    assert decoded.types == ["page"]
    assert decoded.ignored_counts == {"unmapped_type": 1}


def test_a_batch_of_both_kinds_keeps_the_order_of_its_records() -> None:
    records: list[Any] = [
        track(messageId="0"),
        b"{",
        native(event_id="2", amount=-1),
        track(type="group"),
        native(event_id="4", type="rating", properties={"rating": 3}),
        native(event_id="5", amount="5"),
        track(messageId="6", properties={"total": 6, "currency": "usd"}),
        native(event_id="7", type="login"),
        native(event_id="8", occurred_at=NOON_MS),
    ]
    decoded = decode(*records)
    assert list(decoded.batch.event_ids) == ["0", "2", "4", "6", "8"]
    assert decoded.batch.amounts.tolist() == [10.0, 1.0, 0.0, 3.0, 10.0]
    assert decoded.batch.positions.tolist() == [100, 102, 104, 106, 108]
    assert decoded.types == ["Order Completed", "purchase", "rating", "Order Completed", "purchase"]
    assert decoded.order_ids == ["o-1", None, None, None, None]
    assert [refused.index for refused in decoded.refused] == [1, 5]
    assert decoded.ignored_counts == {"unmapped_type": 2}


def test_no_records_are_no_events() -> None:
    decoded = decode()
    assert len(decoded.batch) == 0
    assert (decoded.types, decoded.refused, decoded.ignored_counts) == ([], [], {})


def test_demographic_fields_are_never_looked_at() -> None:
    traits = {"age": "x" * 1000, "gender": ["?"], "address": {"city": None}}
    plain, dressed = decode(native()), decode(native(**traits, properties=traits))
    assert plain.batch.amounts.tolist() == dressed.batch.amounts.tolist()
    assert dressed.refused == []


def test_a_field_given_twice_counts_as_given_last() -> None:
    doubled = json.dumps(native())[:-1] + ', "amount": 20, "customer_id": "c-2"}'
    for policy in (POLICY, CONTRADICTING_POLICY):
        batch = decode(doubled.encode(), policy=policy).batch
        assert (batch.amounts.tolist(), batch.customer_ids.tolist()) == ([20.0], [b"c-2"])


def test_one_decoder_reads_many_batches() -> None:
    decoder = EventDecoder(POLICY)
    for round_number in range(3):
        record = json.dumps(native(amount=round_number)).encode()
        decoded = decoder.decode_batch([record], APPENDED_MS, np.array([round_number]))
        assert decoded.batch.amounts.tolist() == [float(round_number)]
        assert decoded.batch.positions.tolist() == [round_number]
