"""No bytes whatsoever raise an error, and reading columns is the same as reading one record at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_app.adapters.codec import DecodedBatch, EventDecoder
from stream_app.adapters.codec.decoded import IgnoredReason
from stream_app.adapters.codec.single_event import SingleEvent, read_record
from stream_app.domain.errors import InvalidEventError
from tests.unit.codec_records import APPENDED_MS, CONTRADICTING_POLICY, POLICY, native, track

DECODERS = [EventDecoder(POLICY), EventDecoder(CONTRADICTING_POLICY)]

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
plausible: dict[str, st.SearchStrategy[Any]] = {
    "event_id": st.sampled_from(["e", "é", "", "e\0", 7, 10**30, "x" * 257, None]),
    "customer_id": st.sampled_from(["c", "😀", "", "\0", 0, -1, "é" * 129, None]),
    "type": st.sampled_from([*POLICY.event_rules, "track", "identify", "login", "", None]),
    "occurred_at": st.sampled_from(
        ["2024-05-01T12:00:00Z", "2024-05-01 12:00:00.12+02:00", "2024-02-30T00:00:00Z", 1, 1.5]
    ),
    "amount": st.sampled_from([1, -2.5, 0, 1e300, 10**400, None, "1"])
    | st.floats(allow_nan=False, allow_infinity=False),
    "currency": st.sampled_from(["EUR", "USD", "usd", "", None, "XXX", 5]),
    "order_id": st.sampled_from(["o", "", 0, None, 1.5]),
    "effort": st.sampled_from([1, 7, 8, None, "x"]),
    "messageId": st.sampled_from(["m", "", 3, None]),
    "userId": st.sampled_from(["u", "", 3, None]),
    "anonymousId": st.sampled_from(["a", None]),
    "event": st.sampled_from(["Order Completed", "refund", "Signed Up", "", None, 4]),
    "timestamp": st.sampled_from(["2024-05-01T12:00:00Z", "2024-05-01T12:00:00.123456Z", None, 1_700_000_000_123]),
    "properties": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "revenue": st.sampled_from([1, 2.5, -3, None, "4"]),
            "total": st.sampled_from([1, None]),
            "currency": st.sampled_from(["USD", "", None, "XXX"]),
            "order_id": st.sampled_from(["p", 0, None]),
            "rating": st.sampled_from([0, 1, 4.5, 5, None, "5"]),
            "order": st.sampled_from([3, {}, {"sum of all $": 2}, {"sum of all $": None}, None]),
        },
    ),
}
plausible_records = st.fixed_dictionaries({}, optional={k: v | any_json for k, v in plausible.items()})
likely_records = st.builds(
    lambda base, changed: base | changed,
    st.sampled_from([native(), track(), native(type="rating", properties={"rating": 3})]),
    st.fixed_dictionaries({}, optional=plausible),
)


def to_json(document: Any) -> bytes:
    return json.dumps(document).encode()


@st.composite
def damaged_records(draw: st.DrawFn) -> bytes:
    raw = bytearray(to_json(draw(likely_records)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


record_bytes = (
    likely_records.map(to_json)
    | plausible_records.map(to_json)
    | any_json.map(to_json)
    | damaged_records()
    | st.binary(max_size=30)
)


def outcome_of(record: bytes, policy: Any) -> SingleEvent | str:
    try:
        event = read_record(record, policy, APPENDED_MS)
    except InvalidEventError as error:
        return error.code
    return event.value if isinstance(event, IgnoredReason) else event


def assert_same(decoded: DecodedBatch, outcomes: Sequence[SingleEvent | str]) -> None:
    accepted = [(index, event) for index, event in enumerate(outcomes) if isinstance(event, SingleEvent)]
    batch = decoded.batch
    assert decoded.accepted_indices.tolist() == [index for index, _ in accepted]
    events = [event for _, event in accepted]
    assert batch.customer_ids.tolist() == [event.customer_id.encode() for event in events]
    assert list(batch.event_ids) == [event.event_id for event in events]
    assert decoded.types == [event.type for event in events]
    assert decoded.order_ids == [event.order_id for event in events]
    assert batch.times_ms.tolist() == [event.time_ms for event in events]
    assert batch.families.tolist() == [event.family for event in events]
    np.testing.assert_array_equal(batch.amounts, [event.amount for event in events], strict=False)
    np.testing.assert_array_equal(batch.satisfactions, [event.satisfaction for event in events], strict=False)
    ignored = [outcome for outcome in outcomes if outcome in tuple(IgnoredReason)]
    assert decoded.ignored_counts == {reason: ignored.count(reason) for reason in set(ignored)}
    refused = {refused.index: refused.code.value for refused in decoded.refused}
    assert refused == {
        index: outcome
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, str) and outcome not in tuple(IgnoredReason)
    }


@given(st.lists(record_bytes, max_size=8))
@example([b"", b"{}", b"\x00", b"{", b'{"type":"track","event":"refund"}'])
@example([to_json(native(customer_id=10**300)), to_json(native(occurred_at=10**300))])
def test_every_record_is_accepted_ignored_or_refused(records: list[bytes]) -> None:
    for decoder in DECODERS:
        decoded = decoder.decode_batch(records, APPENDED_MS, np.arange(len(records)))
        assert len(decoded.batch) + sum(decoded.ignored_counts.values()) + len(decoded.refused) == len(records)


@given(st.lists(likely_records.map(to_json) | plausible_records.map(to_json), min_size=1, max_size=6))
def test_columns_give_what_the_rules_of_one_record_give(records: list[bytes]) -> None:
    outcomes = [outcome_of(record, POLICY) for record in records]
    assert_same(DECODERS[0].decode_batch(records, APPENDED_MS, np.arange(len(records))), outcomes)


@given(st.lists(likely_records.map(to_json), max_size=6), st.integers(0, 6))
@settings(max_examples=30)
def test_how_records_are_cut_into_batches_changes_nothing(records: list[bytes], cut: int) -> None:
    parts = [records[:cut], records[cut:]]
    whole = DECODERS[0].decode_batch(records, APPENDED_MS, np.arange(len(records)))
    halves = [DECODERS[0].decode_batch(part, APPENDED_MS, np.arange(len(part))) for part in parts]
    assert list(whole.batch.event_ids) == [event_id for half in halves for event_id in half.batch.event_ids]
    assert whole.batch.event_keys.tolist() == [key for half in halves for key in half.batch.event_keys.tolist()]
    assert [refused.message for refused in whole.refused] == [
        refused.message for half in halves for refused in half.refused
    ]
