"""Records for tests of the codec: sound ones to change, the policy they are read under, and how to read one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stream_app.adapters.codec import DecodedBatch, EventDecoder
from stream_app.domain.events import Family
from stream_app.domain.policy import EventRule
from tests.factories import make_policy

APPENDED_MS = 1_714_566_600_000
"""2024-05-01T12:30:00Z."""

POLICY = make_policy(
    event_rules={
        "purchase": EventRule(Family.PURCHASE, amount_path=("amount",)),
        "Order Completed": EventRule(Family.PURCHASE, amount_path=("properties", "revenue")),
        "refund": EventRule(Family.REFUND, amount_path=("amount",)),
        "deep": EventRule(Family.PURCHASE, amount_path=("properties", "order", "sum of all $")),
        "subscription": EventRule(Family.PURCHASE, fixed_value=9.5),
        "article_read": EventRule(Family.CONTENT, fixed_value=0.25),
        "browse": EventRule(Family.BROWSE),
        "page": EventRule(Family.BROWSE),
        "rating": EventRule(Family.FEEDBACK, satisfaction_path=("properties", "rating"), satisfaction_range=(1.0, 5.0)),
        "effort": EventRule(Family.SUPPORT, satisfaction_path=("effort",), satisfaction_range=(7.0, 1.0)),
    },
    currency_rates={"EUR": 1.0, "USD": 0.5, "JPY": 1e-300},
    amount_max=1e6,
)
CONTRADICTING_POLICY = make_policy(
    event_rules={
        **POLICY.event_rules,
        "odd": EventRule(Family.PURCHASE, amount_path=("properties", "order")),
        "odder": EventRule(Family.PURCHASE, amount_path=("currency",)),
    },
    currency_rates=POLICY.currency_rates,
    amount_max=POLICY.amount_max,
)
"""The same for all types of `POLICY`, but with paths that no typed record can hold at once."""


def native(**fields: Any) -> dict[str, Any]:
    """Make a purchase of 10 EUR, with some fields replaced."""
    sound = {
        "event_id": "e-1",
        "customer_id": "c-1",
        "type": "purchase",
        "occurred_at": "2024-05-01T12:00:00Z",
        "amount": 10.0,
    }
    return sound | fields


def track(**fields: Any) -> dict[str, Any]:
    """Make a Segment track call of a purchase of 10 EUR, with some fields replaced."""
    sound = {
        "type": "track",
        "messageId": "m-1",
        "userId": "u-1",
        "event": "Order Completed",
        "timestamp": "2024-05-01T12:00:00Z",
        "properties": {"revenue": 10.0, "order_id": "o-1"},
    }
    return sound | fields


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    """Take a field out of a record."""
    return {key: value for key, value in record.items() if key != field}


def as_bytes(record: Any) -> bytes:
    """Write a record as JSON; bytes stay as they are."""
    return record if isinstance(record, bytes) else json.dumps(record).encode()


def decode(*records: Any, policy: Any = POLICY, appended_ms: Any = APPENDED_MS) -> DecodedBatch:
    """Decode records that all came at one time."""
    raw = [as_bytes(record) for record in records]
    return EventDecoder(policy).decode_batch(raw, appended_ms, np.arange(100, 100 + len(raw)))
