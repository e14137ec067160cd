"""Durations are read strictly, bounded, and written so that they can be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.durations import DURATION_MAX_MS, format_duration, parse_duration_ms
from stream_app.domain.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0d", 0),
        ("1s", 1_000),
        ("90s", 90_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("007d", 604_800_000),
        ("2w", 1_209_600_000),
        ("36500d", DURATION_MAX_MS),
    ],
)
def test_a_whole_number_and_a_unit_make_a_duration(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "m",
        "5 m",
        " 5m",
        "5m ",
        "5m\n",
        "-5m",
        "+5m",
        "1.5h",
        "1h30m",
        "5M",
        "5min",
        "1e3s",
        "1_0s",
        "٣d",
        "0x1d",
        "1y",
        "nan",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(SettingsError, match="whole number with one unit of s, m, h, d, w") as caught:
        parse_duration_ms(text)
    assert caught.value.code == "invalid_duration"
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("text", ["36501d", "5215w", "999999999999999w", "9" * 15 + "s"])
def test_a_duration_of_more_than_a_hundred_years_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="at most 36500d"):
        parse_duration_ms(text)


@pytest.mark.parametrize("text", ["9" * 16 + "s", "1" * 5_000 + "d"])
def test_an_absurdly_long_number_is_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_duration_ms(text)
    assert len(str(caught.value)) < 250


@given(st.integers(0, DURATION_MAX_MS // 1000))
def test_a_written_duration_reads_back_as_itself(seconds: int) -> None:
    assert parse_duration_ms(format_duration(seconds * 1000)) == seconds * 1000
