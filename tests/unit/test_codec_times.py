"""Times read as columns are those that the rule for one time gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.codec.time_columns import read_times_ms
from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.errors import InvalidEventError


def expected(value: Any) -> int | None:
    try:
        return parse_time_ms(value)
    except InvalidEventError:
        return None


def read(values: list[Any]) -> list[int | None]:
    times_ms, is_read = read_times_ms(values)
    return [time if ok else None for time, ok in zip(times_ms.tolist(), is_read.tolist(), strict=True)]


fields = st.tuples(
    st.sampled_from([0, 1, 1969, 1970, 1972, 2000, 2023, 2024, 2100, 2105, 2106, 9999]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from([0, 1, 12, 23, 24, 99]),
    st.sampled_from([0, 30, 59, 60]),
    st.sampled_from([0, 30, 59, 60, 61]),
)
fractions = st.sampled_from(["", ".", ".5", ",25", ".123", ".999999", ".123456789", ".1234567890", ".12x"])
zones = st.sampled_from(
    [
        "Z",
        "z",
        "",
        "+00:00",
        "-00:00",
        "+02:00",
        "-04:30",
        "+23:59",
        "+24:00",
        "+02:60",
        "+0200",
        "+02",
        " UTC",
        "*02:00",
    ]
)
near_times = st.builds(
    lambda parts, separator, fraction, zone: "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format(
        *parts[:3], separator, *parts[3:], fraction, zone
    ),
    fields,
    st.sampled_from(["T", " ", "t", "_"]),
    fractions,
    zones,
)
numbers = st.sampled_from([0, -1, 1, 10**11 - 1, 10**11, 4_294_967_295_000, 4_294_967_295_001, 10**30, 1.5, -0.5, 1e12])


@given(st.lists(near_times, max_size=6))
def test_texts_read_as_columns_are_those_of_the_rule(texts: list[str]) -> None:
    assert read(texts) == [expected(text) for text in texts]


@given(st.lists(near_times | numbers | st.text(max_size=40) | st.none(), max_size=6))
def test_times_of_all_kinds_in_one_batch_are_those_of_the_rule(values: list[Any]) -> None:
    assert read(values) == [expected(value) for value in values]


@given(st.lists(st.integers(), max_size=5))
def test_integers_read_as_a_column_are_those_of_the_rule(values: list[int]) -> None:
    assert read(values) == [expected(value) for value in values]


@pytest.mark.parametrize(
    "suffix", ["Z", ".1Z", ".12Z", ".123Z", ".123456Z", "+05:30", ".123456-05:30", ".123456789+00:00"]
)
def test_every_day_of_some_years_is_read_as_the_standard_library_does(suffix: str) -> None:
    texts = [
        f"{year}-{month:02}-{day:02}T23:59:58{suffix}"
        for year in (1971, 1972, 2000, 2024, 2100)
        for month in range(1, 13)
        for day in range(1, 29)
    ]
    cut = [text.replace("456789", "456") for text in texts]
    assert read(texts) == [round(datetime.fromisoformat(text).timestamp() * 1000 - 0.4) for text in cut]


def test_one_strange_time_does_not_change_its_neighbours() -> None:
    good = "2024-05-01T12:00:00Z"
    for strange in ("２０２４", "x" * 1_000_000, "", "\0", None, 5, 10**400):  # noqa: RUF001
        assert read([good, strange, good])[::2] == [1_714_564_800_000] * 2
