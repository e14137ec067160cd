"""The rules for the fields of one event, whatever source it comes from: times, ids, amounts, satisfaction."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as fixed_offset
from typing import NoReturn

from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import ID_BYTES_MAX, MS_PER_SECOND, TIME_MAX_MS, TIME_MIN_MS, Family
from stream_app.domain.policy import EventRule, Policy
from stream_app.domain.refusals import Refusal

EPOCH_SECONDS_BELOW = 10**11
"""A number below this is a time in seconds (until the year 5138), any other one in milliseconds (from 1973 on)."""

SHOWN_CHARACTERS_MAX = 80
"""Longest value that is repeated in a message."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LEAP_SECOND = 60

_CALENDAR_TIME = re.compile(
    r"""
    (?P<year>[0-9]{4}) (?P<dash>-?) (?P<month>[0-9]{2}) (?P=dash) (?P<day>[0-9]{2})
    (?: [Tt\ ] (?P<hour>[0-9]{2})
        (?: :? (?P<minute>[0-9]{2}) (?: :? (?P<second>[0-9]{2}) (?: [.,] (?P<fraction>[0-9]{1,30}) )? )? )?
        (?: \ ?
            (?: (?P<utc>[Zz]|UTC|GMT) | (?P<sign>[+-]) (?P<zone_hour>[0-9]{2}) (?: :? (?P<zone_minute>[0-9]{2}) )? )
        )?
    )?
    """,
    re.VERBOSE,
)
_EPOCH_TEXT = re.compile(r"[+-]?[0-9]{9,20}(?:\.[0-9]{1,30})?")


def refuse(code: Refusal, message: str) -> NoReturn:
    """Refuse an event.

    Raises
    ------
    InvalidEventError
        Always, with the given code and message.
    """
    raise InvalidEventError(message, code=code.value)


def shown(value: object) -> str:
    """Write a value for a message: in ASCII, and cut when it is long.

    Examples
    --------
    >>> shown("x" * 100)[-6:]
    'xxx...'
    """
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN_CHARACTERS_MAX:
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value[: SHOWN_CHARACTERS_MAX + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "..."


def parse_time_ms(value: object, timezone: tzinfo | None = None) -> int:
    """Read an event time.

    Text is a time of RFC 3339 or ISO 8601: a date alone or with a time (after `T` or a space), whole or fractional
    seconds (digits after milliseconds are dropped), an offset, `Z`, `UTC` or `GMT`; dates without dashes; or
    the decimal text of an epoch time with at least 9 digits. A leap second counts as the next second. Numbers are
    epoch times: seconds below `EPOCH_SECONDS_BELOW`, else milliseconds.

    Parameters
    ----------
    value
        The time as the event says it.
    timezone
        Zone of times that name none; without it they are refused. A time that occurs twice when clocks are set back
        is the first of the two.

    Returns
    -------
    int
        Milliseconds since 1970-01-01 UTC, in `[TIME_MIN_MS, TIME_MAX_MS]`.

    Raises
    ------
    InvalidEventError
        `WRONG_TYPE`, `MISSING_FIELD` (empty text), `INVALID_TIME` or `TIME_OUT_OF_RANGE`.

    Examples
    --------
    >>> parse_time_ms("2024-02-29T12:00:00.5+02:00")
    1709200800500
    >>> parse_time_ms(1709200800) == parse_time_ms(1709200800000)
    True
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        refuse(Refusal.WRONG_TYPE, f"event time = {shown(value)}, must be text or a number; send RFC 3339 text")
    time_ms = _parse_text_ms(value.strip(), timezone) if isinstance(value, str) else _epoch_ms(value)
    if not TIME_MIN_MS <= time_ms <= TIME_MAX_MS:
        refuse(
            Refusal.TIME_OUT_OF_RANGE,
            f"event time = {shown(value)}, must lie between 1970 and 2106; "
            "send RFC 3339 text, or an epoch time in seconds or milliseconds",
        )
    return time_ms


def _epoch_ms(value: int | float) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        refuse(Refusal.INVALID_TIME, f"event time = {value}, must be a finite number; send RFC 3339 text")
    return round(value * MS_PER_SECOND) if abs(value) < EPOCH_SECONDS_BELOW else round(value)


def _parse_text_ms(text: str, timezone: tzinfo | None) -> int:
    if not text:
        refuse(Refusal.MISSING_FIELD, "event time is empty, must be given; send RFC 3339 text as 2024-05-01T12:30:00Z")
    match = _CALENDAR_TIME.fullmatch(text)
    if match is None:
        if _EPOCH_TEXT.fullmatch(text):
            return _epoch_ms(float(text) if "." in text else int(text))
        _refuse_time(text, "must be RFC 3339 text or an epoch time")
    zone = _zone_of(match, timezone)
    if zone is None:
        _refuse_time(text, "names no time zone; end it with Z or an offset, or set the zone of the source")
    second = int(match["second"] or 0)
    is_leap_second = second == _LEAP_SECOND
    try:
        moment = datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            second - is_leap_second,
            tzinfo=zone,
        )
        whole_ms = (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        _refuse_time(text, f"is not in the calendar ({error})")
    fraction_ms = int((match["fraction"] or "0")[:3].ljust(3, "0"))
    return whole_ms + is_leap_second * MS_PER_SECOND + fraction_ms


def _zone_of(match: re.Match[str], timezone: tzinfo | None) -> tzinfo | None:
    if match["utc"]:
        return UTC
    if not match["sign"]:
        return timezone
    hours, minutes = int(match["zone_hour"]), int(match["zone_minute"] or 0)
    if hours > 23 or minutes > 59:
        _refuse_time(match.string, "has an offset outside of -23:59 to +23:59")
    offset = timedelta(hours=hours, minutes=minutes)
    return fixed_offset(-offset if match["sign"] == "-" else offset)


def _refuse_time(text: str, fault: str) -> NoReturn:
    refuse(Refusal.INVALID_TIME, f"event time = {shown(text)}, {fault}; send it as 2024-05-01T12:30:00Z")


def check_id(text: str, *, field: str) -> None:
    """Hold a customer id or event id to its limits.

    Parameters
    ----------
    text
        The id.
    field
        Its name in the source, for the message.

    Raises
    ------
    InvalidEventError
        `MISSING_FIELD` (empty), `INVALID_ID` (a NUL character), `INVALID_UTF8` (half of a surrogate pair) or
        `ID_TOO_LONG` (more than `ID_BYTES_MAX` bytes of UTF-8).
    """
    if not text:
        refuse(Refusal.MISSING_FIELD, f"{field} is empty, must be 1 to {ID_BYTES_MAX} bytes; send the id")
    if "\0" in text:
        refuse(Refusal.INVALID_ID, f"{field} = {shown(text)}, must hold no NUL character; take it out at the source")
    byte_count = len(encode_text(text, field=field))
    if byte_count > ID_BYTES_MAX:
        refuse(
            Refusal.ID_TOO_LONG,
            f"{field} = {shown(text)} of {byte_count} bytes, must be 1 to {ID_BYTES_MAX} bytes of UTF-8; shorten it",
        )


def encode_text(text: str, *, field: str) -> bytes:
    """Encode text as UTF-8.

    Raises
    ------
    InvalidEventError
        `INVALID_UTF8` when it holds half of a surrogate pair, which JSON can write as an escape.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        refuse(Refusal.INVALID_UTF8, f"{field} = {shown(text)}, must be Unicode text; mend the half surrogate pair")


def convert_amount(amount: float, currency: str | None, policy: Policy) -> float:
    """Turn an amount into the reporting currency (S10), keeping its sign.

    Parameters
    ----------
    amount
        As the event says it, in units of its currency.
    currency
        ISO 4217 code in upper or lower case; None or empty: the reporting currency.
    policy
        Rates and the largest amount that is believed.

    Returns
    -------
    float
        In units of the reporting currency, of a size of at most `policy.amount_max`.

    Raises
    ------
    InvalidEventError
        `AMOUNT_NOT_FINITE`, `UNKNOWN_CURRENCY` or `AMOUNT_OUT_OF_RANGE`.
    """
    if not math.isfinite(amount):
        refuse(Refusal.AMOUNT_NOT_FINITE, f"amount = {amount}, must be a finite number; mend the event's source")
    rate = currency_rate(currency, policy)
    if rate is None:
        refuse(
            Refusal.UNKNOWN_CURRENCY,
            f"currency = {shown(currency)}, must have a rate in the policy; add it there, or mend the source",
        )
    converted = amount * rate
    if abs(converted) > policy.amount_max:
        refuse(
            Refusal.AMOUNT_OUT_OF_RANGE,
            f"amount = {converted:g} {policy.reporting_currency}, must be at most {policy.amount_max:g}; "
            "mend the event's source, or raise the policy's largest amount",
        )
    return converted


def currency_rate(currency: str | None, policy: Policy) -> float | None:
    """Give the value of one unit of a currency in the reporting currency; None when the policy has no rate."""
    code = currency.strip().upper() if currency else ""
    if not code or code == policy.reporting_currency:
        return 1.0
    return policy.currency_rates.get(code)


def classify(family: Family, amount: float) -> tuple[Family, float]:
    """Give an amount's size, and let its sign decide between purchase and refund (S11).

    Parameters
    ----------
    family
        What the policy says of the event's type.
    amount
        In units of the reporting currency, of either sign.

    Returns
    -------
    tuple[Family, float]
        A purchase of a negative amount is a refund; the size is >= 0.

    Examples
    --------
    >>> classify(Family.PURCHASE, -5.0)
    (<Family.REFUND: 1>, 5.0)
    """
    if family is Family.PURCHASE and amount < 0:
        return Family.REFUND, -amount
    return family, abs(amount)


def scale_satisfaction(value: float, rule: EventRule) -> float:
    """Map a satisfaction to [0, 1].

    Parameters
    ----------
    value
        As the event says it.
    rule
        Its worst and best value; the worst may be the larger one.

    Returns
    -------
    float
        0 for the worst, 1 for the best.

    Raises
    ------
    InvalidEventError
        `INVALID_SATISFACTION` when it is not finite or lies outside of the range.

    Examples
    --------
    >>> scale_satisfaction(4.0, EventRule(Family.FEEDBACK, satisfaction_range=(1.0, 5.0)))
    0.75
    """
    worst, best = rule.satisfaction_range
    if not min(worst, best) <= value <= max(worst, best):
        refuse(
            Refusal.INVALID_SATISFACTION,
            f"satisfaction = {value}, must lie between {worst:g} and {best:g}; "
            "mend the event's source, or the range in the policy",
        )
    return (value - worst) / (best - worst)
