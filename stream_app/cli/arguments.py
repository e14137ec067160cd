"""What commands have in common: arguments as text, read into values with errors that name the option."""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.adapters.event_files.times import parse_timezone
from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.durations import parse_duration_ms
from stream_app.domain.errors import InvalidEventError, SettingsError


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Read `FIELD=COLUMN` pairs.

    Raises
    ------
    SettingsError
        When one is no such pair.
    """
    mapping = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not sign or not field:
            message = f"--map: {pair!r} is not FIELD=COLUMN; write for example --map customer_id=client"
            raise SettingsError(message, code="invalid_mapping")
        mapping[field.strip()] = column.strip()
    return mapping


def parse_span_ms(option: str, text: str) -> int:
    """Read a duration in milliseconds.

    Raises
    ------
    SettingsError
        When it is none; the message names the option.
    """
    try:
        return parse_duration_ms(text)
    except SettingsError as error:
        message = f"{option}: {error}"
        raise SettingsError(message, code=error.code) from error


def parse_moment_ms(option: str, text: str | None, timezone: str | None) -> int | None:
    """Read a day or time as milliseconds since 1970-01-01 UTC; None stays None.

    Parameters
    ----------
    option
        Named in the message.
    text
        A day or an ISO 8601 time.
    timezone
        Of times without a zone; None: UTC.

    Raises
    ------
    SettingsError
        When it is no time.
    """
    if text is None:
        return None
    try:
        return parse_time_ms(text, parse_timezone(timezone))
    except InvalidEventError as error:
        message = f"{option}: {error}; give a day such as 2024-06-01 or a time such as 2024-06-01T12:00:00Z"
        raise SettingsError(message, code="invalid_time") from error
