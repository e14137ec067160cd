"""Whose record it is can be read from records that are no events, and is the same as in those that are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream_app.adapters.codec import EventDecoder
from stream_app.adapters.codec.single_event import read_customer_id
from stream_app.domain.errors import InvalidEventError
from tests.unit.codec_records import APPENDED_MS, POLICY, native, track


@pytest.mark.parametrize(
    "record",
    [
        native(),
        native(customer_id=7),
        native(customer_id="k\u00e4ufer \U0001f6d2"),
        native(userId="someone else"),
        native(type="page"),
        track(),
        track(userId=12),
        track(customer_id=None),
    ],
)
def test_an_event_and_its_record_name_the_same_customer(record: dict[str, Any]) -> None:
    value = json.dumps(record).encode()
    [customer_id] = EventDecoder(POLICY).decode_batch([value], APPENDED_MS, np.arange(1)).batch.customer_ids.tolist()
    assert read_customer_id(value).encode() == customer_id


def test_of_a_field_that_is_there_twice_the_last_one_counts_in_both() -> None:
    value = json.dumps(native()).encode().replace(b"{", b'{"customer_id":"first",', 1)
    [customer_id] = EventDecoder(POLICY).decode_batch([value], APPENDED_MS, np.arange(1)).batch.customer_ids.tolist()
    assert read_customer_id(value).encode() == customer_id == b"c-1"


@pytest.mark.parametrize(
    "record",
    [
        native(type="no type of ours"),
        native(amount="free"),
        native(occurred_at="never"),
        native(event_id=None),
        {"type": "identify", "userId": "c-1"},
        {"type": "stream_app.erase", "customer_id": "c-1"},
    ],
)
def test_what_is_no_event_still_names_its_customer(record: dict[str, Any]) -> None:
    assert read_customer_id(json.dumps(record).encode()) == "c-1"


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"\xff", b"{}", b'{"customer_id":""}', b'{"customer_id":true}', b'{"customer_id":"a\\u0000"}'],
)
def test_what_names_nobody_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidEventError):
        read_customer_id(value)


def test_an_id_that_is_too_long_is_no_id() -> None:
    with pytest.raises(InvalidEventError, match="shorten it"):
        read_customer_id(json.dumps(native(customer_id="x" * 257)).encode())
