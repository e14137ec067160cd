"""The rules for one event's fields, which the wire and event files share."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed_offset
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.event_rules import (
    check_id,
    classify,
    convert_amount,
    parse_time_ms,
    scale_satisfaction,
    shown,
)
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import TIME_MAX_MS, Family
from stream_app.domain.policy import EventRule
from stream_app.domain.refusals import Refusal
from tests.factories import make_policy

NOON_MS = 1_714_564_800_000
BERLIN = ZoneInfo("Europe/Berlin")
POLICY = make_policy(currency_rates={"EUR": 1.0, "USD": 0.9}, amount_max=1000.0)


def code_of(error: pytest.ExceptionInfo[InvalidEventError]) -> str:
    return error.value.code


ACCEPTED = [
    ("2024-05-01T12:00:00Z", NOON_MS),
    ("  2024-05-01T12:00:00Z\t", NOON_MS),
    ("2024-05-01 12:00:00 UTC", NOON_MS),
    ("2024-05-01 12:00:00 GMT", NOON_MS),
    ("2024-05-01 12:00:00 +00:00", NOON_MS),
    ("2024-05-01 14:00:00+02", NOON_MS),
    ("2024-05-01T14:00:00+0200", NOON_MS),
    ("2024-05-01T12:00Z", NOON_MS),
    ("2024-05-01T12Z", NOON_MS),
    ("20240501T120000Z", NOON_MS),
    ("2024-05-01T12:00:00,5Z", NOON_MS + 500),
    ("2024-05-01T12:00:00.0009Z", NOON_MS),
    ("2024-05-01T11:59:60Z", NOON_MS),
    ("1969-12-31T23:59:59-00:01", 59_000),
    ("2106-02-07T06:28:15Z", TIME_MAX_MS),
    ("1714564800", NOON_MS),
    ("1714564800.25", NOON_MS + 250),
    ("1714564800000", NOON_MS),
    (1_714_564_800, NOON_MS),
    (1_714_564_800_000, NOON_MS),
    (1_714_564_800.25, NOON_MS + 250),
    (1_714_564_800_000.4, NOON_MS),
    (99_999_999, 99_999_999_000),
    (10**11, 10**11),
    (0, 0),
]


@pytest.mark.parametrize(("value", "time_ms"), ACCEPTED)
def test_a_time_with_a_zone_is_read(value: Any, time_ms: int) -> None:
    assert parse_time_ms(value) == time_ms
    assert parse_time_ms(value, BERLIN) == time_ms


NAIVE = [
    ("2024-05-01", NOON_MS - 14 * 3_600_000),
    ("20240501", NOON_MS - 14 * 3_600_000),
    ("2024-05-01 12:00", NOON_MS - 2 * 3_600_000),
    ("2024-05-01T12:00:00.123", NOON_MS - 2 * 3_600_000 + 123),
    ("2024-01-15T12:00:00", 1_705_316_400_000),
    # The hour that occurs twice when summer time ends: the first time.
    ("2024-10-27T02:30:00", 1_729_989_000_000),
]


@pytest.mark.parametrize(("text", "time_ms"), NAIVE)
def test_a_time_without_a_zone_is_in_the_zone_of_its_source_or_refused(text: str, time_ms: int) -> None:
    assert parse_time_ms(text, BERLIN) == time_ms
    with pytest.raises(InvalidEventError) as error:
        parse_time_ms(text)
    assert code_of(error) == Refusal.INVALID_TIME
    assert "zone" in str(error.value)


REFUSED = [
    ("", Refusal.MISSING_FIELD),
    ("   ", Refusal.MISSING_FIELD),
    ("2024", Refusal.INVALID_TIME),
    ("12345678Z", Refusal.INVALID_TIME),
    ("2024-0501", Refusal.INVALID_TIME),
    ("2024-5-1", Refusal.INVALID_TIME),
    ("01.05.2024", Refusal.INVALID_TIME),
    ("05/01/2024", Refusal.INVALID_TIME),
    ("2024-05-01T", Refusal.INVALID_TIME),
    ("2024-05-01T12:00:00.Z", Refusal.INVALID_TIME),
    ("2024-05-01T12:00:61Z", Refusal.INVALID_TIME),
    ("2024-05-01T12:00:00+02:60", Refusal.INVALID_TIME),
    ("2024-05-01\n", Refusal.INVALID_TIME),
    ("0000-01-01T00:00:00Z", Refusal.INVALID_TIME),
    ("0001-01-01T00:00:00+23:00", Refusal.TIME_OUT_OF_RANGE),
    ("٢٠٢٤-05-01T12:00:00Z", Refusal.INVALID_TIME),
    ("nan", Refusal.INVALID_TIME),
    ("1e9", Refusal.INVALID_TIME),
    (math.nan, Refusal.INVALID_TIME),
    (math.inf, Refusal.INVALID_TIME),
    (-1, Refusal.TIME_OUT_OF_RANGE),
    (-0.001, Refusal.TIME_OUT_OF_RANGE),
    (1e300, Refusal.TIME_OUT_OF_RANGE),
    (1_714_564_800_000_000, Refusal.TIME_OUT_OF_RANGE),
    (True, Refusal.WRONG_TYPE),
    (None, Refusal.WRONG_TYPE),
    ([], Refusal.WRONG_TYPE),
]


@pytest.mark.parametrize(("value", "code"), REFUSED)
def test_what_is_no_time_is_refused_with_its_code(value: Any, code: Refusal) -> None:
    with pytest.raises(InvalidEventError) as error:
        parse_time_ms(value)
    assert code_of(error) == code


@given(st.text() | st.integers() | st.floats(), st.sampled_from([None, BERLIN, UTC]))
def test_no_value_raises_anything_but_a_refusal(value: Any, zone: Any) -> None:
    try:
        assert 0 <= parse_time_ms(value, zone) <= TIME_MAX_MS
    except InvalidEventError as error:
        Refusal(error.code)


@given(st.datetimes(datetime(1970, 1, 3), datetime(2106, 2, 1)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_a_time_is_read_as_the_standard_library_does(moment: datetime, offset_minutes: int) -> None:
    zoned = moment.replace(tzinfo=fixed_offset(timedelta(minutes=offset_minutes)))
    exact_ms = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_time_ms(zoned.isoformat()) == exact_ms


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Refusal.MISSING_FIELD),
        ("a\0", Refusal.INVALID_ID),
        ("x" * 257, Refusal.ID_TOO_LONG),
        ("é" * 129, Refusal.ID_TOO_LONG),
        ("\ud800", Refusal.INVALID_UTF8),
    ],
)
def test_an_id_beyond_its_limits_is_refused(text: str, code: Refusal) -> None:
    with pytest.raises(InvalidEventError, match="customer_id") as error:
        check_id(text, field="customer_id")
    assert code_of(error) == code


@pytest.mark.parametrize("text", ["0", " ", "x" * 256, "é" * 128, "😀" * 64, "<script>", "\x01"])
def test_an_id_within_its_limits_passes(text: str) -> None:
    check_id(text, field="event_id")


@pytest.mark.parametrize(
    ("amount", "currency", "converted"),
    [(10.0, None, 10.0), (10.0, "", 10.0), (-10.0, "USD", -9.0), (10.0, " usd ", 9.0), (1000.0, "EUR", 1000.0)],
)
def test_an_amount_is_converted_and_keeps_its_sign(amount: float, currency: str | None, converted: float) -> None:
    assert convert_amount(amount, currency, POLICY) == converted


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (math.nan, None, Refusal.AMOUNT_NOT_FINITE),
        (-math.inf, "XXX", Refusal.AMOUNT_NOT_FINITE),
        (1.0, "XXX", Refusal.UNKNOWN_CURRENCY),
        (1000.1, None, Refusal.AMOUNT_OUT_OF_RANGE),
        (-1200.0, "USD", Refusal.AMOUNT_OUT_OF_RANGE),
    ],
)
def test_an_amount_that_cannot_be_believed_is_refused(amount: float, currency: str | None, code: Refusal) -> None:
    with pytest.raises(InvalidEventError) as error:
        convert_amount(amount, currency, POLICY)
    assert code_of(error) == code


def test_a_rate_that_leads_out_of_all_numbers_is_out_of_range() -> None:
    policy = make_policy(currency_rates={"XAU": 1e308}, amount_max=1e300)
    with pytest.raises(InvalidEventError) as error:
        convert_amount(1e10, "XAU", policy)
    assert code_of(error) == Refusal.AMOUNT_OUT_OF_RANGE


def test_the_reporting_currency_always_has_the_rate_one() -> None:
    assert convert_amount(5.0, "EUR", make_policy(currency_rates={})) == 5.0


@pytest.mark.parametrize(
    ("family", "amount", "result"),
    [
        (Family.PURCHASE, 5.0, (Family.PURCHASE, 5.0)),
        (Family.PURCHASE, -5.0, (Family.REFUND, 5.0)),
        (Family.PURCHASE, 0.0, (Family.PURCHASE, 0.0)),
        (Family.REFUND, 5.0, (Family.REFUND, 5.0)),
        (Family.REFUND, -5.0, (Family.REFUND, 5.0)),
        (Family.CONTENT, 0.5, (Family.CONTENT, 0.5)),
    ],
)
def test_the_sign_decides_between_purchase_and_refund(
    family: Family, amount: float, result: tuple[Family, float]
) -> None:
    assert classify(family, amount) == result


def test_minus_zero_is_a_purchase_of_nothing() -> None:
    family, amount = classify(Family.PURCHASE, -0.0)
    assert (family, math.copysign(1.0, amount)) == (Family.PURCHASE, 1.0)


@pytest.mark.parametrize(("worst", "best"), [(0.0, 1.0), (1.0, 5.0), (-3.0, 3.0), (10.0, 0.0)])
def test_satisfaction_goes_from_worst_to_best(worst: float, best: float) -> None:
    rule = EventRule(Family.FEEDBACK, satisfaction_range=(worst, best))
    assert [scale_satisfaction(value, rule) for value in (worst, (worst + best) / 2, best)] == [0.0, 0.5, 1.0]
    for value in (min(worst, best) - 0.01, max(worst, best) + 0.01, math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidEventError) as error:
            scale_satisfaction(value, rule)
        assert code_of(error) == Refusal.INVALID_SATISFACTION


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6, exclude_min=True), st.floats(0, 1))
def test_a_scaled_satisfaction_never_leaves_its_range(worst: float, width: float, share: float) -> None:
    best = worst + width
    if best == worst:
        return
    value = min(best, max(worst, worst + share * (best - worst)))
    assert 0.0 <= scale_satisfaction(value, EventRule(Family.FEEDBACK, satisfaction_range=(worst, best))) <= 1.0


@pytest.mark.parametrize(
    "value",
    ["x" * 1000, "\n" * 1000, "\ud800", 10**5000, -(10**5000), {"k": "v" * 1000}, [[]] * 99],
    ids=lambda value: type(value).__name__,
)
def test_a_shown_value_is_short_and_plain(value: Any) -> None:
    assert len(shown(value)) <= 90
    assert shown(value).isascii()
    assert "\n" not in shown(value)
