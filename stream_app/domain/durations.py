"""Durations as people write them in policies and on the command line."""

from __future__ import annotations

import re

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND

DURATION_MAX_MS = 36_500 * MS_PER_DAY
"""Longest duration that is accepted, about 100 years: more is a slip, and sums of times stay far from 64 bits."""

_MS_PER_UNIT = {
    "s": MS_PER_SECOND,
    "m": MS_PER_MINUTE,
    "h": 60 * MS_PER_MINUTE,
    "d": MS_PER_DAY,
    "w": 7 * MS_PER_DAY,
}
# The digits are bounded so that no text can make a number of absurd size.
_PATTERN = re.compile(r"([0-9]{1,15})([smhdw])")
_TEXT_LENGTH_SHOWN_MAX = 40


def parse_duration_ms(text: str) -> int:
    """Read a duration: a whole number and one unit.

    Parameters
    ----------
    text
        Digits and one of `s`, `m`, `h`, `d`, `w` (seconds, minutes, hours, days, weeks), without spaces.

    Returns
    -------
    int
        Milliseconds, `0 <= duration <= DURATION_MAX_MS`.

    Raises
    ------
    SettingsError
        With code `invalid_duration`, when the text is no duration or too long a one.

    Examples
    --------
    >>> parse_duration_ms("90s"), parse_duration_ms("2w")
    (90000, 1209600000)
    """
    shown = text if len(text) <= _TEXT_LENGTH_SHOWN_MAX else f"{text[:_TEXT_LENGTH_SHOWN_MAX]}..."
    match = _PATTERN.fullmatch(text)
    if match is None:
        message = (
            f'"{shown}" is not a duration; allowed is a whole number with one unit of s, m, h, d, w; '
            'write it as "90s", "5m", "1h", "7d" or "2w"'
        )
        raise SettingsError(message, code="invalid_duration")
    duration_ms = int(match[1]) * _MS_PER_UNIT[match[2]]
    if duration_ms > DURATION_MAX_MS:
        message = (
            f'"{shown}" is too long; at most {format_duration(DURATION_MAX_MS)} are allowed; write a shorter duration'
        )
        raise SettingsError(message, code="invalid_duration")
    return duration_ms


def format_duration(duration_ms: int) -> str:
    """Write a duration in the largest unit up to days that divides it.

    Parameters
    ----------
    duration_ms
        Whole seconds in milliseconds, >= 0; a rest below a second is dropped.

    Returns
    -------
    str
        Text that `parse_duration_ms` reads back.

    Examples
    --------
    >>> format_duration(5_400_000), format_duration(604_800_000)
    ('90m', '7d')
    """
    for unit in ("d", "h", "m"):
        if duration_ms % _MS_PER_UNIT[unit] == 0:
            return f"{duration_ms // _MS_PER_UNIT[unit]}{unit}"
    return f"{duration_ms // MS_PER_SECOND}s"
