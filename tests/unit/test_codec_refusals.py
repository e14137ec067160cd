"""Every fault of a record has its reason code, and a message that says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream_app.adapters.codec.single_event import RECORD_BYTES_MAX
from stream_app.domain.refusals import Refusal
from tests.unit.codec_records import APPENDED_MS, CONTRADICTING_POLICY, POLICY, as_bytes, decode, native, track, without

SOUND = json.dumps(native())


def sound_with(old: str, new: str) -> bytes:
    """Replace a piece of the JSON of a sound record."""
    assert old in SOUND
    return SOUND.replace(old, new).encode("utf-8", "surrogatepass")


TABLE: list[tuple[Refusal, Any]] = [
    (Refusal.MALFORMED_RECORD, b""),
    (Refusal.MALFORMED_RECORD, b"   "),
    (Refusal.MALFORMED_RECORD, b"not json"),
    (Refusal.MALFORMED_RECORD, SOUND[:-1].encode()),
    (Refusal.MALFORMED_RECORD, SOUND.encode() + b"}"),
    (Refusal.MALFORMED_RECORD, SOUND.encode() * 2),
    (Refusal.MALFORMED_RECORD, b"[]"),
    (Refusal.MALFORMED_RECORD, b"[" + SOUND.encode() + b"]"),
    (Refusal.MALFORMED_RECORD, b"null"),
    (Refusal.MALFORMED_RECORD, b'"text"'),
    (Refusal.MALFORMED_RECORD, b"17"),
    (Refusal.MALFORMED_RECORD, b"\xef\xbb\xbf" + SOUND.encode()),
    (Refusal.MALFORMED_RECORD, SOUND.encode("utf-8").replace(b"10.0", b"NaN")),
    (Refusal.MALFORMED_RECORD, SOUND.encode("utf-8").replace(b"10.0", b"-Infinity")),
    (Refusal.MALFORMED_RECORD, sound_with("10.0", "010")),
    (Refusal.MALFORMED_RECORD, sound_with("c-1", "c\n1")),
    (Refusal.MALFORMED_RECORD, sound_with("c-1", "c\\q1")),
    (Refusal.MALFORMED_RECORD, b'{"a":' * 100_000),
    (Refusal.MALFORMED_RECORD, b"[" * 1_000_000),
    (Refusal.MALFORMED_RECORD, sound_with("10.0", "10.0, 'x': 1")),
    (Refusal.RECORD_TOO_LARGE, native(properties={"note": "x" * RECORD_BYTES_MAX})),
    (Refusal.RECORD_TOO_LARGE, b"\xff" * (RECORD_BYTES_MAX + 1)),
    (Refusal.INVALID_UTF8, b"\xff\xfe{}"),
    (Refusal.INVALID_UTF8, sound_with("c-1", "c-\udc80")),
    (Refusal.INVALID_UTF8, SOUND.encode("utf-16")),
    (Refusal.INVALID_UTF8, SOUND[:-1].encode() + b', "note": "\xc3("}'),
    (Refusal.INVALID_UTF8, sound_with("c-1", "c-\\ud800")),
    (Refusal.INVALID_UTF8, sound_with("e-1", "\\udc00e-1")),
    (Refusal.INVALID_UTF8, sound_with("purchase", "\\ud800purchase")),
    (Refusal.MISSING_FIELD, {}),
    (Refusal.MISSING_FIELD, without(native(), "customer_id")),
    (Refusal.MISSING_FIELD, native(customer_id=None)),
    (Refusal.MISSING_FIELD, native(customer_id="")),
    (Refusal.MISSING_FIELD, without(native(), "event_id")),
    (Refusal.MISSING_FIELD, native(event_id=None)),
    (Refusal.MISSING_FIELD, native(event_id="")),
    (Refusal.MISSING_FIELD, without(native(), "occurred_at")),
    (Refusal.MISSING_FIELD, native(occurred_at=None)),
    (Refusal.MISSING_FIELD, native(occurred_at=" ")),
    (Refusal.MISSING_FIELD, without(native(), "amount")),
    (Refusal.MISSING_FIELD, native(amount=None)),
    (Refusal.MISSING_FIELD, native(type="deep")),
    (Refusal.MISSING_FIELD, native(type="deep", properties={"order": 12})),
    (Refusal.MISSING_FIELD, native(type="refund", amount=None)),
    (Refusal.MISSING_FIELD, track(event=None)),
    (Refusal.MISSING_FIELD, without(track(), "event")),
    (Refusal.MISSING_FIELD, without(track(), "messageId")),
    (Refusal.MISSING_FIELD, without(track(), "timestamp")),
    (Refusal.MISSING_FIELD, track(properties={})),
    (Refusal.MISSING_FIELD, track(properties=None)),
    (Refusal.WRONG_TYPE, native(amount="10")),
    (Refusal.WRONG_TYPE, native(amount=True)),
    (Refusal.WRONG_TYPE, native(amount=[10])),
    (Refusal.WRONG_TYPE, native(customer_id=1.5)),
    (Refusal.WRONG_TYPE, native(customer_id=False)),
    (Refusal.WRONG_TYPE, native(customer_id={"id": 1})),
    (Refusal.WRONG_TYPE, native(event_id=["e"])),
    (Refusal.WRONG_TYPE, native(type=7)),
    (Refusal.WRONG_TYPE, native(type=["purchase"])),
    (Refusal.WRONG_TYPE, native(occurred_at=True)),
    (Refusal.WRONG_TYPE, native(occurred_at={"iso": "2024"})),
    (Refusal.WRONG_TYPE, native(currency=978)),
    (Refusal.WRONG_TYPE, native(order_id=1.5)),
    (Refusal.WRONG_TYPE, native(properties="none")),
    (Refusal.WRONG_TYPE, native(properties=[])),
    (Refusal.WRONG_TYPE, native(type="rating", properties={"rating": "5"})),
    (Refusal.WRONG_TYPE, native(type="rating", properties={"rating": True})),
    (Refusal.WRONG_TYPE, track(event=["Order Completed"])),
    (Refusal.WRONG_TYPE, track(properties={"revenue": "10"})),
    (Refusal.INVALID_ID, native(customer_id="c\0")),
    (Refusal.INVALID_ID, native(customer_id="\0")),
    (Refusal.INVALID_ID, native(event_id="e\0x")),
    (Refusal.INVALID_ID, track(userId="u\0")),
    (Refusal.INVALID_ID, native(order_id="\0")),
    (Refusal.ID_TOO_LONG, native(customer_id="x" * 257)),
    (Refusal.ID_TOO_LONG, native(customer_id="é" * 129)),
    (Refusal.ID_TOO_LONG, native(event_id="x" * 500_000)),
    (Refusal.ID_TOO_LONG, native(customer_id=10**256)),
    (Refusal.ID_TOO_LONG, native(customer_id=10**599)),
    (Refusal.ID_TOO_LONG, native(order_id="x" * 257)),
    (Refusal.ID_TOO_LONG, native(order_id=10**300)),
    (Refusal.ID_TOO_LONG, track(messageId="😀" * 65)),
    (Refusal.INVALID_TIME, native(occurred_at="yesterday")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-02-30T00:00:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2023-02-29T00:00:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-13-01T00:00:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-00-01T00:00:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01T24:00:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01T12:60:00Z")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01T12:00:00")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01T12:00:00+24:00")),
    (Refusal.INVALID_TIME, native(occurred_at="2024-05-01T12:00:00Z\0")),
    (Refusal.INVALID_TIME, native(occurred_at="２０２４-05-01T12:00:00Z")),  # noqa: RUF001
    (Refusal.INVALID_TIME, native(occurred_at="9" * 500_000)),
    (Refusal.INVALID_TIME, sound_with('"2024-05-01T12:00:00Z"', "1e999")),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at="1969-12-31T23:59:59Z")),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at="1970-01-01T00:00:00+00:01")),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at="2106-02-07T06:28:16Z")),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at="9999-12-31T23:59:59-23:59")),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at=-1)),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at=APPENDED_MS * 1000)),
    (Refusal.TIME_OUT_OF_RANGE, native(occurred_at=10**400)),
    (Refusal.TIME_IN_FUTURE, native(occurred_at="2024-05-01T12:35:00.001Z")),
    (Refusal.TIME_IN_FUTURE, track(timestamp="2099-01-01T00:00:00Z")),
    (Refusal.AMOUNT_NOT_FINITE, sound_with("10.0", "1e999")),
    (Refusal.AMOUNT_NOT_FINITE, sound_with("10.0", "-1e999")),
    (Refusal.AMOUNT_NOT_FINITE, native(amount=10**400)),
    (Refusal.AMOUNT_NOT_FINITE, sound_with("10.0", "9" * 5000)),
    (Refusal.AMOUNT_OUT_OF_RANGE, native(amount=1_000_000.01)),
    (Refusal.AMOUNT_OUT_OF_RANGE, native(amount=-1_000_000.01)),
    (Refusal.AMOUNT_OUT_OF_RANGE, native(amount=2_000_001, currency="USD")),
    (Refusal.AMOUNT_OUT_OF_RANGE, native(amount=10**30)),
    (Refusal.UNKNOWN_CURRENCY, native(currency="XXX")),
    (Refusal.UNKNOWN_CURRENCY, native(currency="Euro")),
    (Refusal.UNKNOWN_CURRENCY, native(properties={"currency": "CHF"})),
    (Refusal.INVALID_SATISFACTION, native(type="rating", properties={"rating": 0})),
    (Refusal.INVALID_SATISFACTION, native(type="rating", properties={"rating": 5.01})),
    (Refusal.INVALID_SATISFACTION, native(type="effort", effort=8)),
    (Refusal.INVALID_SATISFACTION, as_bytes(native(type="effort", effort=5)).replace(b"5}", b"1e999}")),
]


def label(value: Any) -> str:
    return value.value if isinstance(value, Refusal) else repr(value)[:60]


@pytest.mark.parametrize(("code", "record"), TABLE, ids=label)
def test_a_faulty_record_is_refused_with_its_code(code: Refusal, record: Any) -> None:
    for policy in (POLICY, CONTRADICTING_POLICY):
        decoded = decode(native(), record, track(), policy=policy)
        assert [(refused.index, refused.code) for refused in decoded.refused] == [(1, code)]
        assert decoded.accepted_indices.tolist() == [0, 2]
        assert decoded.ignored_counts == {}


def test_every_reason_code_stands_in_the_table() -> None:
    # Whether a record has its customer's key is for the worker to see: tests/streaming/test_poison.py.
    assert {code for code, _ in TABLE} == set(Refusal) - {Refusal.UNKEYED}


@pytest.mark.parametrize(("code", "record"), TABLE, ids=label)
def test_a_message_is_one_short_line_that_says_what_to_do(code: Refusal, record: Any) -> None:
    (refused,) = decode(record).refused
    assert "\n" not in refused.message
    assert len(refused.message) < 400
    assert "; " in refused.message, "the action comes last, after a semicolon"
    refused.message.encode()


def test_the_first_fault_in_the_order_of_the_rules_is_told() -> None:
    faults = native(customer_id="", event_id="\0", occurred_at="never", amount="much")
    order = []
    for field in ("customer_id", "event_id", "occurred_at", "amount"):
        (refused,) = decode(faults).refused
        order.append(refused.code)
        faults[field] = native()[field]
    assert order == [Refusal.MISSING_FIELD, Refusal.INVALID_ID, Refusal.INVALID_TIME, Refusal.WRONG_TYPE]
    assert decode(faults).refused == []
