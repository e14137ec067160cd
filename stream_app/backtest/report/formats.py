"""How the report writes numbers, money and times, and where it puts the marks of a scale."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from stream_app.backtest import summary
from stream_app.domain.events import MS_PER_DAY

MINUS: Final = "\u2212"
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_UNITS: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def whole(value: float) -> str:
    """Write a count, as `12,345`."""
    return f"{round(value):,}".replace("-", MINUS)


def compact(value: float) -> str:
    """Write a number with three telling digits, as `12.3k`."""
    size = abs(value)
    for unit, letter in _UNITS:
        if size >= 0.9995 * unit:
            return f"{value / unit:.3g}{letter}".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)


def money(value: float, currency: str) -> str:
    """Write an amount, small ones to the cent, as `USD 1,234` or `USD 12.50`, without a place to break."""
    digits = 2 if abs(value) < 100 and value != round(value) else 0
    number = f"{value:,.{digits}f}" if abs(value) < 1e9 else compact(value)
    return f"{currency}\u00a0{number}".replace("-", MINUS)


def percent(share: float) -> str:
    """Write a share as a percentage that no line break divides."""
    return summary.percent(share).replace(" ", "\u00a0")


def date(time_ms: int) -> str:
    """Write a UTC day, as `2 Jan 2024`."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment.day} {moment:%b %Y}"


def parse_time_ms(value: object) -> int | None:
    """Read a time of a change record, ISO 8601 or milliseconds; None when it is neither."""
    if isinstance(value, int):
        return value
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def nice_marks(largest: float, count: int = 4) -> list[float]:
    """Choose round marks from 0 to at least the largest value.

    Parameters
    ----------
    largest
        Largest value to show, >= 0.
    count
        About how many steps.

    Returns
    -------
    list[float]
        Increasing from 0; the last is the end of the scale and at least `largest`.

    Examples
    --------
    >>> nice_marks(37.0)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(step * magnitude for step in _STEPS if step * magnitude >= rough * 0.999)
    return [place * step for place in range(math.ceil(largest / step - 1e-9) + 1)]


def marks_between(low: float, high: float, count: int = 4) -> list[float]:
    """Choose round marks of which the first is at most `low` and the last at least `high`.

    Examples
    --------
    >>> marks_between(3.4, 4.9)
    [3.0, 3.5, 4.0, 4.5, 5.0]
    """
    step = nice_marks(max(high - low, abs(high) * 1e-6, 1e-9), count)[1]
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [place * step for place in range(first, last + 1)]


def time_marks(start_ms: int, end_ms: int) -> list[tuple[float, str]]:
    """Choose about six days, first of months or years where the span allows, as fraction and label.

    Parameters
    ----------
    start_ms, end_ms
        The span of the scale.

    Returns
    -------
    list[tuple[float, str]]
        Fractions in [0, 1], increasing.
    """
    span_ms = end_ms - start_ms
    if span_ms <= 0:
        return [(0.0, date(start_ms))]
    days = span_ms / MS_PER_DAY
    if days < 70:
        step_ms = max(1, math.ceil(days / 6)) * MS_PER_DAY
        first_ms = -(-start_ms // MS_PER_DAY) * MS_PER_DAY
        marks = range(first_ms, end_ms + 1, step_ms)
        return [((mark - start_ms) / span_ms, date(mark)[:-5]) for mark in marks]
    months = next((step for step in (1, 2, 3, 6, 12, 24, 60, 120, 240) if days / 30.4 / step <= 8), 480)
    return [((mark - start_ms) / span_ms, label) for mark, label in _month_marks(start_ms, end_ms, months)]


def _month_marks(start_ms: int, end_ms: int, months: int) -> list[tuple[int, str]]:
    moment = datetime.fromtimestamp(start_ms / 1000, UTC)
    number = moment.year * 12 // months * months if months >= 12 else moment.year * 12
    found: list[tuple[int, str]] = []
    while True:
        year, month = divmod(number, 12)
        mark = round(datetime(year, month + 1, 1, tzinfo=UTC).timestamp() * 1000)
        if mark > end_ms:
            return found
        if mark >= start_ms:
            label = str(year) if months >= 12 else f"{datetime(year, month + 1, 1, tzinfo=UTC):%b} {year}"
            found.append((mark, label))
        number += months
