"""Columns of times are read as the rules for one event read each of them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_app.adapters.event_files.text_arrays import has_nul, pack_texts
from stream_app.adapters.event_files.times import TimeReader, parse_timezone
from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.identifiers import pack_ids

TIME_TEXT = st.from_regex(
    r"(19[67]\d|20[0-9]\d|2106|0000)-(0[1-9]|1[0-3])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-4]):[0-6]\d(:[0-6]\d([.,]\d{1,9})?)?( ?(Z|UTC|[+-]([01]\d|2[0-4]):?[0-6]\d|[+-]\d\d))?)?",
    fullmatch=True,
)
NUMBER_TEXT = st.from_regex(r"[+-]?\d{7,16}(\.\d{1,3})?", fullmatch=True)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "+05:30", "America/Los_Angeles", "Australia/Lord_Howe"])


Told = int | str
"""A time in milliseconds, or the code of a refusal."""


def alone(value: str | float, zone: str | None) -> Told:
    try:
        return parse_time_ms(value, parse_timezone(zone))
    except InvalidEventError as error:
        return error.code


def in_a_column(array: pa.Array, zone: str | None) -> list[Told]:
    column = TimeReader(parse_timezone(zone)).read(array)
    told: list[Told] = column.times_ms.tolist()
    for index, error in column.faults.items():
        told[index] = error.code
    return told


@settings(max_examples=300)
@given(texts=st.lists(TIME_TEXT | NUMBER_TEXT, min_size=1, max_size=4), zone=ZONES)
@example(texts=["2024-10-27 02:30"], zone="Europe/Berlin")
@example(texts=["2024-03-31 02:30"], zone="Europe/Berlin")
@example(texts=["2024-01-01T00:00:00+24:00"], zone="UTC")
@example(texts=["2024-04-07 01:45"], zone="Australia/Lord_Howe")
def test_a_column_of_text_is_read_as_each_text_alone(texts: list[str], zone: str) -> None:
    assert in_a_column(pa.array(texts), zone) == [alone(text, zone) for text in texts]


def is_no_date(value: float) -> bool:
    return not 19_700_101 <= value <= 21_061_231


INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2 * 10**12)
FLOATS = st.floats(allow_nan=False) | st.floats(0, 4e12)


@given(values=st.lists(INTEGERS.filter(is_no_date), min_size=1, max_size=4))
@example(values=[-(2**63)])
def test_a_column_of_integers_is_read_as_each_alone(values: list[int]) -> None:
    assert in_a_column(pa.array(values, pa.int64()), None) == [alone(value, None) for value in values]


@given(values=st.lists(FLOATS.filter(is_no_date), min_size=1, max_size=4))
def test_a_column_of_floats_is_read_as_each_alone(values: list[float]) -> None:
    finite = [value for value in values if abs(value) < float("inf")]
    assert in_a_column(pa.array(finite, pa.float64()), None) == [alone(value, None) for value in finite]
    for value in set(values) - set(finite):
        assert isinstance(in_a_column(pa.array([value]), None)[0], str)


@pytest.mark.parametrize("name", ["+02:00", "UTC+2", "gmt+0200", "Etc/GMT-2"])
def test_an_offset_is_a_zone(name: str) -> None:
    assert parse_time_ms("2024-05-01T02:00:00", parse_timezone(name)) == parse_time_ms("2024-05-01T00:00:00Z")


def test_a_zone_name_is_a_zone() -> None:
    assert parse_timezone("Europe/Berlin") == ZoneInfo("Europe/Berlin")


ID = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(texts=st.lists(ID, max_size=8), start=st.integers(0, 3))
def test_texts_of_arrow_become_the_same_bytes_as_a_list_of_ids(texts: list[str], start: int) -> None:
    packed = pack_texts(pa.array(texts, pa.string()).slice(start))
    assert packed.tolist() == pack_ids(texts[start:]).tolist()
    assert packed.dtype == pack_ids(texts[start:]).dtype


@given(texts=st.lists(st.text("a\0", max_size=3) | st.none(), max_size=8))
def test_nul_characters_are_found_in_the_texts_that_hold_them(texts: list[str | None]) -> None:
    assert has_nul(pa.array(texts, pa.string())).tolist() == [text is not None and "\0" in text for text in texts]
