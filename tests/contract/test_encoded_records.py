"""Whatever the engine tells, what is written validates against its schema and is the same to the byte."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.codec import (
    ChangeEncoder,
    CurrentSegmentEncoder,
    CurrentSegments,
    change_headers,
    encode_current_segments,
)
from stream_app.domain.effects import Cause, Changes
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.policy import Treatment
from stream_app.domain.reasons import Term, explain, spend_past_year, spend_recent_months
from stream_app.domain.rows import PROSPECT, UNRATED
from tests.contract.schemas import SCHEMA_FOLDER, load_schema, validator_of
from tests.factories import make_axis, make_policy

POLICY = make_policy(
    axes=(make_axis(), make_axis(name="growth", score="growth", tiers=("declining", "steady", "growing", "<b>&\"'"))),
    treatment_rules=(
        (("vip", "*"), Treatment("human", "Call </script> „morgen“")),
        (("*", "*"), Treatment("digital", "newsletter")),
    ),
)
TERMS: Mapping[str, tuple[Term, ...]] = {
    "value": (spend_recent_months(0.5), spend_past_year(0.5)),
    "growth": (spend_recent_months(2.0),),
}
N_TERMS = 2
EXAMPLES = 40

nasty_ids = st.one_of(
    st.sampled_from(
        ["<script>alert(1)</script>", '"', "\\", "\x01\x1f\x7f", "\u2028\ud7ff", "😀" * 64, "x" * 256, "0", "é"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
terms_of_scores = st.floats(-1e6, 1e6)


class FileSources:
    """Events of one file, whose rows are their indices."""

    def of_event(self, index: int) -> Mapping[str, object]:
        return {"file": "events.csv", "row": index + 1}


@st.composite
def changes_of_any_kind(draw: st.DrawFn) -> tuple[Changes, list[str]]:
    n = draw(st.integers(1, 4))
    axes = draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n))
    tiers = [len(POLICY.axes[axis].tiers) for axis in axes]
    states = [st.integers(PROSPECT, len(axis.tiers) - 1) for axis in POLICY.axes]
    event_ids = draw(st.lists(nasty_ids, min_size=n, max_size=n))

    def column(elements: st.SearchStrategy[Any], dtype: Any) -> Any:
        return np.array(draw(st.lists(elements, min_size=n, max_size=n)), dtype=dtype)

    changes = Changes(
        event_indices=column(st.integers(-1, n - 1), np.int64),
        customer_ids=pack_ids(draw(st.lists(nasty_ids, min_size=n, max_size=n))),
        sequences=column(st.integers(1, 2**32 - 1), np.uint32),
        axes=np.array(axes, dtype=np.uint8),
        from_tiers=np.array([draw(st.integers(UNRATED, count - 1)) for count in tiers], dtype=np.int8),
        to_tiers=np.array([draw(st.integers(0, count - 1)) for count in tiers], dtype=np.int8),
        segments=np.array([[draw(state) for state in states] for _ in range(n)], dtype=np.int8),
        scores=column(finite, np.float64),
        percentiles=column(st.floats(0, 100), np.float64),
        cut_points=column(finite | st.just(math.nan), np.float64),
        causes=column(st.sampled_from(Cause), np.uint8),
        is_triggered=column(st.booleans(), np.bool_),
        term_values=np.array([[draw(terms_of_scores) for _ in range(N_TERMS)] for _ in range(n)]),
        contributions=np.array([[draw(terms_of_scores) for _ in range(N_TERMS)] for _ in range(n)]),
        effective_at_ms=column(st.integers(0, (2**32 - 1) * 1000), np.int64),
    )
    return changes, event_ids


def encode(changes: Changes, event_ids: list[str]) -> list[bytes]:
    encoder = ChangeEncoder(POLICY, TERMS)
    return encoder.encode(changes, knowledge_version=7, event_ids=event_ids, sources=FileSources())


@given(changes_of_any_kind())
@settings(max_examples=EXAMPLES)
def test_every_segment_change_that_is_written_is_valid(told: tuple[Changes, list[str]]) -> None:
    changes, event_ids = told
    records = encode(changes, event_ids)
    assert len(records) == len(changes)
    for place, record in enumerate(records):
        change = json.loads(record)
        validator_of("segment_changed").validate(change)
        assert list(change) == load_schema("segment_changed")["required"]
        assert b"\n" not in record
        assert change["customer_id"].encode() == changes.customer_ids[place]
        assert change["score"] == changes.scores[place]
        assert (change["from_tier"] is None) == (changes.from_tiers[place] == UNRATED)


@given(changes_of_any_kind())
@settings(max_examples=EXAMPLES)
def test_changes_are_written_the_same_alone_and_together(told: tuple[Changes, list[str]]) -> None:
    changes, event_ids = told
    alone = [
        encode(replace(changes, **{name: getattr(changes, name)[[row]] for name in changes.__slots__}), event_ids)[0]
        for row in range(len(changes))
    ]
    assert encode(changes, event_ids) == alone


@given(changes_of_any_kind())
@settings(max_examples=EXAMPLES)
def test_reasons_in_a_change_are_those_of_its_own_axis(told: tuple[Changes, list[str]]) -> None:
    changes, event_ids = told
    for place, record in enumerate(encode(changes, event_ids)):
        axis = POLICY.axes[int(changes.axes[place])].name
        values, gains = changes.term_values[place].tolist(), changes.contributions[place].tolist()
        assert json.loads(record)["reasons"] == explain(TERMS[axis], values, gains, "EUR")


@given(changes_of_any_kind())
@settings(max_examples=EXAMPLES)
def test_a_change_in_a_tick_has_the_tick_as_its_source_and_no_trigger(told: tuple[Changes, list[str]]) -> None:
    changes, _ = told
    ticked = replace(changes, event_indices=np.full(len(changes), -1))
    for record in encode(ticked, []):
        change = json.loads(record)
        assert change["source"] == {"tick": change["effective_at"]}
        assert change["trigger_event_id"] is None


def one_change(**columns: Any) -> Changes:
    fields: dict[str, Any] = {
        "event_indices": np.array([0]),
        "customer_ids": pack_ids(["c-1"]),
        "sequences": np.array([3], dtype=np.uint32),
        "axes": np.array([0], dtype=np.uint8),
        "from_tiers": np.array([0], dtype=np.int8),
        "to_tiers": np.array([2], dtype=np.int8),
        "segments": np.array([[2, UNRATED]], dtype=np.int8),
        "scores": np.array([4.5]),
        "percentiles": np.array([95.1]),
        "cut_points": np.array([4.25]),
        "causes": np.array([Cause.EVENT], dtype=np.uint8),
        "is_triggered": np.array([True]),
        "term_values": np.log1p([[182.0, 12345.6]]) / 2,
        "contributions": np.log1p([[182.0, 12345.6]]) / 2 - np.log1p([[41.0, 3.5]]) / 2,
        "effective_at_ms": np.array([1_714_566_600_250]),
    }
    return Changes(**(fields | columns))


def test_a_change_is_written_to_the_letter() -> None:
    (record,) = encode(one_change(), ["e-9"])
    change_id = blake2b(b"c-1\x003", digest_size=16).hexdigest()
    assert record.decode() == (
        f'{{"change_id":"{change_id}","customer_id":"c-1","sequence":3,"axis":"value","from_tier":"small",'
        '"to_tier":"vip","segment":{"value":"vip","growth":"unrated"},"score":4.5,"percentile":95.1,"cut_point":4.25,'
        '"cause":"event","trigger_event_id":"e-9","reasons":[{"term":"spend_past_year",'
        f'"contribution":{json.loads(record)["reasons"][0]["contribution"]!r},'
        '"text":"spent about 12,346 EUR, older purchases counting less year by year; '
        'a typical customer about 3.50 EUR"},'
        f'{{"term":"spend_recent_months","contribution":{json.loads(record)["reasons"][1]["contribution"]!r},'
        '"text":"spent about 182 EUR, recent months counting most; a typical customer about 41 EUR"}],'
        '"treatment":{"channel":"human","action":"Call </script> „morgen“"},"effective_at":"2024-05-01T12:30:00.250Z",'
        f'"policy_version":"{POLICY.content_hash}","knowledge_version":7,"source":{{"file":"events.csv","row":1}}}}'
    )


def test_the_ids_of_changes_cannot_be_confused() -> None:
    first = encode(one_change(customer_ids=pack_ids(["c1"]), sequences=np.array([11], dtype=np.uint32)), ["e"])
    second = encode(one_change(customer_ids=pack_ids(["c11"]), sequences=np.array([1], dtype=np.uint32)), ["e"])
    assert json.loads(first[0])["change_id"] != json.loads(second[0])["change_id"]


def test_an_event_that_only_confirmed_a_change_is_its_source_but_not_its_trigger() -> None:
    change = json.loads(encode(one_change(is_triggered=np.array([False])), ["e-9"])[0])
    assert change["trigger_event_id"] is None
    assert change["source"] == {"file": "events.csv", "row": 1}


def test_no_changes_are_no_records() -> None:
    nothing = replace(one_change(), **{name: getattr(one_change(), name)[:0] for name in Changes.__slots__})
    assert encode(nothing, []) == []
    assert change_headers(nothing, [], source="urn:x") == []


def test_headers_of_a_change_are_the_attributes_of_a_cloud_event() -> None:
    changes = one_change()
    (headers,) = change_headers(changes, encode(changes, ["e-9"]), source="urn:stream-app:shop")
    change = json.loads(encode(changes, ["e-9"])[0])
    assert dict(headers) == {
        "ce_id": change["change_id"].encode(),
        "ce_time": change["effective_at"].encode(),
        "ce_specversion": b"1.0",
        "ce_type": b"stream_app.segment_changed.v1",
        "ce_source": b"urn:stream-app:shop",
        "ce_dataschema": load_schema("segment_changed")["$id"].encode(),
        "content-type": b"application/json",
    }
    described = (SCHEMA_FOLDER / "asyncapi.yaml").read_text(encoding="utf-8")
    assert f"required: [{', '.join(name for name, _ in headers)}]" in described


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_every_current_segment_that_is_written_is_valid(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 4))
    states = [st.integers(PROSPECT, len(axis.tiers) - 1) for axis in POLICY.axes]
    customers = CurrentSegments(
        customer_ids=pack_ids(data.draw(st.lists(nasty_ids, min_size=n, max_size=n))),
        segments=np.array([[data.draw(state) for state in states] for _ in range(n)], dtype=np.int8).reshape(n, 2),
        scores=np.array([[data.draw(finite | st.just(math.nan)) for _ in range(2)] for _ in range(n)]).reshape(n, 2),
        sequences=np.array(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n)), dtype=np.uint32),
        as_of_ms=np.array(data.draw(st.lists(st.integers(0, 2**42), min_size=n, max_size=n)), dtype=np.int64),
    )
    records = encode_current_segments(POLICY, customers, knowledge_version=3)
    assert records == CurrentSegmentEncoder(POLICY).encode(customers, knowledge_version=3)
    assert len(records) == n
    for place, record in enumerate(records):
        current = json.loads(record)
        validator_of("current_segment").validate(current)
        assert list(current) == load_schema("current_segment")["required"]
        for written, score in zip(current["scores"].values(), customers.scores[place].tolist(), strict=True):
            assert written == (None if math.isnan(score) else score)


FAULTS: list[dict[str, Any]] = [
    {"cause": "weather"},
    {"sequence": 0},
    {"source": {}},
    {"source": {"tick": "2024-05-01T12:00:00.000Z", "file": "a", "row": 1}},
    {"more": 1},
    {"effective_at": "2024-05-01"},
    {"segment": {}},
    {"percentile": 100.1},
    {"score": None},
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_schema_refuses_what_is_never_written(fault: dict[str, Any]) -> None:
    change = json.loads(encode(one_change(), ["e-9"])[0])
    assert validator_of("segment_changed").is_valid(change)
    assert not validator_of("segment_changed").is_valid(change | fault)
