"""What the scanner says of a record is what a JSON parser says; of what is not flat it says nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.adapters.codec import EventDecoder
from stream_app.adapters.codec.flat_events import SpannedTexts
from stream_app.adapters.codec.flat_scan import FLAG, INTEGER, NOTHING, REAL, TEXT, FlatFields, Words, scan_records
from stream_app.adapters.codec.single_event import RECORD_BYTES_MAX
from tests.unit.codec_records import APPENDED_MS, POLICY, native

FIELDS = Words.of(["id", "ä", "amount"])
NAMES = ("id", "ä", "amount")
KINDS = {str: TEXT, bool: FLAG, type(None): NOTHING, int: INTEGER, float: REAL}

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
objects = st.builds(
    lambda flat, other: flat | other,
    st.dictionaries(st.sampled_from([*NAMES, "i", "idle", ""]), scalars, max_size=5),
    st.dictionaries(st.sampled_from(["other", "i"]), nested, max_size=2),
)
blanks = st.text(alphabet=" \t\r\n", max_size=2)


@st.composite
def spaced_records(draw: st.DrawFn) -> bytes:
    """Write an object with blanks wherever JSON allows them."""
    members = draw(objects).items()
    pieces = [draw(blanks), "{", draw(blanks)]
    for place, (name, value) in enumerate(members):
        written = [json.dumps(own, ensure_ascii=draw(st.booleans())) for own in (name, value)]
        pieces += [*([",", draw(blanks)] if place else []), written[0], draw(blanks), ":", draw(blanks), written[1]]
        pieces.append(draw(blanks))
    return "".join([*pieces, "}", draw(blanks)]).encode("utf-8", "surrogatepass")


@st.composite
def damaged_records(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(spaced_records()))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"}", b"0", b".", b"e", b"-", b"{"])
        )
    return bytes(raw)


def refuse_constant(_: str) -> None:
    raise ValueError


def parsed(record: bytes) -> list[tuple[str, Any]] | None:
    """Give the members of a record that is an object, and None for anything else."""
    try:
        document = json.loads(record.decode(), object_pairs_hook=tuple, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
    return list(document) if isinstance(document, tuple) else None


def assert_told(record: bytes, fields: FlatFields, row: int) -> None:
    """Hold what was found in a flat record against what a parser finds."""
    members = parsed(record)
    assert members is not None
    values = dict(members)
    for field, name in enumerate(NAMES):
        value = values.get(name)
        begin, end = int(fields.begins[field, row]), int(fields.ends[field, row])
        written = fields.content[begin:end].decode()
        kind = int(fields.kinds[field, row])
        if kind == REAL:
            assert isinstance(value, float) or (value, written) == (0, "-0")
        else:
            assert kind == KINDS[type(value)]
        assert (begin == end) == (value in (None, ""))
        if kind == TEXT:
            assert written == value
        number = float(fields.numbers(field)[row])
        assert np.isnan(number) or number == float(written)


@given(st.lists(spaced_records() | damaged_records() | st.binary(max_size=12), min_size=1, max_size=6))
@example([b'{"id":1}', b'{"id":"\xc3"}', b'\xa4{"id":"x"}'])
@example([b'{"id":"a', b'","id":"b"}'])
@example([b'{"amount":0.' + b"0" * 1200 + b"1e99999999999999999999}", b'{"amount":-0}', b'{"amount":1e-0}'])
def test_a_flat_record_is_read_as_a_parser_reads_it(records: list[bytes]) -> None:
    fields = scan_records(records, FIELDS)
    for row in np.flatnonzero(fields.is_flat).tolist():
        assert_told(records[row], fields, row)


@given(st.lists(spaced_records(), min_size=1, max_size=4))
def test_what_is_plain_is_told_to_be_flat(records: list[bytes]) -> None:
    fields = scan_records(records, FIELDS)
    for row, record in enumerate(records):
        names = [name for name, _ in parsed(record) or ()]
        assert fields.is_flat[row] == (b"\\" not in record and all(names.count(name) <= 1 for name in NAMES))


NOT_FLAT = [
    b"",
    b"{",
    b"[]",
    b"1",
    b'{"id":[]}',
    b'{"id":{"a":1}}',
    b'{"x":{"a":"\\n"}}',
    b'{"x":{"a":1,}}',
    b'{"x":{"a"}}',
    b'{"x":{1:2}}',
    b'{"x":{,}}',
    b'{"x":[1,]}',
    b'{"x":[,1]}',
    b'{"x":[1 2]}',
    b'{"x":[}',
    b'{"x":{]}',
    b'{"x":[1}}',
    b'{"x":{"a":1]}',
    b'{"x":[1]',
    b'{"x":' + b"[" * 61 + b"]" * 61 + b"}",
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"id":"\\u0041"}',
    b'{"id":"a\nb"}',
    b'{"id":"a\0b"}',
    b'{"id":01}',
    b'{"id":1.}',
    b'{"id":.5}',
    b'{"id":+1}',
    b'{"id":-}',
    b'{"id":1e}',
    b'{"id":nul}',
    b'{"id":NaN}',
    b'{"id":truee}',
    b'{"id":1,}',
    b'{"id":1}}',
    b'{"id":1}{}',
    b'{"id":1,"id":2}',
    b"{'id':1}",
    b'{"id" 1}',
    b"\xef\xbb\xbf{}",
    b'{"id":"\xff"}',
    b'{"id":"' + b"x" * RECORD_BYTES_MAX + b'"}',
]


@pytest.mark.parametrize("record", NOT_FLAT, ids=[repr(record[:12]) for record in NOT_FLAT])
def test_what_is_not_flat_is_left_to_others_and_harms_no_neighbour(record: bytes) -> None:
    sound = b'{"id":"a"}'
    assert scan_records([sound, record, sound], FIELDS).is_flat.tolist() == [True, False, True]


def test_what_is_nested_is_gone_over() -> None:
    deep = b"[" * 60 + b"]" * 60
    record = b'{"x":{"a":[1,{"id":"no"},[],{}],"b":{"amount":2}} , "id":"yes", "y":%b,"amount":3}' % deep
    fields = scan_records([record], FIELDS)
    assert fields.is_flat.tolist() == [True]
    assert record[fields.begins[0, 0] : fields.ends[0, 0]] == b"yes"
    assert fields.numbers(2).tolist() == [3.0]


@given(
    nested, st.integers(0, 40), st.sampled_from([b"", b",", b"]", b"}", b"[", b"{", b'"', b":", b"1"]), st.booleans()
)
def test_what_is_nested_and_damaged_is_never_called_flat(value: Any, place: int, piece: bytes, replaces: bool) -> None:
    raw = bytearray(json.dumps({"other": [value, {"a": value}]}).encode())
    raw[place : place + (len(piece) or 1) * replaces] = piece
    assert not scan_records([bytes(raw)], FIELDS).is_flat[0] or parsed(bytes(raw)) is not None


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**20), 10**20)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
)
def test_a_number_is_exact_or_not_read(value: Any) -> None:
    [number] = scan_records([b'{"amount":%b}' % str(value).encode()], FIELDS).numbers(2).tolist()
    assert np.isnan(number) or number == float(str(value))


@pytest.mark.parametrize(
    "text", ["0", "12.5", "-3.25", "0.1", "19.99", "1e5", "1.5E-3", "9007199254740992", "123456.789"]
)
def test_ordinary_numbers_are_read(text: str) -> None:
    assert scan_records([b'{"amount":%b}' % text.encode()], FIELDS).numbers(2).tolist() == [float(text)]


def test_plain_events_are_read_without_an_object_for_each_of_their_texts() -> None:
    records = [
        json.dumps(native(event_id=f"ä-{place}", order_id=place or None), ensure_ascii=False).encode()
        for place in range(5)
    ]
    records.append(json.dumps(native(type="login")).encode())
    decoded = EventDecoder(POLICY).decode_batch(records, APPENDED_MS, np.arange(6))
    ids = decoded.batch.event_ids
    assert isinstance(ids, SpannedTexts)
    assert (list(ids), ids[-1], list(ids[1:3]), ids.pick([4, 0])) == (
        [f"ä-{place}" for place in range(5)],
        "ä-4",
        ["ä-1", "ä-2"],
        ["ä-4".encode(), "ä-0".encode()],
    )
    assert decoded.order_ids == [None, "1", "2", "3", "4"]
    assert decoded.ignored_counts == {"unmapped_type": 1}
