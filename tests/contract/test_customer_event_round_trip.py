"""An event that fits its schema and the policy is read back as it was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.codec import EventDecoder
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.events import TIME_MAX_MS, Family
from tests.contract.schemas import load_schema, track_validator, validator_of

POLICY = load_policy(None)
DECODER = EventDecoder(POLICY)

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64)
amounts = st.floats(-1e9, 1e9)
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Two days inside of the allowed range, so that no offset leads out of the calendar.
moments = st.integers(2 * 86_400_000, TIME_MAX_MS - 2 * 86_400_000)


def written(time_ms: int, zone: timezone, form: str) -> Any:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
    if form == "number":
        return time_ms if time_ms >= 10**11 else time_ms / 1000
    if form == "utc":
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"
    return moment.astimezone(zone).isoformat(timespec="microseconds")


@given(ids, ids, moments, zones, st.sampled_from(["number", "utc", "zone"]), amounts)
def test_a_native_event_is_read_as_it_was_written(
    event_id: str, customer_id: str, time_ms: int, zone: timezone, form: str, amount: float
) -> None:
    event = {
        "event_id": event_id,
        "customer_id": customer_id,
        "type": "purchase",
        "occurred_at": written(time_ms, zone, form),
        "amount": amount,
        "currency": POLICY.reporting_currency,
        "order_id": event_id,
    }
    validator_of("customer_event").validate(event)
    decoded = DECODER.decode_batch([json.dumps(event).encode()], TIME_MAX_MS, np.array([5]))
    batch = decoded.batch
    assert decoded.refused == []
    assert batch.customer_ids.tolist() == [customer_id.encode()]
    assert list(batch.event_ids) == decoded.order_ids == [event_id]
    assert batch.times_ms.tolist() == [time_ms]
    assert batch.families.tolist() == [Family.REFUND if amount < 0 else Family.PURCHASE]
    assert batch.amounts.tolist() == [abs(amount)]


def test_the_examples_of_the_schema_are_accepted_or_ignored_as_it_says() -> None:
    schema = load_schema("customer_event")
    examples = schema["examples"] + schema["$defs"]["segment_track"]["examples"]
    records = [json.dumps(example).encode() for example in examples]
    decoded = DECODER.decode_batch(records, TIME_MAX_MS, np.arange(len(records)))
    assert decoded.refused == []
    assert decoded.types == ["purchase", "rating", "purchase", "Order Completed"]
    assert decoded.ignored_counts == {"no_customer": 1}
    assert decoded.batch.amounts.tolist() == [59.9, 0.0, 12.0, 54.4]
    assert decoded.batch.satisfactions.tolist()[1] == 0.75


INVALID = [
    {"event_id": "e", "customer_id": "c"},
    {"event_id": "", "customer_id": "c", "occurred_at": 1},
    {"event_id": "e", "customer_id": "c\0", "occurred_at": 1},
    {"event_id": "e", "customer_id": None, "occurred_at": 1},
    {"event_id": "e", "customer_id": "c", "occurred_at": "yesterday", "amount": 1},
    {"event_id": "e", "customer_id": "c", "occurred_at": "2024-05-01T12:00:00", "amount": 1},
    {"event_id": "e", "customer_id": "c", "occurred_at": -1, "amount": 1},
    {"event_id": "e", "customer_id": "c", "occurred_at": 1, "amount": "1"},
    {"event_id": "e", "customer_id": "c", "occurred_at": 1, "amount": 1, "currency": 1},
    {"event_id": "e", "customer_id": "c", "occurred_at": 1, "amount": 1, "properties": []},
]


@pytest.mark.parametrize("event", INVALID)
def test_what_the_schema_forbids_is_refused(event: dict[str, Any]) -> None:
    assert not validator_of("customer_event").is_valid(event)
    assert len(DECODER.decode_batch([json.dumps(event).encode()], TIME_MAX_MS, np.array([0])).refused) == 1


def test_the_schema_of_track_calls_forbids_other_calls() -> None:
    call = load_schema("customer_event")["$defs"]["segment_track"]["examples"][0]
    assert not track_validator().is_valid(call | {"type": "identify"})
